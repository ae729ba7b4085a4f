"""Images on their way into a network: decoded once, augmented by a seed, gathered into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from engine.tasks.image_cache import ImageCache
from engine.tasks.task import Pick
from engine.types import Sample, UserError


@dataclass(frozen=True)
class Batch:
    """images u8[B,3,S,S]; targets one dict of tensors per image; samples in the same order; `unreadable` were left out."""

    images: Tensor
    targets: list[dict[str, Tensor]]
    samples: list[Sample]
    unreadable: list[str]

    def __len__(self) -> int:
        return len(self.samples)

    def to(self, device: torch.device) -> Batch:
        moved = [{k: v.to(device, non_blocking=True) for k, v in t.items()} for t in self.targets]
        return Batch(self.images.to(device, non_blocking=True), moved, self.samples, self.unreadable)

    def pin_memory(self) -> Batch:
        pinned = [{k: v.pin_memory() for k, v in t.items()} for t in self.targets]
        return Batch(self.images.pin_memory(), pinned, self.samples, self.unreadable)


Encode = Callable[[Sample, np.ndarray, int, int, Pick], tuple[np.ndarray, dict[str, Tensor]]]


class TrainingImages(Dataset[Any]):
    """Item (epoch, index, strong) -> (image u8[3,S,S], target, sample), or (name of the file, reason) when it can't be read.

    `strong` says what is active in the epoch (engine.stages.Active). The random seed of an item follows from run seed, epoch and index alone:
    neither workers nor a resume change it.
    """

    def __init__(self, samples: Sequence[Sample], side: int, encode: Encode, seed: int, *, whole: bool = False, kept: str = "memory",
                 workers: int = 0) -> None:
        """`kept`: how decoded images are (see ImageCache), by each of the `workers` that load."""
        self.samples, self.encode, self.seed = list(samples), encode, seed
        self.cache = ImageCache(side, whole=whole, kept=kept, sharers=workers)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int, int]) -> Any:
        epoch, index, strong = key
        sample = self.samples[index]
        try:
            image = self.cache(sample.image)
        except (UserError, OSError):
            return sample.name or sample.image.name
        item_seed = int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0])
        pixels, target = self.encode(sample, image, item_seed, strong, lambda seed: self.other(index, seed))
        return torch.from_numpy(np.stack(cv2.split(pixels))), target, sample

    def other(self, index: int, seed: int) -> tuple[Sample, np.ndarray] | None:
        """An image that is not the one at `index`, chosen by `seed`; None when there is no other, or it cannot be read."""
        if len(self.samples) < 2:
            return None
        step = 1 + int(np.random.default_rng([seed, 9]).integers(len(self.samples) - 1))
        sample = self.samples[(index + step) % len(self.samples)]
        try:
            return sample, self.cache(sample.image)
        except (UserError, OSError):
            return None


def gather(items: Sequence[Any]) -> Batch:
    readable = [each for each in items if not isinstance(each, str)]
    images = torch.stack([each[0] for each in readable]) if readable else torch.zeros(0, 3, 0, 0, dtype=torch.uint8)
    return Batch(images, [each[1] for each in readable], [each[2] for each in readable], [each for each in items if isinstance(each, str)])


class EpochBatches:
    """Batches of one epoch as lists of item keys: shuffled by (seed, epoch), whole batches only, from batch `start` on.

    With `weights` f64[count] as many items are drawn instead, each as often as its weight says. `part` (k, n): only each n-th item of a batch,
    from the k-th on, for one of n processes.
    """

    def __init__(self, count: int, batch: int, seed: int, weights: np.ndarray | None = None, part: tuple[int, int] = (0, 1)) -> None:
        self.count, self.batch, self.seed, self.part = count, min(batch, count), seed, part
        self.shares = None if weights is None else weights / weights.sum()
        self.epoch, self.start = 1, 0
        self.strong: int = True

    def __len__(self) -> int:
        return self.count // self.batch

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(self.count) if self.shares is None else random.choice(self.count, self.count, p=self.shares)
        for first in range(self.start * self.batch, len(self) * self.batch, self.batch):
            yield [(self.epoch, int(i), self.strong) for i in order[first : first + self.batch][self.part[0] :: self.part[1]]]


def training_loader(images: TrainingImages, batches: EpochBatches, workers: int, device: torch.device) -> DataLoader[Any]:
    """Has a random generator of its own: opening it must not advance the one that training draws from."""
    if workers:
        torch.multiprocessing.set_sharing_strategy("file_system")
    return DataLoader(images, batch_sampler=batches, collate_fn=gather, num_workers=workers, persistent_workers=workers > 0,
                      pin_memory=device.type == "cuda", generator=torch.Generator(), worker_init_fn=_one_thread)


def _one_thread(_worker: int) -> None:
    """Several processes load: OpenCV's own threads would only be in each other's way, and do not survive a fork."""
    cv2.setNumThreads(0)


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """u8[B,3,H,W] -> f32 in 0..1, minus mean, over std, on the device of `images`."""
    pixels = images / 255
    if any(mean) or any(each != 1 for each in std):
        pixels = (pixels - pixels.new_tensor(mean).view(1, 3, 1, 1)) / pixels.new_tensor(std).view(1, 3, 1, 1)
    return pixels


def resized(images: Tensor, side: int) -> Tensor:
    """f32[B,C,H,W] -> f32[B,C,side,side]."""
    if images.shape[-2:] == (side, side):
        return images
    return functional.interpolate(images, size=(side, side), mode="bilinear", align_corners=False, antialias=True)

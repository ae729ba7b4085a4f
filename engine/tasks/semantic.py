"""Semantic segmentation: a class for every pixel, or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.config import TrainConfig
from engine.datasets.collection import present
from engine.datasets.images import resize
from engine.datasets.packed import PackedClasses, PackedLayers, ids
from engine.metrics.dice import MaskMeter
from engine.models.network import Balance
from engine.tasks import windows
from engine.tasks.rasters import BACKGROUND, UNKNOWN, is_background, raster
from engine.tasks.task import Fitted, Forward, Task, positions
from engine.types import IGNORE, NOTHING, Instances, Labels, Sample, SemanticMask, UserError

if TYPE_CHECKING:
    import albumentations as A

THRESHOLD = 0.5
TURNS = 4
MOST_COUNTED = 500
PROBABILITY_BYTES = 1 << 30


@cache
def _pipeline(preset: str, strong: bool, side: int) -> A.Compose | None:
    from engine.augment.segmentation import pipeline  # takes seconds, and who predicts does without
    return pipeline(preset, strong=strong, side=side)


class AreaMeter:
    """Dice and IoU of areas; see engine.metrics.dice."""

    def __init__(self, classes: Sequence[str], mode: str, *, final: bool) -> None:
        self.count, self.mode, self.rest = len(classes), mode, _background(classes, UNKNOWN)
        self.meter = MaskMeter(classes, exclusive=mode == "multiclass", hausdorff=final)

    def add(self, sample: Sample, found: Labels) -> None:
        if not isinstance(found, SemanticMask):
            raise TypeError(f"a mask is wanted, not {type(found).__name__}")
        truth = raster(sample, sample.size, self.count, self.mode, self.rest)
        self.meter.add(truth.as_layers(self.count), layers_of(found, self.count), truth.known, sample.group)

    def result(self) -> dict[str, Any]:
        return {**self.meter.result(), "thresholds": {"score": THRESHOLD}}


class Semantic(Task):
    """`options["mode"]`: binary (one class, a sigmoid), multilabel (a sigmoid each), multiclass (a softmax over all)."""

    name = "semantic"
    headline = "dice"
    shown = ("dice", "iou", "dice_global")
    has_report = True

    @property
    def mode(self) -> str:
        mode = str(self.options.get("mode", "auto"))
        return mode if mode != "auto" else "binary" if self.options.get("num_classes") == 1 else "multiclass"

    def trainable(self, samples: Sequence[Sample]) -> list[Sample]:
        """Masks, and objects with outlines."""
        return [each for each in samples if isinstance(each.labels, SemanticMask) or (
            isinstance(each.labels, Instances) and (not len(each.labels) or any(shape is not None for shape in each.labels.shapes or ())))]

    def teaches(self, sample: Sample) -> bool:
        if isinstance(sample.labels, SemanticMask):
            return sample.labels.layers is not None or bool((ids(sample.labels) < NOTHING).any())
        return isinstance(sample.labels, Instances) and len(sample.labels) > 0

    def fit(self, classes: tuple[str, ...], samples: list[Sample], config: TrainConfig) -> Fitted:
        """Chooses the mode. "background" is no class of its own where pixels without a class say the same; where it is one, it is the first.

        Raises UserError for a mode that does not go with the number of classes.
        """
        front = tuple(name for name in classes if not is_background(name))
        mode = str(config.options.get("mode", "auto"))
        if mode == "auto":
            overlap = any(isinstance(each.labels, Instances) or (isinstance(each.labels, SemanticMask) and each.labels.layers is not None)
                          for each in samples)
            mode = "binary" if len(front) == 1 else "multilabel" if overlap else "multiclass"
        ground = tuple(name for name in classes if is_background(name))[:1]
        if not ground and any(_leaves_out(each.labels) for each in samples):
            ground = (BACKGROUND,)
        own = (*ground, *front) if mode == "multiclass" else front
        if not own or (mode == "binary" and len(own) > 1) or (mode == "multiclass" and len(own) < 2):
            raise UserError("unet_mode_classes", mode=mode, classes=len(own))
        if mode == "multiclass" and len(own) > UNKNOWN:  # class ids are bytes, and the last one stands for pixels that nobody may judge
            raise UserError("too_many_mask_classes", classes=len(own), limit=UNKNOWN)
        return Fitted(own, self.align(samples, classes, own), {"mode": mode}, {"mode": f"mode_{mode}"})

    def align(self, samples: Sequence[Sample], data_classes: Sequence[str], model_classes: Sequence[str]) -> list[Sample]:
        """By name. What is nothing in the data is the background of a model that has one, and the other way round."""
        free = [name for name in data_classes if is_background(name)]
        rest = _background(model_classes, -1)
        place = [rest if name in free else other for name, other in zip(data_classes, positions(data_classes, model_classes, free=free), strict=True)]
        same = place == list(range(len(model_classes)))
        return [each if same and (rest < 0 or not _leaves_out(each.labels)) else each.with_labels(_placed(each.labels, place, rest))
                for each in samples]

    def balance(self, classes: Sequence[str], samples: Sequence[Sample], config: TrainConfig) -> Balance | None:
        """Pixels with and without each class in the first few hundred images."""
        if config.class_weights == "none":
            return None
        have, total = np.zeros(len(classes)), 0.0
        for sample in samples[:MOST_COUNTED]:
            truth = raster(sample, sample.size, len(classes), self.mode, _background(classes, UNKNOWN))
            have += truth.as_layers(len(classes)).sum((1, 2))
            total += float(truth.known.sum())
        return Balance(have, total - have)

    def weights(self, samples: Sequence[Sample]) -> np.ndarray:
        """An image counts as much as the rarest of its classes; one without any as much as the commonest."""
        count = int(self.options.get("num_classes", 1))
        shows = np.array([present(each.labels, count) if isinstance(each.labels, SemanticMask) else
                          np.isin(np.arange(count), getattr(each.labels, "classes", ())) for each in samples])
        rarity = 1 / np.maximum(shows.mean(0), 1 / len(samples))
        return np.where(shows.any(1), (shows * rarity).max(1), rarity.min())

    def encode(self, config: TrainConfig, sample: Sample, image: np.ndarray, seed: int, strong: bool) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Target: {"mask": u8[S,S]}, 255 where nobody may judge; multilabel {"layers": u8[C,S,S], "known": u8[S,S]}."""
        from engine.augment.segmentation import apply
        side, count = config.image_size, int(self.options["num_classes"])
        truth = raster(sample, (image.shape[1], image.shape[0]), count, self.mode)
        if config.resize == "crop":
            image, planes = windows.random_piece(image, truth.planes(), side, seed)
            truth = truth.of_planes(planes)
        transform = _pipeline(config.augment, strong, side)
        pixels, moved = apply(transform, image, truth.planes(), seed)
        planes = truth.planes() if moved is None else moved
        if pixels.shape[:2] != (side, side):
            pixels = resize(pixels, (side, side))
            planes = truth.resized(planes, side)
        return pixels, truth.target(planes)

    def decode(self, outputs: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """Probabilities, brought to the size of each original, and what they say at one half."""
        chances = self._chances(outputs)
        return [self._labels(chances[i], size) for i, size in enumerate(sizes)]

    def from_views(self, forward: Forward, pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """The mean over the eight ways to turn and mirror a square."""
        chances = self._mean_of_views(forward, pixels)
        return [self._labels(chances[i], size) for i, size in enumerate(sizes)]

    def from_windows(self, forward: Callable[[np.ndarray], Tensor], image: np.ndarray, side: int, views: bool) -> Labels:
        """Overlapping windows at the image's own resolution, each counting most in its middle."""
        def chances(pieces: np.ndarray) -> Tensor:
            if not views:
                return self._chances(forward(pieces))
            seen = [turned_back(self._chances(forward(turned(pieces, turn, mirror))), turn, mirror) for turn in range(TURNS) for mirror in (0, 1)]
            return torch.stack(seen).mean(0)
        return self._masks(windows.slide(chances, image, side))

    def _mean_of_views(self, forward: Forward, pixels: Tensor) -> Tensor:
        total = None
        for turn in range(TURNS):
            for mirror in (False, True):
                seen = torch.rot90(pixels.flip(-1) if mirror else pixels, turn, (-2, -1))
                back = torch.rot90(self._chances(forward(seen)), -turn, (-2, -1))
                back = back.flip(-1) if mirror else back
                total = back if total is None else total + back
        if total is None:
            raise ValueError("no views")
        return total / (2 * TURNS)

    def _chances(self, logits: Tensor) -> Tensor:
        """f32[B,C,h,w] in 0..1."""
        logits = logits.float()
        return logits.softmax(1) if self.mode == "multiclass" else logits.sigmoid()

    def _labels(self, chances: Tensor, size: tuple[int, int]) -> SemanticMask:
        width, height = size
        full = functional.interpolate(chances[None], (height, width), mode="bilinear", align_corners=False)[0]
        return self._masks(full.cpu().numpy())

    def _masks(self, chances: np.ndarray) -> SemanticMask:
        """f32[C,H,W] -> labels. Probabilities too large to keep are left out."""
        kept = chances.astype(np.float16) if chances.size * 2 <= PROBABILITY_BYTES else None
        if self.mode == "multiclass":
            return SemanticMask(classes=chances.argmax(0).astype(np.uint16), probabilities=kept)
        return SemanticMask(layers=chances >= float(self.thresholds.get("score", THRESHOLD)), probabilities=kept)

    def meter(self, classes: Sequence[str], *, final: bool = False) -> AreaMeter:
        return AreaMeter(classes, self.mode, final=final)

    def rank(self, metrics: Mapping[str, Any]) -> list[float]:
        """Dice where there is something; among equals, also where there is nothing."""
        return [metrics.get("dice") or 0.0, metrics.get("dice_with_empty") or 0.0]


def turned(pieces: np.ndarray, turn: int, mirror: int) -> np.ndarray:
    """u8[B,h,w,3], mirrored and turned by quarters."""
    return np.rot90(pieces[:, :, ::-1] if mirror else pieces, turn, (1, 2))


def turned_back(maps: Tensor, turn: int, mirror: int) -> Tensor:
    """[B,C,h,w] of turned pieces, as their originals lie."""
    back = torch.rot90(maps, -turn, (-2, -1))
    return back.flip(-1) if mirror else back


def layers_of(found: SemanticMask, count: int) -> np.ndarray:
    """bool[C,H,W]: where each class was found."""
    if found.layers is not None:
        return found.layers
    if found.classes is None:
        raise ValueError("a mask has neither classes nor layers")
    return np.stack([found.classes == i for i in range(count)])


def _background(classes: Sequence[str], none: int) -> int:
    """The id of the background, `none` when it is no class."""
    return next((i for i, name in enumerate(classes) if is_background(name)), none)


def _leaves_out(labels: Labels | None) -> bool:
    """Whether there are pixels of no class."""
    if not isinstance(labels, SemanticMask):
        return isinstance(labels, Instances)
    if labels.layers is not None:
        return not labels.layers.any(0).all()
    return NOTHING in ids(labels)


def _placed(labels: Labels | None, place: Sequence[int], rest: int) -> Labels | None:
    """Labels with other class ids; a class at place -1 is nothing, and pixels of no class are `rest`, when that is a class."""
    if isinstance(labels, Instances):
        ids = np.array(place, np.int64)[labels.classes] if len(labels) else labels.classes
        chosen = labels[ids >= 0]
        return Instances(chosen.boxes, ids[ids >= 0], chosen.scores, chosen.shapes, chosen.crowd)
    if not isinstance(labels, SemanticMask):
        return labels
    if labels.layers is not None:
        layers = np.zeros((max([*place, rest, 0]) + 1, *labels.layers.shape[1:]), bool)
        for own, other in enumerate(place[: len(labels.layers)]):
            if other >= 0:
                layers[other] |= labels.layers[own]
        return PackedLayers(layers)
    nothing = rest if rest >= 0 else NOTHING
    table = np.full(1 << 16, nothing, np.uint16)
    table[: len(place)] = [other if other >= 0 else NOTHING for other in place]
    table[IGNORE] = IGNORE
    return labels.mapped(table) if isinstance(labels, PackedClasses) else SemanticMask(classes=table[np.asarray(labels.classes)])


TASKS = (Semantic(),)

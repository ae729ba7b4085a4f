"""A trained model as a function: image in, labels in original pixels out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from engine import weights
from engine.datasets.images import open_image, resize
from engine.machine import choose_device
from engine.models import ModelSpec, create, models
from engine.tasks.loading import normalised
from engine.tasks.task import Task, tasks
from engine.types import Instances, Labels, UserError

Picture = str | Path | np.ndarray | Image.Image


@dataclass(frozen=True)
class Preprocess:
    """How pixels become the network's input: stretched to a square of `size`, RGB in 0..1, minus mean, over std."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, spec: ModelSpec, size: int) -> Preprocess:
        return cls(size, spec.mean, spec.std)

    def as_dict(self) -> dict[str, Any]:
        return {"resize": "stretch", "size": self.size, "mean": list(self.mean), "std": list(self.std)}


class Predictor:
    """Calls give all candidates with their scores; `labels.above(threshold, only)` filters without another forward.

    With `tta` each image is also seen mirrored, and both views are merged.
    """

    def __init__(self, network: nn.Module, *, name: str, task: Task, classes: Sequence[str], preprocess: Preprocess,
                 device: torch.device, threshold: float = 0.45, tta: bool = False) -> None:
        self.network, self.name, self.task, self.classes = network.eval(), name, task, tuple(classes)
        self.preprocess, self.device, self.threshold, self.tta = preprocess, device, threshold, tta

    def __call__(self, image: Picture) -> Labels:
        return self.batch([image])[0]

    @torch.inference_mode()
    def batch(self, images: Sequence[Picture]) -> list[Labels]:
        """Labels of several images in one forward. Raises UserError naming a file that cannot be read."""
        pixels = [as_pixels(each) for each in images]
        sizes = [(each.shape[1], each.shape[0]) for each in pixels]
        side = self.preprocess.size
        return self.infer(np.stack([resize(each, (side, side)) for each in pixels]), sizes)

    @torch.inference_mode()
    def infer(self, squares: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """u8[B,S,S,3] already resized -> labels in pixels of the originals, whose (width, height) are given."""
        images = torch.from_numpy(np.ascontiguousarray(squares.transpose(0, 3, 1, 2))).to(self.device)
        pixels = normalised(images, self.preprocess.mean, self.preprocess.std)
        found = self.task.decode(self.network(pixels), sizes)
        if not self.tta:
            return found
        mirrored = self.task.decode(self.network(pixels.flip(-1)), sizes)
        return [self.task.merge(seen, self.task.mirror(other, size[0])) for seen, other, size in zip(found, mirrored, sizes, strict=True)]

    def stream(self, files: Sequence[Path], batch: int = 4) -> Iterator[tuple[Path, tuple[int, int], Labels | UserError]]:
        """(file, size, labels) one by one; a file that can't be read gives its error and the rest goes on."""
        for first in range(0, len(files), batch):
            opened: list[tuple[Path, np.ndarray | UserError]] = [(each, _opened(each)) for each in files[first : first + batch]]
            pixels = [each for _, each in opened if isinstance(each, np.ndarray)]
            found = iter(self.batch(pixels) if pixels else [])
            for file, each in opened:
                if isinstance(each, UserError):
                    yield file, (0, 0), each
                else:
                    yield file, (each.shape[1], each.shape[0]), next(found)


def load(path: str | Path, model: str | None = None, *, classes: Sequence[str] | None = None, device: str = "auto") -> Predictor:
    """A predictor from a run folder, a best.pt, or an official checkpoint with the name of its `model`.

    `classes` are display names by id. Raises UserError for what can't be loaded.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "best.pt"
        if not file.is_file():
            raise UserError("run_without_best", path=str(path))
    if not file.exists():
        raise UserError("path_missing", path=str(path))
    state = weights.safe_load(file)
    target = torch.device(choose_device(device))
    if isinstance(state, dict) and {"model", "model_name", "classes", "preprocess"} <= state.keys():
        if model not in (None, state["model_name"]):
            raise UserError("model_differs", path=str(path), stored=state["model_name"], model=model)
        return _from_best(state, file, classes, target)
    if model is None:
        raise UserError("model_name_needed", path=str(path), known=", ".join(models.names()))
    spec = models.get(model)
    count = weights.class_count(state, spec, path) or len(classes or ())
    if not count:
        raise UserError("weights_no_classes", path=str(path), model=model)
    network = create(model, count)
    coverage = weights.load_into(network, file)
    if coverage.missing or coverage.reshaped:
        raise UserError("weights_do_not_fit", path=str(path), model=model, missing=len(coverage.missing) + len(coverage.reshaped),
                        first=(coverage.missing + coverage.reshaped)[0])
    return Predictor(network.to(target), name=model, task=tasks.get(spec.task), classes=_names(classes, (), count),
                     preprocess=Preprocess.of(spec, spec.image_size), device=target)


def _from_best(state: dict[str, Any], file: Path, classes: Sequence[str] | None, device: torch.device) -> Predictor:
    options = dict(state["options"])
    network = create(state["model_name"], options.pop("num_classes"), **options)
    coverage = weights.load_into(network, file)
    if coverage.missing or coverage.reshaped:
        raise UserError("weights_do_not_fit", path=str(file), model=state["model_name"], missing=len(coverage.missing) + len(coverage.reshaped),
                        first=(coverage.missing + coverage.reshaped)[0])
    how = state["preprocess"]
    preprocess = Preprocess(int(how["size"]), tuple(how["mean"]), tuple(how["std"]))
    return Predictor(network.to(device), name=state["model_name"], task=tasks.get(state["task"]), preprocess=preprocess, device=device,
                     classes=_names(classes, state["classes"], len(state["classes"])), threshold=float(state["thresholds"].get("score", 0.45)))


def _names(wanted: Sequence[str] | None, stored: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` names: the wanted ones first, then the stored ones, then "class 7"."""
    names = [*(wanted or ()), *list(stored)[len(wanted or ()):]]
    if len(names) > count:
        raise UserError("too_many_class_names", given=len(names), wanted=count)
    return tuple(names + [f"class {i}" for i in range(len(names), count)])


def is_placeholder(name: str) -> bool:
    """A name that stands where an official checkpoint has none."""
    return re.fullmatch(r"class \d+", name) is not None


def as_pixels(image: Picture) -> np.ndarray:
    """u8[H,W,3] RGB of a file, a Pillow image or an array (gray and alpha accepted)."""
    if isinstance(image, (str, Path)):
        return open_image(Path(image))
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ValueError(f"an image array must be u8[H,W] or u8[H,W,3 or 4], not {pixels.dtype}{list(pixels.shape)}")
    return np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., :3])


def as_json(model: str, task: str, classes: Sequence[str], images: Sequence[tuple[str, tuple[int, int], Labels]]) -> dict[str, Any]:
    """The predictions.json of `predict`: boxes as [x, y, width, height] in pixels."""
    return {"model": model, "task": task, "classes": list(classes),
            "images": [{"file": file, "width": size[0], "height": size[1], **_entry(labels, classes)} for file, size, labels in images]}


def _entry(labels: Labels, classes: Sequence[str]) -> dict[str, Any]:
    if not isinstance(labels, Instances):
        raise TypeError(f"no JSON form for {type(labels).__name__} yet")
    corners = labels.boxes.astype(float).round(2)
    scores = labels.scores if labels.scores is not None else np.ones(len(labels))
    return {"instances": [
        {"class": classes[c], "class_id": int(c), "score": round(float(s), 4),
         "box": [float(b[0]), float(b[1]), round(float(b[2] - b[0]), 2), round(float(b[3] - b[1]), 2)]}
        for b, c, s in zip(corners, labels.classes, scores, strict=True)
    ]}


def _opened(file: Path) -> np.ndarray | UserError:
    try:
        return open_image(file)
    except UserError as error:
        return error

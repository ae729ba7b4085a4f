"""Measure a model on labeled images. One loop for every task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets.images import open_image, resize
from engine.predict import Predictor, is_placeholder
from engine.tasks.loading import ImageCache
from engine.types import Instances, Labels, Sample, UserError

Progress = Callable[[int, int], None]


def evaluate(predictor: Predictor, samples: Sequence[Sample], *, split: str, batch: int = 4, threshold: float = 0.0,
             progress: Progress | None = None) -> dict[str, Any]:
    """{"task","split","images","metrics","per_class"} of the INTERFACES contract. Raises UserError without labeled images."""
    labeled = predictor.task.trainable(samples)
    if not labeled:
        raise UserError("split_without_labels", split=split)
    found = predict_samples(predictor, labeled, batch=batch, progress=progress)
    if threshold:
        found = [each.above(threshold) if isinstance(each, Instances) else each for each in found]
    measured = predictor.task.measure(labeled, found, predictor.classes)
    return {"task": predictor.task.name, "split": split, "images": len(labeled), "metrics": measured["metrics"], "per_class": measured["per_class"]}


def predict_samples(predictor: Predictor, samples: Sequence[Sample], *, batch: int = 4, squares: SquareCache | None = None,
                    progress: Progress | None = None) -> list[Labels]:
    """Labels for each sample, in order. Raises UserError naming a file that cannot be read."""
    squares = squares or SquareCache(predictor.preprocess.size)
    found: list[Labels] = []
    for first in range(0, len(samples), batch):
        part = samples[first : first + batch]
        found += predictor.infer(np.stack([squares(each.image) for each in part]), [each.size for each in part])
        if progress:
            progress(len(found), len(samples))
    return found


class SquareCache:
    """Images stretched to the input square, kept while memory allows: validation sees the same ones every epoch."""

    def __init__(self, side: int) -> None:
        self.side, self.room = side, ImageCache(side).room
        self._squares: dict[Path, np.ndarray] = {}

    def __call__(self, path: Path) -> np.ndarray:
        known = self._squares.get(path)
        if known is not None:
            return known
        square = resize(open_image(path), (self.side, self.side))
        if square.nbytes < self.room:
            self.room -= square.nbytes
            self._squares[path] = square
        return square

    def readable(self, path: Path) -> bool:
        """Whether the image can be had; a readable one is kept, if there is room."""
        if path in self._squares:
            return True
        try:
            self(path)
        except (UserError, OSError):
            return False
        return True


def align_classes(samples: Sequence[Sample], data_classes: Sequence[str], model_classes: Sequence[str]) -> list[Sample]:
    """Samples with class ids of the model, matched by name; by position when the model has only numbers.

    Raises UserError for a class that the model does not know.
    """
    if tuple(data_classes) == tuple(model_classes):
        return list(samples)
    unknown = [name for name in data_classes if name not in model_classes]
    if unknown and len(data_classes) == len(model_classes) == len(unknown) and all(map(is_placeholder, model_classes)):
        return list(samples)
    if unknown:
        raise UserError("classes_differ", data=", ".join(unknown), model=", ".join(model_classes))
    mapping = np.array([list(model_classes).index(name) for name in data_classes])
    return [each if each.labels is None else each.with_labels(_mapped(each.labels, mapping)) for each in samples]


def _mapped(labels: Labels, mapping: np.ndarray) -> Labels:
    return replace(labels, classes=mapping[labels.classes]) if isinstance(labels, Instances) and len(labels) else labels

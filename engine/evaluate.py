"""Measure a model on labeled images. One loop for every task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets.images import open_image, resize
from engine.predict import Predictor
from engine.tasks.loading import ImageCache
from engine.types import Instances, Labels, Sample, UserError

Progress = Callable[[int, int], None]


def evaluate(predictor: Predictor, samples: Sequence[Sample], *, split: str, batch: int = 4, threshold: float = 0.0,
             progress: Progress | None = None) -> dict[str, Any]:
    """{"task","split","images","metrics","per_class"} of the INTERFACES contract, and "curves". Raises UserError without labeled images."""
    labeled = predictor.task.trainable(samples)
    if not labeled:
        raise UserError("split_without_labels", split=split)
    meter = predictor.task.meter(predictor.classes, final=True)
    for sample, found in predict_samples(predictor, labeled, batch=batch, progress=progress):
        meter.add(sample, found.above(threshold) if threshold and isinstance(found, Instances) else found)
    measured = meter.result()
    kept: dict[str, Any] = {name: measured[name] for name in ("metrics", "per_class", "curves") if name in measured}
    return {"task": predictor.task.name, "split": split, "images": len(labeled), **kept}


def predict_samples(predictor: Predictor, samples: Sequence[Sample], *, batch: int = 4, squares: SquareCache | None = None,
                    progress: Progress | None = None) -> Iterator[tuple[Sample, Labels]]:
    """Each sample with its labels, in order. Raises UserError naming a file that cannot be read."""
    squares = squares or SquareCache(predictor.preprocess.size)
    for first in range(0, len(samples), batch):
        part = samples[first : first + batch]
        if predictor.slides:
            found = predictor.batch([each.image for each in part])
        else:
            found = predictor.infer(np.stack([squares(each.image) for each in part]), [each.size for each in part])
        yield from zip(part, found, strict=True)
        if progress:
            progress(first + len(part), len(samples))


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

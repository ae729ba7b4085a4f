"""What a model found in some images: kept with all candidates, so that filters need no second look."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from engine.datasets.images import open_image, resize
from engine.overlay import draw
from engine.types import Instances, UserError

if TYPE_CHECKING:
    from engine.predict import Predictor

LONGEST, SHORTEST = 1600, 640
THUMB = 96
MOST_IMAGES = 200


@dataclass(frozen=True)
class Shot:
    """One image and all candidates in it, in its own pixels."""

    file: Path
    name: str
    size: tuple[int, int]
    labels: Instances


@dataclass
class Result:
    """The answer of one model. `failures` are (file name, what was wrong)."""

    model: str
    task: str
    classes: tuple[str, ...]
    threshold: float
    shots: list[Shot] = field(default_factory=list)
    failures: list[tuple[str, UserError]] = field(default_factory=list)


@dataclass(frozen=True)
class Filter:
    """What is shown: score at least `threshold`, of the classes `only` (all when None), drawn with `opacity` 0..1."""

    threshold: float = 0.45
    only: tuple[int, ...] | None = None
    opacity: float = 1.0

    def __call__(self, labels: Instances) -> Instances:
        return labels.above(self.threshold, self.only)


def find_objects(predictor: Predictor, files: Sequence[Path], report: Callable[[int, int], None]) -> Result:
    """Looks at every image; one that cannot be read is noted and the rest goes on. Raises UserError for too many."""
    if len(files) > MOST_IMAGES:
        raise UserError("too_many_images", count=len(files), limit=MOST_IMAGES)
    result = Result(predictor.name, predictor.task.name, predictor.classes, predictor.threshold)
    report(0, len(files))
    for done, (file, size, labels) in enumerate(predictor.stream(files, 1), 1):
        if isinstance(labels, UserError):
            result.failures.append((file.name, labels))
        elif isinstance(labels, Instances):
            result.shots.append(Shot(file, file.name, size, labels))
        report(done, len(files))
    return result


def picture(shot: Shot, chosen: Filter, classes: Sequence[str]) -> str:
    """The image with what passes the filter drawn on it, as a data address; never larger than a screen needs."""
    plain = shown_pixels(shot.file)
    if chosen.opacity <= 0:
        return _encoded(plain)
    drawn = draw(plain, _scaled(chosen(shot.labels), plain.shape[1] / shot.size[0], plain.shape[0] / shot.size[1]), classes)
    if chosen.opacity < 1:
        drawn = (plain * (1 - chosen.opacity) + drawn * chosen.opacity).round().astype(np.uint8)
    return _encoded(drawn)


@lru_cache(maxsize=8)
def shown_pixels(file: Path) -> np.ndarray:
    """The image at a size that suits a screen: small ones are enlarged, so that names on them can be read."""
    pixels = open_image(file)
    longest = max(pixels.shape[:2])
    scale = LONGEST / longest if longest > LONGEST else max(1.0, SHORTEST / longest)
    return resize(pixels, (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))))


def thumbnail(file: Path) -> str:
    pixels = shown_pixels(file)
    scale = THUMB / max(pixels.shape[:2])
    return _encoded(resize(pixels, (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))))


def _scaled(labels: Instances, across: float, down: float) -> Instances:
    """Boxes in the pixels of the shown picture. Masks are left out: they come with the tasks that have them."""
    return replace(labels, boxes=labels.boxes * np.array([across, down, across, down], np.float32), shapes=None)


def _encoded(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"

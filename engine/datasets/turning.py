"""Labels that were drawn on the pixels as they are stored, turned to the picture as people see it.

Cameras store a picture lying on its side and say so in its EXIF data. Tools that pass over this draw on the lying picture; their label files
then give its width and height, which is how it shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets.image_headers import HEADER_BYTES, NotAnImage, parse
from engine.datasets.objects import number
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.types import RLE, Instances, Polygons, Shape

LYING = range(5, 9)  # EXIF orientations that swap width and height
MIRRORED, UPSIDE_DOWN = (2, 3, 6, 7), (3, 4, 7, 8)  # by columns, by rows, after the swap


@dataclass(frozen=True)
class Turn:
    """From the stored pixels, `size` = (width, height), by EXIF `orientation` 5..8 to the upright picture."""

    orientation: int
    size: tuple[int, int]

    def upright(self, labels: Instances) -> Instances:
        """The same objects on the upright picture."""
        corners = self._points(labels.boxes.reshape(-1, 2).astype(np.float64)).reshape(-1, 2, 2)
        boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)
        return replace(labels, boxes=boxes, shapes=None if labels.shapes is None else tuple(map(self._shape, labels.shapes)))

    def _shape(self, shape: Shape) -> Shape:
        if isinstance(shape, RLE):
            return rle_of_mask(self._pixels(mask_of(shape, self.size)))
        if isinstance(shape, Polygons):
            return Polygons(tuple(map(self._points, shape.rings)), tuple(map(self._points, shape.holes)))
        return None

    def _points(self, points: np.ndarray) -> np.ndarray:
        """f64[K,2]."""
        height, width = self.size
        x, y = points[:, 1], points[:, 0]
        return np.stack([width - x if self.orientation in MIRRORED else x, height - y if self.orientation in UPSIDE_DOWN else y], axis=1)

    def _pixels(self, pixels: np.ndarray) -> np.ndarray:
        """[H,W]."""
        rows, columns = (-1 if self.orientation in turned else 1 for turned in (UPSIDE_DOWN, MIRRORED))
        return np.ascontiguousarray(pixels.T[::rows, ::columns])


def turn_for(claimed: tuple[Any, Any], size: tuple[int, int], path: str | Path) -> Turn | None:
    """How the labels of an image have to be turned whose upright `size` a label file gives with its sides swapped, as `claimed`; else None."""
    if size[0] == size[1] or tuple(map(number, claimed)) != size[::-1]:
        return None
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            orientation = parse(file, file.read(HEADER_BYTES)).orientation
    except (NotAnImage, OSError, ValueError):
        return None
    return Turn(orientation, size[::-1]) if orientation in LYING else None

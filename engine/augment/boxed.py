"""An image with boxes, and what every augmentation of it needs: to choose among them, to cut them off at the border, to leave out the small."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np


@dataclass(frozen=True)
class Boxed:
    """image u8[H,W,3], boxes f32[N,4] xyxy in its pixels, classes i64[N]."""

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def sides(self) -> np.ndarray:
        """f32[N,2]: width and height of each box."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def kept(self, which: np.ndarray) -> Boxed:
        """The boxes that a mask or an index array picks."""
        return Boxed(self.image, self.boxes[which], self.classes[which])

    def clipped(self) -> Boxed:
        """Boxes cut off at the border of the image; those with nothing left are gone."""
        width, height = self.size
        inside = replace(self, boxes=np.clip(self.boxes, 0, np.array([width, height, width, height], np.float32)).astype(np.float32))
        return inside.kept(np.flatnonzero((inside.sides > 0).all(1)))

    def mirrored(self) -> Boxed:
        """Left and right changed."""
        width, boxes = self.size[0], self.boxes
        turned = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1).astype(np.float32)
        return Boxed(cv2.flip(self.image, 1), turned, self.classes)

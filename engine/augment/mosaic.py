"""Mosaic: four images in one, turned, shifted and scaled together (Bochkovskiy et al. 2020). Boxes are those of the turned corners, cut exactly."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engine.augment.boxed import Boxed
from engine.augment.copies import Copies
from engine.augment.framing import FILL

TURN, SHIFT, SCALE = 10.0, 0.1, (0.5, 1.5)  # degrees, share of the canvas
LONGEST = 3  # sides of a part differ by this factor at most

resized = Copies()


def mosaic(pictures: Sequence[Boxed], side: int, random: np.random.Generator) -> Boxed:
    """The square of `side` that four images make: the shorter side of each is half of it before they are moved together."""
    parts = [_part(each, max(1, side // 2)) for each in pictures]
    width, height = (max(each.size[axis] for each in parts) for axis in (0, 1))
    canvas = np.full((2 * height, 2 * width, 3), FILL, np.uint8)
    boxes = []
    for part, (left, top) in zip(parts, ((0, 0), (width, 0), (0, height), (width, height)), strict=True):
        canvas[top : top + part.size[1], left : left + part.size[0]] = part.image
        boxes.append(part.boxes + np.array([left, top, left, top], np.float32))
    move = _move((2 * width, 2 * height), side, random)
    # OpenCV counts from the middle of the first pixel, boxes from its corner
    seen = cv2.warpAffine(canvas, (_shift(-0.5) @ move @ _shift(0.5))[:2], (side, side), flags=cv2.INTER_LINEAR, borderValue=(FILL,) * 3)
    return Boxed(seen, moved(np.concatenate(boxes), move, side), np.concatenate([each.classes for each in parts])).clipped()


def _part(picture: Boxed, side: int) -> Boxed:
    """The image with a shorter side of `side`."""
    picture = picture.clipped()
    size = np.array(picture.size)
    new = np.clip(np.rint(size * side / size.min()), 1, LONGEST * side).astype(int)
    return Boxed(resized(picture.image, (int(new[0]), int(new[1]))), (picture.boxes * np.tile(new / size, 2)).astype(np.float32), picture.classes)


def _move(size: tuple[int, int], side: int, random: np.random.Generator) -> np.ndarray:
    """f64[3,3] from the canvas of `size` to the square of `side`: about the middle, then stretched."""
    angle, scale = float(random.uniform(-TURN, TURN)), float(random.uniform(*SCALE))
    shift = random.uniform(-SHIFT, SHIFT, 2)
    about = np.vstack([cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), angle, scale), [0, 0, 1]])
    about[:2, 2] += shift * size
    return np.diag([side / size[0], side / size[1], 1.0]) @ about


def _shift(by: float) -> np.ndarray:
    return np.array([[1, 0, by], [0, 1, by], [0, 0, 1]])


def moved(boxes: np.ndarray, move: np.ndarray, side: int) -> np.ndarray:
    """f32[N,4]: the bounds of what the square of `side` shows of each turned box; nothing of it leaves a box without area."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) @ move[:2, :2].T + move[:2, 2]
    found = np.concatenate([corners.min(1), corners.max(1)], 1).reshape(-1, 4)
    for index in np.flatnonzero((found[:, :2] < 0).any(1) | (found[:, 2:] > side).any(1)):
        seen = _within(corners[index], side)
        found[index] = np.concatenate([seen.min(0), seen.max(0)]) if len(seen) else 0
    return found.astype(np.float32)


def _within(polygon: np.ndarray, side: int) -> np.ndarray:
    """f64[M,2]: a convex polygon cut off at the square, one edge after another (Sutherland and Hodgman 1974)."""
    for axis, sign, limit in ((0, 1, 0.0), (0, -1, -float(side)), (1, 1, 0.0), (1, -1, -float(side))):
        depth = sign * polygon[:, axis] - limit
        points: list[np.ndarray] = []
        for i in range(len(polygon)):
            if depth[i - 1] * depth[i] < 0:
                points.append(polygon[i - 1] + (polygon[i] - polygon[i - 1]) * depth[i - 1] / (depth[i - 1] - depth[i]))
            if depth[i] >= 0:
                points.append(polygon[i])
        polygon = np.array(points).reshape(-1, 2)
    return polygon

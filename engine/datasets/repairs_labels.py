"""Mending the objects of one image: clipping at the border, and deleting what has no area or is there twice. Nothing is changed in place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.datasets.health_labels import doubled
from engine.datasets.outlines import box_of
from engine.types import Instances, Polygons, Shape

SLACK = 1.0  # pixels between a box and its outline that still belong together
Size = tuple[int, int]
Mend = Callable[[Instances, Size], Instances]


def clipped(labels: Instances, size: Size) -> Instances:
    """Boxes and outlines cut at the border of an image of `size` = (width, height); what lies outside altogether is deleted."""
    boxes = np.clip(labels.boxes, 0, [*size, *size]).astype(np.float32)
    shapes = list(labels.shapes) if labels.shapes is not None else None
    for number, shape in enumerate(shapes or ()):
        if isinstance(shape, Polygons) and shapes is not None:
            follows = np.abs(np.array(box_of(shape)) - labels.boxes[number]).max() <= SLACK
            shapes[number] = cut = clipped_polygons(shape, size)
            if cut is None:
                boxes[number] = 0
            elif follows:
                boxes[number] = box_of(cut)
    return without_flat(_with(labels, boxes, shapes), size)


def clipped_polygons(shape: Polygons, size: Size) -> Polygons | None:
    """The part of an outline within the image; None when nothing of it is there."""
    rings, holes = (tuple(ring for ring in (_clipped_ring(ring, size) for ring in part) if len(ring) >= 3) for part in (shape.rings, shape.holes))
    return Polygons(rings, holes) if rings else None


def _clipped_ring(ring: np.ndarray, size: Size) -> np.ndarray:
    """Cut side by side (Sutherland and Hodgman 1974, "Reentrant polygon clipping"). f64[K,2] -> f64[L,2], L may be 0."""
    for axis, bound, sign in ((0, 0.0, 1.0), (0, float(size[0]), -1.0), (1, 0.0, 1.0), (1, float(size[1]), -1.0)):
        inside = sign * (ring[:, axis] - bound) >= 0
        if inside.all():
            continue
        points: list[np.ndarray] = []
        for number, point in enumerate(ring):
            before = ring[number - 1]
            if inside[number] != inside[number - 1]:
                share = (bound - before[axis]) / (point[axis] - before[axis])
                crossing = before + share * (point - before)
                crossing[axis] = bound
                points.append(crossing)
            if inside[number]:
                points.append(point)
        ring = np.array(points, np.float64).reshape(-1, 2)
        if len(ring) < 3:
            return ring[:0]
    return ring if _area(ring) > 0 else ring[:0]


def _area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def without_flat(labels: Instances, size: Size) -> Instances:
    """Without the objects that have no area."""
    return labels[np.flatnonzero((labels.boxes[:, 2:] > labels.boxes[:, :2]).all(1))]


def without_doubles(labels: Instances, size: Size) -> Instances:
    """One of each object that is there several times: one with an outline when there is such a one, else the first."""
    bare = np.array([shape is None for shape in labels.shapes] if labels.shapes is not None else np.zeros(len(labels)), bool)
    order = np.argsort(bare, kind="stable")
    twice = np.zeros(len(labels), bool)
    twice[order] = doubled(labels.boxes[order], labels.classes[order])
    return labels[~twice]


def _with(labels: Instances, boxes: np.ndarray, shapes: list[Shape] | None) -> Instances:
    return Instances(boxes, labels.classes, labels.scores, None if shapes is None else tuple(shapes), labels.crowd)


MENDS: dict[str, Mend] = {"clip_boxes": clipped, "delete_flat": without_flat, "delete_doubles": without_doubles}

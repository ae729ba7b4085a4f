"""Shapes of objects from one kind to another: polygons, COCO run lengths, masks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from engine.types import RLE, Polygons, Shape

MAX_MASK_PIXELS = 100_000_000
MAX_PAIRS = 4_000_000  # vertex pairs compared to find the shortest bridge; beyond that any bridge will do


def runs_of(counts: str | bytes) -> list[int]:
    """The run lengths in a compressed COCO string. Raises ValueError for anything that is none.

    Decoded here because the reference decoder is C code that trusts its input.
    """
    data = counts.encode("ascii") if isinstance(counts, str) else counts
    runs: list[int] = []
    position, end = 0, len(data)
    while position < end:
        value, shift, more = 0, 0, True
        while more:
            if position >= end or shift > 30:
                raise ValueError("the run lengths end in the middle of a number")
            byte = data[position] - 48
            if not 0 <= byte < 64:
                raise ValueError(f"character {data[position]} is no part of run lengths")
            value |= (byte & 31) << shift
            more = bool(byte & 32)
            position, shift = position + 1, shift + 5
            if not more and byte & 16:
                value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
    return runs


def rle_of_runs(runs: Sequence[int], size: tuple[int, int]) -> RLE:
    """Checked run lengths -> RLE of `size` = (height, width). Raises ValueError when they do not fill the mask exactly."""
    height, width = size
    if height < 1 or width < 1 or height * width > MAX_MASK_PIXELS:
        raise ValueError(f"mask of {width}x{height}")
    if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"the runs do not add up to {width}x{height}")
    packed = coco_mask.frPyObjects({"size": [height, width], "counts": list(runs)}, height, width)
    return RLE(packed["counts"], (height, width))


def rle_of_mask(mask: np.ndarray) -> RLE:
    """bool[H,W] -> RLE."""
    packed = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return RLE(packed["counts"], (int(mask.shape[0]), int(mask.shape[1])))


def mask_of(shape: Shape, size: tuple[int, int], box: Sequence[float] | None = None) -> np.ndarray:
    """bool[H,W] of a shape in an image of `size` = (width, height); the filled `box` where there is no shape."""
    width, height = size
    if isinstance(shape, RLE):
        return coco_mask.decode({"size": list(shape.size), "counts": shape.counts}).astype(bool)
    polygons = as_polygons(shape, box)
    filled = _filled(polygons.rings, width, height)
    return filled & ~_filled(polygons.holes, width, height) if polygons.holes else filled


def _filled(rings: Sequence[np.ndarray], width: int, height: int) -> np.ndarray:
    if not rings:
        return np.zeros((height, width), bool)
    packed = coco_mask.frPyObjects([np.asarray(ring, np.float64).ravel().tolist() for ring in rings], height, width)
    return coco_mask.decode(coco_mask.merge(packed)).astype(bool)


def area_of(shape: Shape, box: Sequence[float]) -> float:
    """Square pixels: of the outline by the shoelace rule, of the mask by counting, else of the box."""
    if isinstance(shape, RLE):
        return float(coco_mask.area({"size": list(shape.size), "counts": shape.counts}))
    if isinstance(shape, Polygons):
        return sum(map(_ring_area, shape.rings)) - sum(map(_ring_area, shape.holes))
    return (box[2] - box[0]) * (box[3] - box[1])


def _ring_area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return abs(float(x[:-1] @ y[1:] - y[:-1] @ x[1:] + x[-1] * y[0] - y[-1] * x[0])) / 2


def box_of(shape: Polygons | RLE) -> tuple[float, float, float, float]:
    """x1,y1,x2,y2 around a shape."""
    if isinstance(shape, RLE):
        x, y, w, h = (float(value) for value in coco_mask.toBbox({"size": list(shape.size), "counts": shape.counts}))
        return x, y, x + w, y + h
    points = np.concatenate(shape.rings)
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    return left, top, right, bottom


def as_polygons(shape: Shape, box: Sequence[float] | None) -> Polygons:
    """Outlines of any shape; the four corners of `box` where there is none. A mask is traced along its pixel borders."""
    if isinstance(shape, Polygons) and shape.rings:
        return shape
    if isinstance(shape, RLE):
        traced = _traced(mask_of(shape, (shape.size[1], shape.size[0])))
        if traced.rings:
            return traced
    x1, y1, x2, y2 = box if box is not None else (0.0, 0.0, 0.0, 0.0)
    return Polygons((np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float64),))


def _traced(mask: np.ndarray) -> Polygons:
    """Contours run through pixel centres and so lose half a pixel all around; doubling the mask first keeps the loss at a quarter."""
    doubled = np.kron(mask.astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings: list[np.ndarray] = []
    holes: list[np.ndarray] = []
    for contour, links in zip(contours, tree[0] if tree is not None else (), strict=True):
        ring = (contour.reshape(-1, 2).astype(np.float64) + 0.5) / 2
        if len(ring) >= 3:
            (holes if links[3] >= 0 else rings).append(ring)
    return Polygons(tuple(rings), tuple(holes))


def joined(polygons: Polygons) -> np.ndarray:
    """All rings and holes as one ring f64[K,2], joined by bridges without width, for formats that hold a single outline."""
    whole = polygons.rings[0]
    for ring in (*polygons.rings[1:], *polygons.holes):
        here, there = len(whole) - 1, 0
        if len(whole) * len(ring) < MAX_PAIRS:
            gaps = np.square(whole[:, None] - ring[None]).sum(2)
            here, there = divmod(int(gaps.argmin()), len(ring))
        detour = np.concatenate([np.roll(ring, -there, axis=0), ring[there:there + 1]])
        whole = np.concatenate([whole[:here + 1], detour, whole[here:]])
    return whole

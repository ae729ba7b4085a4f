"""Masks of single objects as run lengths, without unfolding the whole image: only the part around an object is ever an array."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from engine.types import RLE

Crop = tuple[np.ndarray, int, int]  # bool[h,w], and its left and top in the image


def crop_of(shape: RLE) -> Crop:
    """The smallest part of the mask that holds all of its pixels; bool[0,0] when there are none."""
    height = shape.size[0]
    ends = np.cumsum(_runs(shape.counts))
    first, last = ends[: len(ends) // 2 * 2 : 2], ends[1::2]
    first, last = first[last > first], last[last > first]
    if not len(first):
        return np.zeros((0, 0), bool), 0, 0
    left, right = int(first[0]) // height, (int(last[-1]) - 1) // height + 1
    if (first // height == (last - 1) // height).all():
        top, bottom = int((first % height).min()), int(((last - 1) % height).max()) + 1
    else:  # a run goes on in the next column
        top, bottom = 0, height
    size = bottom - top
    steps = np.zeros((right - left) * size + 1, np.int8)
    for runs, step in ((first, 1), (last - 1, -1)):
        steps[(runs // height - left) * size + runs % height - top + (step < 0)] += step
    strip = np.cumsum(steps[:-1], dtype=np.int8).view(bool).reshape(right - left, size)
    if size == height:
        rows = np.flatnonzero(strip.any(0))
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        strip = strip[:, top:bottom]
    return np.ascontiguousarray(strip.T), left, top


def rle_of_crop(mask: np.ndarray, left: int, top: int, size: tuple[int, int]) -> RLE:
    """The run lengths of bool[h,w] that lies at (`left`, `top`) of an otherwise empty mask of `size` = (width, height)."""
    width, height = size
    framed = np.zeros((mask.shape[1], mask.shape[0] + 2), bool)
    framed[:, 1:-1] = mask.T
    column, row = np.divmod(np.flatnonzero(framed[:, 1:] != framed[:, :-1]), mask.shape[0] + 1)
    borders = (left + column) * height + top + row  # in each column they begin and end runs by turns
    first, last = borders[::2], borders[1::2]
    joined = first[1:] == last[:-1]  # where the foot of a column goes on at the head of the next
    first, last = np.concatenate([first[:1], first[1:][~joined]]), np.concatenate([last[:-1][~joined], last[-1:]])
    runs = np.diff(np.stack([first, last], 1).reshape(-1), prepend=0, append=width * height)
    counts = (runs[:-1] if len(runs) > 1 and runs[-1] == 0 else runs).tolist()
    packed = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return RLE(packed["counts"], (height, width))


def _runs(counts: bytes) -> np.ndarray:
    """i64[n]: the run lengths in a compressed COCO string that was checked when it was read."""
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    closes = codes & 32 == 0
    starts = np.flatnonzero(np.concatenate([[True], closes[:-1]])) if len(codes) else np.zeros(0, np.int64)
    if not len(starts):
        return np.zeros(0, np.int64)
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values -= np.where(codes[closes] & 16, 1 << (5 * (place[closes] + 1)), 0)
    values[1::2] = np.cumsum(values[1::2])  # from the third on they are differences to the last but one
    values[2::2] = np.cumsum(values[2::2])
    return values

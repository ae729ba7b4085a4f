"""Masks that number the objects of each image (1, 2, 3, ...) instead of naming classes, as PennFudan and cell counts have them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np

from engine.datasets.formats.mask_codes import BACKGROUND, Coding
from engine.datasets.formats.mask_items import Items
from engine.datasets.formats.mask_pairs import Pairing
from engine.datasets.formats.mask_values import read_mask
from engine.datasets.objects import Objects
from engine.datasets.outlines import rle_of_mask
from engine.datasets.tree import Tree
from engine.types import Instances, Labels, Problem, Reading, UserError

OBJECT = "object"
MIN_MASKS = 3
LOOKED_AT = 24  # masks whose values must be in one piece
PIECES = 12  # values of a mask that are looked at
WHOLE = 0.9
MANY = 32  # numbers that are no classes even where every image has as many


def number_objects(tree: Tree, pairs: list[tuple[str, str]]) -> bool:
    """Whether every mask holds 0 and the numbers from 1 on without a gap, not always as many, and nearly every number is one piece."""
    if len(pairs) < MIN_MASKS or len({image for image, _ in pairs}) < len(pairs):
        return False
    counts: set[int] = set()
    whole = looked = 0
    for place, (_, path) in enumerate(pairs):
        if place == LOOKED_AT and max(counts, default=0) < MIN_MASKS:
            return False
        try:
            raw = read_mask(tree.path(path))
        except UserError:
            continue
        values = np.unique(raw.values)
        values = values[values > 0]
        if raw.kind == "colour" or raw.lossy or (len(values) and values[-1] != len(values)):
            return False
        counts.add(len(values))
        if place < LOOKED_AT:
            for value in values[:PIECES].tolist():
                looked, whole = looked + 1, whole + _in_one_piece(raw.values == value)
    return max(counts, default=0) >= MIN_MASKS and (len(counts) > 1 or max(counts) >= MANY) and whole >= WHOLE * looked


def _in_one_piece(mask: np.ndarray) -> bool:
    """Whether nearly all pixels hang together."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return bool(areas.max() >= WHOLE * areas.sum())


def read(tree: Tree, found: Pairing) -> Reading:
    """Each number of a mask is an object of one class."""
    note = Problem("masks_number_objects", "warning", ".", {"count": len(found.masks), "name": OBJECT})
    return Reading((OBJECT,), _Numbered(tree, found, Coding(False, [BACKGROUND], notes=[note])).stream(), "instance")


class _Numbered(Items):
    """As `Items`, with an object for each number."""

    def _labels(self, image: Path, size: tuple[int, int], masks: list[str]) -> Generator[Problem, None, Labels | None]:
        path = masks[0]
        try:
            values = self._fitted(read_mask(self.tree.path(path)).values, size, image)
        except UserError as error:
            yield Problem("mask_unreadable", "error", path, {"reason": error.message()})
            return None
        if values is None:
            yield from self._wrong_size(path, size)
            return None
        objects = Objects(path, size)
        for value in np.unique(values).tolist():
            if value:
                rle = rle_of_mask(values == value)
                objects.add_rle(0, rle.counts, rle.size, str(value))
        yield from objects.problems
        return objects.instances()

    def _nothing(self, size: tuple[int, int]) -> Labels:
        return Instances.empty()

    def _wrong_size(self, path: str, size: tuple[int, int]) -> Iterator[Problem]:
        height, width = read_mask(self.tree.path(path)).values.shape
        yield Problem("mask_size_wrong", "error", path, {"width": width, "height": height, "image_width": size[0], "image_height": size[1]})

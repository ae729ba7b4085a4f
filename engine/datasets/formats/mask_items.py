"""From images and their masks to samples, one at a time: sizes compared, parts put together, what lies on its side turned."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.datasets import image_headers
from engine.datasets.faults import problem_of
from engine.datasets.formats.mask_codes import BACKGROUND, Coding
from engine.datasets.formats.mask_pairs import Pairing, strays
from engine.datasets.formats.mask_values import read_mask
from engine.datasets.images import size_of
from engine.datasets.tree import Tree, folded
from engine.types import Labels, Problem, Sample, SemanticMask, UserError

MAX_NAMED = 50


@dataclass
class Items:
    """Streams the samples of a set whose classes are known; `strange` are pictures among the masks that are none."""

    tree: Tree
    found: Pairing
    coding: Coding
    strange: set[str] = field(default_factory=set)
    turned: int = 0
    joined: int = 0
    clear: int = 0
    without: list[str] = field(default_factory=list)

    def stream(self) -> Iterator[Sample | Problem]:
        yield from self.coding.notes
        yield from self.found.problems
        for name in self.found.images:
            path = self.tree.path(name)
            try:
                size = size_of(path)
            except UserError as error:
                yield problem_of(error, name)
                continue
            labels = None
            if name in self.found.masks:
                labels = yield from self._labels(path, size, self.found.masks[name])
            elif name in self.found.clear and BACKGROUND in self.coding.classes:
                labels = self._nothing(size)
                self.clear += 1
            else:
                self.without.append(name)
            yield Sample(path, size, labels, self.found.splits.get(name), None, name)
        yield from self._summary()

    def _labels(self, image: Path, size: tuple[int, int], masks: list[str]) -> Generator[Problem, None, Labels | None]:
        """Yields problems; returns the mask of one image, put together where it comes in parts."""
        whole: np.ndarray | None = None
        for mask in masks:
            if mask in self.strange:
                yield Problem("mask_not_a_mask", "error", mask)
                continue
            try:
                classes, unknown = self.coding.apply(read_mask(self.tree.path(mask)))
            except UserError as error:
                yield Problem("mask_unreadable", "error", mask, {"reason": error.message()})
                continue
            fitted = self._fitted(classes, size, image)
            if fitted is None:
                values = {"width": classes.shape[1], "height": classes.shape[0], "image_width": size[0], "image_height": size[1]}
                yield Problem("mask_size_wrong", "error", mask, values)
                continue
            if unknown:
                yield Problem("mask_value_unknown", "error", mask, {"values": ", ".join(map(str, unknown[:8])), "count": len(unknown)})
            whole = fitted if whole is None else self._united(whole, fitted)
        self.joined += len(masks) > 1
        return SemanticMask(whole) if whole is not None else None

    def _nothing(self, size: tuple[int, int]) -> Labels:
        """The labels of an image that is known to show none of the classes."""
        return SemanticMask(np.full(size[::-1], self.coding.classes.index(BACKGROUND), np.uint16))

    def _fitted(self, classes: np.ndarray, size: tuple[int, int], image: Path) -> np.ndarray | None:
        """The mask as people see the image: as it is, or turned with an image that is stored lying on its side."""
        width, height = size
        if classes.shape == (height, width):
            return classes
        orientation = _orientation_of(image) if classes.shape == (width, height) else 1
        if orientation < 5:
            return None
        self.turned += 1
        return _turned(classes, orientation)

    def _united(self, whole: np.ndarray, part: np.ndarray) -> np.ndarray:
        """Both masks of one image: a part adds what it shows besides the background."""
        names = [folded(name) for name in self.coding.classes]
        nothing = names.index(BACKGROUND) if BACKGROUND in names else 0
        return np.where(part != nothing, part, whole)

    def _summary(self) -> Iterator[Problem]:
        for name in self.without[:MAX_NAMED]:
            yield Problem("image_without_mask", "warning", name)
        if len(self.without) > MAX_NAMED:
            yield Problem("images_without_masks", "warning", ".", {"count": len(self.without) - MAX_NAMED})
        if self.turned:
            yield Problem("masks_turned", "note", ".", {"count": self.turned})
        if self.clear:
            yield Problem("masks_of_good_images", "note", ".", {"count": self.clear})
        if self.joined:
            yield Problem("masks_joined", "note", ".", {"count": self.joined})
        yield from strays(self.found)
        yield from self.tree.problems


def _orientation_of(image: Path) -> int:
    """EXIF 1..8 of an image whose header has been read before."""
    with image.open("rb", buffering=0) as file:
        return image_headers.parse(file, file.read(image_headers.HEADER_BYTES)).orientation


def _turned(classes: np.ndarray, orientation: int) -> np.ndarray:
    """From stored on its side (EXIF 5..8) to upright."""
    turned = classes.T
    if orientation in (6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned[::-1] if orientation in (7, 8) else turned)

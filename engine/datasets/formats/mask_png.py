"""Semantic masks as pictures: `{split}/images` + `{split}/masks`, and the many other ways in which people lay out the two.

Read in two passes, because what a value means shows only in the whole set: the first counts the values of every mask, the second
makes classes of them. No more than one mask is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.datasets import image_headers
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format
from engine.datasets.formats.mask_codes import BACKGROUND, Coding, decide
from engine.datasets.formats.mask_legends import MAX_BYTES, find_legend
from engine.datasets.formats.mask_levels import are_rough, soft_colours, soft_gray
from engine.datasets.formats.mask_pairs import Pairing, pair, strays
from engine.datasets.formats.mask_png_write import write
from engine.datasets.formats.mask_values import Survey, levels_of, read_mask
from engine.datasets.images import size_of
from engine.datasets.tree import Tree, folded
from engine.types import Problem, Reading, Sample, SemanticMask, UserError

MAX_SURVEYED = 20_000_000_000  # pixels; of more, masks spread over the whole set are looked at
MAX_NAMED = 50
FEW_STRANGE = 10  # one picture in so many may be something else
PEEKED = 3
OWN_NAMES = "label_names.txt"  # what labelme writes beside each mask


# ---- recognising

def detects(root: Path) -> str | None:
    """Images and pictures of their size that fit them by folder or name, and hold few values or areas of one value."""
    tree = Tree(root)
    found = pair(tree)
    if not found.masks:
        return None
    image, masks = next(iter(found.masks.items()))
    if found.sure < len(found.masks) / 2 and not _look_like_masks(tree, found):
        return None
    return f"{image} + {masks[0]}"


def _look_like_masks(tree: Tree, found: Pairing) -> bool:
    """Whether some of the supposed masks can be read as such."""
    survey = Survey()
    for masks in list(found.masks.values())[:PEEKED]:
        try:
            raw = read_mask(tree.path(masks[0]))
            survey.add(raw, levels_of(raw.values, masks[0]), masks[0])
        except UserError:
            return False
    try:
        decide(survey, find_legend(tree, ()), "")
    except UserError:
        return False
    return True


# ---- reading

def read(root: Path) -> Reading:
    """Raises UserError when what lies among the masks are no masks; anything less is a Problem in the stream."""
    tree = Tree(root)
    found = pair(tree)
    pairs = [(image, mask) for image in found.images for mask in found.masks.get(image, ())]
    _check_legends(tree, pairs)
    survey, strange, notes = _survey(tree, pairs)
    coding = decide(survey, find_legend(tree, (mask for _, mask in pairs)), pairs[0][1] if pairs else "")
    coding.notes += notes
    return Reading(tuple(coding.classes), _Items(tree, found, coding, strange).stream(), "semantic")


def _check_legends(tree: Tree, pairs: list[tuple[str, str]]) -> None:
    """Raises UserError when the masks come with a list of names each, and these differ: the same value then means different classes."""
    folders = sorted({mask.rpartition("/")[0] for _, mask in pairs})
    paths = [path for folder in folders if (path := tree.find(f"{folder}/{OWN_NAMES}" if folder else OWN_NAMES))]
    first = tree.read(paths[0], MAX_BYTES).split() if len(paths) > 1 else []
    other = next((path for path in paths[1:] if tree.read(path, MAX_BYTES).split() != first), None)
    if other is not None:
        raise UserError("mask_legends_differ", name=paths[0], other=other)


def _survey(tree: Tree, pairs: list[tuple[str, str]]) -> tuple[Survey, set[str], list[Problem]]:
    """Counts the values of all masks that fit their image; where that would take too long, of as many as there is time for, spread evenly.

    Returns the pictures, too, that are no masks, as long as they are few. Raises UserError when they are many.
    """
    clean, rough = Survey(), Survey()
    strange: list[str] = []
    notes: list[Problem] = []
    photo: UserError | None = None
    for seen, place in enumerate(_spread(len(pairs))):
        if clean.pixels + rough.pixels > MAX_SURVEYED:
            notes.append(Problem("masks_sampled", "note", ".", {"seen": seen, "total": len(pairs)}))
            break
        image, mask = pairs[place]
        try:
            raw = read_mask(tree.path(mask))
            if raw.values.shape not in ((size := size_of(tree.path(image))), size[::-1]):
                continue
            levels = levels_of(raw.values, mask)
            picture = are_rough(levels) and (soft_gray(levels) if raw.kind == "gray" else soft_colours(levels)) is None
            (rough if picture else clean).add(raw, levels, mask)
            strange += [mask] if picture else []
        except UserError as error:
            if error.key.startswith("masks_"):
                strange.append(mask)
                photo = error
    if len(strange) <= max(clean.files / FEW_STRANGE, clean.files >= FEW_STRANGE / 3):
        return clean, set(strange), notes
    if photo is not None:
        raise photo
    clean.unite(rough)
    return clean, set(), notes


def _spread(count: int) -> Iterator[int]:
    """0..count-1 in an order of which every beginning covers the whole range."""
    step = max(1, int(count * 0.618))
    while count and np.gcd(step, count) != 1:
        step += 1
    yield from (place * step % count for place in range(count))


@dataclass
class _Items:
    """Streams the samples of a set whose classes are known."""

    tree: Tree
    found: Pairing
    coding: Coding
    strange: set[str]
    turned: int = 0
    joined: int = 0
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
            else:
                self.without.append(name)
            yield Sample(path, size, labels, self.found.splits.get(name), None, name)
        yield from self._summary()

    def _labels(self, image: Path, size: tuple[int, int], masks: list[str]) -> Generator[Problem, None, SemanticMask | None]:
        """Yields problems; returns the mask of one image, put together where it comes in parts."""
        whole: np.ndarray | None = None
        for mask in masks:
            if mask in self.strange:
                yield Problem("mask_not_a_mask", "error", mask)
                continue
            try:
                classes, unknown = self.coding.apply(read_mask(self.tree.path(mask)))
            except UserError as error:
                yield problem_of(error, mask)
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


FORMATS = (Format("mask_png", detects, read, write, rank=1, tasks=("semantic",)),)

"""Semantic masks as pictures: `{split}/images` + `{split}/masks`, and the many other ways in which people lay out the two.

Read in two passes, because what a value means shows only in the whole set: the first counts the values of every mask, the second
makes classes of them. No more than one mask is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.datasets.formats import Format, class_folder_layout, mask_instances
from engine.datasets.formats.mask_codes import decide
from engine.datasets.formats.mask_items import Items
from engine.datasets.formats.mask_legends import MAX_BYTES, find_legend
from engine.datasets.formats.mask_levels import are_rough, soft_colours, soft_gray
from engine.datasets.formats.mask_pairs import Pairing, pair
from engine.datasets.formats.mask_png_write import write
from engine.datasets.formats.mask_values import Survey, levels_of, read_mask
from engine.datasets.images import size_of
from engine.datasets.tree import Tree
from engine.types import Problem, Reading, UserError

MAX_SURVEYED = 20_000_000_000  # pixels; of more, masks spread over the whole set are looked at
FEW_STRANGE = 3  # masks for each picture that may be something else
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
    legend = find_legend(tree, (mask for _, mask in pairs))
    if not legend and mask_instances.number_objects(tree, pairs):
        return mask_instances.read(tree, found)
    survey, strange, notes, example = _survey(tree, pairs)
    coding = decide(survey, legend, example)
    coding.notes += [*notes, *legend.faults, *_folders_beside(tree, found)]
    return Reading(tuple(coding.classes), Items(tree, found, coding, strange).stream(), "semantic")


def _folders_beside(tree: Tree, found: Pairing) -> Iterator[Problem]:
    """A note where images and masks lie together in folders that may be classes of images."""
    if any(image.rpartition("/")[0] != mask.rpartition("/")[0] for image, masks in found.masks.items() for mask in masks):
        return
    layout = class_folder_layout.survey(tree)
    names = [name for name in layout.classes if not any(map(str.isdigit, name))]  # numbers are those of patients
    if 1 < len(names) <= len(found.images) // 2 and not layout.grouped:
        yield Problem("mask_folders_named", "note", ".", {"names": ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")})


def _check_legends(tree: Tree, pairs: list[tuple[str, str]]) -> None:
    """Raises UserError when the masks come with a list of names each, and these differ: the same value then means different classes."""
    folders = sorted({mask.rpartition("/")[0] for _, mask in pairs})
    paths = [path for folder in folders if (path := tree.find(f"{folder}/{OWN_NAMES}" if folder else OWN_NAMES))]
    first = tree.read(paths[0], MAX_BYTES).split() if len(paths) > 1 else []
    other = next((path for path in paths[1:] if tree.read(path, MAX_BYTES).split() != first), None)
    if other is not None:
        raise UserError("mask_legends_differ", name=paths[0], other=other)


def _survey(tree: Tree, pairs: list[tuple[str, str]]) -> tuple[Survey, set[str], list[Problem], str]:
    """Counts the values of all masks that fit their image; where that would take too long, of as many as there is time for, spread evenly.

    Returns the pictures, too, that are no masks, as long as they are few, and the file that speaks for all. Raises UserError when they are many.
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
    example = strange[0] if strange else pairs[0][1] if pairs else ""
    if len(strange) * FEW_STRANGE <= clean.files:
        return clean, set(strange), notes, pairs[0][1] if pairs else ""
    if photo is not None:
        raise photo
    clean.unite(rough)
    return clean, set(), notes, example


def _spread(count: int) -> Iterator[int]:
    """0..count-1 in an order of which every beginning covers the whole range."""
    step = max(1, int(count * 0.618))
    while count and np.gcd(step, count) != 1:
        step += 1
    yield from (place * step % count for place in range(count))


FORMATS = (Format("mask_png", detects, read, write, rank=1, tasks=("semantic",)),)

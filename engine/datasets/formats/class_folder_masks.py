"""Whether two folders that look like classes are images and their masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from engine.datasets.formats.class_folder_layout import Layout, Place
from engine.datasets.formats.mask_levels import FEW
from engine.datasets.formats.mask_pairs import TWINS, masks_among
from engine.datasets.formats.mask_values import levels_of, read_mask
from engine.datasets.tree import Tree, folded
from engine.types import UserError

SAME = 0.9  # share of names that both folders have
PEEKED = 3


def refuse_masks(tree: Tree, layout: Layout) -> None:
    """Raises UserError when there are two classes with the same file names, one of photos and one of pictures of few gray values or indices."""
    if len(layout.classes) != 2:
        return
    names: list[dict[tuple[str | None, str], str]] = []
    for label in layout.classes:
        paths = ((place.split, f"{place.folder}/{image}") for place in layout.places if place.name == label for image in place.images)
        names.append({(split, folded(PurePosixPath(path).stem)): path for split, path in paths})
    shared = sorted(names[0].keys() & names[1].keys(), key=str)
    if not shared or len(shared) < SAME * max(map(len, names)):
        return
    for one, other in ((0, 1), (1, 0)):
        if all(_is_mask(tree, names[one][key]) and not _is_mask(tree, names[other][key]) for key in shared[:PEEKED]):
            raise UserError("class_folders_are_masks", images=layout.classes[other], masks=layout.classes[one])


def without_masks(tree: Tree, place: Place) -> Place:
    """A folder without the masks of its images: x_mask.png beside every x.png, of few gray values or indices."""
    masks, rank = masks_among(list(place.images))
    images = tuple(image for image in place.images if image not in masks)
    if rank == TWINS or not masks or len(masks) < len(images):
        return place
    return replace(place, images=images) if all(_is_mask(tree, f"{place.folder}/{mask}") for mask in sorted(masks)[:PEEKED]) else place


def _is_mask(tree: Tree, path: str) -> bool:
    try:
        raw = read_mask(tree.path(path))
        return raw.kind != "colour" and not raw.lossy and len(levels_of(raw.values, path)) <= FEW
    except UserError:
        return False

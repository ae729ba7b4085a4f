"""KITTI: `label_2/*.txt` with 2D boxes, or `instance/*.png` of class * 256 + number, beside `image_2`. Read only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.datasets import plain_text
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, mask_pixels
from engine.datasets.formats.lookup import NOT_PICTURES, Found, Lookup, samples
from engine.datasets.objects import Classes, Objects, number, shown
from engine.datasets.outlines import rle_of_mask
from engine.datasets.tree import Folder, Tree, folded
from engine.types import Problem, Reading, Sample, UserError

COLUMNS = (15, 16)  # type, truncated, occluded, alpha, 4 of the box, 3 sizes, 3 of the place, turn[, score]
NOBODY_CARES = "dontcare"
TRACKLETS = "tracklet_labels.xml"
MAX_BYTES, MAX_OBJECTS, MAX_PEEKED = 64 << 20, 10_000, 10
# Cityscapes' names of its label ids, which KITTI's segmentation uses
NAMES = ("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk", "parking", "rail track",
         "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign", "vegetation", "terrain",
         "sky", "person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle")
VOID, COUNTABLE = range(7), range(24, 34)


# ---- recognising

def detects(root: Path) -> str | None:
    tree = Tree(root)
    for number_of_folders, (folder, listing) in enumerate(tree.walk()):
        if TRACKLETS in listing.files:
            return f"{folder}/{TRACKLETS}" if folder else TRACKLETS
        if _is_boxes(tree, folder, listing) or _is_instances(tree, folder, listing):
            return folder or "."
        if number_of_folders > 1000:
            break
    return None


def _is_boxes(tree: Tree, folder: str, listing: Folder) -> bool:
    """Text files among the first of which a line is a name and fourteen numbers."""
    for name in [name for name in listing.files if name.lower().endswith(".txt")][:MAX_PEEKED]:
        for line in plain_text.decoded(tree.head(f"{folder}/{name}" if folder else name, plain_text.HEAD)).splitlines():
            fields = line.split()
            if len(fields) in COLUMNS and number(fields[0]) is None and all(number(value) is not None for value in fields[1:]):
                return True
    return False


def _is_instances(tree: Tree, folder: str, listing: Folder) -> bool:
    """A folder "instance" of 16 bit PNGs beside one of images."""
    parent, _, name = folder.rpartition("/")
    images = listing.images()
    if folded(name) != "instance" or not images or not tree.folder(f"{parent}/image_2" if parent else "image_2").images():
        return False
    head = tree.head(f"{folder}/{images[0]}", 32)
    return head.startswith(b"\x89PNG") and len(head) > 25 and head[24] == 16


# ---- reading

@dataclass
class _Set:
    """`files` = label file of each image; `ids` = Cityscapes id -> ours."""

    tree: Tree
    lookup: Lookup
    masks: bool = False
    classes: Classes = field(default_factory=Classes)
    ids: dict[int, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read(root: Path) -> Reading:
    """Looks through all label files first, since nothing else says which classes there are. Raises UserError for 3D tracklets."""
    tree = Tree(root)
    found = _Set(tree, Lookup(tree, NOT_PICTURES | {"semantic", "semantic_rgb"}))
    folders = list(tree.walk())
    found.masks = not any(_is_boxes(tree, *each) for each in folders)
    for folder, listing in folders:
        if found.masks and _is_instances(tree, folder, listing):
            _look_at_masks(found, folder, listing)
        elif not found.masks and _is_boxes(tree, folder, listing):
            _look_at_boxes(found, folder, listing)
    if not found.files and not found.problems:
        raise UserError("kitti_tracklets", name=next((folder for folder, listing in folders if TRACKLETS in listing.files), "-") or TRACKLETS)
    return Reading(found.classes.tuple, _items(found), "instance" if found.masks else "detect")


def _pair(found: _Set, folder: str, name: str) -> None:
    """The image of a label file: of equal stem, in the folder image_2 beside its own."""
    path, stem, parent = f"{folder}/{name}" if folder else name, name.rpartition(".")[0], folder.rpartition("/")[0]
    beside = next((place for place in (f"{parent}/image_2" if parent else "image_2", folder) if found.tree.folder(place).images()), folder)
    image = found.lookup.find(stem, beside)
    if image is None:
        found.problems.append(found.lookup.missing(path, path))
    elif found.files.setdefault(image, path) != path:
        found.problems.append(Problem("image_labeled_twice", "error", path, {"image": image, "first": found.files[image]}))


def _look_at_boxes(found: _Set, folder: str, listing: Folder) -> None:
    for name in listing.files:
        if name.lower().endswith(".txt"):
            _pair(found, folder, name)
            for _, fields in _lines(found, f"{folder}/{name}" if folder else name, []):
                if fields[0].casefold() != NOBODY_CARES:
                    found.classes.id_of(fields[0])


def _look_at_masks(found: _Set, folder: str, listing: Folder) -> None:
    seen: set[int] = set(found.ids)
    for name in listing.images():
        _pair(found, folder, name)
        pixels = _pixels(found, f"{folder}/{name}", found.problems)
        if pixels is not None:
            seen |= set((np.unique(pixels) >> 8).tolist()) - set(VOID)
    for value in sorted(seen):
        found.ids[value] = found.classes.id_of(NAMES[value] if value < len(NAMES) else f"class {value}")


def _lines(found: _Set, path: str, problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """(number, fields) of the lines that have as many as they should."""
    try:
        text = plain_text.decoded(found.tree.read(path, MAX_BYTES))
    except UserError as error:
        problems.append(problem_of(error, path))
        return
    for position, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if len(fields) in COLUMNS:
            yield position, fields
        elif fields:
            problems.append(Problem("kitti_columns", "error", f"{path}:{position}", {"count": len(fields), "text": shown(line)}))


def _pixels(found: _Set, path: str, problems: list[Problem]) -> np.ndarray | None:
    """i64[H,W]: class * 256 + number."""
    try:
        pixels = mask_pixels.decode(found.tree.read(path, MAX_BYTES), path)
    except UserError as error:
        problems.append(problem_of(error, path))
        return None
    return pixels.astype(np.int64) if pixels.ndim == 2 else None


def _items(found: _Set) -> Iterator[Sample | Problem]:
    yield from found.problems
    counts: Counter[str] = Counter()

    def labels_of(image: str, size: tuple[int, int]) -> Found:
        path = found.files.get(image)
        if path is None:
            return None
        return (yield from _objects_of_mask(found, path, size) if found.masks else _objects_of_lines(found, path, size, counts))
    yield from samples(found.tree, found.lookup.images(), labels_of, counts)


def _objects_of_lines(found: _Set, path: str, size: tuple[int, int], counts: Counter[str]) -> Found:
    objects, named = Objects(path, size), 0
    for position, fields in _lines(found, path, objects.problems):
        if fields[0].casefold() == NOBODY_CARES:
            counts["kitti_dontcare"] += 1
            continue
        named += 1
        objects.add_box(found.classes.id_of(fields[0]), fields[4:8], position)
    yield from objects.problems
    return objects.instances() if len(objects) or not (named or objects.problems) else None


def _objects_of_mask(found: _Set, path: str, size: tuple[int, int]) -> Found:
    """Things without a number of their own are a crowd."""
    objects, pixels = Objects(path, size), _pixels(found, path, [])
    if pixels is None:
        return None
    if pixels.shape != size[::-1]:
        objects.fault("mask_size_differs", mask=f"{pixels.shape[1]}x{pixels.shape[0]}", width=size[0], height=size[1])
    else:
        for value in np.unique(pixels).tolist()[:MAX_OBJECTS]:
            class_id = found.ids.get(value >> 8)
            if class_id is not None:
                rle = rle_of_mask(pixels == value)
                objects.add_rle(class_id, rle.counts, rle.size, f"{value >> 8}:{value & 255}", crowd=value & 255 == 0 and value >> 8 in COUNTABLE)
    yield from objects.problems
    return None if objects.problems and not len(objects) else objects.instances()


FORMATS = (Format("kitti", detects, read),)

"""Open Images V5 to V7: tables of boxes, of masks and of labels of whole images, beside images/{split}/. Read only."""

from __future__ import annotations

import csv
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from engine.datasets import plain_text
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, mask_pixels
from engine.datasets.formats.lookup import NOT_PICTURES, Found, Lookup, samples
from engine.datasets.objects import Classes, Objects, clean_name, number, shown
from engine.datasets.outlines import rle_of_mask
from engine.datasets.tree import Tree, folded, split_of
from engine.types import Problem, Reading, Sample, Tags, UserError

BOX_COLUMNS = ("XMin", "YMin", "XMax", "YMax")
MASK_COLUMNS = ("BoxXMin", "BoxYMin", "BoxXMax", "BoxYMax")
MAX_MASK_BYTES = 64 << 20
MAX_UNUSED = 1000  # classes that are kept although nothing shows them; the full list has 20,000
SAME_BOX = 0.01  # of the image: a mask and a box of one class this close are one object


# ---- recognising

def detects(root: Path) -> str | None:
    return next((path for path, _, header in _tables(Tree(root)) if table_kind(header)), None)


def _tables(tree: Tree) -> Iterator[tuple[str, str, list[str]]]:
    """(path, name, columns) of all tables."""
    for folder, listing in tree.walk():
        for name in listing.files:
            if name.lower().endswith(".csv"):
                path = f"{folder}/{name}" if folder else name
                first = plain_text.decoded(tree.head(path, plain_text.HEAD)).partition("\n")[0]
                yield path, name, [column.strip() for column in first.split(",")]


def table_kind(header: list[str]) -> str:
    """"masks", "boxes", "tags" or "images", told by the columns; "" for a table of any other kind."""
    columns = set(header)
    if "ImageID" not in columns:
        return ""
    if {"MaskPath", "LabelName"} <= columns:
        return "masks"
    if {"LabelName", *BOX_COLUMNS} <= columns:
        return "boxes"
    if {"LabelName", "Confidence"} <= columns:
        return "tags"
    return "images" if {"Subset", "OriginalURL"} <= columns else ""


# ---- reading

@dataclass
class _Set:
    """All tables, packed: boxes of an image as (class, x1, y1, x2, y2, group) one after the other, relative to the image."""

    tree: Tree
    lookup: Lookup
    stems: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # "/m/01g317" -> "Person"
    ids: dict[str, int] = field(default_factory=dict)
    boxes: dict[str, array[float]] = field(default_factory=dict)
    masks: dict[str, list[tuple[int, str, tuple[float, ...]]]] = field(default_factory=dict)
    tags: dict[str, dict[int, float]] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    @cached_property
    def mask_files(self) -> dict[str, str]:
        """Paths of the mask pictures by their names, wherever they were unpacked."""
        wanted = {_name(mask) for masks in self.masks.values() for _, mask, _ in masks}
        found = ((folder, name) for folder, listing in self.tree.walk() for name in listing.images() if folded(name) in wanted)
        return {folded(name): f"{folder}/{name}" if folder else name for folder, name in found}


def _name(path: str) -> str:
    return folded(path.replace("\\", "/").rpartition("/")[2])


def _stem(path: str) -> str:
    return _name(path).rpartition(".")[0]


def read(root: Path) -> Reading:
    """Goes through all tables, keeping the rows of images that are there."""
    tree = Tree(root)
    found = _Set(tree, Lookup(tree, NOT_PICTURES))
    for image in found.lookup.images():
        found.stems.setdefault(_stem(image), image)
    tables = list(_tables(tree))
    for path, name, header in tables:
        if "class-descriptions" in name.lower():
            found.names.update(_descriptions(found, path, header))
    for path, _, header in tables:
        kind = table_kind(header)
        if kind:
            for position, row in _rows(found, path):
                _ROW[kind](found, path, position, row)
    classes, order = _classes(found)
    objects = bool(found.boxes or found.masks)
    task = "instance" if found.masks else "detect" if objects or not found.tags else "classify"
    return Reading(classes, _items(found, order, len(classes), objects), task)


def _descriptions(found: _Set, path: str, header: list[str]) -> Iterator[tuple[str, str]]:
    """(code, name) of the classes; the first line is a header in V6 and a class in V5."""
    with _opened(found.tree, path) as file:
        for row in csv.reader(_sound(file)):
            if len(row) >= 2 and row[0] != "LabelName":
                yield row[0].strip(), clean_name(row[1]) or row[0].strip()


def _rows(found: _Set, path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a table; a cell that no reader takes, or that goes on over the next lines, ends it with a problem."""
    with _opened(found.tree, path) as file:
        reader = csv.DictReader(_sound(file))
        line = 1
        try:
            for row in reader:
                if reader.line_num > line + 1 and any("\n" in str(value) for value in row.values()):
                    found.problems.append(Problem("csv_damaged", "error", f"{path}:{line + 1}", {"reason": "unclosed quotation mark"}))
                    return
                line = reader.line_num
                yield reader.line_num, {key: value for key, value in row.items() if isinstance(key, str) and isinstance(value, str)}
        except csv.Error as error:
            found.problems.append(Problem("csv_damaged", "error", f"{path}:{reader.line_num}", {"reason": str(error)[:120]}))


def _opened(tree: Tree, path: str) -> TextIO:
    """The text of a listed file, in the encoding that its beginning shows: the largest of these tables do not fit into memory."""
    return open(tree.path(path), encoding=plain_text.encoding_of(tree.head(path, plain_text.SAMPLE)), errors="replace", newline="")  # noqa: PTH123


def _sound(lines: Any) -> Iterator[str]:
    """Older readers of CSV stop at a zero byte."""
    return (line.replace("\0", "") for line in lines)


def _image(found: _Set, path: str, row: dict[str, str]) -> str | None:
    """The key of the row's image; None, and counted, when the image is not there."""
    key = folded(row.get("ImageID", "").strip())
    if key in found.stems:
        split = split_of(row.get("Subset", "")) or split_of(path.rpartition("/")[2])
        if split:
            found.splits.setdefault(key, split)
        return key
    found.counts["open_images_rows_without_image"] += 1
    return None


def _id(found: _Set, row: dict[str, str]) -> int:
    return found.ids.setdefault(row.get("LabelName", "").strip(), len(found.ids))


def _add_image(found: _Set, path: str, position: int, row: dict[str, str]) -> None:
    _image(found, path, row)


def _add_box(found: _Set, path: str, position: int, row: dict[str, str]) -> None:
    key = _image(found, path, row)
    if key is None:
        return
    numbers = [number(row.get(column)) for column in BOX_COLUMNS]
    if None in numbers:
        values = {"object": "", "box": shown([row.get(column) for column in BOX_COLUMNS])}
        found.problems.append(Problem("object_not_finite", "error", f"{path}:{position}", values))
        return
    found.boxes.setdefault(key, array("f")).extend([_id(found, row), *(value for value in numbers if value is not None), row.get("IsGroupOf") == "1"])


def _add_mask(found: _Set, path: str, position: int, row: dict[str, str]) -> None:
    key = _image(found, path, row)
    if key is not None:
        box = tuple(number(row.get(column)) or 0.0 for column in MASK_COLUMNS)
        found.masks.setdefault(key, []).append((_id(found, row), row.get("MaskPath", "").strip(), box))


def _add_tag(found: _Set, path: str, position: int, row: dict[str, str]) -> None:
    """What people verified; a machine's guesses stay out."""
    if row.get("Source", "").strip().casefold() == "machine":
        found.counts["open_images_machine_labels"] += 1
        return
    key, value = _image(found, path, row), number(row.get("Confidence"))
    if key is not None and value is not None:
        found.tags.setdefault(key, {})[_id(found, row)] = 1.0 if value > 0.5 else 0.0


_ROW = {"images": _add_image, "boxes": _add_box, "masks": _add_mask, "tags": _add_tag}


def _classes(found: _Set) -> tuple[tuple[str, ...], dict[int, int]]:
    """(names in the order of the descriptions, id in the packed rows -> our id)."""
    classes = Classes()
    for code, name in found.names.items():
        if code in found.ids or len(found.names) <= MAX_UNUSED:
            classes.id_of(name)
    order = {number_of_code: classes.id_of(found.names.get(code, code)) for code, number_of_code in found.ids.items()}
    return classes.tuple, order


def _items(found: _Set, order: dict[int, int], count: int, objects: bool) -> Iterator[Sample | Problem]:
    yield from found.problems
    masks = set(found.mask_files.values())
    if objects and found.tags:
        found.counts["open_images_tags_left_out"] += len(found.tags)

    def labels_of(image: str, size: tuple[int, int]) -> Found:
        key = _stem(image)
        if found.stems.get(key) != image:
            return None
        return (yield from _objects(found, key, image, size, order)) if objects else _tags(found, key, order, count)
    yield from samples(found.tree, (image for image in found.lookup.images() if image not in masks), labels_of, found.counts,
                       about=lambda image: (split_of(*image.split("/")[:-1]) or found.splits.get(_stem(image)), None))


def _tags(found: _Set, key: str, order: dict[int, int], count: int) -> Tags | None:
    if key not in found.tags:
        return None
    values = np.full(count, np.nan, np.float32)
    for own, value in found.tags[key].items():
        values[order[own]] = value
    return Tags(values)


def _objects(found: _Set, key: str, image: str, size: tuple[int, int], order: dict[int, int]) -> Found:
    """The masks of an image, and the boxes that none of them fills."""
    masks, packed = found.masks.get(key, []), np.array(found.boxes.get(key, ()), np.float64).reshape(-1, 6)
    collected = Objects(image, size)
    for position, (own, *box, group) in enumerate(packed.tolist(), 1):
        if not any(own == other and max(abs(a - b) for a, b in zip(box, place, strict=True)) < SAME_BOX for other, _, place in masks):
            pixels = [value * side for value, side in zip(box, (*size, *size), strict=True)]
            collected.add_box(order[int(own)], pixels, f"#{position}", crowd=bool(group))
    for own, name, _ in masks:
        _fill(found, collected, order[own], name)
    yield from collected.problems
    return collected.instances() if len(collected) else None


def _fill(found: _Set, objects: Objects, class_id: int, name: str) -> None:
    """Adds the mask in a file of that name, which may have been made at another size than the image."""
    path = found.mask_files.get(_name(name))
    if path is None:
        objects.fault("mask_missing", name[:60], file=name[:200])
        return
    try:
        mask = mask_pixels.painted(mask_pixels.decode(found.tree.read(path, MAX_MASK_BYTES), path))
    except UserError as error:
        objects.problems.append(problem_of(error, path))
        return
    width, height = objects.size
    if mask.shape != (height, width):
        mask = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    if mask.any():
        rle = rle_of_mask(mask)
        objects.add_rle(class_id, rle.counts, rle.size, name[:60])
    else:
        objects.fault("object_without_area", name[:60], box="-")


FORMATS = (Format("open_images", detects, read),)

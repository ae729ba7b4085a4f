"""LabelMe's old web tool: one XML of polygons and painted masks for each image. Read only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from engine.datasets import plain_xml
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, mask_pixels
from engine.datasets.formats.lookup import NOT_PICTURES, Found, Lookup, samples, size_differs
from engine.datasets.objects import Classes, Objects
from engine.datasets.outlines import rle_of_mask
from engine.datasets.plain_xml import number_of, text_of
from engine.datasets.tree import Tree, folded, normal
from engine.datasets.turning import turn_for
from engine.types import Problem, Reading, Sample, UserError

MAX_XML_BYTES = 64 << 20
MAX_MASK_BYTES = 64 << 20
MAX_PEEKED = 200


def detects(root: Path) -> str | None:
    asked, tree = 0, Tree(root)
    for folder, listing in tree.walk():
        for name in [name for name in listing.files if name.lower().endswith(".xml")][:3]:
            path = f"{folder}/{name}" if folder else name
            asked += 1
            if asked > MAX_PEEKED:
                return None
            if _is_labelme(tree.head(path)):
                return path
    return None


def _is_labelme(head: bytes) -> bool:
    """<annotation> with points or masks, or the signature of the tool; boxes are Pascal VOC's."""
    return b"<annotation>" in head[:1024] and b"<bndbox>" not in head and any(
        mark in head for mark in (b"<pt>", b"<segm>", b"LabelMe Webtool", b"<nrows>"))


@dataclass
class _Set:
    """What a first look has found; `files` = label file of each image."""

    tree: Tree
    lookup: Lookup
    classes: Classes = field(default_factory=Classes)
    files: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    outlined: bool = False


def read(root: Path) -> Reading:
    """Looks through all label files first, since nothing else names the classes; reads them again while streaming."""
    tree = Tree(root)
    found = _Set(tree, Lookup(tree, NOT_PICTURES))
    for folder, listing in tree.walk():
        for name in listing.files:
            if name.lower().endswith(".xml"):
                _look_at(found, folder, f"{folder}/{name}" if folder else name)
    return Reading(found.classes.tuple, _items(found), "instance" if found.outlined else "detect")


def _look_at(found: _Set, folder: str, path: str) -> None:
    try:
        content = _load(found.tree, path)
    except UserError as error:
        found.problems.append(problem_of(error, path))
        return
    if content is None:
        return
    for item in _present(content):
        found.classes.id_of(text_of(item, "name"))
        found.outlined |= not _is_box(item)
    named, place = text_of(content, "filename"), text_of(content, "folder")
    stem = path.rpartition("/")[2].rpartition(".")[0]
    texts = [text for text in (named, f"{place}/{named}") if named and text]
    image = next((image for image in (found.lookup.find(text, folder) for text in texts[::-1]) if image), None) or found.lookup.find(stem, folder)
    if image is None:
        found.problems.append(found.lookup.missing(named or path, path))
    elif found.files.setdefault(image, path) != path:
        found.problems.append(Problem("image_labeled_twice", "error", path, {"image": image, "first": found.files[image]}))


def _load(tree: Tree, path: str) -> Element | None:
    """None for XML that is something else. Raises UserError."""
    content = plain_xml.parse(tree.read(path, MAX_XML_BYTES), path)
    return content if content.tag == "annotation" and content.find("object/bndbox") is None else None


def _present(content: Element) -> list[Element]:
    return [item for item in content.findall("object") if text_of(item, "deleted", "0") != "1"]


def _is_box(item: Element) -> bool:
    return text_of(item, "type") == "bounding_box" and item.find("segm") is None


def _items(found: _Set) -> Iterator[Sample | Problem]:
    yield from found.problems
    counts: Counter[str] = Counter()
    yield from samples(found.tree, found.lookup.images(), lambda image, size: _labels(found, image, size, counts), counts)


def _labels(found: _Set, image: str, size: tuple[int, int], counts: Counter[str]) -> Found:
    path = found.files.get(image)
    content = _load(found.tree, path) if path is not None else None
    if content is None or path is None:
        return None
    claimed = (number_of(content, "imagesize/ncols"), number_of(content, "imagesize/nrows"))
    turn = turn_for(claimed, size, found.tree.path(image))
    counts["labels_turned"] += turn is not None
    yield from size_differs(claimed, turn.size if turn else size, path)
    objects, present = Objects(path, turn.size if turn else size), _present(content)
    counts["labelme_deleted_left_out"] += len(content.findall("object")) - len(present)
    for item in present:
        class_id, ref = found.classes.id_of(text_of(item, "name")), f"{text_of(item, 'name')[:40]} {text_of(item, 'id')[:10]}".strip()
        points = [(point.findtext("x"), point.findtext("y")) for point in item.findall("polygon/pt")]
        if item.find("segm") is not None:
            _add_mask(found.tree, objects, class_id, item, ref)
        elif _is_box(item) and len(points) == 4:
            objects.add_box(class_id, _around(points), ref)
        else:
            objects.add_polygons(class_id, [points], ref=ref)
    yield from objects.problems
    if present and not len(objects):
        return None
    return turn.upright(objects.instances()) if turn else objects.instances()


def _around(points: list[tuple[str | None, str | None]]) -> list[Any]:
    """x1,y1,x2,y2 around the corners of a box; as they stand where one is no number."""
    try:
        ring = np.array(points, np.float64)
    except (TypeError, ValueError):
        return [points[0][0], points[0][1], points[2][0], points[2][1]]
    return [*ring.min(0).tolist(), *ring.max(0).tolist()]


def _add_mask(tree: Tree, objects: Objects, class_id: int, item: Element, ref: str) -> None:
    """The mask that an object names, out of the folder Masks."""
    name = text_of(item, "segm/mask")
    where = _mask_file(tree, objects.where, name)
    if where is None:
        objects.fault("mask_missing", ref, file=name[:200])
        return
    try:
        mask = mask_pixels.painted(mask_pixels.decode(tree.read(where, MAX_MASK_BYTES), where))
    except UserError as error:
        objects.problems.append(problem_of(error, where))
        return
    width, height = objects.size
    if mask.shape != (height, width):
        objects.fault("mask_size_differs", ref, mask=f"{mask.shape[1]}x{mask.shape[0]}", width=width, height=height)
    elif mask.any():
        rle = rle_of_mask(mask)
        objects.add_rle(class_id, rle.counts, rle.size, ref)
    else:
        objects.fault("object_without_area", ref, box="-")


def _mask_file(tree: Tree, label_file: str, name: str) -> str | None:
    """Beside the label file in Masks/, or in a tree of masks that runs along the tree of annotations."""
    folder = label_file.rpartition("/")[0]
    parts = folder.split("/") if folder else []
    along = ["/".join((*parts[:depth], "Masks", *parts[depth + 1:])) for depth, part in enumerate(parts) if folded(part) == "annotations"]
    places = [path for path in (normal(f"{place}/{name}") for place in (f"{folder}/Masks", *along, "Masks", folder)) if path]
    return next((found for found in map(tree.find, places) if found), None)


FORMATS = (Format("labelme_xml", detects, read),)

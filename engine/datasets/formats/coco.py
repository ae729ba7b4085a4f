"""COCO: one json a split with images, annotations and categories. Read in every common layout, written as Roboflow lays it out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, ImagePolicy
from engine.datasets.formats.coco_documents import ROBOFLOW, Document, ImageFinder, Key, key_of, load, root_of, unite_categories
from engine.datasets.formats.coco_objects import Objects, Tally
from engine.datasets.images import size_of
from engine.datasets.outlines import area_of, box_of, mask_of, rle_of_mask
from engine.datasets.placing import Placer
from engine.datasets.tree import Tree, folded, normal, split_of
from engine.types import RLE, Instances, Labels, Polygons, Problem, Reading, Sample, SemanticMask, Shape, Tags, UserError

_ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_ENCODE_TEXT = json.JSONEncoder(separators=(",", ":"), check_circular=False, ensure_ascii=False).encode
MAX_NAMED = 200  # unknown images or categories that are named one by one


# ---- recognising and reading

def detects(root: Path) -> str | None:
    _, documents = root_of(root)
    return ", ".join(documents[:3]) + (", ..." if len(documents) > 3 else "") if documents else None


def read(root: Path) -> Reading:
    """Loads the documents, since their classes must be known first; looks at the image files while streaming.

    Raises UserError when a document is no COCO data set at all.
    """
    tree, paths = root_of(root)
    if not paths:
        raise UserError("no_format", found="-", known="coco")
    documents = [load(tree, path) for path in paths]
    classes, problems = unite_categories(documents)
    outlined = any(isinstance(entry, dict) and entry.get("segmentation") for document in documents for entry in document.annotations)
    return Reading(classes, _items(tree, documents, problems), "instance" if outlined else "detect")


def _items(tree: Tree, documents: list[Document], problems: list[Problem]) -> Iterator[Sample | Problem]:
    yield from problems
    finder = ImageFinder(tree)
    while documents:
        yield from _DocumentReader(tree, finder, documents.pop(0)).items()
    yield from tree.problems


@dataclass
class _Entry:
    """An image that a document lists, with the annotations that point at it."""

    name: str
    image: dict[str, Any]
    annotations: list[dict[str, Any]] = field(default_factory=list)


class _DocumentReader:
    """Streams the samples of one document."""

    def __init__(self, tree: Tree, finder: ImageFinder, document: Document) -> None:
        self.tree, self.finder, self.document = tree, finder, document
        self.tally = Tally()
        self.entries: dict[Key, _Entry] = {}

    def items(self) -> Iterator[Sample | Problem]:
        yield from self._list_images()
        yield from self._sort_annotations()
        unlabeled = 0
        seen: set[int] = set()
        for entry in self.entries.values():
            if id(entry) in seen:
                continue
            seen.add(id(entry))
            for item in self._sample(entry):
                unlabeled += isinstance(item, Sample) and item.labels is None
                yield item
        if unlabeled:
            yield Problem("images_without_labels", "note", self.document.path, {"count": unlabeled})
        if self.tally.looks_like_corners:
            yield Problem("coco_corners_suspected", "warning", self.document.path, {"outside": self.tally.outside, "boxes": self.tally.boxes})

    def _list_images(self) -> Iterator[Problem]:
        """Image entries by id. Two entries for one file share their annotations; of two with one id, the first keeps them."""
        by_file: dict[str, _Entry] = {}
        where = self.document.path
        for position, image in enumerate(self.document.images, 1):
            name = image.get("file_name") if isinstance(image, dict) else None
            key = key_of(image.get("id")) if isinstance(image, dict) else None
            if key is None or not isinstance(name, str) or not name.strip():
                yield Problem("coco_bad_image_entry", "error", where, {"position": position})
                continue
            clean = normal(name)
            shown = _printable(name)
            if clean is None or any("\ud800" <= char <= "\udfff" for char in clean):
                yield Problem("coco_unsafe_file_name", "error", where, {"name": shown})
                self.entries.setdefault(key, _Entry("", image))
            elif clean in by_file:
                yield Problem("coco_file_listed_twice", "warning", where, {"name": shown})
                self.entries.setdefault(key, by_file[clean])
            elif key in self.entries:
                values = {"id": str(key)[:40], "name": shown, "first": _printable(self.entries[key].name)}
                yield Problem("coco_duplicate_image_id", "error", where, values)
            else:
                self.entries[key] = by_file[clean] = _Entry(clean, image)

    def _sort_annotations(self) -> Iterator[Problem]:
        """Hands every annotation to its image; names those that point nowhere."""
        ids: set[Key] = set()
        duplicates = 0
        strangers: dict[str, int] = {}
        where = self.document.path
        for position, annotation in enumerate(self.document.annotations, 1):
            if not isinstance(annotation, dict):
                yield Problem("coco_bad_annotation", "error", where, {"position": position})
                continue
            number = key_of(annotation.get("id"))
            if number is not None:
                duplicates += number in ids
                ids.add(number)
            key = key_of(annotation.get("image_id"))
            entry = self.entries.get(key) if key is not None else None
            if entry is None:
                strangers[_printable(str(key))] = strangers.get(_printable(str(key)), 0) + 1
            else:
                entry.annotations.append(annotation)
        if duplicates:
            yield Problem("coco_duplicate_annotation_ids", "warning", where, {"count": duplicates})
        for shown, count in list(strangers.items())[:MAX_NAMED]:
            yield Problem("coco_unknown_image", "error", where, {"id": shown, "count": count})
        if len(strangers) > MAX_NAMED:
            yield Problem("coco_unknown_image", "error", where, {"id": "...", "count": sum(list(strangers.values())[MAX_NAMED:])})
        self.document.annotations = []

    def _sample(self, entry: _Entry) -> Iterator[Sample | Problem]:
        """The sample of one image, after the problems of its file and annotations."""
        if not entry.name:
            return
        found = self.finder.find(self.document, entry.name)
        if found is None:
            yield Problem("image_missing", "error", _printable(entry.name), {"document": self.document.path})
            return
        try:
            size = size_of(f"{self.tree.root}/{found}")
        except UserError as error:
            yield problem_of(error, found)
            return
        yield from self._check_size(entry.image, size, found)
        labels = None
        if self.document.labeled and entry.image.get("labeled") is not False:
            objects = Objects(found, size, self.document.ids, self.tally)
            yield from self._fill(objects, entry.annotations)
            labels = objects.instances() if objects.boxes or not entry.annotations else None
        yield Sample(Path(self.tree.root, found), size, labels, self.document.split, None, found)

    def _check_size(self, image: dict[str, Any], size: tuple[int, int], found: str) -> Iterator[Problem]:
        claimed = (image.get("width"), image.get("height"))
        if claimed not in (size, (None, None)) and (str(claimed[0]), str(claimed[1])) != (str(size[0]), str(size[1])):
            values = {"claimed": _printable(f"{claimed[0]}x{claimed[1]}"), "width": size[0], "height": size[1]}
            yield Problem("coco_size_differs", "warning", found, values)

    def _fill(self, objects: Objects, annotations: list[dict[str, Any]]) -> Iterator[Problem]:
        for annotation in annotations:
            key = key_of(annotation.get("category_id"))
            own = self.document.ids.get(key) if key is not None else None
            if own is None:
                values = {"id": _printable(str(key)), "annotation": _printable(str(key_of(annotation.get("id")))),
                          "allowed": ", ".join(map(str, list(self.document.ids)[:20])) or "-"}
                yield Problem("coco_unknown_category", "error", objects.where, values)
            else:
                objects.add(annotation, own)
        yield from objects.problems


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:200])


# ---- writing

@dataclass
class _Part:
    """The growing document of one split, as texts ready to be written."""

    images: list[str] = field(default_factory=list)
    annotations: list[str] = field(default_factory=list)


def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """`{train,valid,test}/_annotations.coco.json` beside the images: categories from 0, image and annotation ids from 1.

    An image that nobody has looked at carries `"labeled": false`, which other readers ignore and ours understands.
    """
    placer = Placer(root, images)
    parts: dict[str, _Part] = {}
    for sample in samples:
        split = split_of(sample.split or "") or "train"
        part = parts.setdefault(split, _Part())
        file_name = yield from placer.place(sample, split)
        if file_name is None:
            continue
        image: dict[str, Any] = {"id": len(part.images) + 1, "file_name": file_name, "width": sample.size[0], "height": sample.size[1]}
        if sample.labels is None:
            image["labeled"] = False
        elif isinstance(sample.labels, Tags):
            image["tags"] = [name for name, value in zip(classes, sample.labels.values, strict=True) if value >= 0.5]
        else:
            part.annotations += _annotations(sample, classes, image["id"], len(part.annotations) + 1)
        part.images.append(_ENCODE_TEXT(image))
    for split, part in parts.items():
        _write_part(root / split, part, classes)


def _annotations(sample: Sample, classes: Sequence[str], image_id: int, first_id: int) -> list[str]:
    """The annotations of one image as JSON texts. Numbers are written with the seven digits that the boxes hold."""
    labels = _as_instances(sample.labels, classes)
    if labels is None:
        return []
    texts = []
    for index, ((x1, y1, x2, y2), class_id) in enumerate(zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True)):
        w, h = x2 - x1, y2 - y1
        shape = labels.shapes[index] if labels.shapes is not None else None
        area, outline = w * h, "[]"
        if shape is not None:
            area, outline = area_of(shape, (x1, y1, x2, y2)), _ENCODE(_segmentation(shape, sample.size))
        crowd = 1 if labels.crowd is not None and labels.crowd[index] else 0
        score = "" if labels.scores is None else f',"score":{labels.scores[index]:.6f}'
        texts.append(f'{{"id":{first_id + index},"image_id":{image_id},"category_id":{class_id},"bbox":[{x1:.7g},{y1:.7g},{w:.7g},{h:.7g}],'
                     f'"area":{area:.7g},"iscrowd":{crowd},"segmentation":{outline}{score}}}')
    return texts


def _as_instances(labels: Labels | None, classes: Sequence[str]) -> Instances | None:
    """A mask as one region a class, leaving out a class called background: that is what is left when nothing is there."""
    if not isinstance(labels, SemanticMask):
        return labels if isinstance(labels, Instances) else None
    regions = {}
    for class_id, name in enumerate(classes):
        layer = labels.layers[class_id] if labels.layers is not None else labels.classes == class_id if labels.classes is not None else None
        if layer is not None and folded(name) != "background" and layer.any():
            regions[class_id] = rle_of_mask(layer)
    return Instances(np.array([box_of(rle) for rle in regions.values()]), np.array(list(regions)), shapes=tuple(regions.values()))


def _segmentation(shape: Shape, size: tuple[int, int]) -> list[list[float]] | dict[str, Any]:
    """Polygons as they are; what COCO polygons cannot say (holes) as run lengths."""
    if isinstance(shape, Polygons) and not shape.holes:
        return [np.round(ring, 4).ravel().tolist() for ring in shape.rings]
    rle = shape if isinstance(shape, RLE) else rle_of_mask(mask_of(shape, size))
    return {"size": list(rle.size), "counts": rle.counts.decode("ascii")}


def _write_part(folder: Path, part: _Part, classes: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    categories = [{"id": number, "name": name, "supercategory": "object"} for number, name in enumerate(classes)]
    with (folder / ROBOFLOW).open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"info":{},"licenses":[],"categories":' + json.dumps(categories, ensure_ascii=False) + ',\n"images":[\n')
        file.write(",\n".join(part.images))
        file.write('\n],\n"annotations":[\n')
        file.write(",\n".join(part.annotations))
        file.write("\n]}\n")


FORMATS = (Format("coco", detects, read, write, files=(".json",), tasks=("detect", "instance", "semantic", "classify")),)

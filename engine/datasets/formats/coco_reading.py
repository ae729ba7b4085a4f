"""Streaming the samples of COCO documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets.faults import problem_of
from engine.datasets.formats.coco_documents import Annotation, Document, Key, key_of
from engine.datasets.formats.coco_images import ImageFinder, clean_path
from engine.datasets.formats.coco_masks import is_mask, mask_of_regions, tags_of
from engine.datasets.formats.coco_objects import Objects, Tally
from engine.datasets.formats.coco_panoptic import add_segments, mask_folders
from engine.datasets.images import size_of
from engine.datasets.objects import clean_name
from engine.datasets.tree import Tree
from engine.datasets.turning import Turn, turn_for
from engine.types import Instances, Labels, Problem, Sample, Tags, UserError

MAX_NAMED = 200  # unknown images, missing files: so many are named one by one


def items(tree: Tree, documents: list[Document], classes: Sequence[str], *, tagged: bool) -> Iterator[Sample | Problem]:
    """One document after the other, each freed when it is done. `tagged`: images carry tags instead of objects."""
    finder = ImageFinder(tree, {folder for document in documents if document.segments for folder in mask_folders(document)})
    taken: dict[str, str] = {}
    while documents:
        yield from _DocumentReader(tree, finder, documents.pop(0), classes, taken, tagged=tagged).items()


@dataclass(slots=True)
class _Entry:
    """An image that a document lists, with the annotations that point at it. `outside`: its path led outside the data set."""

    name: str
    image: dict[str, Any]
    shown: str
    outside: bool = False
    annotations: list[Any] = field(default_factory=list)


class _DocumentReader:
    """Streams the samples of one document. `taken` tells which document an image came from."""

    def __init__(self, tree: Tree, finder: ImageFinder, document: Document, classes: Sequence[str], taken: dict[str, str], *, tagged: bool) -> None:
        self.tree, self.finder, self.document, self.classes, self.taken, self.tagged = tree, finder, document, classes, taken, tagged
        self.tally = Tally(document.all_crowd)
        self.entries: dict[Key, _Entry] = {}
        self.missing = self.repeated = self.repaired = self.unlabeled = self.turned = 0
        self.repaired_name = ""

    def items(self) -> Iterator[Sample | Problem]:
        yield from self._list_images()
        yield from self._sort_annotations()
        waiting = list({id(entry): entry for entry in self.entries.values() if entry.name}.values())
        self.entries.clear()
        waiting.reverse()
        while waiting:
            yield from self._sample(waiting.pop())
        yield from self._totals()

    def _totals(self) -> Iterator[Problem]:
        where = self.document.path
        if self.missing > MAX_NAMED:
            yield Problem("images_missing_more", "error", where, {"count": self.missing - MAX_NAMED})
        if self.repeated:
            yield Problem("coco_image_in_two_documents", "warning", where, {"count": self.repeated})
        if self.repaired:
            yield Problem("coco_paths_outside", "warning", where, {"count": self.repaired, "name": self.repaired_name})
        if self.turned:
            yield Problem("labels_turned", "note", where, {"count": self.turned})
        if self.unlabeled:
            yield Problem("images_without_labels", "note", where, {"count": self.unlabeled})
        if self.tally.looks_like_corners:
            yield Problem("coco_corners_suspected", "warning", where, {"outside": self.tally.outside, "boxes": self.tally.boxes})
        if self.tally.looks_normalized:
            yield Problem("coco_normalized_suspected", "error", where, {"boxes": self.tally.boxes})
        if self.tally.texts:
            yield Problem("coco_numbers_as_text", "note", where, {"count": self.tally.texts})

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
            clean, outside = clean_path(name)
            shown = _printable(name)
            if not clean:
                yield Problem("coco_unsafe_file_name", "error", where, {"name": shown})
                self.entries.setdefault(key, _Entry("", image, shown))
            elif clean in by_file:
                yield Problem("coco_file_listed_twice", "warning", where, {"name": shown})
                self.entries.setdefault(key, by_file[clean])
            elif key in self.entries:
                yield Problem("coco_duplicate_image_id", "error", where, {"id": str(key)[:40], "name": shown, "first": self.entries[key].shown})
            else:
                self.entries[key] = by_file[clean] = _Entry(clean, image, shown, outside)
        self.document.images = []

    def _sort_annotations(self) -> Iterator[Problem]:
        """Hands every annotation to its image; names those that point nowhere."""
        ids: set[Key] = set()
        duplicates = 0
        strangers: dict[str, int] = {}
        where = self.document.path
        for position, annotation in enumerate(self.document.annotations, 1):
            if not isinstance(annotation, Annotation | dict):
                yield Problem("coco_bad_annotation", "error", where, {"position": position})
                continue
            number, image = (annotation.id, annotation.image_id) if isinstance(annotation, Annotation) else (None, annotation.get("image_id"))
            number, key = key_of(number), key_of(image)
            if number is not None:
                duplicates += number in ids
                ids.add(number)
            entry = self.entries.get(key) if key is not None else None
            if entry is None:
                strangers[_printable(str(key))] = strangers.get(_printable(str(key)), 0) + 1
            else:
                entry.annotations.append(annotation)
        self.document.annotations = []
        if duplicates:
            yield Problem("coco_duplicate_annotation_ids", "warning", where, {"count": duplicates})
        for shown, count in list(strangers.items())[:MAX_NAMED]:
            yield Problem("coco_unknown_image", "error", where, {"id": shown, "count": count})
        if len(strangers) > MAX_NAMED:
            yield Problem("coco_unknown_image", "error", where, {"id": "...", "count": sum(list(strangers.values())[MAX_NAMED:])})

    def _sample(self, entry: _Entry) -> Iterator[Sample | Problem]:
        """The sample of one image, after the problems of its file and annotations."""
        found, several = self.finder.find(self.document, entry.name)
        if found is None:
            yield from self._not_found(entry, several)
            return
        if found in self.taken:
            self.repeated += 1
            return
        try:
            size = size_of(f"{self.tree.root}/{found}")
        except UserError as error:
            yield problem_of(error, found)
            return
        self.taken[found] = self.document.path
        if entry.outside:
            self.repaired, self.repaired_name = self.repaired + 1, entry.shown
        turn = self._turn(entry.image, size, found)
        yield from _check_size(entry.image, turn.size if turn else size, found)
        problems: list[Problem] = []
        labels = self._labels(entry, turn.size if turn else size, found, problems)
        yield from problems
        if turn and isinstance(labels, Instances):
            self.turned += 1
            labels = turn.upright(labels)
        self.unlabeled += labels is None
        yield Sample(Path(self.tree.root, found), size, labels, self.document.split, _group_of(entry.image), found)

    def _turn(self, image: dict[str, Any], size: tuple[int, int], found: str) -> Turn | None:
        """How objects that were drawn on a picture lying on its side have to be turned. Masks are our own and upright."""
        claimed = (image.get("width"), image.get("height"))
        return None if claimed == size or is_mask(image) else turn_for(claimed, size, f"{self.tree.root}/{found}")

    def _not_found(self, entry: _Entry, several: list[str]) -> Iterator[Problem]:
        self.missing += 1
        if self.missing > MAX_NAMED:
            return
        if several:
            yield Problem("image_ambiguous", "error", entry.shown, {"count": len(several), "paths": _printable(", ".join(several[:3]))})
        elif entry.outside:
            yield Problem("coco_unsafe_file_name", "error", self.document.path, {"name": entry.shown})
        else:
            yield Problem("image_missing", "error", entry.shown, {"document": self.document.path})

    def _labels(self, entry: _Entry, size: tuple[int, int], found: str, problems: list[Problem]) -> Labels | None:
        image, document = entry.image, self.document
        if not document.labeled or image.get("labeled") is False:
            return None
        if self.tagged:
            return self._tags(entry, problems)
        objects = Objects(found, size, document.ids, self.tally)
        objects.add_all([each for each in entry.annotations if type(each) is Annotation] if document.segments else entry.annotations)
        for annotation in entry.annotations if document.segments else ():
            if type(annotation) is dict:
                add_segments(objects, self.tree, document, annotation)
        mask = mask_of_regions(image, objects, self.classes) if is_mask(image) else None
        problems += objects.problems
        if mask is not None:
            return mask
        return objects.instances(suggested=image.get("suggested") is True) if objects.boxes or not entry.annotations else None

    def _tags(self, entry: _Entry, problems: list[Problem]) -> Tags | None:
        if self.document.kind != "tags":
            return tags_of(entry.image, self.classes)
        values = np.zeros(len(self.classes), np.float32)
        for annotation in entry.annotations:
            key = key_of(annotation.category_id)
            own = self.document.ids.get(key) if key is not None else None
            if own is None:
                values_said = {"id": _printable(str(key)), "annotation": _printable(str(key_of(annotation.id))),
                               "allowed": ", ".join(map(str, list(self.document.ids)[:20])) or "-"}
                problems.append(Problem("coco_unknown_category", "error", entry.shown, values_said))
            else:
                values[own] = 1
        return Tags(values)


def _check_size(image: dict[str, Any], size: tuple[int, int], found: str) -> Iterator[Problem]:
    claimed = (image.get("width"), image.get("height"))
    if claimed not in (size, (None, None)) and (str(claimed[0]), str(claimed[1])) != (str(size[0]), str(size[1])):
        values = {"claimed": _printable(f"{claimed[0]}x{claimed[1]}"), "width": size[0], "height": size[1]}
        yield Problem("coco_size_differs", "warning", found, values)


def _group_of(image: dict[str, Any]) -> str | None:
    """The patient or video that the entry names."""
    for key in ("group", "video_id"):
        value = key_of(image.get(key))
        name = "" if value is None else clean_name(value)
        if name:
            return name
    return None


def _printable(text: str) -> str:
    return text if len(text) <= 200 and text.isprintable() else "".join(char if char.isprintable() else "?" for char in text[:200])

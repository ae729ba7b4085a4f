"""COCO: one json a split with images, annotations and categories. Read in every common layout and kind, written as Roboflow lays it out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.datasets.formats import Format
from engine.datasets.formats.coco_categories import unite_categories
from engine.datasets.formats.coco_documents import Annotation, Document, Found, find, load
from engine.datasets.formats.coco_masks import is_mask
from engine.datasets.formats.coco_objects import is_crowd
from engine.datasets.formats.coco_reading import items
from engine.datasets.formats.coco_writing import write
from engine.types import Problem, Reading, Sample, UserError


def detects(root: Path) -> str | None:
    documents = find(root).chosen
    return ", ".join(documents[:3]) + (", ..." if len(documents) > 3 else "") if documents else None


def read(root: Path) -> Reading:
    """Loads the documents, since their classes must be known first; looks at the image files while streaming.

    Raises UserError when a document is no COCO data set at all.
    """
    found = find(root)
    if not found.chosen:
        raise UserError("no_format", found="-", known="coco")
    documents = [load(found.tree, path) for path in found.chosen]
    tagged = _settle(documents)
    crowds = 0 if tagged else _settle_crowds(documents)
    classes, problems = unite_categories(documents, tagged=tagged)
    masked = any(is_mask(image) for document in documents for image in document.images)
    task = "classify" if tagged else "semantic" if masked else "instance" if any(map(_outlined, documents)) else "detect"
    return Reading(classes, _items(found, documents, classes, [*_notes(found, documents, crowds, tagged=tagged), *problems], tagged=tagged), task)


def _settle(documents: list[Document]) -> bool:
    """Whether the images carry tags. Beside documents with objects, those that only name classes cannot label their images."""
    objects = any(document.annotations and document.kind == "objects" for document in documents)
    bare = [document for document in documents if document.kind == "tags"]
    if objects:
        for document in bare:
            document.annotations, document.labeled = [], False
        return False
    return bool(bare) or _have_tags(documents)


def _settle_crowds(documents: list[Document]) -> int:
    """How many objects there are where all of them are marked as crowds, as by exporters that do so for every mask; else 0."""
    if not all(isinstance(entry, Annotation) and is_crowd(entry) for document in documents for entry in document.annotations):
        return 0
    for document in documents:
        document.all_crowd = True
    return sum(len(document.annotations) for document in documents)


def _have_tags(documents: list[Document]) -> bool:
    return any(isinstance(image, dict) and isinstance(image.get("tags"), list) for document in documents for image in document.images)


def _outlined(document: Document) -> bool:
    return document.segments or any(isinstance(entry, Annotation) and entry.segmentation for entry in document.annotations)


def _notes(found: Found, documents: list[Document], crowds: int, *, tagged: bool) -> Iterator[Problem]:
    """What the documents hold besides labels that we have a use for."""
    if found.left_out:
        values = {"count": len(found.left_out), "names": ", ".join(found.left_out[:5]) + (", ..." if len(found.left_out) > 5 else "")}
        yield Problem("coco_documents_left_out", "note", ".", values)
    for code, paths in (("captions_left_out", [document.path for document in documents if document.captions]),
                        ("coco_tags_only", [document.path for document in documents if document.kind == "tags"])):
        if paths:
            yield Problem(code, "note", ", ".join(paths[:3]), {"count": len(paths)})
    if not tagged and _have_tags(documents):
        yield Problem("coco_image_tags_left_out", "note", ".")
    if crowds:
        yield Problem("coco_all_crowd", "note", ".", {"count": crowds})
    with_points = [document.path for document in documents if document.keypoints]
    if with_points:
        yield Problem("keypoints_left_out", "note", ", ".join(with_points[:3]))


def _items(found: Found, documents: list[Document], classes: tuple[str, ...], problems: list[Problem], *, tagged: bool) -> Iterator[Sample | Problem]:
    yield from problems
    yield from items(found.tree, documents, classes, tagged=tagged)
    yield from found.tree.problems


FORMATS = (Format("coco", detects, read, write, files=(".json",), tasks=("detect", "instance", "semantic", "classify")),)

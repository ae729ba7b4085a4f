"""Folders named by class: `{class}/*`, `{train,valid,test}/{class}/*`, and deeper ones, whose class is the path that distinguishes them.

Written with a classes.txt, which keeps the order of the classes and names that no folder can have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from engine.datasets.dicom import SUFFIXES as DICOM_SUFFIXES
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, ImagePolicy, text_labels
from engine.datasets.formats.class_folder_layout import CLASSES, Layout, Place, folders_of, survey
from engine.datasets.formats.class_folder_masks import refuse_masks, without_masks
from engine.datasets.images import group_of, size_of
from engine.datasets.placing import Placer
from engine.datasets.tree import Tree, folded, split_of
from engine.types import Problem, Reading, Sample, Tags, UserError

HEAD_BYTES = 1 << 14
MAX_NAMED = 200


# ---- reading

def detects(root: Path) -> str | None:
    """Two folders or more with images that are called after something, or one below the folder of a split."""
    layout = survey(Tree(root))
    labeled = sum(len(place.images) for place in layout.places if place.name is not None)
    loose = sum(len(place.images) for place in layout.places if place.name is None)
    enough = len(layout.classes) > 1 or (layout.split and not layout.grouped)
    if not labeled or not enough or (loose > labeled and not layout.split):
        return None
    if any(kind in (text_labels.WIDER, text_labels.MOT) for _, kind in text_labels.documents(Tree(root))):
        return None  # its folders are events or videos
    return ", ".join(f"{name}/" for name in layout.classes[:4]) + (", ..." if len(layout.classes) > 4 else "")


def read(root: Path) -> Reading:
    """Every image has the one class of its folder; images outside of such folders are unlabeled.

    Raises UserError when one folder holds the masks of the other.
    """
    tree = Tree(root)
    layout = survey(tree)
    refuse_masks(tree, layout)
    return Reading(tuple(layout.classes), _items(tree, layout), "classify")


def _items(tree: Tree, layout: Layout) -> Iterator[Sample | Problem]:
    if layout.nested:
        yield Problem("class_folders_nested", "note", ".", {"example": layout.nested})
    if layout.recoded:
        yield Problem("class_folders_recoded", "note", ".", {"count": len(layout.recoded), "names": ", ".join(list(layout.recoded.values())[:8])})
    if layout.grouped:
        yield Problem("class_folders_grouped", "note", ".", {"example": layout.grouped})
    one_hot = dict(zip(layout.classes, np.eye(len(layout.classes), dtype=np.float32), strict=True))
    unlabeled, given = 0, sum(len(place.images) for place in layout.places)
    layout.places = [without_masks(tree, place) for place in layout.places]
    masks = given - sum(len(place.images) for place in layout.places)
    for place in layout.places:
        prefix = f"{place.folder}/" if place.folder else ""
        labels = Tags(one_hot[place.name]) if place.name is not None else None
        for image in place.images:
            path = tree.path(prefix + image)
            try:
                size = size_of(path)
            except UserError as error:
                yield problem_of(error, prefix + image)
                continue
            unlabeled += labels is None
            group = place.group or (group_of(path) if image.lower().endswith(DICOM_SUFFIXES) else None)
            yield Sample(path, size, labels, place.split, group, prefix + image)
    if unlabeled:
        yield Problem("images_without_labels", "note", ".", {"count": unlabeled})
    if masks:
        yield Problem("class_folder_masks_left_out", "note", ".", {"count": masks})
    yield from _same_images(tree, layout.places)
    yield from tree.problems


def _same_images(tree: Tree, places: list[Place]) -> Iterator[Problem]:
    """Files with the same content in folders of two classes. Only files of one size are read, and most of those only in part."""
    sizes: dict[int, list[tuple[str, str]]] = {}
    for place in places:
        for image in place.images if place.name is not None else ():
            path = f"{place.folder}/{image}"
            sizes.setdefault(tree.path(path).stat().st_size, []).append((path, place.name or ""))
    said = 0
    for alike in sizes.values():
        if len({name for _, name in alike}) < 2:
            continue
        heads: dict[bytes, list[tuple[str, str]]] = {}
        for path, name in alike:
            heads.setdefault(_digest(tree.head(path, HEAD_BYTES)), []).append((path, name))
        for group in heads.values():
            if len({name for _, name in group}) > 1:
                for problem in _twins(tree, group):
                    said += 1
                    if said <= MAX_NAMED:
                        yield problem
    if said > MAX_NAMED:
        yield Problem("same_images_two_classes", "warning", ".", {"count": said - MAX_NAMED})


def _twins(tree: Tree, group: list[tuple[str, str]]) -> Iterator[Problem]:
    first: dict[bytes, tuple[str, str]] = {}
    for path, name in group:
        with tree.path(path).open("rb") as file:
            other, known = first.setdefault(hashlib.file_digest(file, "blake2b").digest(), (path, name))
        if known != name:
            yield Problem("same_image_two_classes", "warning", path, {"name": name, "other": other, "other_name": known})


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data).digest()


# ---- writing

def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """`{split}/{class}/file`. An image goes in only when exactly one class is there; a class without images keeps an empty folder."""
    placer, folders = Placer(root, images), folders_of(classes)
    groups = 0
    used: dict[str, str] = {}
    for sample in samples:
        problem = _refused(sample)
        if problem is not None:
            yield problem
            continue
        values = sample.labels.values if isinstance(sample.labels, Tags) else np.zeros(0)
        name = classes[int(np.flatnonzero(values == 1)[0])]
        split = split_of(sample.split or "") or "train"
        file_name = yield from placer.place(sample, f"{split}/{folders[name]}")
        if file_name is not None:
            used[name] = split
            groups += sample.group is not None
            unsure = int((~np.isin(values, (0, 1))).sum())
            if unsure:
                yield Problem("tags_uncertain_left_out", "warning", sample.name or sample.image.name, {"count": unsure})
    for name in classes:
        if name not in used:
            (root / next(iter(used.values()), "train") / folders[name]).mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    (root / CLASSES).write_text("".join(f"{' '.join(name.split())}\n" for name in classes), encoding="utf-8")
    for name, folder in folders.items():
        if folded(folder) != folded(name):
            yield Problem("class_folder_renamed", "note", folder, {"name": name})
    if groups:
        yield Problem("groups_left_out", "note", ".", {"count": groups, "format": "class_folders"})


def _refused(sample: Sample) -> Problem | None:
    """Why an image has no place in any of the folders; None when it has one."""
    where = sample.name or sample.image.name
    if sample.labels is None:
        return Problem("unlabeled_left_out", "warning", where, {"format": "class_folders"})
    if not isinstance(sample.labels, Tags):
        return Problem("image_labels_left_out", "error", where, {"format": "class_folders"})
    there = int((sample.labels.values == 1).sum())
    return Problem("tags_left_out", "error", where, {"count": there, "format": "class_folders"}) if there != 1 else None


FORMATS = (Format("class_folders", detects, read, write, rank=2, tasks=("classify",)),)

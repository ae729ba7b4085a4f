"""Two stored sets as a new one: classes by a mapping, images by hard link, nothing of either changed."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.datasets import labeling_suggested
from engine.datasets.archive import Progress
from engine.datasets.objects import clean_name
from engine.datasets.store import Dataset
from engine.datasets.store_rows import content_of
from engine.types import IGNORE, Instances, Labels, Problem, Reading, Sample, SemanticMask, Tags, UserError

if TYPE_CHECKING:
    from engine.workspace import Workspace

BACKGROUND = "background"
JOINS = {frozenset(("detect", "instance")): "instance"}


def propose(a_classes: Sequence[str], b_classes: Sequence[str]) -> dict[str, str]:
    """For every class of b the class of a that is meant (whatever its case, spaces, hyphens and underscores), else its own name."""
    known: dict[str, str] = {}
    for name in a_classes:
        known.setdefault(_plain(name), name)
    return {name: name if name in a_classes else known.get(_plain(name), name) for name in b_classes}


def merge(workspace: Workspace, a: Dataset, b: Dataset, mapping: Mapping[str, str | None], name: str, progress: Progress | None = None) -> Dataset:
    """A new set with the images of both. `mapping`: class of b -> its name in the new set, None to leave it out; classes not in it keep their name.

    Splits and groups stay as they are: the same patient in both sets stays one patient. Raises UserError when the tasks do not go together.
    """
    task = joint_task(a.task, b.task)
    names, numbers = list(a.classes), []
    for each in (mapping.get(name, name) for name in b.classes):
        if each is not None and each not in names and (each := clean_name(each)) not in names:
            if not each:
                raise UserError("class_name_empty")
            names.append(each)
        numbers.append(None if each is None else names.index(each))
    merged = _Merge(a, b, numbers, tuple(names), task, progress or (lambda share: None))
    with workspace.stage() as stage:
        content = Reading(tuple(names), merged.items(), task)
        made = Dataset.create(stage / "merged", clean_name(name) or f"{a.name} + {b.name}", content, images="link", format_name="lightbox")
        labeling_suggested.put_marks(made, merged.marks)
        return workspace.adopt(made)


def joint_task(a: str, b: str) -> str:
    """The task of two sets together. Boxes may join outlines; other pairs have nothing in common. Raises UserError."""
    task = a if a == b else JOINS.get(frozenset((a, b)))
    if task is None:
        raise UserError("merge_tasks", a=a, b=b)
    return task


@dataclass
class _Merge:
    """The stream of a merge. `numbers`: class id of b -> id in the new set, None to leave it out."""

    a: Dataset
    b: Dataset
    numbers: list[int | None]
    classes: tuple[str, ...]
    task: str
    progress: Progress
    dropped: Counter[int] = field(default_factory=Counter)
    marks: dict[str, str] = field(default_factory=dict)

    def items(self) -> Iterator[Sample | Problem]:
        yield Problem("merged_from", "note", ".", {"first": self.a.name, "first_images": self.a.total(), "second": self.b.name,
                                                   "second_images": self.b.total()})
        yield from self.a.problems()
        yield from self.b.problems()
        taken: set[str] = set()
        total, done = max(1, self.a.total() + self.b.total()), 0
        for second, dataset in enumerate((self.a, self.b)):
            if dataset.task != self.task:
                yield Problem("merge_boxes_only", "note", dataset.name, {"task": dataset.task, "into": self.task})
            marks = labeling_suggested.marks_by_file(dataset)
            for sample in dataset.reading().items:
                assert isinstance(sample, Sample)
                labels = self._translated(sample.labels) if second else padded(sample.labels, len(self.classes))
                free = _free_name(sample.name, dataset.name, taken)
                if mark := marks.get(sample.image.name):
                    self.marks[free] = mark
                yield replace(sample, labels=labels, name=free)
                done += 1
                if done % 100 == 0:
                    self.progress(min(1.0, done / total))
        for number, count in sorted(self.dropped.items()):
            yield Problem("merge_class_dropped", "note", self.b.name, {"name": self.b.classes[number], "count": count})

    def _translated(self, labels: Labels | None) -> Labels | None:
        for number, objects, _ in content_of(labels, len(self.numbers)):
            if self.numbers[number] is None:
                self.dropped[number] += objects
        return translated(labels, self.numbers, self.classes)


def padded(labels: Labels | None, count: int) -> Labels | None:
    """Labels of the first classes as labels of `count` classes: the further ones are not mentioned in tags, and nowhere in a mask."""
    if isinstance(labels, Tags):
        return Tags(np.pad(labels.values, (0, count - len(labels.values)), constant_values=np.nan))
    if isinstance(labels, SemanticMask) and labels.layers is not None:
        return SemanticMask(layers=np.pad(labels.layers, ((0, count - len(labels.layers)), (0, 0), (0, 0))))
    return labels


def translated(labels: Labels | None, numbers: Sequence[int | None], classes: Sequence[str]) -> Labels | None:
    """Labels in other class ids. Objects of a class without a new id go; its pixels become background, or nobody's where there is none."""
    if isinstance(labels, Instances):
        ids = np.array([-1 if number is None else number for number in numbers], np.int64)[labels.classes]
        return replace(labels, classes=np.maximum(ids, 0))[ids >= 0]
    if isinstance(labels, Tags):
        values = np.full(len(classes), np.nan, np.float32)
        for number, value in zip(numbers, labels.values, strict=False):
            if number is not None:
                values[number] = np.fmax(values[number], value)
        return Tags(values)
    if isinstance(labels, SemanticMask) and labels.layers is not None:
        layers = np.zeros((len(classes), *labels.layers.shape[1:]), bool)
        for number, layer in zip(numbers, labels.layers, strict=False):
            if number is not None:
                layers[number] |= layer
        return SemanticMask(layers=layers)
    if isinstance(labels, SemanticMask) and labels.classes is not None:
        ground = classes.index(BACKGROUND) if BACKGROUND in classes else IGNORE
        table = np.full(1 << 16, IGNORE, np.uint16)
        table[:len(numbers)] = [ground if number is None else number for number in numbers]
        return SemanticMask(classes=table[labels.classes])
    return labels


def _free_name(name: str, dataset: str, taken: set[str]) -> str:
    """The name under which people know the image; with its data set in front where both have one of that name."""
    free, number = name, 1
    while free in taken:
        free = f"{dataset}/{name}" if number == 1 else f"{dataset} {number}/{name}"
        number += 1
    taken.add(free)
    return free


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", name)).casefold()

"""Repairs of a stored set that a person may accept: what they would change, and carrying them out as one edit that can be undone."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.datasets import health_facts, health_images, health_labels, health_splits, store_rows
from engine.datasets.health import UNREADABLE, Report
from engine.datasets.health_facts import Facts
from engine.datasets.repairs_labels import MENDS
from engine.datasets.repairs_moves import plans
from engine.datasets.store_classes import Classes
from engine.messages import spoken, text
from engine.types import Instances, Labels

if TYPE_CHECKING:
    from engine.datasets.editing import Edit
    from engine.datasets.store import Dataset

BATCH = 500
Change = tuple[int, str, str, str]


@dataclass(frozen=True)
class Repair:
    """A proposal. `code` names its texts (`repair.<code>`, `repair.<code>.why`), filled with `values`; `images` are those that it changes.

    `problem` is the code of what it mends. `plan` is what it does: {image id: split}, or {class name: the class it becomes, None = deleted};
    `fixed` are splits that others must not touch if this one is to work.
    """

    code: str
    values: dict[str, Any]
    images: tuple[int, ...]
    problem: str
    plan: dict[Any, Any] = field(default_factory=dict)
    fixed: dict[int, str] = field(default_factory=dict)

    def title(self, language: str | None = None) -> str:
        return spoken(f"repair.{self.code}", language, **self.values)

    def why(self, language: str | None = None) -> str:
        return spoken(f"repair.{self.code}.why", language, **self.values)


# ---- proposing

def proposed(dataset: Dataset, report: Report) -> list[Repair]:
    """What can be mended of the problems in `report`, by the labels and splits of this moment; nothing is changed."""
    codes = {problem.code for problem in report.problems}
    facts = health_facts.of_dataset(dataset)
    known, clusters = dataset.fingerprints(), {item.id: item.alike for item in dataset.items()}
    digests = [known[number][0] if number in known else b"" for number in facts.ids]
    alike = [clusters.get(number) for number in facts.ids]
    return [*_of_labels(facts, codes), *_of_trash(facts, digests, codes, report), *_of_moves(facts, digests, alike, codes),
            *_of_classes(facts, codes)]


def _of_labels(facts: Facts, codes: set[str]) -> Iterator[Repair]:
    if not len(facts.boxes):
        return
    flat = (facts.boxes[:, 2:] <= facts.boxes[:, :2]).any(1)
    for code, problem, chosen in (("clip_boxes", "boxes_outside", health_labels.outside), ("delete_flat", "boxes_without_area", lambda _: flat),
                                  ("delete_doubles", "objects_twice", health_labels.doubles)):
        if problem in codes and (wrong := chosen(facts)).any():
            images = tuple(facts.ids[image] for image in np.unique(facts.owners[wrong]).tolist())
            yield Repair(code, {"count": int(wrong.sum()), "images": len(images)}, images, problem)


def _of_trash(facts: Facts, digests: Sequence[bytes], codes: set[str], report: Report) -> Iterator[Repair]:
    present = set(facts.ids)
    unreadable = tuple(number for number in report.extras.get("unreadable", ()) if number in present)
    if unreadable:
        problem = next((code for code in UNREADABLE if code in codes), UNREADABLE[0])
        yield Repair("trash_unreadable", {"count": len(unreadable)}, unreadable, problem)
    if "same_images" not in codes:
        return
    surplus: list[int] = []
    for group in health_images.copied(digests):
        for part in health_images.by_split(facts, group):
            best, contrary = health_images.best_labeled(facts, part)
            surplus += [facts.ids[image] for image in part if image != best] if contrary is None else []
    if surplus:
        yield Repair("trash_copies", {"count": len(surplus)}, tuple(sorted(surplus)), "same_images")


def _of_moves(facts: Facts, digests: Sequence[bytes], alike: Sequence[Hashable | None], codes: set[str]) -> Iterator[Repair]:
    for plan in plans(facts, digests, alike, codes):
        if plan.moves:
            values = {"count": len(plan.moves), "splits": ", ".join(sorted(set(plan.moves.values()), key=health_facts.split_rank))}
            yield Repair(plan.code, values, tuple(sorted(plan.moves)), plan.problem, plan.moves, plan.fixed)


def _of_classes(facts: Facts, codes: set[str]) -> Iterator[Repair]:
    images, kinds, objects = facts.shown()
    if "class_names_alike" in codes:
        used = dict(zip(facts.classes, np.bincount(kinds, objects, len(facts.classes)).astype(int).tolist(), strict=True))
        for names in health_splits.alike(facts.classes):
            heir = max(names, key=lambda name: (used[name], -facts.classes.index(name)))
            merged = {name: heir for name in names if name != heir}
            touched = np.isin(kinds, [facts.classes.index(name) for name in merged])
            yield Repair("merge_alike", {"names": health_labels.named(list(merged)), "into": heir}, _ids(facts, images[touched]),
                         "class_names_alike", merged)
    problem = next((code for code in ("class_unused", "class_without_pixel") if code in codes), None)
    unused = health_splits.unused(facts.counts())
    if problem and unused and len(unused) < len(facts.classes):
        yield Repair("delete_unused", {"count": len(unused), "names": health_labels.named(unused)}, (), problem, dict.fromkeys(unused))


def _ids(facts: Facts, images: np.ndarray) -> tuple[int, ...]:
    return tuple(facts.ids[image] for image in np.unique(images).tolist())


# ---- looking first

def preview(dataset: Dataset, repair: Repair, limit: int = 12) -> list[Change]:
    """(image id, name, before, after) of the first images; of the classes where no image changes, with 0 for the id."""
    if repair.code in MENDS:
        return [_label_change(dataset, repair.code, number) for number in repair.images[:limit]]
    if repair.code in ("merge_alike", "delete_unused"):
        return [(0, name, name, text("repair.deleted") if heir is None else heir) for name, heir in list(repair.plan.items())[:limit]]
    rows = [dataset.row(number) for number in repair.images[:limit]]
    return [(row.id, row.name, row.split, repair.plan.get(row.id, text("repair.in_trash"))) for row in rows]


def _label_change(dataset: Dataset, code: str, number: int) -> Change:
    row = dataset.row(number)
    labels = row.labels if isinstance(row.labels, Instances) else Instances.empty()
    mended = MENDS[code](labels, row.size)
    if code != "clip_boxes" or len(mended) != len(labels):
        before, after = (text("repair.objects", count=len(each)) for each in (labels, mended))
        return row.id, row.name, before, after
    moved = np.flatnonzero((labels.boxes != mended.boxes).any(1))[:1]
    before, after = (", ".join(f"{value:g}" for value in each.boxes[moved].round(1).ravel().tolist()) for each in (labels, mended))
    return row.id, row.name, before, after


# ---- carrying out

def apply(dataset: Dataset, repairs: Iterable[Repair]) -> Edit:
    """Carries out proposals as one edit: labels first, then the trash, the splits and the classes. Raises UserError as editing does."""
    from engine.datasets import editing

    accepted = list(repairs)
    before = [edit.id for edit in editing.edits(dataset, 1)]
    touched = {number for repair in accepted for number in repair.images}
    with editing.combined(dataset, "repaired", {"count": len(touched), "repairs": len(accepted)}):
        labels = _mended(dataset, accepted)
        if labels:
            editing.replace_labels(dataset, labels)
        trashed = {number for repair in accepted if repair.code.startswith("trash_") for number in repair.images}
        if trashed:
            editing.trash(dataset, trashed)
        splits = _agreed([repair for repair in accepted if repair.code.startswith(("move_", "make_"))])
        if splits:
            editing.assign_splits(dataset, splits)
        for repair in accepted:
            if repair.code in ("merge_alike", "delete_unused"):
                _change_classes(dataset, repair.plan)
    edit = editing.edits(dataset, 1)
    return edit[0] if edit and [edit[0].id] != before else editing.Edit(0, "", "nothing", {}, 0, False, False)


def _mended(dataset: Dataset, accepted: Sequence[Repair]) -> dict[int, Labels | None]:
    """The new labels of every image that a repair of labels names; its mends one after the other."""
    mends: dict[int, list[str]] = {}
    for code in MENDS:
        for repair in accepted:
            if repair.code == code:
                for number in repair.images:
                    mends.setdefault(number, []).append(code)
    found: dict[int, Labels | None] = {}
    numbers = list(mends)
    for start in range(0, len(numbers), BATCH):
        for number, (size, labels) in _objects(dataset, numbers[start:start + BATCH]).items():
            for code in mends[number]:
                labels = MENDS[code](labels, size)
            found[number] = labels
    return found


def _objects(dataset: Dataset, numbers: Sequence[int]) -> dict[int, tuple[tuple[int, int], Instances]]:
    with dataset.connection() as connection:
        classes, shapes = Classes.load(connection), store_rows.shapes_of(connection, numbers)
        marks = ",".join("?" * len(numbers))
        found = connection.execute(f"SELECT id, width, height FROM images WHERE kind = 'objects' AND id IN ({marks})", tuple(numbers)).fetchall()
    return {number: ((width, height), store_rows.instances_of(shapes.get(number, []), classes)) for number, width, height in found}


def _agreed(moves: Sequence[Repair]) -> dict[int, str]:
    """One split for each image of several plans. Where they differ train wins, for what may be learnt from leaks nowhere."""
    splits: dict[int, str] = {}
    for each in [plan for repair in moves for plan in (repair.fixed, repair.plan)]:
        for number, split in each.items():
            splits[number] = min(splits.get(number, split), split, key=health_facts.split_rank)
    return splits


def _change_classes(dataset: Dataset, plan: Mapping[str, str | None]) -> None:
    from engine.datasets import editing

    for name, heir in plan.items():
        names = dataset.classes
        if name not in names:
            continue
        if heir is None:
            editing.delete_class(dataset, names.index(name))
        elif heir in names:
            editing.merge_classes(dataset, [names.index(name)], names.index(heir))

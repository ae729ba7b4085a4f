"""What is wrong, or merely risky, in a data set: everything the readers met, and what only the whole can show."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.datasets.collection import Collection
from engine.datasets.faults import problem_of
from engine.datasets.images import open_image
from engine.types import Instances, Problem, Sample, UserError

IMBALANCE = 50  # most common class : rarest
FEW_OBJECTS = 10
TINY_SIDE = 4.0  # pixels once the image's longer side is 640
REFERENCE_SIDE = 640
SLACK = 0.5  # pixels
MAX_NAMED = 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """The health of a data set; `splits` are its counts."""

    format: str
    task: str
    classes: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    problems: list[Problem]

    def as_dict(self, language: str | None = None) -> dict[str, Any]:
        return {"format": self.format, "task": self.task, "classes": list(self.classes), "splits": self.splits,
                "problems": [problem.as_dict(language) for problem in self.problems]}


def check(collection: Collection, *, decode: bool = False, progress: Progress | None = None) -> Report:
    """`decode` opens every image in full, which takes its time; `progress(done, of)` may raise to end that."""
    splits = collection.counts()
    problems = [*collection.problems, *_whole(splits), *_balance(splits), *_boxes(collection.samples), *_same_images(collection.samples)]
    if decode:
        problems += _decoded(collection.samples, progress or (lambda done, total: None))
    return Report(collection.format, collection.task, collection.classes, splits, problems)


def _whole(splits: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    """Splits and classes that miss each other."""
    if not any(sum(row["classes"].values()) for row in splits.values()):
        yield Problem("no_objects", "error", ".")
        return
    if "train" not in splits:
        yield Problem("no_train_split", "warning", ".", {"splits": ", ".join(splits)})
        return
    if "valid" not in splits:
        yield Problem("no_valid_split", "warning", ".", {"images": splits["train"]["images"]})
    learnt = splits["train"]["classes"]
    for split, row in splits.items():
        absent = [name for name, count in row["classes"].items() if count and not learnt[name]]
        for name in absent[:MAX_NAMED]:
            yield Problem("class_absent_from_train", "warning", split, {"name": name, "count": row["classes"][name]})


def _balance(splits: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    learnt: dict[str, int] = splits.get("train", {}).get("classes", {})
    used = {name: count for name, count in learnt.items() if count}
    if not used:
        return
    unused = [name for name in learnt if not any(row["classes"][name] for row in splits.values())]
    for name in unused[:MAX_NAMED]:
        yield Problem("class_unused", "note", ".", {"name": name})
    most, least = max(used, key=lambda name: used[name]), min(used, key=lambda name: used[name])
    if used[most] >= IMBALANCE * used[least]:
        yield Problem("class_imbalance", "note", "train", {"most": most, "many": used[most], "least": least, "few": used[least]})
    for name in [name for name, count in used.items() if count < FEW_OBJECTS][:MAX_NAMED]:
        yield Problem("class_rare", "note", "train", {"name": name, "count": used[name]})


def _boxes(samples: list[Sample]) -> Iterator[Problem]:
    """Boxes that leave their image or have no area, and how many are too small to be seen."""
    tiny = total = 0
    for sample in samples:
        if not isinstance(sample.labels, Instances) or not len(sample.labels):
            continue
        boxes, (width, height) = sample.labels.boxes, sample.size
        sides = boxes[:, 2:] - boxes[:, :2]
        outside = (boxes[:, :2] < -SLACK).any(1) | (boxes[:, 2:] > np.array([width, height]) + SLACK).any(1)
        flat = (sides <= 0).any(1)
        if outside.any():
            yield Problem("boxes_outside", "warning", sample.name, {"count": int(outside.sum()), "width": width, "height": height})
        if flat.any():
            yield Problem("boxes_without_area", "error", sample.name, {"count": int(flat.sum())})
        total += len(boxes)
        tiny += int((sides.min(1) * REFERENCE_SIDE / max(width, height) < TINY_SIDE).sum())
    if tiny:
        yield Problem("boxes_tiny", "note", ".", {"count": tiny, "total": total, "side": TINY_SIDE, "reference": REFERENCE_SIDE})


def _same_images(samples: list[Sample]) -> Iterator[Problem]:
    """Images with the same bytes in two splits: what is validated has been learnt by heart. Only files of one size are read."""
    sizes: dict[int, list[Sample]] = {}
    for sample in samples:
        try:
            sizes.setdefault(sample.image.stat().st_size, []).append(sample)
        except OSError as error:
            yield Problem("file_unreadable", "error", sample.name, {"reason": error.strerror or str(error)})
    for alike in sizes.values():
        if len({sample.split or "train" for sample in alike}) < 2:
            continue
        first: dict[bytes, Sample] = {}
        for sample in alike:
            known = first.setdefault(_digest(sample), sample)
            if (known.split or "train") != (sample.split or "train"):
                values = {"split": sample.split or "train", "other": known.name, "other_split": known.split or "train"}
                yield Problem("same_image_in_splits", "warning", sample.name, values)


def _digest(sample: Sample) -> bytes:
    with sample.image.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def _decoded(samples: list[Sample], progress: Progress) -> Iterator[Problem]:
    for number, sample in enumerate(samples, 1):
        try:
            open_image(sample.image)
        except UserError as error:
            yield problem_of(error, sample.name)
        progress(number, len(samples))

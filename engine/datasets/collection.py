"""A data set in memory: its samples, their splits, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets import source
from engine.types import SPLITS, UNCERTAIN, Instances, Problem, Reading, Sample, SemanticMask, Tags, UserError


@dataclass
class Collection:
    """`classes` (index = id), all `samples`, the `problems` met while reading, the `format` they came in, the `task` they fit."""

    classes: tuple[str, ...]
    samples: list[Sample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    format: str = ""
    task: str = "detect"

    def split(self, name: str) -> list[Sample]:
        return [sample for sample in self.samples if (sample.split or "train") == name]

    def counts(self) -> dict[str, dict[str, Any]]:
        return count_samples(self.samples, self.classes)


def count_samples(samples: Iterable[Sample], classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """{split: {"images", "boxes", "unlabeled", "classes": {name: count}}}, in the order train, valid, test.

    A class counts its objects, or, where there are tags or masks, the images that show it.
    """
    counts: dict[str, dict[str, Any]] = {}
    tallies: dict[str, np.ndarray] = {}
    for sample in samples:
        split = sample.split or "train"
        row = counts.setdefault(split, {"images": 0, "boxes": 0, "unlabeled": 0})
        tally = tallies.setdefault(split, np.zeros(len(classes), np.int64))
        row["images"] += 1
        row["unlabeled"] += sample.labels is None
        if isinstance(sample.labels, Instances):
            row["boxes"] += len(sample.labels)
            tally += np.bincount(sample.labels.classes, minlength=len(classes))
        elif isinstance(sample.labels, Tags):
            tally += np.nan_to_num(sample.labels.values) > UNCERTAIN
        elif isinstance(sample.labels, SemanticMask):
            tally += present(sample.labels, len(classes))
    for split, row in counts.items():
        row["classes"] = dict(zip(classes, tallies[split].tolist(), strict=True))
    return {split: counts[split] for split in sorted(counts, key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))}


def present(mask: SemanticMask, count: int) -> np.ndarray:
    """bool[count]: the classes that have a pixel in a mask."""
    if mask.layers is not None:
        found = np.array([layer.any() for layer in mask.layers], bool)
        return np.pad(found[:count], (0, max(0, count - len(found))))
    return np.bincount(mask.classes.ravel(), minlength=count)[:count] > 0 if mask.classes is not None else np.zeros(count, bool)


def collect(reading: Reading, format_name: str = "", problems: Iterable[Problem] = ()) -> Collection:
    """Empties the stream of a reading into memory."""
    collection = Collection(reading.classes, problems=list(problems), format=format_name, task=reading.task)
    for item in reading.items:
        if isinstance(item, Sample):
            collection.samples.append(item)
        else:
            collection.problems.append(item)
    return collection


def load(src: Path, scratch: Path, *, problems: list[Problem] | None = None) -> Collection:
    """A stored data set, a folder of any known format, a label file or an archive (unpacked below `scratch`, and kept).

    Looks at image headers only. Raises UserError when there is no image in it; `problems` then tells what was found.
    """
    from engine.datasets import store

    if store.is_dataset(src):
        return store.Dataset(src).collection()
    found = problems if problems is not None else []
    with source.opened(Path(src), scratch, problems=found) as root:
        chosen, _ = source.recognise(root)
        collection = collect(chosen.read(root), chosen.name, found)
        found[:] = collection.problems
    if not collection.samples:
        raise UserError("dataset_without_images", name=Path(src).name, problems=len(collection.problems))
    return collection


def with_splits(collection: Collection, fractions: Mapping[str, float], seed: int = 0) -> Collection:
    """All samples dealt anew to the splits of `fractions`, e.g. {"train": 0.8, "valid": 0.2}.

    The order is a hash of seed and name, so it is random, repeatable and independent of where the files lie. Samples of one
    group (patient, video) stay together. Every split that is asked for gets something when there are enough groups.
    """
    check_fractions(fractions)
    groups: dict[str, list[Sample]] = {}
    for sample in collection.samples:
        groups.setdefault(f"group {sample.group}" if sample.group is not None else f"name {sample.name}", []).append(sample)
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{seed}\n{key}".encode("utf-8", "surrogateescape")).digest())
    dealt: dict[int, str] = {}
    wanted = {split: fraction * len(collection.samples) / sum(fractions.values()) for split, fraction in fractions.items() if fraction > 0}
    given = dict.fromkeys(wanted, 0)
    for position, key in enumerate(order):
        empty = [split for split, count in given.items() if not count]
        must = len(order) - position <= len(empty)
        split = min(empty if must else wanted, key=lambda name: given[name] / wanted[name])
        given[split] += len(groups[key])
        dealt.update((id(sample), split) for sample in groups[key])
    return replace(collection, samples=[replace(sample, split=dealt[id(sample)]) for sample in collection.samples])


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raises UserError unless the splits are known and the shares positive."""
    total = sum(fractions.values())
    if not fractions or any(split not in SPLITS for split in fractions) or min(fractions.values()) < 0 or not 0 < total <= 1.001:
        shown = ",".join(f"{split}={share:g}" for split, share in fractions.items())
        raise UserError("bad_split", value=shown or "-", known=", ".join(SPLITS))


def with_valid(collection: Collection, fraction: float = 0.2, seed: int = 0) -> Collection:
    """The collection itself when it has a valid split; else a share of train becomes one, and a note says so."""
    train = collection.split("train")
    if collection.split("valid") or len(train) < 2:
        return collection
    dealt = with_splits(replace(collection, samples=train), {"train": 1 - fraction, "valid": fraction}, seed)
    rest = [sample for sample in collection.samples if (sample.split or "train") != "train"]
    share = sum(sample.split == "valid" for sample in dealt.samples)
    note = Problem("valid_split_made", "note", ".", {"count": share, "total": len(train), "seed": seed})
    return replace(collection, samples=dealt.samples + rest, problems=[*collection.problems, note])

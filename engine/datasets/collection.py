"""A data set in memory: its samples, their splits, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets import similar, source, splits, splits_guess
from engine.datasets.packed import ids, pack
from engine.datasets.splits import check_fractions
from engine.types import SPLITS, UNCERTAIN, Instances, Labels, Problem, Reading, Sample, SemanticMask, Tags, UserError


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
    return np.isin(np.arange(count), ids(mask))


def collect(reading: Reading, format_name: str = "", problems: Iterable[Problem] = ()) -> Collection:
    """Empties the stream of a reading into memory."""
    collection = Collection(reading.classes, problems=list(problems), format=format_name, task=reading.task)
    for item in reading.items:
        if isinstance(item, Sample):
            collection.samples.append(item.with_labels(pack(item.labels)) if isinstance(item.labels, SemanticMask) else item)
        else:
            collection.problems.append(item)
    return collection


def load(src: Path, scratch: Path, *, problems: list[Problem] | None = None) -> Collection:
    """A stored data set, a folder of any known format, a label file or an archive (unpacked below `scratch`, and kept).

    Looks at image headers only. Raises UserError when there is no image in it; `problems` then tells what was found.
    """
    from engine.datasets import store

    if store.is_dataset(src):
        return store.Dataset(src, readonly=True).collection()
    found = problems if problems is not None else []
    with source.opened(Path(src), scratch, problems=found) as root:
        chosen, _ = source.recognise(root)
        collection = collect(chosen.read(root), chosen.name, found)
        found[:] = collection.problems
    if not collection.samples:
        raise UserError("dataset_without_images", name=Path(src).name, problems=len(collection.problems))
    return collection


def with_splits(collection: Collection, fractions: Mapping[str, float], seed: int = 0) -> Collection:
    """All samples dealt anew to the splits of `fractions`, e.g. {"train": 0.8, "valid": 0.2}; see `splits.deal`.

    It depends on seed and names alone, not on where the files lie. Samples of one group (patient, video) stay together, and so do images that
    are the same or look alike, for which every image is opened. Where no group is known, names that speak of one (patient_003, video2) count,
    and a note says so. Every split that is asked for gets something when there are enough groups.
    """
    check_fractions(fractions)
    alike = similar.clusters([(seen.digest, seen.look) for seen in similar.see_all([sample.image for sample in collection.samples])])
    groups, guess = _groups(collection.samples)
    items = [splits.Item(number, sample.name, groups[number], sample.split, shown(sample.labels, len(collection.classes)), cluster)
             for number, (sample, cluster) in enumerate(zip(collection.samples, alike, strict=True))]
    dealt = splits.deal(items, fractions, seed=seed)
    return replace(collection, samples=[replace(sample, split=dealt[number]) for number, sample in enumerate(collection.samples)],
                   problems=[*collection.problems, *guess])


def _groups(samples: list[Sample]) -> tuple[list[str | None], list[Problem]]:
    """The group of every sample; where none is known at all, what the names tell, and a note that says so."""
    groups = [sample.group for sample in samples]
    guess = splits_guess.guessed([sample.name for sample in samples]) if not any(group is not None for group in groups) else None
    if guess is None:
        return groups, []
    rule, groups = guess
    known = [group for group in groups if group is not None]
    return groups, [Problem("groups_guessed", "note", ".", {"rule": rule, "count": len(set(known)), "images": len(known)})]


def shown(labels: Labels | None, count: int) -> tuple[int, ...]:
    """The ids of the classes that labels show: one for each object, or once where there are tags or masks."""
    if isinstance(labels, Instances):
        return tuple(labels.classes.tolist())
    if isinstance(labels, Tags):
        return tuple(np.flatnonzero(np.nan_to_num(labels.values) > UNCERTAIN).tolist())
    return tuple(np.flatnonzero(present(labels, count)).tolist()) if isinstance(labels, SemanticMask) else ()


def with_valid(collection: Collection, fraction: float = 0.2, seed: int = 0) -> Collection:
    """The collection itself when it has a valid split; else a share of train becomes one, and a note says so."""
    train = collection.split("train")
    if collection.split("valid") or len(train) < 2:
        return collection
    dealt = with_splits(replace(collection, samples=train), {"train": 1 - fraction, "valid": fraction}, seed)
    rest = [sample for sample in collection.samples if (sample.split or "train") != "train"]
    share = sum(sample.split == "valid" for sample in dealt.samples)
    note = Problem("valid_split_made", "note", ".", {"count": share, "total": len(train), "seed": seed})
    return replace(collection, samples=dealt.samples + rest, problems=[*dealt.problems, note])

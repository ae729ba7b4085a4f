"""What is wrong with the whole: splits and classes that miss each other, groups in two splits, classes that are rare or alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from engine.datasets.health_facts import BACKGROUND, Facts, Finding, split_rank
from engine.datasets.health_labels import named
from engine.datasets.splits import source_of
from engine.types import Problem

IMBALANCE = 50  # most common class : rarest
FEW_OBJECTS = 10
FEW_VALID = 5
MANY_UNLABELED = 0.1
MANY_TIMES = 4.0  # longest image : shortest, by their longer sides
MAX_NAMED = 20
Counts = dict[str, dict[str, Any]]


def of_splits(facts: Facts, counts: Counts) -> Iterator[Finding]:
    """Splits that are missing, small or unlabeled, and classes that train lacks."""
    if not any(sum(row["classes"].values()) for row in counts.values()):
        yield Finding(Problem("no_objects", "error", "."))
        return
    yield from _unlabeled(facts, counts)
    if "train" not in counts:
        yield Finding(Problem("no_train_split", "warning", ".", {"splits": ", ".join(counts)}))
        return
    train = counts["train"]["images"]
    if "valid" not in counts:
        yield Finding(Problem("no_valid_split", "warning", ".", {"images": train}))
    else:
        valid = counts["valid"]["images"]
        if valid < FEW_VALID:
            yield Finding(Problem("valid_small", "note", "valid", {"images": valid}))
        if valid > train:
            yield Finding(Problem("valid_larger", "note", "valid", {"images": valid, "train": train}))
    yield from _absent_from_train(facts, counts)


def _unlabeled(facts: Facts, counts: Counts) -> Iterator[Finding]:
    for split, row in counts.items():
        if row["unlabeled"] >= max(1, MANY_UNLABELED * row["images"]):
            images = np.flatnonzero(facts.in_split(split) & ~facts.labeled)
            values = {"count": row["unlabeled"], "total": row["images"], "split": split}
            yield Finding(Problem("unlabeled_share", "note", split, values), tuple(images.tolist()))


def _absent_from_train(facts: Facts, counts: Counts) -> Iterator[Finding]:
    absent = absent_from_train(counts)
    if not absent:
        return
    images, kinds, _ = facts.shown()
    numbers = {name: number for number, name in enumerate(facts.classes)}
    for split, name in absent:
        showing = images[kinds == numbers[name]]
        here = showing[facts.in_split(split)[showing]]
        yield Finding(Problem("class_absent_from_train", "warning", split, {"name": name, "count": counts[split]["classes"][name]}),
                      tuple(here.tolist()))


def absent_from_train(counts: Counts) -> list[tuple[str, str]]:
    """(split, class) for every class that a split shows and train does not."""
    learnt = counts.get("train", {}).get("classes", {})
    return [(split, name) for split, row in counts.items() for name, count in row["classes"].items() if learnt and count and not learnt[name]]


def of_classes(facts: Facts, counts: Counts) -> Iterator[Finding]:
    """Classes without an object, rare and uneven ones, and names that mean the same."""
    for names in alike(facts.classes):
        yield Finding(Problem("class_names_alike", "warning", ".", {"names": named(list(names))}))
    learnt: dict[str, int] = counts.get("train", {}).get("classes", {})
    used = {name: count for name, count in learnt.items() if count and name.casefold() != BACKGROUND}
    if not used:
        return
    if not len(facts.shows):
        for name in unused(counts):
            yield Finding(Problem("class_unused", "note", ".", {"name": name}))
    most, least = max(used, key=lambda name: used[name]), min(used, key=lambda name: used[name])
    if used[most] >= IMBALANCE * used[least]:
        yield Finding(Problem("class_imbalance", "note", "train", {"most": most, "many": used[most], "least": least, "few": used[least]}))
    for name in [name for name, count in used.items() if count < FEW_OBJECTS]:
        yield Finding(Problem("class_rare", "note", "train", {"name": name, "count": used[name]}))


def unused(counts: Counts) -> list[str]:
    """Classes without an object in any split."""
    names = next(iter(counts.values()))["classes"] if counts else {}
    return [name for name in names if not any(row["classes"][name] for row in counts.values()) and name.casefold() != BACKGROUND]


def alike(classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Classes whose names differ only by case, blanks, hyphens and underscores; single letters and digits may well differ by case."""
    folded: dict[str, list[str]] = {}
    for name in classes:
        key = "".join(char for char in unicodedata.normalize("NFKC", name).casefold() if not char.isspace() and char not in "_-")
        folded.setdefault(key if len(key) > 1 else name, []).append(name)
    return [tuple(names) for names in folded.values() if len(names) > 1]


def of_groups(facts: Facts) -> Iterator[Finding]:
    """Groups (patients, videos) and augmented copies of one picture with images in several splits."""
    yield from _parted(facts, "group_in_splits", facts.groups)
    yield from _parted(facts, "source_in_splits", [source_of(name) for name in facts.names])


def _parted(facts: Facts, code: str, groups: Sequence[str | None]) -> Iterator[Finding]:
    members: dict[str, list[int]] = {}
    for image, group in enumerate(groups):
        if group is not None:
            members.setdefault(group, []).append(image)
    for group, images in members.items():
        counts: dict[str, int] = {}
        for image in images:
            counts[facts.splits[image]] = counts.get(facts.splits[image], 0) + 1
        if len(counts) > 1:
            splits = sorted(counts, key=split_rank)
            place = next(image for image in images if facts.splits[image] != splits[0])
            values = {"group": group, "count": len(images), "splits": ", ".join(f"{split} ({counts[split]})" for split in splits)}
            yield Finding(Problem(code, "warning", facts.names[place], values), tuple(images))


def of_sizes(facts: Facts) -> Iterator[Finding]:
    """Images of very different sizes."""
    if not len(facts):
        return
    longer = facts.sizes.max(1)
    small, large = int(longer.argmin()), int(longer.argmax())
    if longer[large] >= MANY_TIMES * longer[small]:
        values = {"small": "{} x {}".format(*facts.sizes[small]), "large": "{} x {}".format(*facts.sizes[large]), "other": facts.names[large]}
        yield Finding(Problem("image_sizes_differ", "note", facts.names[small], values), (small, large))

"""Plans that move images between splits so that nothing leaks. Images that share a group, are the same or look alike always go together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.datasets import health_splits, splits
from engine.datasets.health_facts import Facts, split_rank

VALID_SHARE = 0.2
TAUGHT_SHARE = 0.8  # of the images with a class that train lacks


@dataclass(frozen=True)
class Plan:
    """{image id: split} for `moves`; `fixed` names the images that must stay where they are for it to work."""

    code: str
    problem: str
    moves: dict[int, str]
    fixed: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Kin:
    """Images (positions) that stay together, and whether copies or look-alikes among them lie in different splits."""

    images: list[int]
    copies_apart: bool
    likes_apart: bool


def plans(facts: Facts, digests: Sequence[bytes], alike: Sequence[Hashable | None], wanted: set[str]) -> Iterator[Plan]:
    """For those problems (codes) of `wanted` that moving can mend. `alike`: the cluster of every image, copies included."""
    kin, sources = _kin(facts, digests, alike), [splits.source_of(name) for name in facts.names]
    for code, problem, chosen in (
            ("move_copies", "same_image_in_splits", [each for each in kin if each.copies_apart]),
            ("move_look_alikes", "similar_images_in_splits", [each for each in kin if each.likes_apart and not each.copies_apart]),
            ("move_groups", "group_in_splits", [each for each in kin if _apart(facts, each.images, facts.groups)]),
            ("move_sources", "source_in_splits", [each for each in kin if _apart(facts, each.images, sources)])):
        if problem in wanted and chosen:
            yield _together(facts, code, problem, chosen)
    if "class_absent_from_train" in wanted:
        yield from _taught(facts, kin)
    if "no_valid_split" in wanted and "valid" not in facts.splits:
        yield from _valid(facts, kin)


def _kin(facts: Facts, digests: Sequence[bytes], alike: Sequence[Hashable | None]) -> list[_Kin]:
    items = [splits.Item(image, facts.names[image], facts.groups[image], facts.splits[image], (), alike[image]) for image in range(len(facts))]
    found = []
    for cluster in splits.together(items):
        images = [item.id for item in cluster if isinstance(item.id, int)]
        copies = _apart(facts, images, digests)
        found.append(_Kin(images, copies, copies or _apart(facts, images, alike)))
    return found


def _apart(facts: Facts, images: Sequence[int], keys: Sequence[Hashable]) -> bool:
    """Whether images with the same key lie in different splits."""
    seen: dict[Hashable, str] = {}
    known = [image for image in images if keys[image] not in (None, b"")]
    return any(seen.setdefault(keys[image], facts.splits[image]) != facts.splits[image] for image in known)


def _together(facts: Facts, code: str, problem: str, chosen: Sequence[_Kin]) -> Plan:
    """All kin in one split: where look-alikes leak, in train; else where most of them are."""
    moves: dict[int, str] = {}
    fixed: dict[int, str] = {}
    for kin in chosen:
        counts = Counter(facts.splits[image] for image in kin.images)
        most = min(counts, key=lambda split: (-counts[split], split_rank(split)))
        target = "train" if kin.likes_apart else most
        for image in kin.images:
            (fixed if facts.splits[image] == target else moves)[facts.ids[image]] = target
    return Plan(code, problem, moves, fixed)


def _taught(facts: Facts, kin: Sequence[_Kin]) -> Iterator[Plan]:
    """Moves most images of every class that train lacks into train, smallest families first."""
    lacking = {name for _, name in health_splits.absent_from_train(facts.counts())}
    if not lacking:
        return
    images, kinds, _ = facts.shown()
    family = {image: number for number, each in enumerate(kin) for image in each.images}
    moved: set[int] = set()
    for name in sorted(lacking):
        showing = images[kinds == facts.classes.index(name)].tolist()
        families = Counter(family[image] for image in showing)
        goal = max(1, round(TAUGHT_SHARE * len(showing)))
        done = sum(families[number] for number in families if number in moved)
        for number in sorted(families, key=lambda each: (len(kin[each].images), kin[each].images)):
            if number in moved:
                continue
            if done >= goal or (done and done + families[number] == len(showing)):  # leaves something to measure by
                break
            moved.add(number)
            done += families[number]
    ids = {facts.ids[image]: facts.splits[image] for number in moved for image in kin[number].images}
    yield Plan("move_absent", "class_absent_from_train", {number: "train" for number, split in ids.items() if split != "train"},
               {number: "train" for number, split in ids.items() if split == "train"})


def _valid(facts: Facts, kin: Sequence[_Kin]) -> Iterator[Plan]:
    """A stratified share of train, in whole families; those that reach into another split stay."""
    free = [each for each in kin if all(facts.splits[image] == "train" for image in each.images)]
    if len(free) < 2:
        return
    shown: dict[int, list[int]] = {}
    for image, kind in zip(*(column.tolist() for column in facts.shown()[:2]), strict=True):
        shown.setdefault(image, []).append(kind)
    items = [splits.Item(image, facts.names[image], None, "train", tuple(shown.get(image, ())), number)
             for number, each in enumerate(free) for image in each.images]
    share = min(0.5, VALID_SHARE * float(np.sum(facts.in_split("train"))) / len(items))
    dealt = splits.deal(items, {"train": 1 - share, "valid": share})
    by_id = {facts.ids[image]: split for image, split in dealt.items() if isinstance(image, int)}
    yield Plan("make_valid", "no_valid_split", {number: split for number, split in by_id.items() if split == "valid"},
               {number: split for number, split in by_id.items() if split == "train"})

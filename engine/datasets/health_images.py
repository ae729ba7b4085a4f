"""What is wrong with image files: what cannot be opened, what is there twice, and what was seen on opening."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engine.datasets.faults import problem_of
from engine.datasets.health_facts import Facts, Finding, split_rank
from engine.datasets.similar import Seen
from engine.types import Problem

MAX_COMPARED = 4_000_000
SAME_BOX = 1.0  # pixels by which two boxes may differ and still be the same label


def of_files(facts: Facts, seen: Sequence[Seen], *, decoded: bool) -> Iterator[Finding]:
    """Images that cannot be read, and remarks on how they are shown. Damage counts only when it was asked for."""
    for image, each in enumerate(seen):
        if each.error is not None and (decoded or each.error.key == "file_unreadable"):
            yield Finding(problem_of(each.error, facts.names[image]), (image,))
        for remark in each.remarks:
            yield Finding(Problem(f"image_{remark}", "note", facts.names[image]), (image,))


def of_copies(facts: Facts, digests: Sequence[bytes], pairs: np.ndarray) -> Iterator[Finding]:
    """Images that are the same or look alike (`pairs` of `similar.similar_pairs`): in two splits a leak, within one a waste."""
    ranks = np.array([split_rank(split)[0] for split in facts.splits], np.int64)
    copies = [sorted(group, key=lambda image: (ranks[image], image)) for group in copied(digests)]
    parts = [part for group in copies for part in by_split(facts, group) if len(part) > 1]
    codes = {digest: number for number, digest in enumerate(dict.fromkeys(digests))}
    code = np.array([codes[digest] for digest in digests], np.int64)
    near = _look_alikes(pairs[code[pairs[:, 0]] != code[pairs[:, 1]]], copies, facts)
    yield from _across(facts, ranks, _stars(copies), "same_image_in_splits")
    yield from _across(facts, ranks, near, "similar_images_in_splits")
    yield from _within(facts, ranks, _stars(parts), "same_images")
    yield from _within(facts, ranks, near, "similar_images")
    for part in parts:
        best, contrary = best_labeled(facts, part)
        if contrary is not None:
            yield Finding(Problem("copies_labeled_differently", "warning", facts.names[contrary], {"other": facts.names[best]}), tuple(part))


def copied(digests: Sequence[bytes]) -> list[list[int]]:
    """Images with the same bytes, in groups of two or more."""
    groups: dict[bytes, list[int]] = {}
    for image, digest in enumerate(digests):
        if digest:
            groups.setdefault(digest, []).append(image)
    return [group for group in groups.values() if len(group) > 1]


def by_split(facts: Facts, images: Sequence[int]) -> list[list[int]]:
    parts: dict[str, list[int]] = {}
    for image in images:
        parts.setdefault(facts.splits[image], []).append(image)
    return list(parts.values())


def _stars(groups: Sequence[Sequence[int]]) -> np.ndarray:
    """i64[P,2]: the first of every group with each other member."""
    return np.array([(group[0], other) for group in groups for other in group[1:]], np.int64).reshape(-1, 2)


def _look_alikes(pairs: np.ndarray, copies: Sequence[Sequence[int]], facts: Facts) -> np.ndarray:
    """The pairs, with the copies of their members too: of the same bytes only one image was compared."""
    whole = {min(group): list(group) for group in copies}
    firsts = {number: [part[0] for part in by_split(facts, group)] for number, group in whole.items()}
    grown = [pairs]
    for a, b in pairs[np.isin(pairs, list(whole)).any(1)].tolist():
        grown.append(np.array([(x, y) for x in firsts.get(a, [a]) for y in whole.get(b, [b])] +
                              [(x, y) for x in whole.get(a, [a]) for y in firsts.get(b, [b])], np.int64))
    return np.concatenate(grown)


def _across(facts: Facts, ranks: np.ndarray, pairs: np.ndarray, code: str) -> Iterator[Finding]:
    """One problem for every image of a later split that has its like in an earlier one."""
    swapped = ranks[pairs[:, 0]] > ranks[pairs[:, 1]]
    first, second = np.where(swapped, pairs[:, 1], pairs[:, 0]), np.where(swapped, pairs[:, 0], pairs[:, 1])
    apart = ranks[first] != ranks[second]
    first, second = first[apart], second[apart]
    order = np.lexsort((first, ranks[first], second))
    images, places = np.unique(second[order], return_index=True)
    for image, other in zip(images.tolist(), first[order][places].tolist(), strict=True):
        values = {"split": facts.splits[image], "other": facts.names[other], "other_split": facts.splits[other]}
        yield Finding(Problem(code, "warning", facts.names[image], values), (image, other))


def _within(facts: Facts, ranks: np.ndarray, pairs: np.ndarray, code: str) -> Iterator[Finding]:
    """One note for every split: how many images have their like there, with an example."""
    inside = pairs[ranks[pairs[:, 0]] == ranks[pairs[:, 1]]]
    for rank in np.unique(ranks[inside[:, 0]]):
        here = inside[ranks[inside[:, 0]] == rank]
        images, (one, other) = np.unique(here), here[0].tolist()
        values = {"count": len(images), "split": facts.splits[one], "example": facts.names[one], "other": facts.names[other]}
        yield Finding(Problem(code, "note", facts.splits[one], values), tuple(images.tolist()))


def best_labeled(facts: Facts, images: Sequence[int]) -> tuple[int, int | None]:
    """Of some copies the one with the most labels, and the first whose labels say something that those do not; None when all agree."""
    best = max(images, key=lambda image: (_weight(facts, image), -image))
    return best, next((image for image in images if image != best and not _holds(facts, best, image)), None)


def _weight(facts: Facts, image: int) -> tuple[bool, bool, int]:
    part = facts.objects_of(image)
    return bool(facts.labeled[image]), image in facts.signatures, part.stop - part.start


def _holds(facts: Facts, image: int, other: int) -> bool:
    """Whether the labels of `image` say all that those of `other` say."""
    if not facts.labeled[other]:
        return True
    if other in facts.signatures or image in facts.signatures:
        return facts.signatures.get(other) == facts.signatures.get(image)
    mine, theirs = facts.objects_of(image), facts.objects_of(other)
    if theirs.start == theirs.stop:
        return True
    if (mine.stop - mine.start) * (theirs.stop - theirs.start) > MAX_COMPARED:
        return np.array_equal(facts.boxes[mine], facts.boxes[theirs]) and np.array_equal(facts.kinds[mine], facts.kinds[theirs])
    apart = np.abs(facts.boxes[theirs][:, None] - facts.boxes[mine][None]).max(2)
    fits = (apart <= SAME_BOX) & (facts.kinds[theirs][:, None] == facts.kinds[mine][None])
    return bool(fits.any(1).all())

"""What is wrong with labels: boxes, doubles, crowds, tags and masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.datasets.health_facts import BACKGROUND, Facts, Finding
from engine.types import UNCERTAIN, Problem, Severity

TINY_SIDE = 4.0  # pixels once the image's longer side is the training size
SLACK = 0.5  # pixels
SAME_IOU = 0.95
MAX_STEPS = 300  # neighbours that a box is compared with
MAX_NAMES = 12


def of_objects(facts: Facts, image_size: int, capacity: int) -> Iterator[Finding]:
    """Boxes that leave their image, have no area, are there twice or too small to be seen; images with more objects than a model answers."""
    if not len(facts.boxes):
        return
    sides = facts.boxes[:, 2:] - facts.boxes[:, :2]
    for image, count in _per_image(facts, outside(facts)):
        width, height = facts.sizes[image].tolist()
        yield _at(facts, image, "boxes_outside", "warning", count=count, width=width, height=height)
    for image, count in _per_image(facts, (sides <= 0).any(1)):
        yield _at(facts, image, "boxes_without_area", "error", count=count)
    for image, count in _per_image(facts, doubles(facts)):
        yield _at(facts, image, "objects_twice", "warning", count=count)
    tiny = sides.min(1) * image_size / facts.sizes.max(1)[facts.owners] < TINY_SIDE
    if tiny.any():
        values = {"count": int(tiny.sum()), "total": len(tiny), "side": TINY_SIDE, "reference": image_size}
        yield Finding(Problem("boxes_tiny", "note", ".", values), tuple(np.unique(facts.owners[tiny]).tolist()))
    per_image = np.bincount(facts.owners)
    full = np.flatnonzero(per_image > capacity)
    if len(full):
        most = int(per_image.argmax())
        values = {"count": len(full), "most": int(per_image[most]), "capacity": capacity}
        yield Finding(Problem("objects_over_capacity", "warning", facts.names[most], values), tuple(full.tolist()))


def outside(facts: Facts) -> np.ndarray:
    """bool[M]: boxes that reach over the border of their image."""
    return (facts.boxes[:, :2] < -SLACK).any(1) | (facts.boxes[:, 2:] > facts.sizes[facts.owners] + SLACK).any(1)


def doubles(facts: Facts) -> np.ndarray:
    """bool[M]: objects of which an earlier one of the same image and class has the same box."""
    return doubled(facts.boxes, facts.owners * max(1, len(facts.classes)) + facts.kinds)


def doubled(boxes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """bool[M]: boxes f32[M,4] of which an earlier one with the same key i64[M] overlaps by more than 95% (IoU)."""
    boxes = boxes.astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    real = np.flatnonzero((sides > 0).all(1))
    order = real[np.lexsort((boxes[real, 0], keys[real]))]
    ordered_keys, lefts, widths = keys[order], boxes[order, 0], sides[order, 0]
    twice = np.zeros(len(boxes), bool)
    alive = np.arange(len(order))
    for step in range(1, MAX_STEPS + 1):
        alive = alive[alive + step < len(order)]
        near = lefts[alive + step] - lefts[alive] <= (1 / SAME_IOU - SAME_IOU) * widths[alive]
        alive = alive[near & (ordered_keys[alive + step] == ordered_keys[alive])]
        if not len(alive):
            break
        one, other = order[alive], order[alive + step]
        same = _overlaps(boxes[one], boxes[other]) > SAME_IOU
        twice[np.maximum(one, other)[same]] = True
    return twice


def _overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """f64[N]: intersection over union of boxes [N,4], pair by pair."""
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = np.clip(sides, 0, None).prod(1)
    return shared / ((one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1) - shared)


def _per_image(facts: Facts, chosen: np.ndarray) -> Iterator[tuple[int, int]]:
    images, counts = np.unique(facts.owners[chosen], return_counts=True)
    yield from zip(images.tolist(), counts.tolist(), strict=True)


def _at(facts: Facts, image: int, code: str, severity: Severity, **values: Any) -> Finding:
    return Finding(Problem(code, severity, facts.names[image], values), (image,))


# ---- tags

def of_tags(facts: Facts) -> Iterator[Finding]:
    """Classes that a split only affirms or only denies (no ROC curve there), and answers that were left open."""
    if not len(facts.tags):
        return
    there, not_there = facts.tags > UNCERTAIN, facts.tags < UNCERTAIN
    split = np.array([facts.splits[image] for image in facts.tag_owners.tolist()])
    used = there.any(0)
    for name in facts.split_names:
        here = split == name
        for code, answers in (("class_without_positive", there), ("class_without_negative", not_there)):
            lacking = np.flatnonzero(used & ~answers[here].any(0)).tolist()
            if lacking and here.any() and (name != "train" or code == "class_without_negative"):
                values = {"count": len(lacking), "names": named([facts.classes[each] for each in lacking]), "split": name}
                yield Finding(Problem(code, "warning", name, values))
    for code, open_answers in (("tags_uncertain", facts.tags == UNCERTAIN), ("tags_unknown", np.isnan(facts.tags))):
        if open_answers.any():
            images = facts.tag_owners[open_answers.any(1)]
            answers_left = {"count": int(open_answers.sum()), "total": open_answers.size, "images": len(images)}
            yield Finding(Problem(code, "note", ".", answers_left), tuple(images.tolist()))


# ---- masks

def of_masks(facts: Facts) -> Iterator[Finding]:
    """Classes without a pixel, masks that show nothing, and pixels that nobody may judge."""
    if not len(facts.shows):
        return
    real = np.array([name.casefold() != BACKGROUND for name in facts.classes], bool)
    for number in np.flatnonzero(real & ~facts.shows.any(0)).tolist():
        yield Finding(Problem("class_without_pixel", "note", ".", {"name": facts.classes[number]}))
    empty = ~facts.shows[:, real].any(1)
    if empty.any():
        values = {"count": int(empty.sum()), "total": len(facts.shows)}
        yield Finding(Problem("masks_empty", "note", ".", values), tuple(facts.mask_owners[empty].tolist()))
    if facts.void.any():
        shares = {"share": f"{100 * float(facts.void.mean()):.1f}", "images": int((facts.void > 0).sum())}
        yield Finding(Problem("masks_void", "note", ".", shares))


def named(names: list[str]) -> str:
    """The first names of a list, as people may read them."""
    return ", ".join(name[:80] for name in names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")

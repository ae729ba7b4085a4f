"""Masks of several views of an image that show the same object become one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.datasets.mask_crops import crop_of, rle_of_crop
from engine.tasks.suppression import overlaps
from engine.types import RLE, Instances

SAME_OBJECT = 0.6
SEEN_ONCE = 0.7


def merged(views: Sequence[Instances]) -> Instances:
    """One prediction from several of the same image, all in its pixels.

    Masks of one class from different views that overlap by SAME_OBJECT are one object: its score and box are means, its mask is what the
    views agree on, each counting as much as it is sure. An object that not all views show loses certainty, at most to SEEN_ONCE of it.
    """
    every = _joined(views)
    if not len(every) or every.scores is None:
        return every
    view = np.repeat(np.arange(len(views)), [len(each) for each in views])
    order = np.argsort(-every.scores, kind="stable")
    groups: list[list[int]] = []
    for class_id in np.unique(every.classes):
        groups += _groups([int(i) for i in order if every.classes[i] == class_id], every, view)
    return _joined([_one(every[np.array(group)], len(views)) for group in groups]).above(-1.0)


def _joined(parts: Sequence[Instances]) -> Instances:
    """All objects of several predictions, one after the other."""
    filled = [each for each in parts if len(each)]
    if not filled:
        return Instances(np.zeros((0, 4)), np.zeros(0), np.zeros(0), ())
    return Instances(np.concatenate([each.boxes for each in filled]), np.concatenate([each.classes for each in filled]),
                     np.concatenate([_scores(each) for each in filled]), tuple(shape for each in filled for shape in each.shapes or ()))


def _scores(found: Instances) -> np.ndarray:
    if found.scores is None or found.shapes is None:
        raise TypeError("predictions with masks are wanted")
    return found.scores


def _groups(members: Sequence[int], every: Instances, view: np.ndarray) -> list[list[int]]:
    """Objects of one class, best first, gathered around the best of each: of each view one at most."""
    found, views = every[np.array(members)], view[list(members)]
    near = overlaps(found, found)
    groups: list[list[int]] = []
    for place in range(len(members)):
        free = [group for group in groups if views[place] not in views[group] and near[place, group[0]] >= SAME_OBJECT]
        if free:
            max(free, key=lambda group: near[place, group[0]]).append(place)
        else:
            groups.append([place])
    return [[members[place] for place in group] for group in groups]


def _one(group: Instances, views: int) -> Instances:
    """A group as one object."""
    scores = _scores(group).astype(np.float64)
    seen = 1.0 if views < 2 else SEEN_ONCE + (1 - SEEN_ONCE) * (len(group) - 1) / (views - 1)
    share = (scores + 1e-9) / (scores + 1e-9).sum()
    box = (group.boxes * share[:, None]).sum(0, keepdims=True)
    mask = _agreed([each for each in group.shapes or () if isinstance(each, RLE)], share)
    return Instances(box, group.classes[:1], scores.mean(keepdims=True) * seen, (mask,))


def _agreed(shapes: Sequence[RLE], share: np.ndarray) -> RLE:
    """The pixels that more than half of the votes are for; `share` are the votes of the masks, together 1."""
    if len(shapes) == 1:
        return shapes[0]
    crops = [crop_of(each) for each in shapes]
    filled = [(mask, left, top, vote) for (mask, left, top), vote in zip(crops, share, strict=True) if mask.size]
    if not filled:
        return shapes[0]
    x, y = min(left for _, left, _, _ in filled), min(top for _, _, top, _ in filled)
    width = max(left + mask.shape[1] for mask, left, _, _ in filled) - x
    height = max(top + mask.shape[0] for mask, _, top, _ in filled) - y
    votes = np.zeros((height, width), np.float32)
    for mask, left, top, vote in filled:
        votes[top - y : top - y + mask.shape[0], left - x : left - x + mask.shape[1]] += mask * np.float32(vote)
    agreed = votes > 0.5
    return rle_of_crop(agreed, x, y, (shapes[0].size[1], shapes[0].size[0])) if agreed.any() else shapes[0]

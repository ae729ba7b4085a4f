"""Of two predictions of the same object, the surer one stays: by masks where there are some, else by boxes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pycocotools import mask as coco_mask

from engine.datasets import labeling_lists
from engine.tasks.mask_decoding import as_coco
from engine.types import Instances

LIMITS = (0.7, 0.8, 0.9)
CROWDED = 0.005  # share of the objects of a data set that may overlap more than the limit
SAME_LABEL = 0.95  # two labels of a class that overlap more are one object, labelled twice


def overlaps(first: Instances, second: Instances) -> np.ndarray:
    """f64[n,m]: IoU of the masks, or of the boxes, of two predictions of the same image."""
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    if first.shapes is None or second.shapes is None:
        return labeling_lists.overlaps(first.boxes, second.boxes)
    pairs = coco_mask.iou([as_coco(each) for each in first.shapes], [as_coco(each) for each in second.shapes], [0] * len(second))
    return np.asarray(pairs, np.float64).reshape(len(first), len(second))


def suppressed(found: Instances, limit: float, *, by_class: bool = False) -> Instances:
    """Best first, without objects that overlap a better one by more than `limit`, whatever their classes; `by_class`: only of the same class.
    1 keeps all."""
    ordered = found.above(-1.0)
    if limit >= 1 or len(ordered) < 2:
        return ordered
    same = overlaps(ordered, ordered) > limit
    if by_class:
        same &= ordered.classes[:, None] == ordered.classes
    keep = np.ones(len(ordered), bool)
    for i in range(len(ordered)):
        if keep[i]:
            keep[i + 1:] &= ~same[i, i + 1:]
    return ordered[keep]


def allowed_overlap(images: Iterable[Instances]) -> float:
    """The least of LIMITS that hardly any two labelled objects of a class exceed in the same image; 1 where even the greatest does not do."""
    greatest = [_greatest(each if each.crowd is None else each[~each.crowd]) for each in images]
    nearest = np.concatenate(greatest) if greatest else np.zeros(0)
    return next((limit for limit in LIMITS if (nearest > limit).sum() <= CROWDED * len(nearest)), 1.0)


def _greatest(objects: Instances) -> np.ndarray:
    """f64[N]: of each object, the greatest overlap of its box with another one of its class, labels given twice left out."""
    if len(objects) < 2:
        return np.zeros(len(objects))
    shared = labeling_lists.overlaps(objects.boxes, objects.boxes)
    shared[(objects.classes[:, None] != objects.classes) | (shared > SAME_LABEL)] = 0
    return shared.max(1)

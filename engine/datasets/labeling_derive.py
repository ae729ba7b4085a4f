"""Filling in the kind of label that is missing: boxes from masks, masks from polygons and back. What was filled in is marked as derived."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from engine.datasets import editing
from engine.datasets import labeling_tables as tables
from engine.datasets.outlines import as_polygons, box_of, mask_of, rle_of_mask
from engine.datasets.store import Dataset, epoch_of
from engine.types import RLE, Instances, Labels, Polygons, SemanticMask, Shape, UserError

KINDS = ("boxes_from_masks", "masks_from_polygons", "polygons_from_masks")
BACKGROUND = "background"
SMALLEST = 4  # pixels of an area that counts as an object
BATCH = 200


def derive(dataset: Dataset, ids: Iterable[int], what: str) -> int:
    """Fills in labels of these images, as one edit that can be undone, and returns how many images changed.

    "boxes_from_masks": the box of each object becomes that of its outline, and each separate area of a painted mask becomes an object with its box;
    "masks_from_polygons" and "polygons_from_masks" turn outlines into the other kind, the latter also the areas of painted masks. Objects without
    an outline stay as they are. Objects that changed are marked as derived until the image is edited. Raises UserError for another `what`.
    """
    if what not in KINDS:
        raise UserError("browse_unknown", value=str(what)[:80], known=", ".join(KINDS))
    every, classes, changed = sorted({int(each) for each in ids}), dataset.classes, {}
    with editing.combined(dataset, "labels_derived", {}):
        for start in range(0, len(every), BATCH):
            part = {}
            for image_id in every[start:start + BATCH]:
                row = dataset.row(image_id)
                made, places = derived_labels(row.labels, what, row.size, classes)
                if places:
                    part[image_id], changed[image_id] = made, places
            if part:
                editing.replace_labels(dataset, part)
    _keep(dataset, changed)
    return len(changed)


def derived_labels(labels: Labels | None, what: str, size: tuple[int, int], classes: tuple[str, ...]) -> tuple[Labels | None, list[int]]:
    """The labels with what was filled in, and the places of the objects that changed."""
    if isinstance(labels, SemanticMask) and what != "masks_from_polygons":
        found = objects_of(labels, classes)
        shapes = tuple(as_polygons(shape, None) for shape in found.shapes or ()) if what == "polygons_from_masks" else found.shapes
        return replace(found, shapes=shapes if len(found) else None), list(range(len(found)))
    if not isinstance(labels, Instances) or labels.shapes is None:
        return labels, []
    boxes, shapes_made, places = labels.boxes.copy(), list(labels.shapes), []
    for place, shape in enumerate(labels.shapes):
        if shape is None:
            continue
        new = _other(shape, what, size, labels.boxes[place].tolist())
        box = np.asarray(box_of(shape), np.float32)
        if what == "boxes_from_masks" and np.abs(box - boxes[place]).max() > 0.01:
            boxes[place] = box
            places.append(place)
        elif new is not shape:
            shapes_made[place] = new
            places.append(place)
    return replace(labels, boxes=boxes, shapes=tuple(shapes_made)), places


def _other(shape: Polygons | RLE, what: str, size: tuple[int, int], box: list[float]) -> Shape:
    """The outline as the other kind; the same object when there is nothing to turn, or nothing would be left of it."""
    if what == "masks_from_polygons" and isinstance(shape, Polygons):
        mask = mask_of(shape, size, box)
        return rle_of_mask(mask) if mask.any() else shape
    if what == "polygons_from_masks" and isinstance(shape, RLE):
        return as_polygons(shape, box)
    return shape


def objects_of(mask: SemanticMask, classes: tuple[str, ...]) -> Instances:
    """Each separate area (8-connected) of each class as an object with its mask and its box; specks are left out."""
    boxes, numbers, shapes = [], [], []
    for number, name in enumerate(classes):
        if name.strip().casefold() == BACKGROUND:
            continue
        for area in areas_of(_layer(mask, number)):
            shapes.append(rle_of_mask(area))
            boxes.append(box_of(shapes[-1]))
            numbers.append(number)
    return Instances(np.array(boxes, np.float32).reshape(-1, 4), np.array(numbers, np.int64), None, tuple(shapes) or None)


def areas_of(layer: np.ndarray, smallest: int = SMALLEST) -> list[np.ndarray]:
    """The separate areas of bool[H,W], the largest first."""
    count, parts, facts, _ = cv2.connectedComponentsWithStats(layer.astype(np.uint8), connectivity=8)
    order = sorted(range(1, count), key=lambda each: -int(facts[each, cv2.CC_STAT_AREA]))
    return [parts == each for each in order if facts[each, cv2.CC_STAT_AREA] >= smallest]


def _layer(mask: SemanticMask, number: int) -> np.ndarray:
    if mask.layers is not None:
        return mask.layers[number] if number < len(mask.layers) else np.zeros(mask.layers.shape[1:], bool)
    if mask.classes is None:
        raise ValueError("a mask has neither classes nor layers")
    return mask.classes == number


def _keep(dataset: Dataset, changed: dict[int, list[int]]) -> None:
    """The places of derived objects, under the revisions that their images have now."""
    if not changed:
        return
    with dataset.transaction() as connection:
        tables.create(connection, "derived")
        epoch = epoch_of(connection)
        for image_id, places in changed.items():
            connection.execute("INSERT OR REPLACE INTO derived SELECT id, revision + ?, ? FROM images WHERE id = ?",
                               (epoch, json.dumps(places), image_id))

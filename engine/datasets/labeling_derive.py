"""Filling in the kind of label that is missing: boxes from masks, masks from polygons and back. What was filled in is marked as derived."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

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
PATIENCE_S = 5.0


@dataclass(frozen=True)
class Derivable:
    """How many images each of KINDS would change, among the first `looked` of the `images` whose labels could be turned at all."""

    counts: dict[str, int]
    looked: int
    images: int

    @property
    def complete(self) -> bool:
        return self.looked == self.images


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


def candidates(dataset: Dataset) -> list[int]:
    """The images that are painted, or have an object with an outline, ascending: nothing can be derived from others."""
    with dataset.connection() as connection:
        return [image_id for image_id, in connection.execute("""SELECT i.id FROM images i WHERE i.trashed IS NULL AND (i.kind IN ('mask', 'layers')
            OR (i.kind = 'objects' AND EXISTS (SELECT 1 FROM shapes s WHERE s.image_id = i.id AND s.outline IS NOT NULL))) ORDER BY i.id""")]


def derivable(dataset: Dataset, ids: Iterable[int] | None = None, *, patience: float = PATIENCE_S) -> Derivable:
    """What `derive` would change of these images (of all, when None). It stops counting after `patience` seconds: then the counts are the least."""
    possible, classes, deadline = candidates(dataset), dataset.classes, time.monotonic() + patience
    wanted = possible if ids is None else sorted(set(ids) & set(possible))
    counts, looked = dict.fromkeys(KINDS, 0), 0
    for start in range(0, len(wanted), BATCH):
        with dataset.connection() as connection:
            for row in dataset.rows_in(connection, wanted[start:start + BATCH]):
                for what in KINDS:
                    counts[what] += changes(row.labels, what, row.size, classes)
                looked += 1
                if time.monotonic() > deadline:
                    return Derivable(counts, looked, len(wanted))
    return Derivable(counts, len(wanted), len(wanted))


def changes(labels: Labels | None, what: str, size: tuple[int, int], classes: tuple[str, ...]) -> bool:
    """Whether `derived_labels` would change anything; it looks no further than to the first object that does."""
    if isinstance(labels, SemanticMask):
        named = (number for number, name in enumerate(classes) if name.strip().casefold() != BACKGROUND)
        return what != "masks_from_polygons" and any(areas_of(_layer(labels, number)) for number in named)
    if not isinstance(labels, Instances) or labels.shapes is None:
        return False
    pairs = zip(labels.shapes, labels.boxes, strict=True)
    if what == "boxes_from_masks":
        return any(shape is not None and _is_off(shape, box) for shape, box in pairs)
    return any(shape is not None and _other(shape, what, size, box.tolist()) is not shape for shape, box in pairs)


def _is_off(shape: Polygons | RLE, box: np.ndarray) -> bool:
    return bool(np.abs(np.asarray(box_of(shape), np.float32) - box).max() > 0.01)


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
        if what == "boxes_from_masks" and _is_off(shape, boxes[place]):
            boxes[place] = box_of(shape)
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

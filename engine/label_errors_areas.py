"""Tags and painted areas that may be wrong; see engine.label_errors for what the scores mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.datasets.labeling_lists import Suspect
from engine.datasets.outlines import mask_of
from engine.datasets.store import Row
from engine.types import IGNORE, Instances, Labels, SemanticMask, Tags


def in_pixels_or_tags(row: Row, labels: Labels, place: Sequence[int], *, exclusive: bool) -> list[Suspect]:
    """What is suspicious in one image when the prediction has no objects; `place`: the class of the set of each class of the model, or -1."""
    truth = row.labels
    if isinstance(labels, Tags) and isinstance(truth, Tags):
        return _tags(row.id, truth.values, labels.values, place, exclusive)
    if isinstance(labels, SemanticMask) and isinstance(truth, Instances):
        truth = _painted(truth, row.size, max(place) + 1)
    if isinstance(labels, SemanticMask) and isinstance(truth, SemanticMask):
        return _areas(row.id, truth, labels, place)
    return []


def _tags(image_id: int, truth: np.ndarray, chances: np.ndarray, place: Sequence[int], exclusive: bool) -> list[Suspect]:
    by_class = {number: float(value) for number, value in zip(place, chances.tolist(), strict=True) if number >= 0 and not np.isnan(value)}
    if exclusive and by_class:
        likeliest = max(by_class, key=lambda number: by_class[number])
        given = [number for number in np.flatnonzero(np.nan_to_num(truth) > 0.5).tolist() if number in by_class]
        return [Suspect(image_id, "tag", round(1 - by_class[number], 4), None, number, likeliest if likeliest != number else None)
                for number in given]
    return [Suspect(image_id, "tag", round(abs(float(truth[number]) - chance), 4), None, number)
            for number, chance in by_class.items() if not np.isnan(truth[number])]


def _painted(truth: Instances, size: tuple[int, int], classes: int) -> SemanticMask | None:
    """Outlines as one area a class; None where there is an object without one: nobody can tell what it covers."""
    shapes = truth.shapes or ()
    if len(shapes) < len(truth) or any(shape is None for shape in shapes):
        return None
    layers = np.zeros((max(classes, 1 + int(truth.classes.max(initial=0))), size[1], size[0]), bool)
    for number, shape in zip(truth.classes.tolist(), shapes, strict=True):
        layers[number] |= mask_of(shape, size)
    return SemanticMask(layers=layers)


def _areas(image_id: int, truth: SemanticMask, found: SemanticMask, place: Sequence[int]) -> list[Suspect]:
    judged = np.asarray(truth.classes) != IGNORE if truth.layers is None else np.ones(truth.layers.shape[1:], bool)
    made = []
    for own, number in enumerate(place):
        if number < 0:
            continue
        label = truth.layers[number] if truth.layers is not None else np.asarray(truth.classes) == number
        seen = found.layers[own] if found.layers is not None else np.asarray(found.classes) == own
        chance = found.probabilities[own].astype(np.float32) if found.probabilities is not None else seen.astype(np.float32)
        differs, either = (label != seen) & judged, (label | seen) & judged
        if not either.any():
            continue
        score = float(np.abs(label[differs] - chance[differs]).sum() / either.sum())
        rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)) if len(rows) else None
        made.append(Suspect(image_id, "area", round(min(1.0, score), 4), box, number))
    return made

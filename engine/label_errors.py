"""Labels that may be wrong: where a model that has not learnt them is sure of something else.

Boxes and outlines. How sure a model is differs by class and by training, so scores s are measured by what is usual (as in confident learning,
Northcutt et al. 2021): c = min(1, s / t), t the median over the labels of the class of the best s with IoU >= 0.5, IoU that of boxes. A label is
supported by support = max over predictions of its class with IoU >= 0.3 of c * min(1, IoU / 0.6). Scores in 0..1:

- a label: (1 - support) * (0.75 + 0.25 * evidence), where evidence is the largest c of a prediction that lies on this label more than on any
  other and is of another class (IoU >= 0.5), or of its class and far off (0.1 <= IoU < 0.5). From an evidence of 0.3 on it is of the kind
  "class" or "shifted", else "unpredicted";
- "missed": 0.9 * c * precision * (0.9 + 0.1 * s) of a prediction that no label covers (IoU < 0.3, not within a crowd), that no surer one covers,
  and that is not where a shifted label belongs. precision is the largest share, over all s' <= s, of the predictions of the class with scores
  >= s' that lie on labels of it (IoU >= 0.5): what a model that is often wrong adds counts little.

Tags: "tag", |value - p|; where an image has one class, 1 - p of the class that is given, `other` the likeliest. Painted areas: "area", the sum of
|value - p| over the pixels where label and prediction differ, over the pixels of either, per class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.datasets import labeling_lists
from engine.datasets import labeling_tables as tables
from engine.datasets.labeling_lists import KINDS, Suspect, overlaps
from engine.datasets.outlines import mask_of
from engine.datasets.store import Dataset, Row
from engine.suggesting import check, places, predicted
from engine.types import IGNORE, Instances, Labels, SemanticMask, Tags, UserError

if TYPE_CHECKING:
    from engine.config import TrainConfig
    from engine.predict import Predictor

__all__ = ["KINDS", "Suspect", "in_scene", "labeled_ids", "suspects", "suspects_kfold"]
FAINT = 0.05
NEAR, SAME, SHIFTED = 0.3, 0.5, 0.1
FULL = 0.6
UNSEEN, MISSED = 0.75, 0.9  # what counts a label that nothing supports, and an object that no label covers, beside a contradiction
EVIDENT = 0.3
UNKNOWN = 0.5  # the usual score of a class that was never found
AT_ONCE = 4
Progress = Callable[[int, int], None]


def suspects(dataset: Dataset, predictor: Predictor, ids: Sequence[int] | None = None, *, source: str = "", minimum: float = 0.3,
             progress: Progress | None = None, cancelled: Callable[[], bool] = lambda: False, keep: bool = True) -> list[Suspect]:
    """Suspicious labels of these images (of all that are labeled and not checked, when None), the most suspicious first, from `minimum` on.

    The model should not have learnt these labels: take images that it was validated on, or `suspects_kfold`. With `keep` they are kept as
    the list of the set. Checked images are left out, and so are classes that the model does not know. Raises UserError for a model of another task.
    """
    check(dataset, predictor)
    wanted = labeled_ids(dataset, ids)
    found: list[Suspect] = []
    scenes: list[_Scene] = []
    place, classes = places(predictor.classes, dataset.classes), len(dataset.classes)
    for start in range(0, len(wanted), AT_ONCE):
        if cancelled():
            return []
        for row, labels in predicted(dataset, predictor, wanted[start:start + AT_ONCE]):
            if isinstance(labels, Instances) and isinstance(row.labels, Instances):
                scenes.append(_Scene.of(row.id, row.labels, labels, place))
            elif not isinstance(labels, UserError):
                found += _in_pixels_or_tags(row, labels, place, exclusive=predictor.exclusive)
        if progress is not None:
            progress(min(start + AT_ONCE, len(wanted)), len(wanted))
    usual = Usual.of(scenes, classes)
    for scene in scenes:
        found += in_scene(scene, usual, set(place))
    return ordered(dataset, found, source or predictor.name, minimum, keep=keep)


def suspects_kfold(dataset: Dataset, config: TrainConfig, scratch: Path, *, folds: int = 3, minimum: float = 0.3, keep: bool = True,
                   progress: Progress | None = None, stop: Callable[[], bool] = lambda: False) -> list[Suspect]:
    """Suspicious labels, each seen by a model that has not learnt it: the labeled images are dealt to `folds`, a model is trained on all but one.

    `config` says how (its `data` is not read); `scratch` keeps the folds' runs, so that a run that was stopped goes on. Images of one group or
    look stay together. The fold that is left out chooses the best epoch, no more. `progress` counts folds. [] when it was stopped.
    """
    from engine import folds as kfold
    from engine.predict import load

    ids = labeled_ids(dataset)
    found: list[Suspect] = []
    for number, held in enumerate(kfold.dealt(dataset, ids, folds, config.seed)):
        run = kfold.trained(dataset, ids, held, config, scratch / f"fold_{number}", stop=stop)
        if run is None:
            return []
        found += suspects(dataset, load(run, device=config.device), held, minimum=0.0, keep=False)
        if progress is not None:
            progress(number + 1, folds)
    return ordered(dataset, found, f"{config.model}, {folds} folds", minimum, keep=keep)


def ordered(dataset: Dataset, found: Iterable[Suspect], source: str, minimum: float, *, keep: bool) -> list[Suspect]:
    """The most suspicious first, from `minimum` on; with `keep` they become the list of the set."""
    best = sorted((each for each in found if each.score >= minimum), key=lambda each: (-each.score, each.image_id, KINDS.index(each.kind)))
    if keep:
        labeling_lists.put_suspects(dataset, best, source)
    return best


def labeled_ids(dataset: Dataset, ids: Sequence[int] | None = None) -> list[int]:
    """Those of these images (of all, when None) that have labels and are neither checked nor skipped, ascending."""
    with dataset.connection() as connection:
        marks = tables.marks_of(tables.present(connection))
        every = connection.execute(f"""SELECT i.id FROM images i LEFT JOIN {marks} m ON m.image_id = i.id WHERE i.trashed IS NULL
            AND i.state IN ('labeled', 'background') AND m.mark IS NOT 'checked' AND m.mark IS NOT 'skipped' ORDER BY i.id""")
        found = [image_id for image_id, in every]
    wanted = None if ids is None else set(ids)
    return [each for each in found if wanted is None or each in wanted]


def _in_pixels_or_tags(row: Row, labels: Labels, place: Sequence[int], *, exclusive: bool) -> list[Suspect]:
    truth = row.labels
    if isinstance(labels, Tags) and isinstance(truth, Tags):
        return _tags(row.id, truth.values, labels.values, place, exclusive)
    if isinstance(labels, SemanticMask) and isinstance(truth, Instances):
        truth = _painted(truth, row.size, max(place) + 1)
    if isinstance(labels, SemanticMask) and isinstance(truth, SemanticMask):
        return _areas(row.id, truth, labels, place)
    return []


# ---- objects

@dataclass(frozen=True)
class _Scene:
    """The labels of one image and what is seen there: boxes f64[M,4], class ids of the set, scores; `shared` f64[N,M] is the IoU of each pair."""

    image_id: int
    truth: Instances
    crowd: np.ndarray
    boxes: np.ndarray
    numbers: np.ndarray
    scores: np.ndarray
    shared: np.ndarray

    @classmethod
    def of(cls, image_id: int, truth: Instances, found: Instances, place: Sequence[int]) -> _Scene:
        scores = np.asarray(found.scores if found.scores is not None else np.ones(len(found)), np.float64)
        numbers = np.array(place, np.int64)[found.classes] if len(found) else np.zeros(0, np.int64)
        use = (scores >= FAINT) & (numbers >= 0)
        boxes = found.boxes[use].astype(np.float64)
        crowd = truth.crowd if truth.crowd is not None else np.zeros(len(truth), bool)
        return cls(image_id, truth, crowd, boxes, numbers[use], scores[use], overlaps(truth.boxes, boxes))


@dataclass(frozen=True)
class Usual:
    """What is usual of a model in a set: `scores` f64[C], t of each class, and for `precision` the falling scores and their precisions by class."""

    scores: np.ndarray
    curves: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, scenes: Sequence[_Scene], classes: int) -> Usual:
        best: list[list[float]] = [[] for _ in range(classes)]
        seen: list[list[tuple[float, bool]]] = [[] for _ in range(classes)]
        for scene in scenes:
            same = (scene.truth.classes[:, None] == scene.numbers[None]) & (scene.shared >= SAME) & ~scene.crowd[:, None]
            for index in np.flatnonzero(same.any(1)).tolist():
                best[int(scene.truth.classes[index])].append(float(scene.scores[same[index]].max()))
            for number, score, right in zip(scene.numbers.tolist(), scene.scores.tolist(), same.any(0).tolist(), strict=True):
                seen[number].append((score, right))
        return cls(np.array([np.median(each) if each else UNKNOWN for each in best]), tuple(map(_curve, seen)))

    def precision(self, numbers: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """f64[M] of predictions of these classes with these scores."""
        found = np.zeros(len(scores))
        for number in np.unique(numbers).tolist():
            falling, precisions = self.curves[number]
            own = numbers == number
            places = np.searchsorted(-falling, -scores[own], side="right") - 1
            found[own] = precisions[np.clip(places, 0, len(precisions) - 1)]
        return found


def _curve(seen: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """The scores of a class, falling, and at each the best precision from there on."""
    ordered = sorted(seen, key=lambda each: -each[0])
    right = np.cumsum([each[1] for each in ordered], dtype=np.float64)
    return np.array([each[0] for each in ordered]), np.maximum.accumulate((right / np.arange(1, len(right) + 1))[::-1])[::-1]


def in_scene(scene: _Scene, usual: Usual, known: set[int]) -> list[Suspect]:
    """All that may be wrong in one image, however little suspicious; labels of classes that are not `known` are left alone."""
    sure = np.minimum(1, scene.scores / usual.scores[scene.numbers])
    owner = scene.shared.argmax(0) if scene.shared.size else np.full(len(scene.boxes), -1)
    suspicious, explained = [], set()
    for index in range(len(scene.truth)):
        if not scene.crowd[index] and int(scene.truth.classes[index]) in known:
            each, seen = _label(scene, index, sure, owner == index)
            suspicious.append(each)
            explained |= {seen} if each.kind == "shifted" and each.score >= SAME else set()
    return suspicious + [each for place, each in _missed(scene, sure * usual.precision(scene.numbers, scene.scores)) if place not in explained]


def _label(scene: _Scene, index: int, sure: np.ndarray, mine: np.ndarray) -> tuple[Suspect, int]:
    """How suspicious one label is, and of what kind, and the prediction that says most against it.

    `mine` are the predictions that lie on it more than on any other label.
    """
    number, shared = int(scene.truth.classes[index]), scene.shared[index]
    own = scene.numbers == number
    near = own & (shared >= NEAR)
    support = float((sure[near] * np.minimum(1, shared[near] / FULL)).max(initial=0))
    swapped = np.where(~own & mine & (shared >= SAME), sure, 0)
    moved = np.where(own & mine & (shared >= SHIFTED) & (shared < SAME), sure, 0)
    other, off = float(swapped.max(initial=0)), float(moved.max(initial=0))
    kind = "unpredicted" if max(other, off) < EVIDENT else "class" if other >= off else "shifted"
    score = (1 - support) * (UNSEEN + (1 - UNSEEN) * max(other, off))
    against = int((swapped if kind == "class" else moved).argmax()) if len(sure) else -1
    return Suspect(scene.image_id, kind, round(score, 4), _box(scene.truth.boxes[index]), number,
                   int(scene.numbers[against]) if kind == "class" else None), against


def _missed(scene: _Scene, sure: np.ndarray) -> list[tuple[int, Suspect]]:
    """Objects that are seen where no label is, each once, with the number of its prediction."""
    boxes, crowds = scene.boxes, scene.truth.boxes[scene.crowd]
    free = scene.shared.max(0, initial=0) < NEAR
    if len(crowds):
        low, high = np.maximum(boxes[:, None, :2], crowds[None, :, :2]), np.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
        inside = np.clip(high - low, 0, None).prod(2) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-9)[:, None]
        free &= inside.max(1) < SAME
    told: list[int] = []
    for index in np.argsort(-scene.scores, kind="stable").tolist():
        if free[index] and (not told or overlaps(boxes[[index]], boxes[told]).max() < NEAR):
            told.append(index)
    values = MISSED * sure * (0.9 + 0.1 * scene.scores)
    return [(index, Suspect(scene.image_id, "missed", round(float(values[index]), 4), _box(boxes[index]), int(scene.numbers[index])))
            for index in told]


def _box(values: np.ndarray) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2


# ---- tags and areas

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

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
from engine.datasets.store import Dataset
from engine.held_out import held_out, name_of
from engine.label_errors_areas import in_pixels_or_tags
from engine.suggesting import check, places, predicted
from engine.types import Instances, UserError

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
LEARNING = 0.9  # how much of the work of a fold its training is
Progress = Callable[[int, int], None]


def suspects(dataset: Dataset, predictor: Predictor, ids: Sequence[int] | None = None, *, model: Path | None = None, source: str = "",
             minimum: float = 0.3, progress: Progress | None = None, cancelled: Callable[[], bool] = lambda: False,
             keep: bool = True) -> list[Suspect]:
    """Suspicious labels of these images, the most suspicious first, from `minimum` on.

    Without `ids`: all that are labeled and not checked. A model that has learnt labels repeats their errors, so when `model`, the file or the run
    that the predictor was loaded from, was trained on this set, only images that were held out of its training (see engine.held_out). With `keep`
    they are kept as the list of the set. Checked images are left out, and so are classes that the model does not know. Raises UserError for a
    model of another task, and when nothing is known to have been held out.
    """
    check(dataset, predictor)
    wanted = labeled_ids(dataset, ids) if ids is not None or model is None else _not_learnt(dataset, model)
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
                found += in_pixels_or_tags(row, labels, place, exclusive=predictor.exclusive)
        if progress is not None:
            progress(min(start + AT_ONCE, len(wanted)), len(wanted))
    usual = Usual.of(scenes, classes)
    for scene in scenes:
        found += in_scene(scene, usual, set(place))
    return ordered(dataset, found, source or predictor.name, minimum, keep=keep)


def _not_learnt(dataset: Dataset, model: Path) -> list[int]:
    wanted, held = labeled_ids(dataset), held_out(dataset, model)
    if held is None:
        return wanted
    if not (found := sorted(held & set(wanted))):
        raise UserError("held_out_nothing", model=name_of(model), name=dataset.name)
    return found


def suspects_kfold(dataset: Dataset, config: TrainConfig, scratch: Path, *, folds: int = 3, minimum: float = 0.3, keep: bool = True,
                   progress: Progress | None = None, share: Callable[[float], None] = lambda part: None,
                   stop: Callable[[], bool] = lambda: False) -> list[Suspect]:
    """Suspicious labels, each seen by a model that has not learnt it: the labeled images are dealt to `folds`, a model is trained on all but one.

    `config` says how (its `data` is not read); `scratch` keeps the folds' runs, so that a run that was stopped goes on. Images of one group or
    look stay together. Checked images are learnt from by all. The fold that is left out chooses the best epoch, no more. `progress` counts folds,
    `share` is told of all the work how much is done, 0..1, also within a fold. [] when it was stopped.
    """
    from engine import folds as kfold
    from engine.predict import load

    ids, checked = labeled_ids(dataset), _labeled(dataset, "m.mark = 'checked'")
    found: list[Suspect] = []
    for number, held in enumerate(kfold.dealt(dataset, ids, folds, config.seed)):
        told = _Part(share, number, folds)
        run = None if stop() else kfold.trained(dataset, sorted([*ids, *checked]), held, config, scratch / f"fold_{number}", stop=stop,
                                                share=told.learnt)
        found += suspects(dataset, load(run, device=config.device), held, minimum=0.0, keep=False, progress=told.seen, cancelled=stop) if run else []
        if run is None or stop():
            return []
        config = kfold.as_measured(config, run)
        if progress is not None:
            progress(number + 1, folds)
    return ordered(dataset, found, f"{config.model}, {folds} folds", minimum, keep=keep)


@dataclass(frozen=True)
class _Part:
    """Tells how much of all the work is done while one fold is worked on."""

    share: Callable[[float], None]
    number: int
    folds: int

    def learnt(self, done: float) -> None:
        self.share((self.number + LEARNING * done) / self.folds)

    def seen(self, done: int, total: int) -> None:
        self.share((self.number + LEARNING + (1 - LEARNING) * done / total) / self.folds)


def ordered(dataset: Dataset, found: Iterable[Suspect], source: str, minimum: float, *, keep: bool) -> list[Suspect]:
    """The most suspicious first, from `minimum` on; with `keep` they become the list of the set."""
    best = sorted((each for each in found if each.score >= minimum), key=lambda each: (-each.score, each.image_id, KINDS.index(each.kind)))
    if keep:
        labeling_lists.put_suspects(dataset, best, source)
    return best


def labeled_ids(dataset: Dataset, ids: Sequence[int] | None = None) -> list[int]:
    """Those of these images (of all, when None) that have labels and are neither checked nor skipped, ascending."""
    found, wanted = _labeled(dataset, "m.mark IS NOT 'checked' AND m.mark IS NOT 'skipped'"), None if ids is None else set(ids)
    return [each for each in found if wanted is None or each in wanted]


def _labeled(dataset: Dataset, marked: str) -> list[int]:
    with dataset.connection() as connection:
        marks = tables.marks_of(tables.present(connection))
        return [image_id for image_id, in connection.execute(f"""SELECT i.id FROM images i LEFT JOIN {marks} m ON m.image_id = i.id
            WHERE i.trashed IS NULL AND i.state IN ('labeled', 'background') AND {marked} ORDER BY i.id""")]


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

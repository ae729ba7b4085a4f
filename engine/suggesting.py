"""A model suggests labels for stored images. Suggestions lie beside the labels until a person, or `accept`, makes them truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.datasets import labeling_suggested
from engine.datasets.labeling_derive import areas_of
from engine.datasets.labeling_lists import overlaps
from engine.datasets.labeling_queue import ids_in
from engine.datasets.labeling_shapes import kind_of, told
from engine.datasets.labeling_suggested import Suggestion, accept, discard, sources, unseen, with_suggestions
from engine.datasets.outlines import box_of, mask_of, rle_of_mask
from engine.datasets.store import Dataset, Row
from engine.types import RLE, Instances, Labels, Problem, SemanticMask, Tags, UserError

if TYPE_CHECKING:
    from engine.predict import Predictor

__all__ = ["Suggested", "accept", "discard", "fitting", "places", "sources", "suggest", "suggestion_of", "unseen",
           "unseen_note", "wanted_ids", "with_suggestions"]
SAME_OBJECT = 0.5  # IoU from which on a suggestion is what a person has labeled already
SEEN_TWICE, SEEN_AS_TWO = 0.6, 0.8
SMALLEST_AREA = 16  # pixels of an area that is suggested as an object
MOST_SHAPES = 1000
MOST_IMAGES = 10_000_000
AT_ONCE = 4
BACKGROUND = "background"
# Which labels a model of a task can suggest, by what the image is edited as.
FITTING = {"detect": ("objects",), "instance": ("objects", "mask", "layers"), "semantic": ("objects", "mask", "layers"), "classify": ("tags",)}
Progress = Callable[[int, int], None]


@dataclass
class Suggested:
    """What a model suggested: images with suggestions, shapes and tags in all, images that could not be read.

    `missing`: classes that the model found and the data set lacks, with how often; nothing is suggested of them.
    """

    images: int = 0
    shapes: int = 0
    failed: int = 0
    missing: dict[str, int] = field(default_factory=dict)


def suggest(dataset: Dataset, predictor: Predictor, ids: Sequence[int], *, source: str, threshold: float = 0.25, progress: Progress | None = None,
            cancelled: Callable[[], bool] = lambda: False, into: Suggested | None = None) -> Suggested:
    """Suggests labels for these images, each at once durable; older suggestions of an image are replaced. `into` counts along while it goes on.

    Classes are those of the same name. Left out are objects that overlap truth of their class (IoU of boxes, of painted areas > 0.5), boxes that
    the model saw twice, and tags that are known. An image that is edited meanwhile keeps what it has. Raises UserError for a model whose labels
    the set cannot hold.
    """
    check(dataset, predictor, threshold)
    found, done = into if into is not None else Suggested(), 0
    for start in range(0, len(ids), AT_ONCE):
        if cancelled():
            break
        for row, labels in predicted(dataset, predictor, ids[start:start + AT_ONCE]):
            done += 1
            if isinstance(labels, UserError):
                found.failed += 1
            else:
                _put(dataset, row, labels, predictor.classes, source, threshold, found)
            if progress is not None:
                progress(done, len(ids))
    return found


def check(dataset: Dataset, predictor: Predictor, threshold: float = 0.0) -> None:
    """Raises UserError for a threshold that is none, and unless the model knows classes of the set and labels as the set has them."""
    if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UserError("option_bounds", name="threshold", value=threshold, low=0, high=1)
    if not fitting(dataset, predictor.task.name):
        raise UserError("suggest_other_task", model=predictor.name, task=predictor.task.name, name=dataset.name)
    if not any(place >= 0 for place in places(predictor.classes, dataset.classes)):
        raise UserError("suggest_no_class", model=", ".join(predictor.classes[:20]), data=", ".join(dataset.classes[:20]) or "-")


def unseen_note(dataset: Dataset) -> Problem | None:
    """What a page says of labels that were accepted and that no person has looked at; None when there are none."""
    count = unseen(dataset)
    images = sum(row["images"] for row in dataset.counts().values())
    return Problem("accepted_unseen", "warning", ".", {"count": count, "images": images}) if count else None


def fitting(dataset: Dataset, task: str) -> bool:
    """Whether models of a task can suggest labels for this set."""
    return kind_of(None, dataset.task) in FITTING.get(task, ())


def wanted_ids(dataset: Dataset, images: Sequence[int] | str, *, count: int = 20, around: int = 0,
               states: Sequence[str] = ("unlabeled",)) -> list[int]:
    """The ids that are meant: a list of them, "next" (the `count` unlabeled images from `around` on, then from the first one), or "unlabeled".

    `states` are those that count as unlabeled. Raises UserError for anything else.
    """
    if not isinstance(images, str):
        if not all(type(each) is int for each in images):
            raise UserError("labels_unreadable", what="images")
        return list(dict.fromkeys(images))
    if images not in ("next", "unlabeled"):
        raise UserError("browse_unknown", value=images[:80], known="next, unlabeled")
    for name, value, low in (("count", count, 1), ("around", around, 0)):
        if type(value) is not int or not low <= value <= MOST_IMAGES:
            raise UserError("option_bounds", name=name, value=str(value)[:40], low=low, high=MOST_IMAGES)
    every = ids_in(dataset, *states)
    if images == "unlabeled":
        return every
    return [*(each for each in every if each >= around), *(each for each in every if each < around)][:count]


def places(model_classes: Sequence[str], data_classes: Sequence[str]) -> list[int]:
    """Of each class of the model its id in the data set, by name, -1 where there is none. The background is what is left and no class."""
    known = {name.strip().casefold(): number for number, name in reversed(list(enumerate(data_classes)))}
    known |= {name: number for number, name in reversed(list(enumerate(data_classes)))}
    return [-1 if name.strip().casefold() == BACKGROUND else known.get(name, known.get(name.strip().casefold(), -1)) for name in model_classes]


def predicted(dataset: Dataset, predictor: Predictor, ids: Sequence[int]) -> Iterator[tuple[Row, Labels | UserError]]:
    """These images (a handful) with what the model finds in them; an image that is gone or cannot be read with the reason."""
    rows = []
    for image_id in ids:
        try:
            rows.append(dataset.row(image_id))
        except UserError as error:
            yield _nobody(image_id), error
    for row, (_, size, labels) in zip(rows, predictor.stream([row.path for row in rows], AT_ONCE), strict=True):
        if not isinstance(labels, UserError) and tuple(size) != tuple(row.size):
            labels = UserError("image_changed_size", name=row.name)
        yield row, labels


def _nobody(image_id: int) -> Row:
    return Row(image_id, "", "", (0, 0), None, Path())


def _put(dataset: Dataset, row: Row, labels: Labels, model_classes: Sequence[str], source: str, threshold: float, found: Suggested) -> None:
    made, missing = suggestion_of(row, labels, model_classes, dataset.classes, dataset.task, threshold)
    for name, count in missing.items():
        found.missing[name] = found.missing.get(name, 0) + count
    if labeling_suggested.put(dataset, row.id, Suggestion(source, "", made.shapes, made.tags), expected=row.revision) and made.count:
        found.images += 1
        found.shapes += made.count


def suggestion_of(row: Row, labels: Labels, model_classes: Sequence[str], data_classes: Sequence[str], task: str,
                  threshold: float) -> tuple[Suggestion, dict[str, int]]:
    """What a prediction suggests of an image, and the classes that the data set lacks.

    Where the image is painted, a suggestion is one area a class, its score the mean probability inside; where it has objects, each separate area
    of a painted prediction is one.
    """
    kind, place = kind_of(row.labels, task), places(model_classes, data_classes)
    missing: Counter[str] = Counter()
    if isinstance(labels, Tags) and kind == "tags":
        return Suggestion(tags=_tags(labels, place, row.labels, len(data_classes))), {}
    if isinstance(labels, Tags) or kind == "tags":
        raise UserError("suggest_other_task", model="", task=type(labels).__name__, name=row.name)
    if isinstance(labels, Instances):
        chosen = labels.above(threshold)[:MOST_SHAPES]
        parts = _unions(chosen, row.size) if kind in ("mask", "layers") else _each(_alone(chosen) if chosen.shapes is None else chosen)
    else:
        parts = _areas(labels, model_classes, separate=kind == "objects")
        parts = [part for part in parts if part["score"] >= threshold][:MOST_SHAPES]
    shapes = []
    for part in parts:
        name, number = model_classes[part["cls"]], place[part["cls"]]
        if number >= 0:
            shapes.append({**part, "cls": number})
        elif name.strip().casefold() != BACKGROUND:
            missing[name] += 1
    return Suggestion(shapes=_new(shapes, row)), dict(missing)


def _tags(labels: Tags, place: Sequence[int], truth: Labels | None, count: int) -> list[float | None] | None:
    known = truth.values if isinstance(truth, Tags) else np.full(count, np.nan, np.float32)
    tags: list[float | None] = [None] * count
    for value, number in zip(labels.values.tolist(), place, strict=True):
        if number >= 0 and np.isnan(known[number]) and not np.isnan(value):
            tags[number] = round(value, 4)
    return tags if any(value is not None for value in tags) else None


def _alone(found: Instances) -> Instances:
    """Each box once, best first: of two boxes that overlap by SEEN_TWICE (of different classes by SEEN_AS_TWO) the less sure one goes."""
    shared = overlaps(found.boxes, found.boxes)
    limit = np.where(found.classes[:, None] == found.classes[None], SEEN_TWICE, SEEN_AS_TWO)
    kept: list[int] = []
    for index in range(len(found)):
        if not (shared[index, kept] > limit[index, kept]).any():
            kept.append(index)
    return found[np.array(kept, np.int64)]


def _each(found: Instances) -> list[dict[str, Any]]:
    scores = found.scores if found.scores is not None else np.ones(len(found))
    shapes = found.shapes if found.shapes is not None else (None,) * len(found)
    return [told(int(number), [round(float(value), 2) for value in box], shape, float(score))
            for number, box, shape, score in zip(found.classes, found.boxes, shapes, scores, strict=True) if box[2] > box[0] and box[3] > box[1]]


def _unions(found: Instances, size: tuple[int, int]) -> list[dict[str, Any]]:
    """The outlines of each class as one area, its score their mean."""
    made = []
    for number in np.unique(found.classes).tolist():
        own = found[found.classes == number]
        masks = [mask_of(shape, size) for shape in own.shapes or () if shape is not None]
        area = np.logical_or.reduce(masks) if masks else np.zeros(size[::-1], bool)
        if area.any():
            made.append(_told(number, area, float(np.mean(own.scores)) if own.scores is not None else 1.0))
    return made


def _areas(labels: SemanticMask, classes: Sequence[str], *, separate: bool) -> list[dict[str, Any]]:
    """Painted areas, one a class, or with `separate` each on its own."""
    made = []
    for number, name in enumerate(classes):
        if name.strip().casefold() == BACKGROUND:
            continue
        layer = labels.layers[number] if labels.layers is not None else np.asarray(labels.classes) == number
        for area in areas_of(layer, SMALLEST_AREA) if separate else [layer] if layer.any() else []:
            chance = labels.probabilities[number][area].astype(np.float32).mean() if labels.probabilities is not None else 1.0
            made.append(_told(number, area, float(min(1.0, chance))))
    return made


def _told(number: int, area: np.ndarray, score: float) -> dict[str, Any]:
    shape = rle_of_mask(area)
    return told(number, box_of(shape), shape, score)


def _new(shapes: list[dict[str, Any]], row: Row) -> list[dict[str, Any]]:
    """Those that are not what a person has labeled already."""
    truth = row.labels
    if isinstance(truth, SemanticMask):
        return [each for each in shapes if _painted_overlap(each, truth, row.size) <= SAME_OBJECT]
    if not isinstance(truth, Instances) or not len(truth) or not shapes:
        return shapes
    labeled = truth if truth.scores is None else truth[np.isnan(truth.scores)]
    shared = overlaps(np.array([each["box"] for each in shapes]), labeled.boxes)
    shared[np.array([each["cls"] for each in shapes])[:, None] != labeled.classes[None]] = 0
    return [each for each, most in zip(shapes, shared.max(1, initial=0), strict=True) if most <= SAME_OBJECT]


def _painted_overlap(shape: dict[str, Any], truth: SemanticMask, size: tuple[int, int]) -> float:
    height, width = shape["size"]
    area = mask_of(RLE(shape["counts"].encode("ascii"), (height, width)), size)
    number = shape["cls"]
    own = truth.layers[number] if truth.layers is not None else np.asarray(truth.classes) == number
    return float((area & own).sum() / max(1, (area | own).sum()))

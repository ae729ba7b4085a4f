"""Average precision as COCO defines it, computed by pycocotools from our own labels."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.metrics.mask_ap import BoundaryEval, boundary_of, coded, run_lengths
from engine.types import Instances

Kind = Literal["boxes", "masks", "boundary"]

NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")
DETECTIONS_PER_IMAGE = 100
AREAS = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}


@dataclass(frozen=True)
class DetectionScore:
    """`metrics` by name, 0..1 or None where undefined; `per_class` in class order; `threshold` has the best mean F1 at IoU 0.5."""

    metrics: dict[str, float | None]
    per_class: list[dict[str, Any]]
    threshold: float | None


def score_boxes(truth: Sequence[Instances], found: Sequence[Instances], sizes: Sequence[tuple[int, int]], classes: Sequence[str]) -> DetectionScore:
    """COCO box metrics of predictions against truth, image by image."""
    return score(truth, found, sizes, classes)


def score(truth: Sequence[Instances], found: Sequence[Instances], sizes: Sequence[tuple[int, int]], classes: Sequence[str],
          kind: Kind = "boxes") -> DetectionScore:
    """COCO metrics of predictions against truth, image by image. `sizes` are (width, height).

    Overlap is that of boxes, of masks, or of masks and their boundaries, whichever is less ("boundary"). Crowd objects are ignored as in
    COCO. At most 100 detections an image and class count. Sizes of objects are those of their boxes, or of their masks.
    """
    rows = list(zip(truth, found, sizes, strict=True))
    annotations = [each for image, (labels, _, size) in enumerate(rows) for each in _annotations(labels, image + 1, size, kind)]
    for number, each in enumerate(annotations):
        each["id"] = number + 1
    reference = COCO()
    reference.dataset = {
        "images": [{"id": i + 1, "width": w, "height": h} for i, (w, h) in enumerate(sizes)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes)], "annotations": annotations,
    }
    counts = np.bincount(np.concatenate([t.classes for t in truth]) if truth else np.zeros(0, np.int64), minlength=len(classes))
    detections = [each for image, (_, labels, size) in enumerate(rows) for each in _annotations(labels, image + 1, size, kind)]
    if not annotations or not detections:
        return _nothing_found(annotations, counts, classes)
    with contextlib.redirect_stdout(io.StringIO()):
        reference.createIndex()
        measure = BoundaryEval if kind == "boundary" else COCOeval
        evaluation = measure(reference, reference.loadRes(detections), "bbox" if kind == "boxes" else "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {name: _defined(value) for name, value in zip(NAMES, evaluation.stats, strict=True)}
    precision = evaluation.eval["precision"][..., 0, -1]  # IoU, recall, class
    per_class = [
        {"name": name, "objects": int(counts[i]), "AP": _mean(precision[:, :, i]), "AP50": _mean(precision[0, :, i])}
        for i, name in enumerate(classes)
    ]
    return DetectionScore(metrics, per_class, _best_threshold(evaluation))


def _nothing_found(annotations: Sequence[dict[str, Any]], counts: np.ndarray, classes: Sequence[str]) -> DetectionScore:
    """Zero wherever there was something to find, undefined elsewhere."""
    wanted = [each for each in annotations if not each["iscrowd"]]
    zero: dict[str, float | None] = {}
    for name in NAMES:
        low, high = AREAS.get(name.split("_")[-1], (0.0, np.inf))
        zero[name] = 0.0 if any(low <= each["area"] <= high for each in wanted) else None
    missed = {each["category_id"] for each in wanted}
    per_class = [{"name": name, "objects": int(counts[i]), **dict.fromkeys(("AP", "AP50"), 0.0 if i in missed else None)}
                 for i, name in enumerate(classes)]
    return DetectionScore(zero, per_class, None)


def _annotations(labels: Instances, image: int, size: tuple[int, int], kind: Kind) -> list[dict[str, Any]]:
    """COCO annotation or result entries; pycocotools wants corner, width, height in float64."""
    extents = _extents(labels) if kind == "boxes" else _masks(labels, size, edges=kind == "boundary")
    entries = []
    for i, extent in enumerate(extents):
        entry: dict[str, Any] = {"image_id": image, "category_id": int(labels.classes[i]), **extent}
        if labels.scores is None:
            entry["iscrowd"] = int(labels.crowd is not None and labels.crowd[i])
        else:
            entry["score"] = float(labels.scores[i])
        entries.append(entry)
    return entries


def _extents(labels: Instances) -> list[dict[str, Any]]:
    corners = labels.boxes.astype(np.float64)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    return [{"bbox": [*corner[:2].tolist(), *side.tolist()], "area": float(side[0] * side[1])} for corner, side in zip(corners, sides, strict=True)]


def _masks(labels: Instances, size: tuple[int, int], *, edges: bool) -> list[dict[str, Any]]:
    shapes = run_lengths(labels, size)
    return [{"segmentation": coded(shape), "area": float(coco_mask.area(coded(shape))), **({"boundary": coded(boundary_of(shape))} if edges else {})}
            for shape in shapes]


def _best_threshold(evaluation: COCOeval) -> float | None:
    """The score above which the mean over classes of F1 (IoU 0.5) is highest. None when nothing matches."""
    grid = np.linspace(0.05, 0.9, 86)
    images = len(evaluation.params.imgIds)
    curves = []
    for k in range(len(evaluation.params.catIds)):
        per_image = [each for each in evaluation.evalImgs[k * len(evaluation.params.areaRng) * images :][:images] if each is not None]
        wanted = sum(int(np.count_nonzero(np.asarray(each["gtIgnore"]) == 0)) for each in per_image)
        if wanted:
            scores = np.concatenate([np.asarray(each["dtScores"], float) for each in per_image])
            right = np.concatenate([each["dtMatches"][0] > 0 for each in per_image])
            counted = np.concatenate([~each["dtIgnore"][0].astype(bool) for each in per_image])
            curves.append(_f1(scores[counted], right[counted], wanted, grid))
    mean = np.mean(curves, 0) if curves else np.zeros(1)
    return round(float(grid[int(mean.argmax())]), 2) if mean.max() > 0 else None


def _f1(scores: np.ndarray, right: np.ndarray, wanted: int, grid: np.ndarray) -> np.ndarray:
    """F1 of the detections at or above each score of `grid`: 2 TP / (detections + objects)."""
    order = np.argsort(scores)
    kept = len(scores) - np.searchsorted(scores[order], grid)
    correct = right.sum() - np.concatenate([[0], np.cumsum(right[order])])[len(scores) - kept]
    return 2 * correct / (kept + wanted)


def _mean(values: np.ndarray) -> float | None:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None


def _defined(value: float) -> float | None:
    return None if value < 0 else float(value)

"""Our metrics against pycocotools driven by hand, and at the edges."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.metrics.coco_ap import NAMES, score_boxes
from engine.types import Instances


def scene(seed, images=12, classes=3):
    random = np.random.default_rng(seed)
    truth, found, sizes = [], [], []
    for _ in range(images):
        count = int(random.integers(0, 7))
        corner = random.uniform(0, 500, (count, 2))
        boxes = np.concatenate([corner, corner + random.uniform(4, 260, (count, 2))], 1).astype(np.float32)
        labels = random.integers(0, classes, count)
        truth.append(Instances(boxes, labels, crowd=random.random(count) < 0.1))
        noise = random.normal(0, 6, (count, 4)) if count else np.zeros((0, 4))
        extra = random.uniform(0, 400, (4, 2))
        guesses = np.concatenate([boxes + noise, np.concatenate([extra, extra + 60], 1)])
        guessed = np.concatenate([np.where(random.random(count) < 0.15, (labels + 1) % classes, labels), random.integers(0, classes, 4)])
        found.append(Instances(guesses, guessed, random.random(len(guesses))))
        sizes.append((800, 800))
    return truth, found, sizes


def oracle(truth, found, sizes, classes, tmp_path):
    """pycocotools from files, written independently of the code under test."""
    annotations, results = [], []
    for image, labels in enumerate(truth):
        for box, label, crowd in zip(labels.boxes.astype(float), labels.classes, labels.crowd, strict=True):
            x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": int(label), "bbox": [x, y, w, h], "area": w * h,
                                "iscrowd": int(crowd)})
    for image, labels in enumerate(found):
        for box, label, score in zip(labels.boxes.astype(float), labels.classes, labels.scores, strict=True):
            results.append({"image_id": image, "category_id": int(label), "bbox": [box[0], box[1], max(0, box[2] - box[0]), max(0, box[3] - box[1])],
                            "score": float(score)})
    document = {"images": [{"id": i, "width": w, "height": h} for i, (w, h) in enumerate(sizes)],
                "categories": [{"id": i, "name": str(i)} for i in range(classes)], "annotations": annotations}
    (tmp_path / "truth.json").write_text(json.dumps(document))
    (tmp_path / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(tmp_path / "truth.json"))
        evaluation = COCOeval(reference, reference.loadRes(str(tmp_path / "found.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(4))
def test_the_twelve_numbers_equal_pycocotools(seed, tmp_path):
    truth, found, sizes = scene(seed)
    score = score_boxes(truth, found, sizes, ["a", "b", "c"])
    expected = oracle(truth, found, sizes, 3, tmp_path)
    for name, value in zip(NAMES, expected, strict=True):
        assert score.metrics[name] is None if value < 0 else score.metrics[name] == pytest.approx(value, abs=1e-6)
    assert np.nanmean([row["AP"] for row in score.per_class]) == pytest.approx(score.metrics["AP"], abs=1e-6)
    assert score.threshold is not None and 0 < score.threshold < 1


def test_nothing_found_is_zero_and_nothing_to_find_is_undefined():
    box = Instances(np.array([[0, 0, 10, 10]]), np.array([1]))
    nothing = Instances(np.zeros((0, 4)), np.zeros(0), np.zeros(0))
    missed = score_boxes([box], [nothing], [(20, 20)], ["a", "b"])
    assert missed.metrics["AP"] == 0 and [row["AP"] for row in missed.per_class] == [None, 0]
    empty = score_boxes([Instances.empty()], [Instances(box.boxes, box.classes, np.array([0.9]))], [(20, 20)], ["a", "b"])
    assert set(empty.metrics.values()) == {None} and empty.threshold is None


def test_a_perfect_prediction_scores_one_and_a_useful_threshold_parts_right_from_wrong():
    truth = [Instances(np.array([[10 * i, 0, 10 * i + 8, 40]]), np.array([0])) for i in range(10)]
    found = [Instances(np.concatenate([t.boxes, t.boxes + 300]), np.array([0, 0]), np.array([0.7, 0.2])) for t in truth]
    score = score_boxes(truth, found, [(640, 640)] * 10, ["a"])
    assert score.metrics["AP50"] == pytest.approx(1) and 0.2 < score.threshold <= 0.7

"""Mask AP against pycocotools driven by hand from files; boundary AP against an evaluation written plainly, mask by mask."""

import contextlib
import io
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.datasets.outlines import mask_of, rle_of_mask
from engine.metrics.coco_ap import NAMES, score, score_boxes
from engine.metrics.mask_ap import boundary_of, run_lengths
from engine.types import Instances, Polygons

SIZE = (240, 180)


def blob(random, centre=None, reach=None):
    """A ring of points around a centre."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    centre = random.uniform(20, 160, 2) if centre is None else centre
    reach = random.uniform(4, 60) if reach is None else reach
    radius = reach * random.uniform(0.7, 1.3, 12)
    return np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], 1), centre, reach


def framed(shape):
    x, y, w, h = coco_mask.toBbox(coco_of(shape)).tolist()
    return [x, y, x + w, y + h]


def coco_of(shape):
    packed = shape if not isinstance(shape, Polygons) else rle_of_mask(mask_of(shape, SIZE))
    return {"size": list(packed.size), "counts": packed.counts.decode("ascii")}


def scene(seed, images=8, classes=3):
    """Truth as polygons, some with holes, some crowds; predictions near it, of a wrong class, and out of the blue."""
    random = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        shapes, guesses, labels, guessed, crowd = [], [], [], [], []
        for _ in range(int(random.integers(0, 6))):
            ring, centre, reach = blob(random)
            hole = (centre + (ring - centre) * 0.3,) if random.random() < 0.3 else ()
            shapes.append(Polygons((ring,), hole))
            labels.append(int(random.integers(classes)))
            crowd.append(bool(random.random() < 0.15))
            near = Polygons((blob(random, centre + random.normal(0, reach / 8, 2), reach * random.uniform(0.85, 1.1))[0],))
            guesses.append(rle_of_mask(mask_of(near, SIZE)))
            guessed.append(labels[-1] if random.random() < 0.85 else (labels[-1] + 1) % classes)
        for _ in range(3):
            guesses.append(rle_of_mask(mask_of(Polygons((blob(random)[0],)), SIZE)))
            guessed.append(int(random.integers(classes)))
        boxes = np.array([framed(each) for each in shapes]).reshape(-1, 4)
        truth.append(Instances(boxes, np.array(labels), shapes=tuple(shapes), crowd=np.array(crowd)))
        found.append(Instances(np.array([framed(each) for each in guesses]), np.array(guessed), random.random(len(guesses)), tuple(guesses)))
    return truth, found


def oracle(truth, found, tmp_path, classes=3):
    annotations, results = [], []
    for image, labels in enumerate(truth):
        for shape, label, crowd in zip(labels.shapes, labels.classes, labels.crowd, strict=True):
            packed = coco_of(shape)
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": int(label), "segmentation": packed,
                                "area": float(coco_mask.area(packed)), "iscrowd": int(crowd), "bbox": coco_mask.toBbox(packed).tolist()})
    for image, labels in enumerate(found):
        for shape, label, certain in zip(labels.shapes, labels.classes, labels.scores, strict=True):
            results.append({"image_id": image, "category_id": int(label), "segmentation": coco_of(shape), "score": float(certain)})
    document = {"images": [{"id": i, "width": SIZE[0], "height": SIZE[1]} for i in range(len(truth))],
                "categories": [{"id": i, "name": str(i)} for i in range(classes)], "annotations": annotations}
    (tmp_path / "truth.json").write_text(json.dumps(document))
    (tmp_path / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(tmp_path / "truth.json"))
        evaluation = COCOeval(reference, reference.loadRes(str(tmp_path / "found.json")), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(4))
def test_the_twelve_numbers_of_masks_equal_pycocotools(seed, tmp_path):
    truth, found = scene(seed)
    measured = score(truth, found, [SIZE] * len(truth), ["a", "b", "c"], "masks")
    expected = oracle(truth, found, tmp_path)
    for name, value in zip(NAMES, expected, strict=True):
        assert measured.metrics[name] is None if value < 0 else measured.metrics[name] == pytest.approx(value, abs=1e-9)
    assert np.nanmean([row["AP"] for row in measured.per_class]) == pytest.approx(measured.metrics["AP"], abs=1e-6)
    boxes = score_boxes(truth, found, [SIZE] * len(truth), ["a", "b", "c"])
    assert boxes.metrics["AP"] != pytest.approx(measured.metrics["AP"], abs=1e-3)
    assert score(truth, found, [SIZE] * len(truth), ["a", "b", "c"]) == boxes


# ---- boundary AP, the plain way: whole masks, erosion step by step, greedy matching, 101 points of recall


def plain_boundary(mask):
    height, width = mask.shape
    steps = max(1, round(0.02 * (width**2 + height**2) ** 0.5))
    shrunk = np.pad(mask, 1).astype(np.uint8)
    for _ in range(steps):
        shrunk = cv2.erode(shrunk, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & (shrunk[1:-1, 1:-1] == 0)


def plain_overlap(one, two):
    """The lesser of mask IoU and boundary IoU."""
    return min((a & b).sum() / max(1, (a | b).sum()) for a, b in ((one, two), (plain_boundary(one), plain_boundary(two))))


def plain_ap(truth, found, classes, limit):
    """Without crowds."""
    values = []
    for class_id in range(classes):
        rows, wanted = [], 0
        for real, guess in zip(truth, found, strict=True):
            masks = [mask_of(shape, SIZE) for shape, label in zip(real.shapes, real.classes, strict=True) if label == class_id]
            wanted += len(masks)
            free = set(range(len(masks)))
            own = [i for i in np.argsort(-guess.scores, kind="stable") if guess.classes[i] == class_id]
            for i in own:
                over = {g: plain_overlap(mask_of(guess.shapes[i], SIZE), masks[g]) for g in free}
                best = max(over, key=over.get, default=None)
                hit = best is not None and over[best] >= limit
                if hit:
                    free.discard(best)
                rows.append((float(guess.scores[i]), hit))
        if wanted:
            hits = np.cumsum([hit for _, hit in sorted(rows, key=lambda row: -row[0])])
            precision = hits / np.arange(1, len(hits) + 1)
            recall = hits / wanted
            values.append(np.mean([max(precision[recall >= point - 1e-12], default=0.0) for point in np.linspace(0, 1, 101)]))
    return float(np.mean(values))


@pytest.mark.parametrize("seed", [5, 6])
def test_boundary_ap_equals_a_plain_evaluation(seed):
    truth, found = scene(seed, images=5)
    truth = [Instances(each.boxes, each.classes, shapes=each.shapes) for each in truth]
    sizes = [SIZE] * len(truth)
    edges, masks = (score(truth, found, sizes, ["a", "b", "c"], kind) for kind in ("boundary", "masks"))
    assert edges.metrics["AP50"] == pytest.approx(plain_ap(truth, found, 3, 0.5), abs=1e-9)
    assert edges.metrics["AP75"] == pytest.approx(plain_ap(truth, found, 3, 0.75), abs=1e-9)
    assert edges.metrics["AP"] < masks.metrics["AP"]


@pytest.mark.parametrize("seed", range(3))
def test_a_boundary_is_what_erosion_takes_away(seed):
    random = np.random.default_rng(seed)
    for mask in (mask_of(Polygons((blob(random)[0],)), SIZE), mask_of(Polygons((blob(random, np.array([3.0, 90.0]), 70.0)[0],)), SIZE),
                 random.random(SIZE[::-1]) < 0.9, np.ones(SIZE[::-1], bool), np.zeros(SIZE[::-1], bool)):
        assert np.array_equal(mask_of(boundary_of(rle_of_mask(mask)), SIZE), plain_boundary(mask))


def test_a_perfect_prediction_scores_one_and_nothing_found_zero():
    truth, _ = scene(1)
    truth = [Instances(each.boxes, each.classes, shapes=each.shapes) for each in truth]
    same = [Instances(each.boxes, each.classes, np.full(len(each), 0.9), tuple(run_lengths(each, SIZE))) for each in truth]
    nothing = [Instances(np.zeros((0, 4)), np.zeros(0), np.zeros(0), ())] * len(truth)
    for kind in ("boxes", "masks", "boundary"):
        assert score(truth, same, [SIZE] * len(truth), ["a", "b", "c"], kind).metrics["AP"] == pytest.approx(1)
        assert score(truth, nothing, [SIZE] * len(truth), ["a", "b", "c"], kind).metrics["AP"] == 0


@pytest.mark.parametrize("kind", ["boxes", "masks", "boundary"])
def test_what_is_found_inside_a_crowd_is_not_held_against_anyone(kind):
    squares = [np.array([[x, y], [x + s, y], [x + s, y + s], [x, y + s]], np.float64) for x, y, s in ((10, 10, 30), (60, 20, 120), (100, 60, 20))]
    boxes = np.array([[10, 10, 40, 40], [60, 20, 180, 140], [100, 60, 120, 80]])
    truth = Instances(boxes[:2], np.array([0, 0]), shapes=tuple(Polygons((ring,)) for ring in squares[:2]), crowd=np.array([False, True]))
    guesses = tuple(rle_of_mask(mask_of(Polygons((squares[i],)), SIZE)) for i in (0, 2))
    found = Instances(boxes[[0, 2]], np.array([0, 0]), np.array([0.5, 0.9]), guesses)
    assert score([truth], [found], [SIZE], ["a"], kind).metrics["AP"] == pytest.approx(1)


def test_an_object_without_an_outline_is_its_box():
    labels = Instances(np.array([[10, 20, 50, 60]]), np.array([0]))
    assert mask_of(run_lengths(labels, SIZE)[0], SIZE)[20:60, 10:50].all() and coco_mask.area(coco_of(run_lengths(labels, SIZE)[0])) == 1600


def test_five_hundred_classes_are_measured():
    boxes = np.array([[10 * (i % 20), 10 * (i // 20 % 15), 10 * (i % 20) + 8, 10 * (i // 20 % 15) + 8] for i in range(30)], np.float32)
    truth = [Instances(boxes, np.arange(30) * 16 + image, shapes=(None,) * 30) for image in range(3)]
    found = [Instances(boxes, each.classes, np.linspace(0.2, 0.9, 30), tuple(run_lengths(each, SIZE))) for each in truth]
    measured = score(truth, found, [SIZE] * 3, [str(i) for i in range(500)], "masks")
    assert measured.metrics["AP50"] == pytest.approx(1) and len(measured.per_class) == 500
    assert sum(row["objects"] for row in measured.per_class) == 90 and sum(row["AP"] is not None for row in measured.per_class) == 90

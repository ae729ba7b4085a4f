"""Overlap of masks against segmentation-models-pytorch, scipy and cases done by hand."""

import json
import time
import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.distance import directed_hausdorff

from engine.metrics import dice
from engine.metrics.dice import MaskMeter, hausdorff95


def masks(seed, images=6, classes=3, side=24):
    random = np.random.default_rng(seed)
    truth = random.random((images, classes, side, side)) < random.uniform(0.05, 0.6, (images, classes, 1, 1))
    return truth, truth ^ (random.random(truth.shape) < 0.2)


def measured(truth, found, classes=None, **options):
    meter = MaskMeter(classes or [f"class {i}" for i in range(truth.shape[1])], exclusive=False, **options)
    for wanted, given in zip(truth, found, strict=True):
        meter.add(wanted, given)
    return meter.result()


@pytest.mark.parametrize("seed", range(3))
def test_dice_and_iou_are_those_of_segmentation_models_pytorch(seed):
    from segmentation_models_pytorch import metrics as smp

    truth, found = masks(seed)
    tp, fp, fn, tn = smp.get_stats(torch.from_numpy(found), torch.from_numpy(truth).long(), mode="multilabel")
    ours = measured(truth, found)
    whole = [each.sum(0, keepdim=True) for each in (tp, fp, fn, tn)]
    for name, theirs in (("dice", smp.f1_score), ("iou", smp.iou_score)):
        np.testing.assert_allclose([row[f"{name}_global"] for row in ours["per_class"]], theirs(*whole, reduction="none")[0], rtol=1e-6)
        assert ours["metrics"][f"{name}_global"] == pytest.approx(float(theirs(*whole, reduction="macro")), rel=1e-6)
        np.testing.assert_allclose([row[name] for row in ours["per_class"]], theirs(tp, fp, fn, tn, reduction="none").mean(0), rtol=1e-6)
        assert ours["metrics"][name] == pytest.approx(float(theirs(tp, fp, fn, tn, reduction="macro-imagewise")), rel=1e-6)


def test_one_false_pixel_on_an_empty_image_shows_in_the_image_metrics_only():
    truth, found = np.zeros((2, 1, 8, 8), bool), np.zeros((2, 1, 8, 8), bool)
    truth[0, 0, :4, :4] = found[0, 0, :4, :4] = True
    found[1, 0, 7, 7] = True
    metrics = measured(truth, found)["metrics"]
    assert metrics["dice_global"] == pytest.approx(32 / 33)
    assert (metrics["dice"], metrics["dice_with_empty"], metrics["iou_with_empty"]) == (1, 0.5, 0.5)
    assert (metrics["images"], metrics["empty_images"], metrics["empty_images_with_false_alarm"]) == (2, 1, 1)


def test_a_set_of_empty_images_is_undefined_and_not_nan():
    result = measured(np.zeros((3, 2, 8, 8), bool), np.zeros((3, 2, 8, 8), bool))
    assert result["metrics"] == {"dice": None, "iou": None, "dice_global": None, "iou_global": None, "dice_with_empty": 1, "iou_with_empty": 1,
                                 "images": 3, "empty_images": 3, "empty_images_with_false_alarm": 0}
    json.dumps(result, allow_nan=False)


def test_a_class_that_no_image_shows_is_left_out_of_the_mean():
    truth, found = masks(1)
    truth[:, 1] = False
    result = measured(truth, found)
    assert result["per_class"][1]["dice"] is None
    assert result["per_class"][1]["dice_global"] == 0
    assert result["metrics"]["dice"] == pytest.approx(np.mean([result["per_class"][i]["dice"] for i in (0, 2)]))


def test_background_is_measured_but_not_in_the_means():
    truth, found = masks(2)
    with_background = measured(truth, found, ["background", "a", "b"])
    without = measured(truth[:, 1:], found[:, 1:], ["a", "b"])
    assert with_background["metrics"] == without["metrics"]
    assert with_background["per_class"][0]["dice"] > 0


def test_pixels_that_nobody_may_judge_do_not_count():
    truth, found = masks(3, images=1)
    known = np.random.default_rng(0).random((24, 24)) < 0.5
    clean = MaskMeter("abc", exclusive=True)
    clean.add(truth[0] & known, found[0] & known, None)
    spoilt = MaskMeter("abc", exclusive=True)
    spoilt.add(truth[0] & known, found[0] | ~known, known)
    spoilt.add(truth[0], found[0], np.zeros((24, 24), bool))
    ours = spoilt.result()["metrics"]
    assert ours["images"] == 1
    assert ours["pixel_accuracy"] == pytest.approx((truth[0] == found[0]).all(0)[known].mean())
    assert {**ours, "pixel_accuracy": 0} == {**clean.result()["metrics"], "pixel_accuracy": 0}


def test_dice_by_patient_sums_the_pixels_of_a_patient():
    truth, found = masks(4, images=5, classes=1)
    truth[4] = False
    meter = MaskMeter(["tumour"], exclusive=False)
    for wanted, given, group in zip(truth, found, ["a", "a", "b", None, "c"], strict=True):
        meter.add(wanted, given, None, group)
    expected = []
    for part in ([0, 1], [2], [3]):
        hits = (truth[part] & found[part]).sum()
        expected.append(2 * hits / (truth[part].sum() + found[part].sum()))
    assert meter.result()["metrics"]["dice_patient"] == pytest.approx(np.mean(expected))
    assert "dice_patient" not in measured(truth, found)["metrics"]


# ---- distance of outlines

@pytest.mark.parametrize("seed", range(4))
def test_all_of_the_outline_gives_the_hausdorff_distance_of_scipy(seed):
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :50]
    truth, found = ((rows - random.uniform(10, 30)) ** 2 + (columns - random.uniform(10, 40)) ** 2 < random.uniform(9, 80) for _ in range(2))
    edges = []
    for mask in (truth, found):
        padded = np.pad(mask, 1)
        inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        edges.append(np.argwhere(mask & ~inside))
    expected = max(directed_hausdorff(*edges)[0], directed_hausdorff(*edges[::-1])[0])
    assert dice._surface_distance(truth, found, 1.0) == pytest.approx(expected)


def test_a_shifted_square_is_as_far_as_it_was_shifted_and_a_speck_far_away_hardly_counts():
    truth, found = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    truth[10:40, 10:40] = True
    found[10:40, 13:43] = True
    assert hausdorff95(truth, found) == 3
    assert hausdorff95(truth, truth) == 0
    found[63, 63] = True
    assert hausdorff95(truth, found) == 3


def test_the_distance_is_undefined_where_nothing_is_there_or_nothing_was_found():
    truth, found = np.zeros((3, 1, 16, 16), bool), np.zeros((3, 1, 16, 16), bool)
    truth[0, 0, 4:8, 4:8] = found[1, 0, 4:8, 4:8] = True
    result = measured(truth, found, hausdorff=True)
    assert (result["metrics"]["hausdorff95"], result["metrics"]["hausdorff95_images"]) == (None, 0)
    found[0, 0, 4:8, 6:10] = True
    result = measured(truth, found, hausdorff=True)
    assert (result["metrics"]["hausdorff95"], result["per_class"][0]["hausdorff95_images"]) == (2, 1)


def test_nothing_warns_and_everything_is_plain():
    truth, found = masks(5)
    with warnings.catch_warnings(action="error"):
        json.dumps(measured(truth, found, hausdorff=True), allow_nan=False)
        json.dumps(MaskMeter("ab", exclusive=True, hausdorff=True).result(), allow_nan=False)


def test_distances_of_large_masks_are_exact_and_take_no_minutes():
    from scipy.ndimage import binary_erosion, distance_transform_edt

    draw = np.random.default_rng(0)
    masks = [np.kron(draw.random((40, 40)) < 0.3, np.ones((50, 50))) > 0 for _ in range(2)]
    begun = time.process_time()
    found = hausdorff95(*masks)
    assert time.process_time() - begun < 2
    edges = [mask & ~binary_erosion(mask) for mask in masks]
    wanted = max(np.quantile(distance_transform_edt(~edges[1 - i])[edges[i]], 0.95) for i in (0, 1))
    assert found == pytest.approx(wanted, abs=1e-4)

"""Thresholds, calibration, confusion and the meter that puts them together, against scikit-learn and cases with a known answer."""

import json
import warnings

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as sklearn
from sklearn.calibration import calibration_curve

from engine.metrics import calibration, confusion, thresholds
from engine.metrics.roc import ranking
from engine.metrics.tags import TagMeter
from engine.types import UserError


def labels(seed, images=200, classes=4):
    """truth f32[N,C] and probabilities that know something of it."""
    random = np.random.default_rng(seed)
    truth = (random.random((images, classes)) < random.uniform(0.1, 0.5, classes)).astype(np.float32)
    return truth, expit(3 * truth - 2 + random.normal(0, 1.2, truth.shape)).astype(np.float32)


def one_label(seed, images=200, classes=4):
    random = np.random.default_rng(seed)
    label = random.integers(0, classes, images)
    truth = np.eye(classes, dtype=np.float32)[label]
    return label, truth, softmax(1.5 * truth + random.normal(0, 1, truth.shape), 1).astype(np.float32)


def measured(truth, probability, *, groups=None, exclusive=False, bootstrap=0, **options):
    meter = TagMeter([f"class {i}" for i in range(truth.shape[1])], exclusive=exclusive, **options)
    for i, pair in enumerate(zip(truth, probability, strict=True)):
        meter.add(*pair, None if groups is None else groups[i])
    return meter.result(bootstrap)


# ---- thresholds

@pytest.mark.parametrize("seed", range(4))
def test_the_threshold_has_the_highest_f1_of_all(seed):
    truth, probability = labels(seed)
    for wanted, scores in zip(truth.T, probability.T, strict=True):
        chosen = thresholds.best_threshold(ranking(wanted, scores))
        precision, recall, _ = sklearn.precision_recall_curve(wanted, scores)
        best = (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()
        assert sklearn.f1_score(wanted, scores >= chosen) == pytest.approx(best)


def test_youden_and_a_wanted_sensitivity_are_met():
    truth, scores = (each[:, 0] for each in labels(1))
    ranked = ranking(truth, scores)
    fpr, tpr, _ = sklearn.roc_curve(truth, scores)
    found = thresholds.rates(truth, scores >= thresholds.best_threshold(ranked, "youden"))
    assert found["sensitivity"] + found["specificity"] - 1 == pytest.approx((tpr - fpr).max())
    sensitive = thresholds.rates(truth, scores >= thresholds.best_threshold(ranked, "sensitivity", sensitivity=0.95))
    assert sensitive["sensitivity"] >= 0.95
    assert sensitive["specificity"] == pytest.approx(1 - fpr[tpr >= 0.95].min())
    with pytest.raises(UserError):
        thresholds.best_threshold(ranked, "luck")


def test_a_threshold_lies_in_the_middle_of_the_gap():
    assert thresholds.best_threshold(ranking(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))) == pytest.approx(0.5)


def test_a_class_with_few_positives_gets_the_threshold_of_all_together():
    truth, probability = labels(2)
    truth[:, 3] = 0
    truth[:2, 3] = 1
    ours = thresholds.per_class(truth, probability)
    assert ours[3] == thresholds.best_threshold(ranking(truth.reshape(-1), probability.reshape(-1)))
    assert ours[0] == thresholds.best_threshold(ranking(truth[:, 0], probability[:, 0]))
    assert thresholds.per_class(np.full((3, 2), np.nan), np.full((3, 2), 0.3)) == [0.5, 0.5]


def test_rates_are_those_of_scikit_learn_and_undefined_without_positives():
    truth, probability = labels(3)
    found = probability[:, 0] >= 0.4
    ours = thresholds.rates(truth[:, 0], found)
    assert ours["f1"] == pytest.approx(sklearn.f1_score(truth[:, 0], found))
    assert ours["sensitivity"] == pytest.approx(sklearn.recall_score(truth[:, 0], found))
    assert ours["precision"] == pytest.approx(sklearn.precision_score(truth[:, 0], found))
    assert ours["specificity"] == pytest.approx(sklearn.recall_score(1 - truth[:, 0], ~found))
    assert thresholds.rates(np.zeros(4), np.zeros(4, bool)) == {"f1": None, "sensitivity": None, "specificity": 1.0, "precision": None}


# ---- calibration

@pytest.mark.parametrize("seed", range(3))
def test_reliability_is_that_of_scikit_learn(seed):
    truth, probability = (each[:, 0] for each in labels(seed))
    ours = calibration.reliability(truth, probability)
    observed, predicted = calibration_curve(truth, probability.astype(np.float64), n_bins=10)
    np.testing.assert_allclose(ours["observed"], observed)
    np.testing.assert_allclose(ours["predicted"], predicted)
    assert sum(ours["count"]) == len(truth)


def test_the_expected_error_of_known_cases():
    always = np.full(100, 0.9)
    half = np.tile([0.0, 1.0], 50)
    assert calibration.expected_error(calibration.reliability(half, always)) == pytest.approx(0.4)
    assert calibration.expected_error(calibration.reliability(half, np.full(100, 0.5))) == pytest.approx(0)
    assert calibration.expected_error(calibration.reliability(np.zeros(0), np.zeros(0))) is None


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(heat):
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (6000, 3))
    truth = (random.random(logits.shape) < expit(logits)).astype(np.float32)
    found = calibration.temperature(truth, expit(logits * heat), exclusive=False)
    assert found == pytest.approx(heat, rel=0.06)
    label = (softmax(logits, 1).cumsum(1) > random.random((6000, 1))).argmax(1)
    found = calibration.temperature(np.eye(3)[label], softmax(logits * heat, 1), exclusive=True)
    assert found == pytest.approx(heat, rel=0.06)


def test_tempering_makes_overconfident_probabilities_honest_and_keeps_their_order():
    random = np.random.default_rng(1)
    logits = random.normal(0, 1.5, (4000, 2))
    truth = (random.random(logits.shape) < expit(logits)).astype(np.float32)
    bold = expit(3 * logits)
    heat = calibration.temperature(truth, bold, exclusive=False)
    honest = calibration.tempered(bold, heat, exclusive=False)
    assert (np.diff(honest[np.argsort(bold[:, 0]), 0]) >= 0).all()
    before, after = (calibration.expected_error(calibration.reliability(truth[:, 0], each[:, 0])) for each in (bold, honest))
    assert after < 0.03 < before
    np.testing.assert_allclose(calibration.tempered(bold, 1.0, exclusive=False), bold, atol=1e-6)
    np.testing.assert_allclose(calibration.tempered(softmax(logits, 1), 2.0, exclusive=True), softmax(logits / 2, 1), atol=1e-9)


def test_the_temperature_stays_1_when_nothing_is_wrong_or_too_little_is_known():
    perfect = np.tile([[1.0, 0.0]], (40, 1))
    assert calibration.temperature(perfect, np.where(perfect == 1, 0.8, 0.2), exclusive=False) == 1.0
    assert calibration.temperature(perfect[:5], perfect[:5], exclusive=True) == 1.0
    assert calibration.temperature(np.full((50, 2), np.nan), np.full((50, 2), 0.5), exclusive=False) == 1.0
    random = np.random.default_rng(2)
    noise = expit(random.normal(0, 4, (500, 1)))
    assert 1 < calibration.temperature((random.random((500, 1)) < 0.5).astype(float), noise, exclusive=False) <= 20


# ---- confusion

def test_confusion_accuracy_and_f1_are_those_of_scikit_learn():
    label, _, probability = one_label(0)
    found = probability.argmax(1)
    matrix = confusion.confusion_matrix(label, found, 4)
    np.testing.assert_array_equal(matrix, sklearn.confusion_matrix(label, found))
    assert confusion.accuracy(matrix) == pytest.approx(sklearn.accuracy_score(label, found))
    assert confusion.macro_f1(matrix) == pytest.approx(sklearn.f1_score(label, found, average="macro"))
    truth, probability = labels(0)
    np.testing.assert_array_equal(confusion.confusion_per_class(truth, probability > 0.5),
                                  sklearn.multilabel_confusion_matrix(truth, probability > 0.5))


# ---- all of it

def test_the_meter_says_what_its_parts_say():
    truth, probability = labels(5)
    result = measured(truth, probability)
    assert result["metrics"]["auroc"] == pytest.approx(sklearn.roc_auc_score(truth, probability, average="macro"))
    assert result["metrics"]["average_precision"] == pytest.approx(sklearn.average_precision_score(truth, probability, average="macro"))
    assert result["thresholds"]["classes"] == thresholds.per_class(truth, probability)
    assert result["metrics"]["f1"] == pytest.approx(
        sklearn.f1_score(truth, probability >= np.array(result["thresholds"]["classes"]), average="macro"))
    assert [row["positives"] for row in result["per_class"]] == truth.sum(0).tolist()
    assert "accuracy" not in result["metrics"]


def test_classes_that_exclude_each_other_are_answered_by_the_most_probable():
    label, truth, probability = one_label(6)
    result = measured(truth, probability, exclusive=True, bootstrap=20)
    assert result["metrics"]["accuracy"] == pytest.approx((probability.argmax(1) == label).mean())
    assert result["metrics"]["f1"] == pytest.approx(sklearn.f1_score(label, probability.argmax(1), average="macro"))
    assert result["metrics"]["auroc"] == pytest.approx(sklearn.roc_auc_score(label, probability.astype(np.float64) / probability.astype(
        np.float64).sum(1, keepdims=True), multi_class="ovr"), abs=1e-3)
    assert result["thresholds"]["classes"] is None
    np.testing.assert_array_equal(result["curves"]["confusion"], sklearn.confusion_matrix(label, probability.argmax(1)))


def test_thresholds_found_elsewhere_are_used_and_told():
    truth, probability = labels(7)
    result = measured(truth, probability, decide=[0.5] * 4)
    assert result["thresholds"]["classes"] == [0.5] * 4
    assert result["metrics"]["f1"] == pytest.approx(sklearn.f1_score(truth, probability >= 0.5, average="macro"))


def test_a_class_with_one_label_value_is_undefined_and_not_in_the_mean():
    truth, probability = labels(8)
    truth[:, 2] = 0
    truth[:50, 1] = np.nan
    result = measured(truth, probability, bootstrap=30)
    row = result["per_class"][2]
    assert [row[name] for name in ("auroc", "auroc_low", "auroc_high", "average_precision", "f1", "sensitivity")] == [None] * 6
    assert row["degenerate_resamples"] == 30
    assert result["metrics"]["classes_defined"] == 3
    assert result["metrics"]["auroc"] == pytest.approx(np.mean([result["per_class"][i]["auroc"] for i in (0, 1, 3)]))
    assert result["per_class"][1]["auroc"] == pytest.approx(sklearn.roc_auc_score(truth[50:, 1], probability[50:, 1]))
    assert result["curves"]["roc"]["class 2"] is None


def test_uncertain_labels_follow_the_policy():
    truth, probability = labels(9)
    truth[:30, 0] = 0.5
    for policy, value in (("ignore", np.nan), ("zeros", 0), ("ones", 1), ("soft", np.nan)):
        replaced = np.where(truth == 0.5, value, truth)
        assert measured(truth, probability, uncertain=policy)["per_class"][0] == measured(replaced, probability)["per_class"][0]


def test_intervals_surround_the_values_and_patients_widen_them():
    truth, probability = labels(10, images=60)
    truth, probability = np.tile(truth, (5, 1)), np.tile(probability, (5, 1))
    by_image, by_patient = (measured(truth, probability, bootstrap=300, groups=groups) for groups in (None, [str(i % 60) for i in range(300)]))
    for result in (by_image, by_patient):
        for row in [result["metrics"], *result["per_class"]]:
            assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
            assert row["average_precision_low"] < row["average_precision"] < row["average_precision_high"]
    width = [each["metrics"]["auroc_high"] - each["metrics"]["auroc_low"] for each in (by_image, by_patient)]
    assert width[1] > 1.5 * width[0]


def test_perfect_answers_on_few_images_are_not_certain():
    truth = np.eye(3, dtype=np.float32).repeat(4, 0)
    result = measured(truth, truth * 0.8 + 0.1, bootstrap=50)
    assert result["metrics"]["auroc"] == result["metrics"]["auroc_high"] == 1
    assert result["metrics"]["auroc_low"] == pytest.approx(0.025 ** (1 / 4))


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("images", [0, 1, 30])
def test_results_are_plain_and_nothing_warns(exclusive, images):
    truth, probability = one_label(11, images)[1:] if exclusive else labels(11, images)
    with warnings.catch_warnings(action="error"):
        json.dumps(measured(truth, probability, exclusive=exclusive, bootstrap=10), allow_nan=False)


def test_a_network_that_gives_no_numbers_is_undefined_and_does_not_fail():
    truth, probability = labels(12)
    json.dumps(measured(truth, np.full_like(probability, np.nan), bootstrap=5), allow_nan=False)
    label, truth, probability = one_label(12)
    json.dumps(measured(truth, np.full_like(probability, np.nan), exclusive=True, bootstrap=5), allow_nan=False)

"""Ranking metrics and their intervals against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from engine.metrics import bootstrap, roc
from engine.metrics.roc import auroc, average_precision, pr_points, ranking, roc_points, value


def scores(seed, count=300, ties=True):
    random = np.random.default_rng(seed)
    truth = (random.random(count) < random.uniform(0.05, 0.6)).astype(np.float32)
    probability = np.clip(truth * random.uniform(0, 0.4) + random.random(count) * 0.6, 0, 1)
    return truth, (np.round(probability, 1) if ties else probability).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [True, False])
def test_both_areas_are_those_of_scikit_learn(seed, ties):
    truth, probability = scores(seed, ties=ties)
    ranked = ranking(truth, probability)
    assert value(auroc(ranked)) == pytest.approx(sklearn.roc_auc_score(truth, probability), abs=1e-12)
    assert value(average_precision(ranked)) == pytest.approx(sklearn.average_precision_score(truth, probability), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_weights_count_like_repeated_images(seed):
    truth, probability = scores(seed, 80)
    weights = np.random.default_rng(seed).integers(0, 4, (5, 80)).astype(np.float32)
    ranked = ranking(truth, probability)
    for i, row in enumerate(weights):
        drawn = np.repeat(np.arange(80), row.astype(int))
        assert auroc(ranked, weights)[i] == pytest.approx(sklearn.roc_auc_score(truth[drawn], probability[drawn]), abs=1e-12)
        assert average_precision(ranked, weights)[i] == pytest.approx(sklearn.average_precision_score(truth[drawn], probability[drawn]), abs=1e-12)


def test_labels_that_are_unknown_or_uncertain_are_not_judged():
    truth, probability = scores(0)
    spoilt, noise = np.concatenate([truth, [np.nan, 0.5, np.nan]]), np.concatenate([probability, [0.9, 0.8, np.nan]])
    assert value(auroc(ranking(spoilt, noise))) == value(auroc(ranking(truth, probability)))


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1], [np.nan] * 3, [0.5, 0, 0], []])
def test_with_one_label_value_only_both_are_undefined_and_not_zero(truth):
    ranked = ranking(np.array(truth), np.linspace(0, 1, len(truth)))
    assert (value(auroc(ranked)), value(average_precision(ranked)), roc_points(ranked), pr_points(ranked)) == (None,) * 4
    assert np.isnan(auroc(ranked, np.ones((7, len(truth))))).shape == (7,)


def test_a_score_that_is_not_a_number_leaves_the_class_undefined():
    assert value(auroc(ranking(np.array([0, 1, 1]), np.array([0.1, np.nan, 0.3])))) is None


def test_the_mean_is_over_defined_classes_only():
    assert roc.mean([0.5, None, 1.0]) == 0.75
    assert roc.mean([None]) is None


# ---- curves

@pytest.mark.parametrize("ties", [True, False])
def test_the_roc_curve_is_that_of_scikit_learn_at_its_corners(ties):
    truth, probability = scores(1, 60, ties)
    ours = roc_points(ranking(truth, probability))
    fpr, tpr, thresholds = sklearn.roc_curve(truth, probability)
    theirs = np.stack([fpr, tpr, thresholds], 1)
    for point in zip(ours["fpr"], ours["tpr"], ours["threshold"], strict=True):
        assert np.isclose(theirs, [np.inf if each is None else each for each in point]).all(1).any()
    assert np.trapezoid(ours["tpr"], ours["fpr"]) == pytest.approx(np.trapezoid(tpr, fpr), abs=1e-12)


def test_the_precision_recall_curve_is_that_of_scikit_learn():
    truth, probability = scores(2, 60)
    ours = pr_points(ranking(truth, probability))
    precision, recall, _ = sklearn.precision_recall_curve(truth, probability)
    for point in zip(ours["recall"], ours["precision"], strict=True):
        assert np.isclose(np.stack([recall, precision], 1), point).all(1).any()


@pytest.mark.parametrize("count", [50, 5000])
def test_long_curves_keep_their_ends_and_their_area(count):
    truth, probability = scores(3, count, ties=False)
    ranked = ranking(truth, probability)
    curve, other = roc_points(ranked), pr_points(ranked)
    assert len(curve["fpr"]) <= 200
    assert len(other["recall"]) <= 200
    assert [curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1]] == [0, 0, 1, 1]
    assert [other["recall"][0], other["recall"][-1]] == [0, 1]
    assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(value(auroc(ranked)), abs=5e-3)


# ---- intervals

def test_the_interval_holds_the_value_and_repeats_with_its_seed():
    truth, probability = scores(4)
    groups = [str(i // 3) for i in range(len(truth))]
    ranked = ranking(truth, probability)
    first, second, other = (bootstrap.interval(lambda w: auroc(ranked, w), truth, groups, resamples=200, seed=seed) for seed in (1, 1, 2))
    assert first == second != other
    assert first["low"] < first["value"] < first["high"]
    assert first["positives"] == int(truth.sum())


def test_images_of_one_patient_are_drawn_together():
    numbers = bootstrap.group_numbers(["a", "b", "a", None, None, "b"])
    assert numbers.tolist() == [0, 1, 0, 2, 3, 1]
    weights = np.concatenate(list(bootstrap.draws(numbers, 50, 0)))
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3, 4]].sum(1) == 4).all()


def test_repeating_every_image_does_not_make_the_metric_surer():
    truth, probability = scores(5, 60)
    patients = [str(i) for i in range(60)]
    once = bootstrap.interval(lambda w: auroc(ranking(truth, probability), w), truth, patients, resamples=400)
    many = ranking(np.tile(truth, 5), np.tile(probability, 5))
    tiled = bootstrap.interval(lambda w: auroc(many, w), np.tile(truth, 5), patients * 5, resamples=400)
    assert (tiled["low"], tiled["high"]) == pytest.approx((once["low"], once["high"]), abs=1e-9)


def test_the_interval_agrees_with_plain_resampling_of_scikit_learn():
    truth, probability = scores(6, 150)
    ours = bootstrap.interval(lambda w: auroc(ranking(truth, probability), w), truth, [None] * 150, resamples=2000)
    random, drawn = np.random.default_rng(7), []
    for _ in range(150):
        picked = random.integers(0, 150, 150)
        if truth[picked].any():
            drawn.append(sklearn.roc_auc_score(truth[picked], probability[picked]))
    np.testing.assert_allclose([ours["low"], ours["high"]], np.quantile(drawn, [0.025, 0.975]), atol=0.04)


def test_resamples_without_a_positive_are_counted_and_left_out():
    truth, probability = np.zeros(20), np.linspace(0, 1, 20)
    truth[12] = 1
    ours = bootstrap.interval(lambda w: auroc(ranking(truth, probability), w), truth, [None] * 20, resamples=500)
    assert 100 < ours["degenerate"] < 260
    assert 0 < ours["low"] <= ours["value"] <= ours["high"] < 1


def test_a_perfect_score_on_few_patients_is_not_certain():
    truth = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    ours = bootstrap.interval(lambda w: auroc(ranking(truth, truth * 0.5), w), truth, [None] * 8, resamples=200)
    assert (ours["value"], ours["high"]) == (1, 1)
    assert ours["low"] == pytest.approx(0.025 ** (1 / 3))


def test_nothing_to_draw_from_gives_no_interval():
    none = bootstrap.interval(lambda w: auroc(ranking(np.zeros(0), np.zeros(0)), w), np.zeros(0), [], resamples=10)
    assert (none["value"], none["low"], none["high"]) == (None, None, None)
    one = np.array([1.0, 0.0, 1.0])
    alone = bootstrap.interval(lambda w: auroc(ranking(one, np.array([0.2, 0.5, 0.9])), w), one, ["a"] * 3, resamples=10)
    assert (alone["value"], alone["low"], alone["high"]) == (0.5, None, None)

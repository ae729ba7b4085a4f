"""Tags: one or several an image, labels that are missing or left open, coarse groups, thresholds and temperature."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config import TrainConfig
from engine.losses import classification
from engine.tasks import coarse
from engine.tasks.classify import UNKNOWN, Classify
from engine.types import Sample, Tags, UserError

NAN = float("nan")
CONFIG = TrainConfig(model="timm", task="classify", augment="none", image_size=32)
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)


def samples(*rows):
    return [Sample(Path(f"{i}.png"), (50, 40), Tags(np.array(row, np.float32))) for i, row in enumerate(rows)]


def bound(mode="multilabel", thresholds=None, **options):
    return Classify({"mode": mode, **options}, thresholds)


# ---- single or several


@pytest.mark.parametrize("rows, mode", [
    ([[1, 0], [0, 1]], "multiclass"),
    ([[1, 0, 0], [0, 0, 1]], "multiclass"),
    ([[1, 1], [0, 1]], "multilabel"),
    ([[0, 0], [0, 1]], "multilabel"),
    ([[1, NAN], [0, 1]], "multilabel"),
    ([[1, 0.5], [0, 1]], "multilabel"),
    ([[1], [0]], "multilabel"),
])
def test_the_labels_say_whether_classes_exclude_each_other(rows, mode):
    fitted = Classify().fit(tuple("abc"[: len(rows[0])]), samples(*rows), CONFIG)
    assert fitted.options == {"mode": mode} and fitted.reasons == {"mode": f"mode_{mode}"}


def test_the_mode_that_a_person_chose_is_kept():
    assert Classify().fit(("a", "b"), samples([1, 0]), CONFIG.replace(options={"mode": "multilabel"})).options == {"mode": "multilabel"}


def test_images_of_which_nothing_is_known_do_not_train_and_only_a_certain_tag_teaches():
    found = Classify().trainable([*samples([NAN, NAN], [NAN, 0], [0.5, NAN]), Sample(Path("x"), (1, 1))])
    assert [each.image.name for each in found] == ["1.png", "2.png"]
    assert [Classify().teaches(each) for each in samples([0.5, 0], [0, 0], [1, NAN])] == [False, False, True]


def test_align_orders_tags_by_name_and_leaves_the_others_open():
    aligned = Classify().align(samples([1, 0, 0.5]), ("c", "a", "b"), ("a", "b", "c", "d"))
    np.testing.assert_array_equal(aligned[0].labels.values, np.array([0, 0.5, 1, NAN], np.float32))
    with pytest.raises(UserError, match="ship"):
        Classify().align(samples([1]), ("ship",), ("a", "b"))


# ---- missing and uncertain labels


def test_labels_reach_the_target_as_they_are():
    _, target = bound().encode(CONFIG, samples([1, 0, 0.5, NAN])[0], PIXELS, 0, True)
    np.testing.assert_array_equal(target["values"].numpy(), np.array([1, 0, 0.5, NAN], np.float32))


def test_the_label_of_an_exclusive_image_is_its_class_or_unknown():
    rows = samples([0, 0, 1], [0, 0.5, NAN], [1, NAN, NAN])
    assert [int(bound("multiclass").encode(CONFIG, each, PIXELS, 0, True)[1]["label"]) for each in rows] == [2, UNKNOWN, 0]


def gradient(config, rows, mode="multilabel"):
    """From labels to the gradient at the logits, through target and loss."""
    logits = torch.zeros(len(rows), len(rows[0]), requires_grad=True)
    targets = [bound(mode).encode(config, each, PIXELS, 0, True)[1] for each in samples(*rows)]
    classification.build(config, None, mode)(logits, targets).backward()
    return logits.grad


@pytest.mark.parametrize("loss", ["bce", "asymmetric", "focal"])
def test_what_nobody_mentioned_or_knows_has_a_gradient_of_exactly_zero(loss):
    found = gradient(CONFIG.replace(loss=loss), [[1, NAN, 0.5], [0, 1, 0]])
    assert found[0, 1] == found[0, 2] == 0 and (found[1] != 0).all() and found[0, 0] < 0 and torch.isfinite(found).all()


@pytest.mark.parametrize("policy, sign", [("ignore", 0), ("zeros", 1), ("ones", -1), ("soft", 0)])
def test_a_label_left_open_is_what_the_policy_says(policy, sign):
    found = gradient(CONFIG.replace(uncertain=policy), [[1, 0.5, 0]])
    assert torch.sign(found[0, 1]) == sign and found[0, 0] < 0 < found[0, 2]


def test_an_image_without_a_class_has_no_gradient_where_classes_exclude_each_other():
    found = gradient(CONFIG, [[1, 0, 0], [NAN, 0.5, 0]], "multiclass")
    assert (found[1] == 0).all() and found[0, 0] < 0


def test_the_balance_counts_known_labels_only():
    balance = bound().balance(("a", "b"), samples([1, NAN], [0, 0.5], [1, 1], [0, 0]), CONFIG)
    assert balance.positives.tolist() == [2, 1] and balance.negatives.tolist() == [2, 1] and balance.groups == ()


def test_rare_tags_are_drawn_more_often():
    weights = bound().weights(samples([1, 0], [1, 0], [1, 0], [1, 1], [0, NAN]))
    assert weights[3] == max(weights) == pytest.approx(5) and weights[4] == min(weights) == pytest.approx(weights[0])


# ---- coarse groups

NAMES = ("Nodule", "Mass", "Cardiomegaly")


def test_coarse_classes_are_read_in_the_order_they_are_written():
    words = "heart = Cardiomegaly; lungs = Nodule | Mass"
    assert coarse.parse(words, NAMES) == {"heart": ("Cardiomegaly",), "lungs": ("Nodule", "Mass")}
    assert coarse.groups(words, NAMES, np.zeros((1, 3)), 9) == (1, 1, 0)
    assert coarse.parse("心 = Cardiomegaly；肺 = Nodule｜Mass", NAMES).keys() == {"心", "肺"}


@pytest.mark.parametrize("words, key, about", [
    ("lungs Nodule | Mass", "coarse_classes", "lungs"), ("= Nodule", "coarse_classes", "Nodule"),
    ("a = Nodule; a = Mass; b = Cardiomegaly", "coarse_classes", "Mass"), ("a = Nodule | Mas; b = Cardiomegaly", "coarse_unknown", "Mas"),
    ("a = Nodule | Mass", "coarse_incomplete", "Cardiomegaly"), ("a = Nodule | Mass; b = Mass | Cardiomegaly", "coarse_incomplete", "Mass"),
])
def test_coarse_classes_that_cannot_be_are_refused(words, key, about):
    with pytest.raises(UserError, match=about) as caught:
        coarse.parse(words, NAMES)
    assert caught.value.key == key and caught.value.remedy()


def test_the_number_of_coarse_classes_follows_from_their_names():
    config = CONFIG.replace(model="hybridmednet", options={"hierarchical": True}, coarse_classes="x = Nodule | Mass; y = Cardiomegaly")
    assert Classify().fit(NAMES, samples([1, 1, 0], [0, 0, 1]), config).options["num_coarse_classes"] == 2


def test_coarse_classes_for_a_model_without_a_coarse_head_are_refused():
    with pytest.raises(UserError, match="timm") as caught:
        Classify().fit(NAMES, samples([1, 1, 0], [0, 0, 1]), CONFIG.replace(coarse_classes="x = Nodule | Mass; y = Cardiomegaly"))
    assert caught.value.key == "coarse_without_head"


def test_classes_that_are_seen_together_are_suggested_as_one_group():
    random = np.random.default_rng(0)
    lungs, heart = random.random(200) < 0.4, random.random(200) < 0.4
    values = np.stack([lungs, heart, lungs ^ (random.random(200) < 0.05), heart ^ (random.random(200) < 0.05)], 1).astype(np.float32)
    values[0] = NAN
    assert coarse.suggested(values, 2) == (0, 1, 0, 1)


@pytest.mark.parametrize("classes, count", [(1, 3), (2, 1), (3, 3), (5, 9), (4, 2)])
def test_a_suggestion_has_as_many_groups_as_there_can_be(classes, count):
    for values in (np.zeros((4, classes), np.float32), np.random.default_rng(1).integers(0, 2, (30, classes)).astype(np.float32)):
        found = coarse.suggested(values, count)
        assert len(found) == classes and set(found) == set(range(min(count, classes)))


def test_groups_reach_the_balance_of_a_hierarchical_network():
    config = CONFIG.replace(coarse_classes="x = Nodule | Mass; y = Cardiomegaly")
    balance = bound(hierarchical=True, num_coarse_classes=2).balance(NAMES, samples([1, 1, 0], [0, 0, 1]), config)
    assert balance.groups == (0, 0, 1)


# ---- from logits to tags

LOGITS = torch.tensor([[2.0, -1.0, 0.5]])


def test_a_temperature_makes_probabilities_milder_and_keeps_their_order():
    plain, mild = (bound(thresholds=each).decode(LOGITS, [(9, 9)])[0].values for each in (None, {"temperature": 2.0}))
    np.testing.assert_allclose(plain, torch.sigmoid(LOGITS[0]), atol=1e-6)
    np.testing.assert_allclose(mild, torch.sigmoid(LOGITS[0] / 2), atol=1e-6)
    alone = bound("multiclass", {"temperature": 2.0}).decode(LOGITS, [(9, 9)])[0].values
    np.testing.assert_allclose(alone, (LOGITS[0] / 2).softmax(0), atol=1e-6)


def test_the_mirrored_view_counts_half():
    def forward(pixels):
        return pixels[:, 0, 0, :1]

    pixels = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 3, 16, 16)
    assert bound().from_views(forward, pixels, [(9, 9)])[0].values[0] == pytest.approx(torch.sigmoid(torch.tensor(7.5)).item())


def test_broken_numbers_never_reach_a_label():
    assert np.isfinite(bound().decode(torch.tensor([[NAN, float("inf"), -float("inf")]]), [(9, 9)])[0].values).all()


def measured(task, logits, truth, final=False):
    meter = task.meter(tuple("abc"), final=final)
    for row, wanted in zip(logits, samples(*truth), strict=True):
        meter.add(wanted, task.decode(row[None], [(9, 9)])[0])
    return meter.result()


def test_thresholds_of_validation_decide_the_same_for_tempered_probabilities():
    random = torch.Generator().manual_seed(0)
    truth = (torch.rand(60, 3, generator=random) < 0.4).float()
    logits = 6 * truth - 2 + 3 * torch.randn(60, 3, generator=random)
    first = measured(bound(), logits, truth.tolist())
    found = first["thresholds"]
    assert found["temperature"] != 1 and len(found["classes"]) == 3
    again = measured(bound(thresholds=found), logits, truth.tolist(), final=True)
    for name in ("auroc", "average_precision", "f1", "sensitivity", "specificity", "precision"):
        assert again["metrics"][name] == pytest.approx(first["metrics"][name]), name
    assert again["metrics"]["ece"] == pytest.approx(first["metrics"]["ece_calibrated"], abs=1e-6)
    assert again["metrics"]["auroc_low"] < again["metrics"]["auroc"] < again["metrics"]["auroc_high"]


def test_a_class_that_the_images_do_not_show_has_no_auroc_and_does_not_count():
    random = torch.Generator().manual_seed(0)
    truth = (torch.rand(30, 3, generator=random) < 0.5).float()
    truth[:, 2] = 0
    result = measured(bound(), torch.randn(30, 3, generator=random), truth.tolist())
    rows = [row["auroc"] for row in result["per_class"]]
    assert rows[2] is None and result["metrics"]["auroc"] == pytest.approx(np.mean(rows[:2])) and result["metrics"]["classes_defined"] == 2


def test_the_order_of_epochs_never_meets_an_undefined_figure():
    assert bound().rank({"auroc": None, "average_precision": None, "f1": None}) == [0, 0, 0]
    assert bound().rank({"auroc": 0.8, "average_precision": 0.5, "f1": 0.1}) == [0.8, 0.5, 0.1]

"""Losses of image-level labels against torch, torchvision and timm."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.loss import AsymmetricLossMultiLabel
from torchvision.ops import sigmoid_focal_loss

from engine.config import TrainConfig
from engine.losses.classification import build
from engine.models.network import Balance
from engine.types import UserError

NAN = float("nan")
BALANCE = Balance(np.array([10.0, 50.0, 1.0, 0.0]), np.array([90.0, 50.0, 999.0, 100.0]))


def config(**changes):
    return TrainConfig(task="classify", model="timm", **changes)


def tags(values):
    return [{"values": row} for row in values]


def classes(labels):
    return [{"label": torch.tensor(each)} for each in labels]


@pytest.fixture
def logits():
    return (torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 3).requires_grad_()


@pytest.fixture
def values():
    return (torch.rand(6, 4, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def test_cross_entropy_of_tags_is_that_of_torch(logits, values):
    for loss in (build(None, None, "multilabel"), build(config(loss="bce"), None, "multilabel")):
        torch.testing.assert_close(loss(logits, tags(values)), F.binary_cross_entropy_with_logits(logits, values))


def test_the_asymmetric_loss_and_its_gradient_are_those_of_timm(logits, values):
    ours = build(config(loss="asymmetric"), None, "multilabel")(logits, tags(values))
    theirs = AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=1, clip=0.05, reduction="mean")(logits, values)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(each, logits)[0] for each in (ours, theirs)))


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_the_focal_loss_is_that_of_torchvision(logits, values, gamma):
    ours = build(config(loss="focal", focal_gamma=gamma), None, "multilabel")(logits, tags(values))
    torch.testing.assert_close(ours, sigmoid_focal_loss(logits, values, alpha=-1, gamma=gamma, reduction="mean"))


def test_balanced_tags_weigh_positives_by_negatives_over_positives_within_bounds(logits, values):
    loss = build(config(class_weights="balanced"), BALANCE, "multilabel")
    weight = torch.tensor([9.0, 1.0, 20.0, 1.0])
    torch.testing.assert_close(loss(logits, tags(values)), F.binary_cross_entropy_with_logits(logits, values, pos_weight=weight))
    assert not loss.state_dict()


def test_label_smoothing_moves_tags_towards_a_half(logits, values):
    ours = build(config(label_smoothing=0.1), None, "multilabel")(logits, tags(values))
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(logits, values * 0.9 + 0.05))


@pytest.mark.parametrize("name", ["bce", "asymmetric", "focal"])
def test_labels_that_nobody_gave_have_no_gradient_and_no_weight(logits, values, name):
    loss = build(config(loss=name), None, "multilabel")
    spoilt = values.clone()
    spoilt[1] = NAN
    spoilt[:, 2] = NAN
    cost = loss(logits, tags(spoilt))
    gradient, = torch.autograd.grad(cost, logits)
    assert (gradient[1] == 0).all()
    assert (gradient[:, 2] == 0).all()
    assert (gradient[[0, 2, 3, 4, 5]][:, [0, 1, 3]] != 0).any(1).all()
    kept = [0, 2, 3, 4, 5]
    torch.testing.assert_close(cost, loss(logits[kept][:, [0, 1, 3]], tags(values[kept][:, [0, 1, 3]])))


@pytest.mark.parametrize("name", ["bce", "asymmetric", "focal"])
def test_a_batch_without_labels_costs_nothing_and_can_be_differentiated(logits, name):
    cost = build(config(loss=name), None, "multilabel")(logits, tags(torch.full((6, 4), NAN)))
    assert cost.item() == 0
    assert (torch.autograd.grad(cost, logits)[0] == 0).all()


@pytest.mark.parametrize("policy, value", [("ignore", NAN), ("zeros", 0.0), ("ones", 1.0), ("soft", 0.5)])
def test_uncertain_labels_follow_the_policy(logits, values, policy, value):
    values[2] = 0.5
    meant = values.clone()
    meant[2] = value
    ours = build(config(uncertain=policy), None, "multilabel")(logits, tags(values))
    known = torch.isfinite(meant)
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(logits[known], meant[known]))


# ---- one class an image

def test_cross_entropy_of_classes_is_that_of_torch(logits):
    labels = [0, 1, 2, 3, 1, 1]
    for smoothing in (0.0, 0.1):
        ours = build(config(label_smoothing=smoothing), None, "multiclass")(logits, classes(labels))
        torch.testing.assert_close(ours, F.cross_entropy(logits, torch.tensor(labels), label_smoothing=smoothing))


def test_balanced_classes_weigh_by_inverse_frequency_even_alone(logits):
    loss = build(config(class_weights="balanced"), BALANCE, "multiclass")
    weight = 61 / 3 / torch.tensor([10.0, 50.0, 1.0])
    weight[2] = 20
    for label in range(3):
        alone = loss(logits[:1], classes([label]))
        torch.testing.assert_close(alone, F.cross_entropy(logits[:1], torch.tensor([label])) * weight[label])


def test_images_without_a_class_take_no_part(logits):
    loss = build(config(), None, "multiclass")
    cost = loss(logits, classes([0, -1, 2, -1, 1, 3]))
    gradient, = torch.autograd.grad(cost, logits)
    assert (gradient[[1, 3]] == 0).all()
    torch.testing.assert_close(cost, F.cross_entropy(logits[[0, 2, 4, 5]], torch.tensor([0, 2, 1, 3])))
    nothing = loss(logits, classes([-1] * 6))
    assert nothing.item() == 0
    assert (torch.autograd.grad(nothing, logits)[0] == 0).all()


def test_the_focal_loss_of_classes_counts_sure_answers_less(logits):
    labels = torch.tensor([0, 1, 2, 3, 1, 1])
    ours = build(config(loss="focal", focal_gamma=2.0), None, "multiclass")(logits, classes(labels.tolist()))
    true = logits.softmax(1)[torch.arange(6), labels]
    torch.testing.assert_close(ours, ((1 - true) ** 2 * -true.log()).mean())


# ---- both

@pytest.mark.parametrize("name", ["bce", "asymmetric", "focal"])
@pytest.mark.parametrize("size", [1e4, 60.0])
def test_extreme_logits_in_half_precision_stay_finite(name, size):
    logits = torch.tensor([[size, -size], [size, -size]]).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        cost = build(config(loss=name), BALANCE, "multilabel")(logits, tags(torch.tensor([[1.0, 0.0], [0.0, 1.0]])))
    assert cost.dtype == torch.float32
    assert torch.isfinite(cost)
    assert torch.isfinite(torch.autograd.grad(cost, logits)[0]).all()


def test_a_loss_for_another_kind_of_labels_is_refused():
    for name, mode in (("cross_entropy", "multilabel"), ("dice_bce", "multilabel"), ("asymmetric", "multiclass")):
        with pytest.raises(UserError, match=name):
            build(config(loss=name), None, mode)

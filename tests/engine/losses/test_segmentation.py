"""Losses for masks, against segmentation-models-pytorch, torch and numbers computed by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.config import TrainConfig
from engine.losses.segmentation import LOSSES, build, class_weights
from engine.models.network import Balance
from engine.types import UserError

MODES = {"binary": 1, "multiclass": 4, "multilabel": 3}


@pytest.fixture(scope="module")
def oracle():
    return pytest.importorskip("segmentation_models_pytorch").losses


def example(mode, *, unknown=0.2, seed=0):
    """logits, targets, and the truth as segmentation-models-pytorch wants it, 255 where nobody knows."""
    generator = torch.Generator().manual_seed(seed)
    channels = MODES[mode]
    logits = torch.randn(3, channels, 13, 17, generator=generator) * 2
    known = torch.rand(3, 13, 17, generator=generator) >= unknown
    if mode == "multilabel":
        layers = (torch.rand(3, channels, 13, 17, generator=generator) > 0.7).to(torch.uint8)
        targets = [{"layers": one, "known": there.to(torch.uint8)} for one, there in zip(layers, known, strict=True)]
        return logits, targets, torch.where(known[:, None], layers, 255).long()
    mask = torch.where(known, torch.randint(0, max(channels, 2), (3, 13, 17), generator=generator), 255)
    return logits, [{"mask": one.to(torch.uint8)} for one in mask], mask if mode == "multiclass" else mask[:, None]


def blank(mode, side=8):
    """Targets of two images where nothing is there (multiclass: all background, class 0)."""
    empty = torch.zeros(side, side, dtype=torch.uint8)
    if mode == "multilabel":
        return [{"layers": empty.repeat(MODES[mode], 1, 1), "known": torch.ones_like(empty)}] * 2
    return [{"mask": empty}] * 2


def total(name, mode, logits, targets, balance=None, **settings):
    return sum(build(TrainConfig(loss=name, **settings), balance, mode)(logits, targets).values())


# ---- against others

@pytest.mark.parametrize("mode", MODES)
def test_tversky_agrees_with_smp_whose_alpha_is_for_false_positives(mode, oracle):
    logits, targets, truth = example(mode)
    expected = oracle.TverskyLoss(mode, alpha=0.2, beta=0.9, ignore_index=255)(logits, truth)
    torch.testing.assert_close(total("tversky", mode, logits, targets, fp_weight=0.2, fn_weight=0.9), expected)


@pytest.mark.parametrize("mode", ["binary", "multiclass"])
def test_lovasz_agrees_with_smp(mode, oracle):
    logits, targets, truth = example(mode)
    torch.testing.assert_close(total("lovasz", mode, logits, targets), oracle.LovaszLoss(mode, ignore_index=255)(logits, truth))


def test_lovasz_of_layers_is_the_mean_of_those_of_each_layer(oracle):
    logits, targets, truth = example("multilabel")
    each = [oracle.LovaszLoss("binary", ignore_index=255)(logits[:, layer], truth[:, layer]) for layer in range(3)]
    torch.testing.assert_close(total("lovasz", "multilabel", logits, targets), torch.stack(each).mean())


@pytest.mark.parametrize("mode", MODES)
def test_dice_with_cross_entropy_agrees_with_smp_and_torch(mode, oracle):
    logits, targets, truth = example(mode)
    terms = build(None, None, mode)(logits, targets)
    torch.testing.assert_close(terms["loss_dice"], oracle.DiceLoss(mode, ignore_index=255)(logits, truth))
    if mode == "multiclass":
        torch.testing.assert_close(terms["loss_ce"], F.cross_entropy(logits, truth, ignore_index=255))
    else:
        known = truth != 255
        torch.testing.assert_close(terms["loss_bce"], F.binary_cross_entropy_with_logits(logits[known], truth[known].float()))


@pytest.mark.parametrize("mode", MODES)
def test_jaccard_agrees_with_smp_where_everything_is_known(mode, oracle):
    logits, targets, truth = example(mode, unknown=0)
    torch.testing.assert_close(total("jaccard", mode, logits, targets), oracle.JaccardLoss(mode)(logits, truth))


def test_binary_focal_agrees_with_smp(oracle):
    logits, targets, truth = example("binary", unknown=0)
    torch.testing.assert_close(total("focal", "binary", logits, targets), oracle.FocalLoss("binary", gamma=2.0)(logits, truth))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("balanced", ["none", "balanced"])
def test_focal_with_gamma_0_is_cross_entropy(mode, balanced):
    logits, targets, _ = example(mode)
    balance = Balance(np.arange(1.0, MODES[mode] + 1), np.full(MODES[mode], 9.0))
    settings = {"class_weights": balanced, "balance": balance}
    entropy = total("cross_entropy", mode, logits, targets, **settings)
    torch.testing.assert_close(total("focal", mode, logits, targets, focal_gamma=0.0, **settings), entropy)


# ---- by hand

def probabilities(values):
    return torch.tensor(values).logit().reshape(1, 1, 1, -1)


def test_a_missed_pixel_costs_more_than_a_false_alarm_by_default():
    """TI = TP / (TP + 0.3 FP + 0.7 FN); exponent 4/3: (1 - TI)^(3/4)."""
    target = [{"mask": torch.tensor([[1, 1, 0, 0]], dtype=torch.uint8)}]
    missed, alarm = probabilities([1 - 1e-6, 1e-6, 1e-6, 1e-6]), probabilities([1 - 1e-6, 1 - 1e-6, 1 - 1e-6, 1e-6])
    assert total("tversky", "binary", missed, target).item() == pytest.approx(1 - 1 / 1.7, abs=1e-4)
    assert total("tversky", "binary", alarm, target).item() == pytest.approx(1 - 2 / 2.3, abs=1e-4)
    assert total("focal_tversky", "binary", missed, target).item() == pytest.approx((1 - 1 / 1.7) ** 0.75, abs=1e-4)
    assert total("focal_tversky", "binary", missed, target, exponent=1.0).item() == pytest.approx(1 - 1 / 1.7, abs=1e-4)


def test_focal_tversky_raises_each_class_on_its_own():
    logits, targets, truth = example("multiclass", unknown=0)
    found, wanted = logits.softmax(1), F.one_hot(truth, 4).movedim(-1, 1).float()
    hit = (found * wanted).sum((0, 2, 3))
    index = hit / (hit + 0.3 * (found * (1 - wanted)).sum((0, 2, 3)) + 0.7 * ((1 - found) * wanted).sum((0, 2, 3)))
    torch.testing.assert_close(total("focal_tversky", "multiclass", logits, targets), ((1 - index) ** 0.75).mean())


def test_focal_of_exclusive_classes_uses_the_softmax():
    logits = torch.tensor([0.7, 0.2, 0.1]).log().reshape(1, 3, 1, 1)
    value = total("focal", "multiclass", logits, [{"mask": torch.ones(1, 1, dtype=torch.uint8)}], focal_gamma=2.0)
    assert value.item() == pytest.approx(-(0.8**2) * np.log(0.2), rel=1e-5)


def test_balanced_weights_are_inverse_frequencies_within_bounds():
    many = Balance(np.array([9900.0, 99.0, 1.0, 0.0]), np.array([100.0, 9901, 9999, 10000]))
    assert class_weights(many, "multiclass").tolist() == pytest.approx([10000 / 4 / 9900, 20, 20, 1])
    assert class_weights(many, "multilabel").tolist() == pytest.approx([0.05, 20, 20, 1])
    assert class_weights(Balance(np.array([100.0, 50.0]), np.array([50.0, 100.0])), "binary").tolist() == [2.0]


def test_balanced_cross_entropy_is_that_of_torch_with_weights():
    logits, targets, truth = example("multiclass")
    balance = Balance(np.array([10.0, 20.0, 30.0, 40.0]), np.zeros(4))
    weights = torch.tensor([2.5, 1.25, 25 / 30, 0.625])
    expected = F.cross_entropy(logits, truth, weights, ignore_index=255)
    torch.testing.assert_close(total("cross_entropy", "multiclass", logits, targets, balance, class_weights="balanced"), expected)
    torch.testing.assert_close(total("cross_entropy", "multiclass", logits, targets, balance), F.cross_entropy(logits, truth, ignore_index=255))


def test_two_images_count_as_one_region():
    """Aggregated over the batch: an image of one pixel and one of many are not averaged."""
    logits, targets, _ = example("binary")
    whole = logits.movedim(1, 0).reshape(1, 1, -1, 17), [{"mask": torch.cat([target["mask"] for target in targets], 0)}]
    for name in LOSSES:
        torch.testing.assert_close(total(name, "binary", logits, targets), total(name, "binary", *whole))


def test_exclusive_classes_that_do_not_show_count_together_as_one():
    logits = torch.tensor([0.6, 0.1, 0.3]).log().reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    value = total("jaccard", "multiclass", logits, [{"mask": torch.zeros(2, 2, dtype=torch.uint8)}])
    assert value.item() == pytest.approx((1 - 0.6 - np.log(0.6)) / 2, rel=1e-5)


# ---- what every loss owes

@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("certainty", [0.0, 8.0])
def test_a_batch_without_foreground_still_pushes_false_positives_down(name, mode, certainty):
    """Wrong with probability 0.5 or nearly 1: a step against the gradient lowers the scores of every class that is not there."""
    logits = torch.full((2, MODES[mode], 8, 8), certainty)
    if mode == "multiclass":
        logits[:, 0] = 0
    logits.requires_grad_()
    total(name, mode, logits, blank(mode)).backward()
    absent = logits.grad if mode != "multiclass" else logits.grad[:, 1:]
    assert (absent.mean((0, 2, 3)) > 1e-6).all()
    assert (absent >= 0).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_pixels_that_nobody_may_judge_take_no_part(name, mode):
    logits, targets, truth = example(mode)
    changed = torch.where((truth.reshape(3, -1, 13, 17) == 255).all(1, keepdim=True), 50.0, logits).requires_grad_()
    value = total(name, mode, changed, targets)
    torch.testing.assert_close(value, total(name, mode, logits, targets))
    value.backward()
    unknown = (truth.reshape(3, -1, 13, 17) == 255).all(1, keepdim=True).expand_as(logits)
    assert changed.grad[unknown].abs().max() == 0
    assert changed.grad[~unknown].abs().max() > 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_unknown_pixels_costs_nothing_and_has_a_gradient_of_zero(name, mode):
    logits, targets, _ = example(mode, unknown=1.1)
    logits.requires_grad_()
    value = total(name, mode, logits, targets)
    value.backward()
    assert (value.item(), logits.grad.abs().max().item()) == (0, 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_bf16_logits_of_any_size_give_finite_fp32_losses_and_gradients(name, mode, scale):
    logits, targets, _ = example(mode)
    half = (logits * scale).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        terms = build(TrainConfig(loss=name), None, mode)(half, targets)
    sum(terms.values()).backward()
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    assert half.grad.isfinite().all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_prediction_costs_next_to_nothing(name, mode):
    _, targets, truth = example(mode, unknown=0)
    wanted = F.one_hot(truth, 4).movedim(-1, 1) if mode == "multiclass" else truth
    logits = ((wanted * 2 - 1) * 30.0).requires_grad_()
    value = total(name, mode, logits, targets)
    value.backward()
    assert value.item() < 1e-4
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["bce", "asymmetric"])
def test_losses_of_other_tasks_are_refused_by_name(name):
    with pytest.raises(UserError) as caught:
        build(TrainConfig(loss=name), None, "binary")
    assert caught.value.key == "loss_for_mode"
    assert "focal_tversky" in str(caught.value)


def test_logits_and_masks_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="8, 8"):
        build(None, None, "binary")(torch.zeros(2, 1, 9, 9), blank("binary"))


def test_the_loss_adds_nothing_to_the_state_dict():
    balance = Balance(np.array([1.0]), np.array([4.0]))
    assert build(TrainConfig(class_weights="balanced"), balance, "binary").state_dict() == {}

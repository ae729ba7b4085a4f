"""The learning-rate curve and the numbers derived from the length of a run."""

import pytest

from engine.config import TrainConfig
from engine.models import models
from engine.recipe import DataFacts, Machine, ema_decay, plain_from, schedule_facts, suggest, warmup_steps
from engine.schedule import factor
from engine.types import UserError


def curve(config, steps, epochs):
    return [factor(config, step, total_steps=steps, epochs=epochs) for step in range(steps)]


@pytest.mark.parametrize("steps, epochs", [(1, 1), (2, 1), (7, 1), (50, 10), (3000, 12), (100_000, 100)])
def test_warm_up_never_exceeds_the_run_and_the_full_rate_is_reached(steps, epochs):
    rates = curve(TrainConfig(), steps, epochs)
    assert all(0 < rate <= 1 for rate in rates)
    assert warmup_steps(TrainConfig(), steps) <= min(2000, steps // 2 + 1)
    if steps > 2:
        assert max(rates) == 1.0


def test_the_curve_rises_stays_falls_and_ends_flat():
    config = TrainConfig(warmup=0.1, flat=0.5, plain_tail=0.2, final_lr=0.1)
    rates = curve(config, 1000, 10)
    assert rates[:100] == sorted(rates[:100]) and rates[0] < 0.001
    assert set(rates[100:500]) == {1.0}
    assert rates[500:800] == sorted(rates[500:800], reverse=True)
    assert set(rates[800:]) == {0.1}


def test_ema_forgets_the_start_of_a_short_run_and_keeps_the_published_decay_for_a_long_one():
    assert ema_decay(TrainConfig(), 250) < 0.9
    assert ema_decay(TrainConfig(), 10_000_000) == 0.9999
    assert ema_decay(TrainConfig(ema=0.5), 250) == 0.5


def test_every_open_value_is_derived_and_every_given_one_kept():
    spec = models.get("deimv2_n")
    plan = suggest(TrainConfig(lr=0.123, batch=3), spec, DataFacts(200, 50, 4, 9), Machine("cpu", 0, 2), pretrained=False)
    assert (plan.config.lr, plan.config.batch) == (0.123, 3)
    assert plan.config.image_size == 320 and plan.config.minutes > 0 and plan.config.backbone_lr > 0
    derived = {"image_size", "minutes", "augment", "backbone_lr", "weight_decay", "clip", "schedule", "patience", "denoising"}
    assert {each.name for each in plan.derived} == derived
    counted = suggest(TrainConfig(), spec, DataFacts(200, 50, 4, 9, overlap=0.7), Machine("cpu", 0, 2), pretrained=False)
    assert {each.name for each in counted.derived} == derived | {"lr", "batch", "nms"}
    gpu = suggest(TrainConfig(), spec, DataFacts(200, 50, 4, 9), Machine("cuda", 24, 8), pretrained=True).config
    assert gpu.image_size == 640 and gpu.epochs >= 12 and gpu.batch in (8, 16, 32)


@pytest.mark.parametrize("images", [1, 2, 3, 7])
def test_a_batch_never_exceeds_half_of_a_tiny_set(images):
    spec = models.get("deimv2_atto")
    assert 1 <= suggest(TrainConfig(), spec, DataFacts(images, 1, 1), Machine("cpu"), pretrained=False).config.batch <= max(1, (images + 1) // 2)


def test_reasons_and_labels_have_texts_in_every_language():
    plan = suggest(TrainConfig(), models.get("deimv2_atto"), DataFacts(60, 10, 4), Machine("cpu"), pretrained=False)
    for fact in (*plan.derived, *schedule_facts(plan.config, 500, 50)):
        for language in ("en", "zh-CN", "zh-TW"):
            text = fact.because(language)
            assert not text.startswith("reason.") and "{" not in text, fact.reason
            assert not fact.label(language).startswith("option."), fact.name


@pytest.mark.parametrize("bad", [{"epochs": -1}, {"batch": "many"}, {"precision": "int3"}, {"lr": float("nan")}, {"image_size": 333},
                                 {"epochs": 3, "minutes": 2}, {"epohcs": 3}])
def test_a_bad_setting_is_refused_by_name(bad):
    with pytest.raises(UserError) as caught:
        TrainConfig.from_dict(bad)
    assert str(next(iter(bad.values()))) in str(caught.value) or next(iter(bad)) in str(caught.value)
    assert caught.value.remedy()


def test_plain_tail_lies_inside_the_run():
    assert [plain_from(TrainConfig(plain_tail=0.2), epochs) for epochs in (1, 5, 10)] == [2, 5, 9]

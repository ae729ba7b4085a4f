"""The published recipe, staged by the length of the run: every stage inside it and in order, the tutorial's numbers where they apply."""

import numpy as np
import pytest

from engine import messages, stages
from engine.config import TrainConfig
from engine.models import models
from engine.recipe import DataFacts, Machine, schedule_facts, suggest
from engine.schedule import factor
from engine.stages import Active, active, progress, run_epochs, side_of, sides, timeline

LENGTHS = (1, 5, 12, 50, 120, 500)
SIZES = ("atto", "femto", "pico", "n", "s", "m", "l", "x")


def official(epochs=50, size="s", **changes):
    return TrainConfig(model=f"deimv2_{size}", epochs=epochs, **{"augment": "official", "image_size": 640, **changes})


def test_fifty_epochs_give_the_numbers_of_the_tutorial():
    config = official(50)
    total = run_epochs(config)
    plan = timeline(config, total)
    assert (total, plan.flat, total - plan.stop) == (62, 29, 12)
    assert {name: str(span) for name, span in plan.spans.items()} == {
        "strong": "5-50", "photometric": "5-50", "zoom_out": "5-50", "iou_crop": "5-50", "mosaic": "5-29", "mixup": "5-29", "copy_blend": "5-50",
        "multi_scale": "1-50", "flat": "1-29", "cosine": "30-50", "plain": "51-62", "reload": "51", "matcher_change": "46-62", "flip": "1-62"}


@pytest.mark.parametrize("size", SIZES)
def test_fifty_epochs_have_these_numbers_at_every_size(size):
    config = official(50, size)
    plan = timeline(config, run_epochs(config))
    assert (plan.epochs, plan.flat, plan.epochs - plan.stop) == (62, 29, 12)


@pytest.mark.parametrize("epochs", [50, 51, 100, 120, 500])
def test_long_runs_follow_the_rule_of_the_tutorial(epochs):
    plan = timeline(official(epochs), run_epochs(official(epochs)))
    assert (plan.epochs, plan.start, plan.flat, plan.stop) == (epochs + 12, 4, 4 + epochs // 2, epochs)
    assert abs(plan.spans["matcher_change"].first - 1 - 0.9 * epochs) <= 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("epochs", LENGTHS)
def test_every_stage_lies_inside_the_run_and_in_order(epochs, size):
    config = official(epochs, size)
    total = run_epochs(config)
    plan = timeline(config, total)
    assert epochs <= total <= epochs + 12 and plan.stop == epochs
    assert 0 <= plan.start <= plan.flat <= plan.stop <= plan.epochs == total
    for span in filter(bool, plan.spans.values()):
        assert 1 <= span.first <= span.last <= total
    for early, late in (("mosaic", "plain"), ("flat", "cosine"), ("cosine", "plain"), ("multi_scale", "plain"), ("strong", "reload")):
        if plan.spans[early] and plan.spans[late]:
            assert plan.spans[early].last < plan.spans[late].first
    if epochs >= 5:
        assert plan.spans["mosaic"] and plan.spans["plain"] and plan.spans["matcher_change"] and plan.spans["cosine"]
    rates = [factor(config, step, total_steps=10 * total, epochs=total) for step in range(10 * total)]
    assert all(0 < rate <= 1 for rate in rates) and (total == 1 or max(rates) == 1.0)
    assert rates[-1] == pytest.approx(models.get(config.model).official.final_lr, abs=0.02)


def test_the_length_tells_the_epochs_that_were_asked_for_and_any_other_length_works():
    assert all(timeline(official(epochs), run_epochs(official(epochs))).stop == epochs for epochs in range(1, 400))
    budget = official(0, minutes=5.0)
    stops = [timeline(budget, epochs).stop for epochs in range(1, 200)]
    assert stops == sorted(stops) and stops[61] == 50


def test_settings_of_a_person_win_over_the_recipe():
    config = official(40, flat=0.25, plain_tail=0.5, final_lr=0.2)
    plan = timeline(config, run_epochs(config))
    assert (plan.epochs, plan.flat, plan.stop) == (40, 10, 20)
    assert stages.final_lr(config) == 0.2


def test_other_presets_have_the_length_and_the_shares_that_they_had():
    config = TrainConfig(epochs=20)
    assert run_epochs(config) == 20 and stages.plain_from(config, 20) == 18
    assert stages.flat_share(config, 20) == 0.5 and stages.final_lr(config) == 0.1
    assert active(config, 17, 20) == Active.STRONG and active(config, 18, 20) == Active.PLAIN
    assert [progress(config, epoch, 20) for epoch in (1, 11, 19)] == [0, 0.5, 0.9]
    assert side_of(config.replace(image_size=320), 1, 0, 20) == 320


def test_what_is_active_follows_the_size_of_the_model():
    small, nano, atto = (official(50, size) for size in ("s", "n", "atto"))
    assert active(small, 4, 62) == active(small, 51, 62) == Active.PLAIN
    assert active(small, 5, 62) == active(small, 29, 62) == Active.STRONG | Active.MOSAIC | Active.MIXUP | Active.COPY_BLEND
    assert active(small, 30, 62) == Active.STRONG | Active.COPY_BLEND
    assert active(nano, 30, 62) == Active.STRONG
    assert active(atto, 29, 62) == Active.STRONG | Active.MOSAIC
    some = stages.chances(atto, active(atto, 29, 62))
    assert (some.strong, some.mosaic, some.mixup, some.least) == (True, 0.3, 0, 12)


def test_batches_have_the_published_sides_until_the_plain_tail():
    assert sides(official(50, "m")) == (480, 512, 544, 576, 608, *[640] * 6, 672, 704, 736, 768, 800)
    assert sides(official(50, "n")) == sides(official(50, "atto")) == (640,)
    config = official(50, "l")
    drawn = [side_of(config, 7, batch, 62) for batch in range(300)]
    assert set(drawn) == set(sides(config)) and drawn == [side_of(config, 7, batch, 62) for batch in range(300)]
    assert {side_of(config, 51, batch, 62) for batch in range(50)} == {640}
    assert all(side % 32 == 0 and side > 0 for size in (32, 64, 320, 2048) for side in sides(official(size="x", image_size=size)))


def test_the_matcher_changes_after_nine_tenths_of_the_augmented_epochs():
    late = models.get("deimv2_s")
    assert late.official is not None
    for epochs in LENGTHS:
        config = official(epochs)
        total = run_epochs(config)
        first = next((epoch for epoch in range(1, total + 1) if progress(config, epoch, total) >= 0.9), total + 1)
        assert first == timeline(config, total).spans["matcher_change"].first or first == total + 1


def test_restarts_shorten_the_memory_of_the_average():
    assert [round(stages.restarted(0.9999, times), 6) for times in (0, 1, 2)] == [0.9999, 0.9998, 0.9997]
    assert 0 <= stages.restarted(0.5, 9) < 0.5


@pytest.mark.parametrize("size", ["atto", "n", "s"])
@pytest.mark.parametrize("epochs", LENGTHS)
def test_the_derived_values_say_their_formulas_in_every_language(size, epochs):
    config = suggest(official(epochs, size), models.get(f"deimv2_{size}"), DataFacts(60, 10, 4), Machine("cpu"), pretrained=False).config
    facts = schedule_facts(config, 10 * run_epochs(config), run_epochs(config))
    named = {each.name: each.value for each in facts}
    assert named["epochs_run"] == run_epochs(config) and len(named) == len(facts)
    assert ("multi_scale_epochs" in named) == (size == "s")
    for fact in facts:
        for language in messages.LANGUAGES:
            assert fact.label(language) != f"option.{fact.name}" and "{" not in fact.because(language)
            assert fact.because(language) != f"reason.{fact.reason}"


def test_memory_is_planned_for_the_largest_side():
    facts, machine = DataFacts(5000, 10, 4), Machine("cuda", 24, 8)
    fixed, staged = (suggest(official(0, "x", augment=name, image_size=0), models.get("deimv2_x"), facts, machine, pretrained=True).config.batch
                     for name in ("standard", "official"))
    assert staged <= fixed


def test_spans_are_read_as_words():
    assert str(stages.Span(3, 7)) == "3-7" and str(stages.Span(3, 3)) == "3" and not stages.Span(3, 2)
    assert np.isclose(timeline(official(), 62).shares("mosaic"), (4 / 62, 29 / 62)).all()

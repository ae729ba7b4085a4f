"""The picture of a run before it starts: rate, average, and a bar for each stage, in every language; and what its images will look like."""

import re

import numpy as np
import pytest

from engine import messages, stages
from engine.config import TrainConfig
from engine.recipe import DataFacts
from engine.tasks.task import tasks
from engine.types import Instances, Sample
from engine.workspace import Workspace
from ui import plots, timeline
from ui.pages import home
from ui.pages.train import augmented, data, outlined, pixels, plan

OFFICIAL = TrainConfig(model="deimv2_s", augment="official", epochs=50, image_size=640)


def bars(drawing):
    return {name: (float(left), float(width)) for name, left, width in
            re.findall(r'<span>([^<]+) <b>.*?left:([\d.]+)%;width:([\d.]+)%"></i>', drawing)}


def test_each_stage_has_a_bar_where_it_is_active():
    found = bars(timeline.bars(OFFICIAL, 62, "en"))
    assert list(found) == ["Light, zoom out, crop", "Mosaic", "MixUp", "CopyBlend", "Several image sizes", "Late matching", "Best state is loaded"]
    assert found["Mosaic"] == pytest.approx((400 / 62, 2500 / 62), abs=0.01)
    assert all(left + width <= 100.01 for left, width in found.values())
    assert "epochs 5-29" in timeline.bars(OFFICIAL, 62, "en")
    assert "6-47 %" in timeline.bars(OFFICIAL, 62, "en", known=False)


def test_smaller_models_and_other_presets_have_the_bars_of_what_they_do():
    atto = OFFICIAL.replace(model="deimv2_atto")
    assert not {"MixUp", "CopyBlend", "Several image sizes"} & bars(timeline.bars(atto, 62, "en")).keys()
    assert list(bars(timeline.bars(TrainConfig(), 50, "en"))) == ["Strong augmentation", "Late matching"]
    assert list(bars(timeline.bars(TrainConfig(augment="none"), 50, "en"))) == ["Late matching"]
    assert bars(timeline.bars(TrainConfig(model="unet", task="semantic", augment="tutorial"), 50, "en"))["Strong augmentation"] == (0, 100)


@pytest.mark.parametrize("language", messages.LANGUAGES)
@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (70, 7), (6200, 62)])
def test_the_picture_shows_rate_average_and_stages_in_every_language(language, steps, epochs):
    drawing = plots.schedule_picture(OFFICIAL, steps, epochs, "end", language)
    assert drawing.count("<polyline") == 2 and "lb-ema" in drawing
    assert not re.search(r"(stage|schedule)\.[a-z_]+", drawing)
    for points in re.findall(r'points="([^"]+)"', drawing):
        heights = [float(each.split(",")[1]) for each in points.split()]
        assert all(9.9 <= each <= 120.1 for each in heights)


def test_the_average_follows_fast_at_first():
    curve = timeline.ema_curve(OFFICIAL, 6200, 100)
    assert curve == sorted(curve) and curve[0] < 0.05 and curve[-1] > 0.99


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_the_plan_counts_the_plain_epochs_and_says_the_formulas(language):
    proposal = plan.propose(OFFICIAL.replace(device="cpu", weights="none", batch=4), DataFacts(200, 20, 4))
    assert proposal.steps == 50 * 62
    shown = plan.picture(proposal, language)
    assert "E + 12" in shown and "4 + E // 2" in shown and "62" in shown
    assert plan.picture(plan.propose(OFFICIAL.replace(epochs=0, minutes=5, device="cpu", weights="none"), DataFacts(200, 20, 4)), language)


def test_the_pictures_on_the_page_are_those_of_training():
    config = TrainConfig(model="deimv2_s", augment="official", image_size=128)
    random = np.random.default_rng(0)
    box = np.array([[20, 20, 80, 140]], np.float32)
    looks = [outlined.Look(random.integers(0, 255, (90, 120, 3), np.uint8), Instances(box, np.array([i])), (240, 180)) for i in range(3)]
    samples = [Sample(f"{i}.png", look.size, look.labels) for i, look in enumerate(looks)]
    for seed in range(8):
        seen, labels = pixels._published(looks[0], config, seed, lambda number: looks[number % 2 + 1])
        learnt, target = tasks.get("detect").encode_mixed(config, samples[0], looks[0].picture, seed, stages.most_active(config),
                                                          lambda number: (samples[number % 2 + 1], looks[number % 2 + 1].picture))
        assert np.array_equal(seen, learnt) and labels.classes.tolist() == target["labels"].tolist()
        centres = (labels.boxes[:, :2] + labels.boxes[:, 2:]) / 2 / 128
        np.testing.assert_allclose(centres, target["boxes"][:, :2].numpy(), atol=1e-5)


def test_a_picture_alone_is_shown_as_well():
    labels = Instances(np.array([[10, 10, 50, 50]], np.float32), np.array([0]))
    seen, found = pixels.transformed(np.zeros((60, 80, 3), np.uint8), labels, (80, 60), TrainConfig(augment="official", image_size=64), 0)
    assert seen.shape == (64, 64, 3) and isinstance(found, Instances)


def test_the_page_shows_mixed_images_and_others_when_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(home, "SAMPLE_IMAGES", 6)
    workspace = Workspace(tmp_path / "w")
    found = data.find(workspace, home.make_sample(workspace, lambda *told: None, "en", "detect"))
    config = TrainConfig(model="deimv2_s", augment="official", image_size=64)
    first, again, other = (augmented.grid(found, config, seed, "en") for seed in (0, 0, 1))
    assert first.count("<img") >= 3 and first == again and first != other and "official" in first

"""Training by the published recipe: its stages happen, a run that is stopped in each of them ends as one that never was, last.pt is always there."""

import dataclasses

import numpy as np
import pytest
import torch

from engine import restart, stages
from engine.config import TrainConfig
from engine.datasets.samples import generate
from engine.models import Official, models
from engine.session import Session
from engine.stages import Active
from engine.tasks.loading import resized
from engine.tasks.task import tasks
from engine.train import train
from engine.types import Instances, Sample
from engine.weights import safe_load

EVERYTHING = Official(mosaic=0.5, mixup=0.5, copy_blend=0.5, own_size=1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "scenes"
    generate("detect", folder, images=12, seed=3)
    return folder


@pytest.fixture
def everything(monkeypatch):
    """The smallest network with every part of the recipe: the published ones that mix images and change sizes are too slow for a test."""
    monkeypatch.setitem(models.entries(), "deimv2_atto", dataclasses.replace(models.get("deimv2_atto"), official=EVERYTHING))


def settings(scenes, **changes):
    values = {"data": str(scenes), "epochs": 5, "plain_tail": 0.4, "batch": 4, "image_size": 64, "precision": "none", "threads": 1, "workers": 0,
              "device": "cpu", "augment": "official", "weights": "none", "lr": 1e-3}
    return TrainConfig(**{**values, **changes})


def watched(monkeypatch):
    """(epoch, strength, side) of every batch that is learnt from."""
    seen, learn = [], Session.learn

    def noting(session, batch):
        side = stages.side_of(session.config, session.epoch, session.batch, session.epochs)
        seen.append((session.epoch, session.batches.strong, side))
        learn(session, batch)

    monkeypatch.setattr(Session, "learn", noting)
    return seen


def same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[name]), name
        elif isinstance(value, dict):
            same(value, second[name])


def test_a_run_passes_through_its_stages_and_one_that_is_stopped_in_each_ends_the_same(scenes, tmp_path, everything, monkeypatch):
    seen = watched(monkeypatch)
    whole = list(train(settings(scenes), tmp_path))
    turned = [each.values["epoch"] for each in whole if each.values.get("key") == "turned_back"]
    assert turned and turned[0] == 4, "the plain tail begins with the best state"
    assert [strong for epoch, strong, _ in seen if epoch == 1] and {strong for epoch, strong, _ in seen if epoch >= 4} == {Active.PLAIN}
    assert seen[0][1] == Active.STRONG | Active.MOSAIC | Active.MIXUP | Active.COPY_BLEND and (2, Active.STRONG | Active.COPY_BLEND) in {
        each[:2] for each in seen}
    assert len({side for epoch, _, side in seen if epoch < 4}) > 1 and {side for epoch, _, side in seen if epoch >= 4} == {64}
    parts, log, resumed = tmp_path / "parts", list(seen), 0
    parts.mkdir()
    seen.clear()
    while True:
        asked = iter([False, False, True] + [False] * 999) if resumed < 8 else iter([False] * 999)
        events = list(train(settings(scenes), parts, stop=lambda asked=asked: next(asked)))
        assert (parts / "last.pt").is_file()
        resumed += 1
        if events[-1].kind == "done":
            break
    assert resumed >= 4 and seen == log
    first, second = (safe_load(each / "last.pt") for each in (tmp_path, parts))
    for name in ("model", "ema", "optimizer"):
        same(first[name], second[name])
    assert all(first[name] == second[name] for name in ("restarts", "ema_updates", "step", "epoch"))


def test_a_plain_epoch_that_is_no_better_goes_back_and_the_average_forgets_faster(scenes, tmp_path):
    session = Session(settings(scenes), tmp_path / "data", "none")
    session.prepare(session.measure()[0])
    session.epoch, session.best = 2, {"score": [0.5], "epoch": 2, "since": 2, "metrics": {}}
    restart.keep(session, tmp_path / "kept.pt")
    before = {name: value.clone() for name, value in session.network.state_dict().items()}
    decay = session.ema.decay
    for epoch, best, goes_back, restarts in ((3, 2, False, -1), (4, 2, True, 0), (5, 4, False, 0), (5, 2, True, 1)):
        for value in session.network.parameters():
            value.data.add_(1)
        session.epoch, session.best["epoch"] = epoch, best
        assert restart.turn_back(session, tmp_path / "kept.pt") is goes_back
        assert session.restarts == restarts
        if goes_back:
            same(before, session.network.state_dict())
    assert 1 - session.ema.decay == pytest.approx(2 * (1 - decay))
    session.set_epochs(5)
    assert 1 - session.ema.decay == pytest.approx(2 * (1 - decay)), "another length keeps what the restarts did"


@pytest.mark.parametrize("changes", [{"epochs": 1}, {"epochs": 2, "augment": "official", "batch": 1}, {"minutes": 0.02, "epochs": 0}])
def test_short_runs_and_those_of_minutes_end_with_their_files(scenes, tmp_path, changes):
    events = list(train(settings(scenes, **{"plain_tail": -1, "image_size": 64, **changes}), tmp_path))
    assert events[-1].kind == "done" and (tmp_path / "last.pt").is_file() and (tmp_path / "best.pt").is_file()


def test_asked_for_epochs_get_their_plain_tail_added(scenes, tmp_path):
    session = Session(settings(scenes, epochs=50, plain_tail=-1), tmp_path, "none")
    assert (session.epochs, session.config.epochs) == (62, 50)
    again = Session(session.config, tmp_path, "none")
    assert again.epochs == 62, "a recorded config asks for the same run"


def test_targets_follow_the_mixed_picture_and_crowds_are_not_learnt(everything):
    task, config = tasks.get("detect"), TrainConfig(image_size=128, augment="official")
    image = np.zeros((90, 120, 3), np.uint8)
    crowd = Instances(np.array([[10, 10, 60, 60], [30, 20, 110, 80]], np.float32), np.array([0, 1]), crowd=np.array([True, False]))
    now = Active.STRONG | Active.MOSAIC | Active.MIXUP | Active.COPY_BLEND
    many, sample = 0, Sample("a.png", (240, 180), crowd.__class__(crowd.boxes * 2, crowd.classes, crowd=crowd.crowd))
    for seed in range(30):
        pixels, target = task.encode_mixed(config, sample, image, seed, now, lambda _: (sample, image))
        assert pixels.shape == (128, 128, 3) and target["boxes"].shape == (len(target["labels"]), 4)
        assert set(target["labels"].tolist()) <= {1} and bool(((target["boxes"] >= 0) & (target["boxes"] <= 1)).all())
        many += len(target["labels"]) > 1
    assert many > 10
    alone, target = task.encode(config, sample, image, 0, False)
    x = target["boxes"][0, 0].item()
    assert alone.shape == (128, 128, 3) and min(abs(x - 70 / 120), abs(x - 50 / 120)) < 1e-3
    empty = Sample("b.png", (240, 180), Instances.empty())
    assert len(task.encode_mixed(config, empty, image, 1, now, lambda _: None)[1]["labels"]) == 0


def test_batches_are_resized_as_a_whole():
    images = torch.rand(2, 3, 64, 64)
    assert resized(images, 64) is images
    assert resized(images, 96).shape == (2, 3, 96, 96) and resized(images, 32).shape == (2, 3, 32, 32)
    flat = resized(torch.full((1, 3, 64, 64), 0.25), 96)
    assert torch.allclose(flat, torch.full_like(flat, 0.25))

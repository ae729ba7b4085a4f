"""Training as a user meets it: a run folder from the first step to the last, stopped, killed and repeated."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import runs
from engine.config import TrainConfig
from engine.datasets.samples import generate
from engine.predict import load as load_model
from engine.train import train
from engine.types import UserError
from engine.weights import safe_load
from engine.worker import work

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "scenes"
    generate("detect", folder, images=16, seed=3)
    return folder


def tiny(scenes, **changes):
    values = {"data": str(scenes), "epochs": 2, "batch": 2, "image_size": 96, "precision": "none", "threads": 1, "workers": 0, "device": "cpu"}
    return TrainConfig(**{**values, **changes})


def weights_of(file):
    return safe_load(file)["model"]


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def train_rows(run):
    keys = ("time", "images_per_s", "trained_s")
    return [{k: v for k, v in row.items() if k not in keys} for row in run.metrics()[0]]


@pytest.fixture(scope="module")
def finished(scenes, tmp_path_factory):
    run = runs.create(tmp_path_factory.mktemp("runs") / "finished", tiny(scenes))
    assert work(run) == "done"
    return run


def test_a_finished_run_holds_everything_the_contract_names(finished):
    for name in ("config.json", "command.txt", "state.json", "metrics.jsonl", "log.txt", "last.pt", "best.pt"):
        assert (finished.folder / name).stat().st_size > 0, name
    assert list((finished.folder / "tensorboard").glob("events.*")) and list((finished.folder / "previews").glob("*.jpg"))
    state = finished.state()
    assert state["phase"] == "done" and state["epoch"] == state["epochs"] == 2
    rows = finished.metrics()[0]
    assert {row["split"] for row in rows} == {"train", "valid"} and {row["epoch"] for row in rows} == {1, 2}
    assert all(np.isfinite(row["loss"]) and row["lr"] > 0 and "loss_mal" in row for row in rows if row["split"] == "train")
    assert all(0 <= row["AP50"] <= 1 for row in rows if row["split"] == "valid")


def test_best_is_self_describing_and_loads_with_weights_only(finished):
    best = torch.load(finished.best, weights_only=True)
    assert set(best) == {"model", "model_name", "options", "task", "classes", "preprocess", "thresholds", "metrics", "config", "version"}
    assert best["classes"] == ["aircraft", "ship", "vehicle", "building"] and best["preprocess"]["size"] == 96


def test_the_recorded_config_repeats_the_run_bit_by_bit(finished, tmp_path):
    recorded = TrainConfig.from_dict(json.loads((finished.folder / "config.json").read_text()))
    again = runs.create(tmp_path / "again", recorded)
    work(again)
    assert same(weights_of(finished.last), weights_of(again.last))
    assert train_rows(finished) == train_rows(again)


@pytest.mark.parametrize("stop_at", [1, 4, 5, 9])
def test_a_stopped_run_resumes_to_the_same_weights_and_rows(finished, scenes, tmp_path, stop_at):
    run = runs.create(tmp_path / "stopped", tiny(scenes))
    steps = []

    def watch(event):
        steps.append(event.kind == "step")
        if sum(steps) == stop_at:
            run.request_stop()

    assert work(run, watch) == "stopped"
    runs.requeue(run)
    assert work(run) == "done"
    assert same(weights_of(finished.last), weights_of(run.last))
    assert train_rows(run) == train_rows(finished)


def test_a_killed_trainer_reads_as_interrupted_and_resumes(finished, scenes, tmp_path):
    run = runs.create(tmp_path / "killed", tiny(scenes, epochs=40))
    worker = subprocess.Popen([sys.executable, "-m", "engine.worker", str(run.folder)], cwd=REPOSITORY, start_new_session=True)
    deadline = time.monotonic() + 90
    while run.state()["epoch"] < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    begun = time.monotonic()
    while run.state()["phase"] != "interrupted":
        assert time.monotonic() - begun < 10
        time.sleep(0.05)
    safe_load(run.last)
    run.write_config(run.config().replace(epochs=40))
    runs.requeue(run)
    resumed_at = safe_load(run.last)["epoch"]

    def watch(event):
        if event.kind == "validated" and event.epoch >= resumed_at + 1:
            run.request_stop()

    assert work(run, watch) == "stopped"
    validated = [row["epoch"] for row in run.metrics()[0] if row["split"] == "valid"]
    assert validated == sorted(set(validated)), "no epoch twice, none missing"
    assert validated == list(range(1, len(validated) + 1))


def test_minutes_bound_the_run_and_the_choice_is_recorded(scenes, tmp_path):
    run = runs.create(tmp_path / "minutes", tiny(scenes, epochs=0, minutes=0.15))
    begun = time.monotonic()
    assert work(run) == "done"
    assert time.monotonic() - begun < 40
    plan = run.config().epochs_plan
    assert "0" in plan and run.state()["epochs"] == math.ceil(list(plan.values())[-1])


def train_and_remove(scenes, tmp_path, count):
    """Events of a run whose first training images vanish after the data set was read."""
    broken = shutil.copytree(scenes, tmp_path / "broken")
    for event in train(tiny(broken, epochs=1)):
        if event.kind == "plan":
            for image in sorted((broken / "train" / "images").iterdir())[:count]:
                image.unlink()
        yield event


def test_a_vanished_image_is_named_and_skipped(scenes, tmp_path):
    events = list(train_and_remove(scenes, tmp_path, 1))
    assert events[-1].kind == "done"
    assert [e.values["name"] for e in events if e.values.get("key") == "unreadable"] == ["train/images/scene_0000.jpg"]


def test_too_many_vanished_images_end_the_run(scenes, tmp_path):
    with pytest.raises(UserError, match="3 of 11.*scene_0"):
        list(train_and_remove(scenes, tmp_path, 5))


IMPOSSIBLE = [({"model": "deimv3"}, "deimv2_atto"), ({"device": "cuda"}, "cpu"), ({"weights": "/nowhere.pth"}, "nowhere")]


@pytest.mark.parametrize("change, about", IMPOSSIBLE)
def test_what_cannot_be_done_is_said_before_the_first_step(scenes, tmp_path, change, about):
    if change.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(UserError, match=about):
        list(train(tiny(scenes, **change), tmp_path))


def test_a_trained_model_predicts_in_original_pixels(finished, scenes):
    predictor = load_model(finished.folder)
    image = next((scenes / "valid" / "images").iterdir())
    labels = predictor(image)
    assert labels.scores is not None and (np.diff(labels.scores) <= 0).all()
    assert labels.boxes.min() >= 0 and labels.boxes[:, 2].max() <= 320 and labels.boxes[:, 3].max() <= 320
    assert len(labels.above(0.5, only=[1])) <= len(labels.above(0.5)) <= len(labels)

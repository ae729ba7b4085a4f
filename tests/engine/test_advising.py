"""The advisor: sizes by rules, the largest batch by trial, and the time that follows."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import advising
from engine.advising import Probe, Trial, settled, sides_of, suited
from engine.config import TrainConfig
from engine.datasets.samples import generate
from engine.models import models
from engine.recipe import Machine
from engine.types import Instances, Sample

ROOT = Path(__file__).resolve().parents[2]
SPECS = list(models.entries().values())


def crowd(images, side=0.3, size=(640, 640)):
    box = np.array([[0, 0, side * size[0], side * size[1]]], np.float32)
    return [Sample(Path("a.png"), size, Instances(box, np.zeros(1, np.int64)))] * images


def probe(**changes):
    trials = (Trial(1, 0.1, 1.1), Trial(2, 0.2, 1.2), Trial(4, 0.4, 1.4))
    made = Probe("deimv2_atto", 320, "cpu", "none", trials, 1.0, 0.1, 4.0, 30, 4, 0.01, 0.05, 100, 20)
    return replace(made, **changes)


@pytest.mark.parametrize(("memory", "size"), [(4, "pico"), (6, "n"), (8, "s"), (12, "m"), (16, "l"), (24, "x"), (80, "x"), (7.8, "s"), (2, "atto")])
def test_the_memory_of_the_graphics_card_says_the_size(memory, size):
    assert suited(SPECS, crowd(50_000), Machine("cuda", memory, 8)).model == f"deimv2_{size}"


@pytest.mark.parametrize(("images", "size"), [(200, "n"), (1000, "s"), (4000, "m"), (30_000, "x")])
def test_few_images_do_not_pay_for_a_large_size(images, size):
    advice = suited(SPECS, crowd(images), Machine("cuda", 80, 8))
    assert advice.model == f"deimv2_{size}"
    assert (str(images) in " ".join(advice.because("en"))) == (images < 20_000)


def test_without_a_graphics_card_the_smallest_is_suggested():
    assert suited(SPECS, crowd(3000), Machine("cpu", 0, 2)).model == "deimv2_atto"


def test_small_objects_ask_for_more_pixels_and_large_ones_do_not():
    machine = Machine("cpu", 0, 2)
    assert suited(SPECS, crowd(100, side=0.02), machine).image_size == 608  # 12 pixels, in steps of 32
    assert suited(SPECS, crowd(100, side=0.002), machine).image_size == advising.LARGEST_SIDE
    assert suited(SPECS, crowd(100, side=0.2), machine).image_size == models.get("deimv2_atto").image_size


def test_the_side_of_an_object_is_measured_by_its_image():
    boxes = np.array([[0, 0, 100, 50], [10, 10, 10, 30]], np.float32)
    found = sides_of([Sample(Path("a.png"), (1000, 500), Instances(boxes, np.zeros(2, np.int64))), Sample(Path("b.png"), (5, 5), None)])
    assert found.tolist() == pytest.approx([0.1, 0.0])


def test_no_detector_no_advice():
    assert suited([models.get("unet")], crowd(10), Machine()) is None


def test_what_does_not_fit_is_gathered_over_several_batches():
    said = {each.name: each for each in settled(TrainConfig(data="d", epochs=10), probe(largest=8), 32)}
    assert said["batch"].value == 8 and said["accumulate"].value == 4
    assert "32" in said["accumulate"].because("en")


def test_the_time_of_a_run_counts_steps_loading_and_validation():
    found = probe()
    assert found.seconds(2) == pytest.approx(0.2) and found.seconds(3) == pytest.approx(0.3) and found.seconds(8) == pytest.approx(0.8)
    assert found.epoch_seconds(4) == pytest.approx(25 * (0.4 + 0.04) + 20 * 0.05)
    assert found.epoch_seconds(4, workers=2) == pytest.approx(25 * 0.4 + 20 * 0.05)
    by_epochs = {each.name: each.value for each in settled(TrainConfig(data="d", epochs=10), found, 4)}
    assert by_epochs == {"batch": 4, "minutes": 2.0}
    by_minutes = {each.name: each.value for each in settled(TrainConfig(data="d", minutes=2), found, 4)}
    assert by_minutes == {"batch": 4, "epochs": 10.0}


def test_the_line_never_promises_more_than_was_measured():
    trials = [Trial(1, 1, 1.3), Trial(2, 1, 1.35), Trial(4, 1, 1.6), Trial(8, 1, 1.9)]
    resting, each = advising._line(trials)
    assert all(resting + each * trial.batch >= trial.memory - 1e-9 for trial in trials)


class Accelerator:
    """A device whose memory ends at `most` images."""

    def __init__(self, most, limit=64):
        self.most, self.limit, self.asked = most, limit, []

    def tried(self, session, batch):
        self.asked.append(batch)
        return Trial(batch, 0.001, 1.0 + 0.1 * batch) if batch <= self.most else None


@pytest.mark.parametrize("most", [1, 3, 7, 11, 40, 64, 100])
def test_between_what_fits_and_what_does_not_the_largest_batch_is_found(monkeypatch, most):
    device = Accelerator(most)
    session = type("S", (), {"device": torch.device("cuda")})()
    monkeypatch.setattr(advising, "_tried", device.tried)
    monkeypatch.setattr(advising, "_batch", lambda items, size: size)
    monkeypatch.setattr(advising, "_limit", lambda session: 64)
    trials, failed = advising._trials(session, [], 1e9, 1e9, None, lambda: False)
    best = max(each.batch for each in trials)
    assert best <= most and best >= min(64, most) * 7 / 8 - 1
    assert failed == 0 or failed > most


def test_a_real_trial_measures_steps_and_memory(tmp_path):
    generate("detect", tmp_path / "scenes", images=16, seed=3)
    settings = ["--model", "deimv2_atto", "--image-size", "96", "--device", "cpu", "--epochs", "2", "--json"]
    command = [sys.executable, "-m", "engine", "advise", "--data", str(tmp_path / "scenes"), *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    trials = told["probe"]["trials"]
    assert [each["batch"] for each in trials][:2] == [1, 2]
    assert all(each["seconds"] > 0 and 0.2 < each["memory"] < 8 for each in trials)
    assert told["suggested"]["model"] == "deimv2_atto"
    assert {each["name"] for each in told["settings"]} >= {"batch", "minutes"}
    assert "--model deimv2_atto" in told["command"]

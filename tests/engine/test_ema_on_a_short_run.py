"""The averaged weights of a short run are as good as the raw ones: a decay made for long runs would still hold the random start."""

from pathlib import Path

import pytest
import torch

from engine import runs
from engine.config import TrainConfig
from engine.datasets.collection import load
from engine.datasets.samples import generate
from engine.evaluate import predict_samples
from engine.models import create, models
from engine.predict import Predictor, Preprocess
from engine.tasks.task import tasks
from engine.weights import safe_load
from engine.worker import work


def ap50(state, which, samples):
    config = state["config"]
    network = create(config["model"], len(state["classes"]))
    network.load_state_dict(state[which])
    predictor = Predictor(network, name="", task=tasks.get("detect"), classes=state["classes"], device=torch.device("cpu"),
                          preprocess=Preprocess.of(models.get(config["model"]), config["image_size"]))
    meter = predictor.task.meter(state["classes"])
    for sample, found in predict_samples(predictor, samples, batch=8):
        meter.add(sample, found)
    return meter.result()["metrics"]["AP50"]


@pytest.mark.timeout(600)
def test_after_ten_epochs_on_200_images_the_average_is_at_most_two_points_behind(tmp_path):
    generate("detect", tmp_path / "scenes", images=268, seed=11)
    data = load(tmp_path / "scenes", Path())
    assert len(data.split("train")) >= 199
    run = runs.create(tmp_path / "run", TrainConfig(data=str(tmp_path / "scenes"), epochs=10, image_size=96, batch=8, device="cpu", augment="flip",
                                                    precision="none", layout="channels_last", threads=1, workers=0))
    assert work(run) == "done"
    state = safe_load(run.last)
    raw, average = (ap50(state, which, data.split("valid")) for which in ("model", "ema"))
    assert raw > 0.1, "the run has to learn something for the comparison to mean anything"
    assert average >= raw - 0.02

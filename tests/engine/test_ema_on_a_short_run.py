"""The averaged weights of a short run are as good as the raw ones: a decay made for long runs would still hold the random start."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from engine import runs
from engine.config import TrainConfig
from engine.datasets.collection import load
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


def shapes(folder, counts, side=96):
    """Light and dark squares on noise, as YOLO files: enough to be learnt within ten epochs."""
    rng = np.random.default_rng(11)
    for split, count in counts.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            pixels, lines = rng.integers(90, 150, (side, side, 3), np.uint8), []
            for place in rng.permutation(4)[:rng.integers(1, 4)]:
                size, cls = int(rng.integers(16, 33)), int(rng.integers(2))
                x, y = (int(rng.integers(corner * side // 2, corner * side // 2 + side // 2 - size + 1)) for corner in (place % 2, place // 2))
                pixels[y:y + size, x:x + size] = (235, 30)[cls]
                lines.append(f"{cls} {(x + size / 2) / side} {(y + size / 2) / side} {size / side} {size / side}")
            Image.fromarray(pixels).save(folder / "images" / split / f"{number:03}.png")
            (folder / "labels" / split / f"{number:03}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text("train: images/train\nval: images/valid\nnames: [light, dark]\n")
    return folder


def test_after_ten_epochs_on_200_images_the_average_is_at_most_two_points_behind(tmp_path):
    data = load(shapes(tmp_path / "shapes", {"train": 200, "valid": 80}), Path())
    assert len(data.split("train")) == 200
    run = runs.create(tmp_path / "run", TrainConfig(data=str(tmp_path / "shapes"), epochs=10, image_size=64, batch=16, device="cpu", augment="flip",
                                                    precision="none", layout="channels_last", threads=1, workers=0))
    assert work(run) == "done"
    state = safe_load(run.last)
    raw, average = (ap50(state, which, data.split("valid")) for which in ("model", "ema"))
    assert raw > 0.5, "the run has to learn something for the comparison to mean anything"
    assert average >= raw - 0.02

"""Objects that are pointed at: which models there are, the download of SAM 2, and what is refused."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from PIL import Image

from engine.datasets.store import Dataset
from engine.types import Reading, Sample, UserError
from engine.workspace import Workspace
from ui.annotator.pointing import Pointing


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return Workspace(tmp_path / "ws")


@pytest.fixture
def dataset(workspace, tmp_path):
    pixels = np.full((60, 80, 3), 30, np.uint8)
    pixels[20:40, 30:60] = (220, 60, 40)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    folder = workspace.root / "datasets" / "set"
    Dataset.create(folder, "set", Reading(("thing",), iter([Sample(tmp_path / "a.png", (80, 60), None, name="a.png")]), "instance"))
    return Dataset(folder)


def test_by_colours_the_rectangle_is_found(workspace, dataset):
    found = Pointing(workspace).segment(dataset, {"image": 1, "inside": [[45, 30]]}, "en", "")["mask"]
    assert found["size"] == [60, 80]
    assert np.abs(np.array(found["box"]) - [30, 20, 60, 40]).max() <= 2


def test_sam2_is_offered_when_its_weights_are_there_and_nothing_else_is(workspace, dataset):
    pointing = Pointing(workspace)
    torch.save({"layer1.0.conv1.weight": torch.zeros(2)}, workspace.weights / "resnet.pt")
    assert pointing.pointers(dataset, {}, "en", "")["models"] == []
    torch.save({"model": {f"{name}.weight": torch.zeros(1) for name in ("image_encoder.trunk.a", "sam_mask_decoder.a", "sam_prompt_encoder.a")}},
               workspace.weights / "mine.pt")
    told = pointing.pointers(dataset, {}, "en", "")
    assert told["models"] == [["mine.pt", "weights/mine.pt"]]
    assert told["download"]["phase"] == "idle" and told["download"]["megabytes"] > 100
    with pytest.raises(UserError) as caught:
        pointing.segment(dataset, {"image": 1, "inside": [[45, 30]], "model": "weights/mine.pt"}, "en", "")
    assert caught.value.key == "sam2_incomplete"


def test_a_demo_points_by_colours_alone(workspace, dataset):
    torch.save({"model": {f"{name}.weight": torch.zeros(1) for name in ("image_encoder.trunk.a", "sam_mask_decoder.a", "sam_prompt_encoder.a")}},
               workspace.weights / "mine.pt")
    pointing = Pointing(workspace, demo=True)
    assert pointing.pointers(dataset, {}, "en", "") == {"models": [], "download": None}
    with pytest.raises(UserError):
        pointing.segment(dataset, {"image": 1, "inside": [[45, 30]], "model": "weights/mine.pt"}, "en", "")


@pytest.mark.parametrize("model", ["../../secret.pt", "weights/none.pt", "hub"])
def test_a_model_that_is_not_there_is_named(workspace, dataset, model):
    with pytest.raises(UserError) as caught:
        Pointing(workspace).segment(dataset, {"image": 1, "inside": [[45, 30]], "model": model}, "en", "")
    assert caught.value.key == "model_gone"


def test_a_download_without_a_network_says_so_within_seconds(workspace, dataset):
    pointing = Pointing(workspace)
    assert pointing.fetch(dataset, {}, "en", "")["download"]["phase"] in ("running", "failed")
    until = time.monotonic() + 12
    while (told := pointing.pointers(dataset, {}, "en", "")["download"])["phase"] == "running" and time.monotonic() < until:
        time.sleep(0.05)
    assert told["phase"] == "failed"
    assert "HF_ENDPOINT" in told["error"]


def test_a_chosen_model_outlines_and_reads_an_image_once(workspace, dataset, monkeypatch):
    seen = []

    class Network:
        def __init__(self, file):
            self.file = file

        def seen(self, image):
            seen.append(image.shape)
            return "maps"

        def outlined(self, maps, size, inside, outside, box):
            mask = np.zeros(size[::-1], bool)
            mask[5:9, 3:13] = True
            return mask

    monkeypatch.setattr("engine.sam2.Sam2", Network)
    monkeypatch.setattr("engine.sam2.fitting", lambda file: True)
    (workspace.weights / "s.pt").write_bytes(b"x")
    pointing = Pointing(workspace)
    for _ in range(2):
        found = pointing.segment(dataset, {"image": 1, "inside": [[4, 6]], "model": "weights/s.pt"}, "en", "")["mask"]
        assert found["box"] == [3, 5, 13, 9]
    assert seen == [(60, 80, 3)]

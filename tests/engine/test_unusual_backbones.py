"""Backbones that are built otherwise than most: they train and predict, or are refused by name before the first step."""

import numpy as np
import pytest

from engine.config import TrainConfig
from engine.predict import load
from engine.train import train
from engine.types import UserError
from tests.engine.test_odd_masks_and_tags import half, mask_set, table


def epoch(data, folder, model, task, size, **options):
    config = TrainConfig(data=str(data), model=model, task=task, image_size=size, epochs=1, batch=2, precision="none", threads=1, workers=0,
                         device="cpu", weights="none", options=options)
    return list(train(config, folder))


@pytest.fixture
def areas(tmp_path):
    return mask_set(tmp_path / "set", [half()] * 2, [half()])


@pytest.fixture
def tags(tmp_path):
    return table(tmp_path / "set", [("a", "train", (40, 40)), ("b", "train", (40, 40)), ("a|b", "valid", (40, 40)), ("", "valid", (40, 40))])


@pytest.mark.slow
@pytest.mark.parametrize("model, task, size, options", [
    ("unet", "semantic", 96, {"architecture": "unet", "encoder": "tu-hiera_tiny_224"}),
    ("hybridmednet", "classify", 96, {"backbone": "hiera_tiny_224", "fpn_channels": 32, "fusion_channels": 32}),
    ("timm", "classify", 224, {"backbone": "hiera_tiny_224"}), ("timm", "classify", 224, {"backbone": "levit_128s"}),
    ("timm", "classify", 224, {"backbone": "levit_conv_128s"}),
])
def test_an_epoch_is_trained_and_its_model_predicts(model, task, size, options, request, tmp_path):
    data = request.getfixturevalue("areas" if task == "semantic" else "tags")
    (tmp_path / "run").mkdir()
    found = epoch(data, tmp_path / "run", model, task, size, **options)
    assert found[-1].kind == "done"
    row = next(each.values["row"] for each in found if each.kind == "step")
    assert np.isfinite(row["loss"])
    labels = load(tmp_path / "run")(next(data.rglob("*.png")))
    assert np.isfinite(labels.values if task == "classify" else np.asarray(labels.probabilities, np.float32)).all()


@pytest.mark.parametrize("model, task, options, key", [
    ("unet", "semantic", {"architecture": "unet", "encoder": "tu-levit_conv_128s"}, "unet_combination"),
    ("hybridmednet", "classify", {"backbone": "levit_128s"}, "backbone_levels"),
])
def test_a_backbone_without_the_wanted_levels_is_refused_before_the_first_step(model, task, options, key, request, tmp_path):
    data = request.getfixturevalue("areas" if task == "semantic" else "tags")
    with pytest.raises(UserError) as caught:
        epoch(data, None, model, task, 96, **options)
    assert caught.value.key == key and "levit" in str(caught.value)


def test_a_size_that_a_backbone_cannot_take_is_refused_with_the_one_it_takes(tags):
    with pytest.raises(UserError, match="224"):
        epoch(tags, None, "timm", "classify", 96, backbone="levit_128s")

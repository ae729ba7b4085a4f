"""Stages beside an image size, and data that a mask model cannot learn from: said, never passed over."""

import numpy as np
import pytest
from PIL import Image

from engine.config import TrainConfig
from engine.models import models
from engine.opening import open_data
from engine.recipe import DataFacts, Machine, suggest
from engine.tasks.semantic import Semantic
from engine.types import Sample, SemanticMask, UserError


@pytest.mark.parametrize("size", [0, 512])
def test_stages_come_before_an_image_size_and_it_is_said(size):
    config = TrainConfig(model="unet", task="semantic", image_size=size, stages="96x2, 128x3")
    plan = suggest(config, models.get("unet"), DataFacts(10, 3, 2), Machine(), pretrained=False)
    told = {each.name: each for each in plan.derived}
    assert plan.config.image_size == 128 and told["image_size"].reason == "image_size_stages"
    assert "128x3" in told["image_size"].because()


def test_more_classes_than_a_mask_of_bytes_can_hold_are_refused_by_number(tmp_path):
    names = tuple(f"c{i}" for i in range(300))
    mask = np.arange(300, dtype=np.uint16).reshape(15, 20)
    sample = Sample(tmp_path / "a.png", (20, 15), SemanticMask(classes=mask))
    with pytest.raises(UserError) as caught:
        Semantic().fit(names, [sample], TrainConfig(model="unet", task="semantic"))
    assert caught.value.key == "too_many_mask_classes" and "300" in str(caught.value) and "255" in str(caught.value)
    few = Semantic().fit(names[:255], [sample.with_labels(SemanticMask(classes=np.minimum(mask, 254)))], TrainConfig(model="unet", task="semantic"))
    assert len(few.classes) == 255


@pytest.mark.parametrize("listed", [True, False])
def test_masks_of_background_alone_are_refused_by_name(listed, tmp_path, picture):
    for split in ("train", "valid"):
        for number in range(2):
            picture(tmp_path / split / "images" / f"{number}.png")
            (tmp_path / split / "masks").mkdir(exist_ok=True)
            Image.fromarray(np.zeros((48, 64), np.uint8)).save(tmp_path / split / "masks" / f"{number}.png")
    if listed:
        (tmp_path / "classes.txt").write_text("background\ntumour\n")
    with pytest.raises(UserError) as caught:
        open_data(TrainConfig(data=str(tmp_path), model="unet", task="semantic"), Semantic(), tmp_path / "scratch")
    assert caught.value.key == "no_training_areas" and "background" in str(caught.value)

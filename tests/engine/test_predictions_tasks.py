"""A trained model of areas or tags as a function: thresholds, temperature, windows, views and files that cannot be read."""

import numpy as np
import pytest
import torch

from engine.models import create
from engine.predict import Predictor, Preprocess, load
from engine.tasks.task import tasks
from engine.types import SemanticMask, Tags, UserError

PIXELS = np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)


def best(folder, model, classes, options, thresholds, resize="stretch", size=32):
    torch.manual_seed(0)
    network = create(model, len(classes), **options)
    how = {"resize": resize, "size": size, "mean": [0.0] * 3, "std": [1.0] * 3}
    task = "semantic" if model == "unet" else "classify"
    torch.save({"model": network.state_dict(), "model_name": model, "options": {"num_classes": len(classes), **options},
                "task": task, "classes": list(classes), "preprocess": how, "thresholds": thresholds,
                "metrics": {}, "config": {}, "version": "0"}, folder / "best.pt")
    return load(folder, device="cpu")


def test_the_temperature_and_thresholds_of_best_are_used(tmp_path):
    options = {"backbone": "test_resnet", "mode": "multilabel"}
    plain, tempered = (best(tmp_path, "timm", ("a", "b"), options, each) for each in ({}, {"temperature": 3.0, "classes": [0.2, 0.7]}))
    logit = np.log(plain(PIXELS).values / (1 - plain(PIXELS).values))
    np.testing.assert_allclose(tempered(PIXELS).values, 1 / (1 + np.exp(-logit / 3)), atol=1e-5)
    assert tempered.tag_thresholds(None) == [0.2, 0.7] and tempered.tag_thresholds(0.4) == [0.4, 0.4] and plain.tag_thresholds(None) == [0.5, 0.5]
    assert not plain.exclusive


def test_classes_that_exclude_each_other_add_up_to_one(tmp_path):
    predictor = best(tmp_path, "timm", ("a", "b", "c"), {"backbone": "test_resnet", "mode": "multiclass"}, {"temperature": 2.0, "classes": None})
    assert predictor.exclusive and predictor(PIXELS).values.sum() == pytest.approx(1, abs=1e-5) and predictor.cut == 0


UNET = {"architecture": "unet", "encoder": "tu-test_resnet"}


@pytest.mark.parametrize("mode, classes", [("binary", ("a",)), ("multiclass", ("background", "a", "b")), ("multilabel", ("a", "b"))])
@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize("tta", [False, True])
def test_masks_have_the_size_of_the_image(mode, classes, resize, tta, tmp_path):
    predictor = best(tmp_path, "unet", classes, {**UNET, "mode": mode}, {"score": 0.5}, resize)
    predictor.tta = tta
    assert predictor.slides == (resize == "crop") and predictor.task.mode == mode
    for pixels in (PIXELS, PIXELS[:1, :1], PIXELS[..., 0]):
        found = predictor(pixels)
        assert isinstance(found, SemanticMask) and found.probabilities.shape == (len(classes), *pixels.shape[:2])


def test_the_threshold_of_best_decides_a_mask(tmp_path):
    found = best(tmp_path, "unet", ("a",), {**UNET, "mode": "binary"}, {"score": 0.6})(PIXELS)
    near = np.abs(found.probabilities[0].astype(float) - 0.6) > 1e-3
    assert np.array_equal(found.layers[0][near], (found.probabilities[0] >= 0.6)[near])


def test_views_of_tags_are_two(tmp_path):
    predictor = best(tmp_path, "timm", ("a", "b"), {"backbone": "test_resnet"}, {})
    plain, mirrored = (np.log(each.values / (1 - each.values)) for each in (predictor(PIXELS), predictor(PIXELS[:, ::-1])))
    predictor.tta = True
    found = predictor(PIXELS).values
    np.testing.assert_allclose(np.log(found / (1 - found)), (plain + mirrored) / 2, atol=1e-3)


def test_a_file_that_cannot_be_read_does_not_stop_the_others(tmp_path, picture):
    predictor = best(tmp_path, "timm", ("a",), {"backbone": "test_resnet"}, {})
    files = [picture(tmp_path / "a.png"), tmp_path / "torn.png", picture(tmp_path / "b.png")]
    files[1].write_bytes(b"no picture")
    found = [each for _, _, each in predictor.stream(files)]
    assert isinstance(found[0], Tags) and isinstance(found[1], UserError) and isinstance(found[2], Tags)


def test_a_classifier_never_slides(tmp_path):
    network = create("timm", 1, backbone="test_resnet")
    predictor = Predictor(network, name="timm", task=tasks.get("classify").bound({}), classes=("a",), device=torch.device("cpu"),
                          preprocess=Preprocess(32, (0.0,) * 3, (1.0,) * 3, "crop"))
    assert not predictor.slides and len(predictor(PIXELS).values) == 1


def test_the_masks_of_a_data_set_are_not_taken_for_images(tmp_path, picture, capsys):
    from engine.commands.predict import found_images

    for part in ("train/images", "train/masks", "other/masks"):
        for name in "ab":
            picture(tmp_path / part / f"{name}.png")
    picture(tmp_path / "train/masks/alone.png")
    found = {str(file.relative_to(tmp_path)) for file in found_images([str(tmp_path)])}
    assert found == {"train/images/a.png", "train/images/b.png", "other/masks/a.png", "other/masks/b.png", "train/masks/alone.png"}
    assert "2 mask pictures" in capsys.readouterr().err
    assert len(found_images([str(tmp_path / "train" / "masks")])) == 3

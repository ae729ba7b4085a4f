"""Training of areas and tags on odd data: nothing to find, one image, tiny and gray pictures, classes that nobody sees."""

import numpy as np
import pytest
from PIL import Image

from engine.config import TrainConfig
from engine.train import train
from engine.types import UserError

MODELS = {
    "unet": {"task": "semantic", "image_size": 64, "options": {"architecture": "unet", "encoder": "tu-test_resnet"}},
    "timm": {"task": "classify", "image_size": 32, "options": {"backbone": "test_resnet"}},
    "hybridmednet": {"task": "classify", "image_size": 32, "options": {
        "backbone": "test_resnet", "fpn_channels": 32, "fusion_channels": 32, "use_cross_scale_attention": False}},
}


def tiny(data, model, **changes):
    values = {"data": str(data), "model": model, "epochs": 1, "batch": 2, "precision": "none", "threads": 1, "workers": 0, "device": "cpu",
              "weights": "none"}
    return TrainConfig(**{**values, **MODELS[model], **changes})


def mask_set(root, train, valid=None, size=(40, 30), classes="background\nthing\n", gray=False):
    """A data set of masks; `train` and `valid` are arrays, or one value for a mask of that."""
    draw = np.random.default_rng(0)
    for split, masks in {"train": train, "valid": valid or []}.items():
        for number, mask in enumerate(masks):
            mask = np.full(size[::-1], mask, np.uint8) if isinstance(mask, int) else mask
            pixels = draw.integers(0, 255, mask.shape if gray else (*mask.shape, 3), np.uint8)
            for kind, array in {"images": pixels, "masks": mask}.items():
                (root / split / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(root / split / kind / f"{number}.png")
    (root / "classes.txt").write_text(classes)
    return root


def half(width=40, height=30):
    mask = np.zeros((height, width), np.uint8)
    mask[:, : max(1, width // 2)] = 1
    return mask


def events(data, model="unet", **changes):
    return list(train(tiny(data, model, **changes)))


@pytest.mark.parametrize("valid", [[0, 0], [255, 255]])
def test_validation_without_anything_to_find_trains_and_says_so(valid, tmp_path):
    found = events(mask_set(tmp_path / "set", [half()] * 3, valid))
    assert found[-1].kind == "done"
    metrics = next(each.values["metrics"] for each in found if each.kind == "validated")
    assert metrics["dice"] is None and all(value is None or np.isfinite(value) for value in metrics.values())
    assert any(each.values.get("key") == "no_validation_objects" for each in found)


@pytest.mark.parametrize("model", ["unet"])
@pytest.mark.parametrize("loss", ["auto", "focal_tversky", "lovasz"])
def test_one_training_image_is_enough(model, loss, tmp_path):
    found = events(mask_set(tmp_path / "set", [half()]), model, loss=loss, augment="tutorial", class_weights="balanced", sampling="balanced")
    assert found[-1].kind == "done" and any(each.values.get("key") == "no_validation" for each in found)


def test_images_of_any_size_train(tmp_path):
    odd = [half(1, 1), half(2, 50), half(200, 3), half(33, 31)]
    for more in ({"resize": "crop"}, {"augment": "standard"}):
        root = mask_set(tmp_path / more.get("resize", "stretch"), odd, odd)
        assert events(root, **more)[-1].kind == "done"


def test_gray_images_train(tmp_path):
    assert events(mask_set(tmp_path / "set", [half()] * 3, [half()], gray=True))[-1].kind == "done"


def test_a_class_that_is_never_seen_trains_and_is_told_as_undefined(tmp_path):
    data = mask_set(tmp_path / "set", [half()] * 3, [half()], classes="background\nthing\nnever\n")
    found = events(data, class_weights="balanced", sampling="balanced")
    rows = next(each.values["per_class"] for each in found if each.kind == "validated")
    assert found[-1].kind == "done" and {row["name"]: row["dice"] for row in rows}["never"] is None


@pytest.mark.parametrize("train_masks", [[255, 255, 255], [0, 0, 0]])
def test_masks_that_show_nothing_to_learn_are_an_error(train_masks, tmp_path):
    with pytest.raises(UserError):
        events(mask_set(tmp_path / "set", train_masks, [half()]))


def table(root, rows, classes=("a", "b")):
    """A data set of tags: (tags or None for no finding, split)."""
    (root / "images").mkdir(parents=True)
    lines = ["image,labels,split"]
    for number, (tags, split, size) in enumerate(rows):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(root / "images" / f"{number}.png")
        lines.append(f"images/{number}.png,{tags},{split}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    (root / "classes.txt").write_text("\n".join(classes) + "\n")
    return root


@pytest.mark.parametrize("model", ["timm", "hybridmednet"])
def test_tags_of_one_image_and_a_validation_without_any_train(model, tmp_path):
    size = (20, 20)
    found = events(table(tmp_path / "set", [("a", "train", size), ("", "valid", size), ("", "valid", size)]), model)
    assert found[-1].kind == "done"
    assert next(each.values["metrics"]["auroc"] for each in found if each.kind == "validated") is None


def test_pictures_of_one_pixel_and_classes_that_are_never_seen_train(tmp_path):
    rows = [("a", "train", (1, 1)), ("b", "train", (1, 90)), ("a|b", "train", (90, 1)), ("", "valid", (1, 1)), ("a", "valid", (5, 5))]
    for more in ({"class_weights": "balanced", "sampling": "balanced"}, {"loss": "focal", "label_smoothing": 0.1}):
        root = table(tmp_path / str(len(more)) / more.get("loss", "x"), rows, ("a", "b", "never"))
        assert events(root, "timm", augment="tutorial", **more)[-1].kind == "done"


def test_masks_that_all_have_another_size_than_their_images_are_named(tmp_path):
    data = mask_set(tmp_path / "set", [half()] * 2, [half()])
    for file in data.rglob("masks/*.png"):
        Image.fromarray(half(80, 61)).save(file)
    with pytest.raises(UserError) as caught:
        events(data)
    assert caught.value.key == "no_usable_labels" and all(word in str(caught.value) for word in ("3", ".png", "80", "61", "40", "30"))


def test_images_of_several_tags_or_none_are_no_single_labels(tmp_path):
    data = table(tmp_path / "set", [("a", "train", (9, 9)), ("a|b", "train", (9, 9)), ("", "train", (9, 9)), ("b", "valid", (9, 9))])
    with pytest.raises(UserError) as caught:
        events(data, "timm", options={"backbone": "test_resnet", "mode": "multiclass"})
    assert caught.value.key == "tags_not_single" and all(word in str(caught.value) for word in ("2 of 4", "images/1.png"))
    single = table(tmp_path / "single", [("a", "train", (9, 9)), ("b", "train", (9, 9)), ("b", "valid", (9, 9))])
    assert events(single, "timm", options={"backbone": "test_resnet", "mode": "multiclass"})[-1].kind == "done"

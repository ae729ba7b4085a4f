"""Which picture is the mask of which image."""


import numpy as np
import pytest

from engine.datasets.formats import mask_png
from engine.types import UserError
from tests.engine.datasets.formats.mask_sets import SIZE, codes, mask_of, read, save, shapes


@pytest.mark.parametrize(("image", "mask"), [
    ("images/{}.jpg", "masks/{}.png"), ("image/{}.jpg", "label/{}.png"), ("imgs/{}.jpg", "masks/{}.gif"),
    ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
    ("train/images/{}.jpg", "train/masks/{}.png"), ("images/train/{}.jpg", "annotations/train/{}.png"), ("train/{}.jpg", "trainannot/{}.png"),
    ("train/{}.jpg", "train_masks/{}_mask.gif"), ("all/{}.png", "all/{}_mask.png"), ("{}.jpg", "{}.png"), ("{}.tif", "{}_mask.tif"),
    ("images/{}.jpg", "masks/{}_segmentation.png"), ("images/img_{}.png", "masks/mask_{}.png"), ("image_{}.png", "mask_{}.png"),
    ("leftImg8bit/train/aachen/{}_leftImg8bit.png", "gtFine/train/aachen/{}_gtFine_labelIds.png"),
    ("training/images/{}_training.tif", "training/1st_manual/{}_manual1.gif"),
    ("train/{}.jpg", "train/{}_mask.png"), ("Images/{}.PNG", "Masks/{}.PNG"), ("patient/{}_1.tif", "patient/{}_1_mask.tif"),
    ("pictures/{}.jpg", "gt/{}-gt.png"),
    ("scans/{}_sat.jpg", "scans/{}_mask.png"), ("图像/{}.png", "标签/{}.png"), ("train_images/{}.jpg", "train_labels/{}.png"),
    ("img_dir/train/{}.jpg", "ann_dir/train/{}.png"), ("imagesTr/case_{}_0000.png", "labelsTr/case_{}.png"),
    ("PNGImages/{}.png", "PedMasks/{}_mask.png"), ("701_StillsRaw_full/{}.png", "LabeledApproved_full/{}_L.png"),
    ("{}_json/img.png", "{}_json/label.png"),
    ("bottle/test/broken/{}.png", "bottle/ground_truth/broken/{}_mask.png")])
def test_pairs_are_found_by_folder_or_name(tmp_path, picture, image, mask):
    for k in range(3):
        picture(tmp_path / image.format(f"7{k}"), *SIZE, seed=k)
        save(tmp_path / mask.format(f"7{k}"), shapes(k) * 255)
    assert mask_png.detects(tmp_path) is not None
    found = read(tmp_path)
    assert sorted(sample.name for sample in found.samples) == sorted(image.format(f"7{k}") for k in range(3))
    assert found.problems == []
    for k in range(3):
        assert np.array_equal(next(each.labels.classes for each in found.samples if each.name == image.format(f"7{k}")), shapes(k))
    assert {sample.split for sample in found.samples} == (
        {"train"} if "train" in image.replace("_training", "").replace("Tr/", "train/") else {"test"} if "test" in image else {None})


def test_the_same_names_in_two_splits_stay_apart(tmp_path, picture):
    for split, value in (("train", 1), ("val", 2)):
        picture(tmp_path / split / "images" / "0.png", *SIZE)
        save(tmp_path / split / "masks" / "0.png", shapes(0, (value,)))
    found = read(tmp_path)
    assert {sample.split: int(sample.labels.classes.max()) for sample in found.samples} == {"train": 1, "valid": 2}


def test_lists_give_splits_and_pairs(tmp_path, picture):
    for k in range(4):
        picture(tmp_path / "photos" / f"{k}.jpg", *SIZE, seed=k)
        save(tmp_path / "labels" / f"seg{k + 10}.png", shapes(k))
    line = "/SegNet/Set/photos/{}.jpg /SegNet/Set/labels/seg{}.png\n"
    (tmp_path / "train.txt").write_text("".join(line.format(k, k + 10) for k in (0, 1, 3)))
    (tmp_path / "val.txt").write_text(line.format(2, 12) + line.format("gone", 99))
    found = read(tmp_path)
    assert {sample.name: sample.split for sample in found.samples} == {
        "photos/0.jpg": "train", "photos/1.jpg": "train", "photos/2.jpg": "valid", "photos/3.jpg": "train"}
    assert [(problem.code, problem.where) for problem in found.problems] == [("listed_image_missing", "val.txt:2")]
    assert np.array_equal(mask_of(found, "3"), shapes(3))


def test_lists_of_voc_name_images_without_suffix(tmp_path, picture):
    for k in range(3):
        picture(tmp_path / "JPEGImages" / f"2007_{k}.jpg", *SIZE, seed=k)
        save(tmp_path / "SegmentationClass" / f"2007_{k}.png", shapes(k))
        save(tmp_path / "SegmentationObject" / f"2007_{k}.png", shapes(k) * 7)
    for name, text in (("train", "2007_0\n"), ("val", "2007_1\n2007_2\n"), ("trainval", "2007_0\n2007_1\n2007_2\n")):
        (tmp_path / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
        (tmp_path / "ImageSets/Segmentation" / f"{name}.txt").write_text(text)
    found = read(tmp_path)
    assert {sample.name[-5]: sample.split for sample in found.samples} == {"0": "train", "1": "valid", "2": "valid"}
    assert found.problems == []


def test_masks_in_parts_are_put_together(tmp_path, picture):
    picture(tmp_path / "benign (1).png", *SIZE)
    save(tmp_path / "benign (1)_mask.png", shapes(0, (255,)))
    save(tmp_path / "benign (1)_mask_1.png", shapes(0, (0, 255)))
    found = read(tmp_path)
    assert np.array_equal(found.samples[0].labels.classes, shapes(0, (1, 1)))
    assert codes(found) == ["masks_joined"]


def test_a_folder_for_each_image_holds_the_masks_of_its_objects(tmp_path, picture):
    for k in range(2):
        picture(tmp_path / f"cell{k}" / "images" / f"cell{k}.png", *SIZE, seed=k)
        for part in range(3):
            save(tmp_path / f"cell{k}" / "masks" / f"{part}ab.png", shapes(k, tuple(255 * (place == part) for place in range(3))))
    found = read(tmp_path)
    assert len(found.samples) == 2
    assert all(np.array_equal(sample.labels.classes, shapes(int(sample.name[4]), (1, 1, 1))) for sample in found.samples)


def test_faces_with_and_without_masks_are_no_segmentation(tmp_path, picture):
    for k in range(4):
        picture(tmp_path / "mask" / f"{k}.jpg", seed=k)
        picture(tmp_path / "no_mask" / f"{k}.jpg", seed=10 + k)
        picture(tmp_path / "other" / f"{k}.jpg", seed=20 + k)
    assert mask_png.detects(tmp_path) is None


def test_photos_saved_twice_are_no_masks(tmp_path, picture):
    for k in range(4):
        picture(tmp_path / "cat" / f"{k}.jpg", seed=k)
        picture(tmp_path / "cat" / f"{k}.png", seed=k)
    assert mask_png.detects(tmp_path) is None


def test_masks_of_the_left_and_the_right_side_are_put_together(tmp_path, picture):
    for k in range(2):
        picture(tmp_path / "CXR_png" / f"{k}.png", *SIZE, seed=k)
        for side, value in (("left", 1), ("right", 2)):
            save(tmp_path / "ManualMask" / f"{side}Mask" / f"{k}.png", np.uint8(shapes(k, (1, 2)) == value) * 255)
    found = read(tmp_path)
    assert (found.classes, codes(found)) == (("background", "foreground"), ["masks_joined"])
    assert np.array_equal(mask_of(found, "0"), shapes(0, (1, 2)) > 0)


def test_pictures_that_only_show_masks_are_no_images_and_no_masks(tmp_path, picture):
    for k in range(2):
        for name in ("images/{}.jpg", "images/{}_superpixels.png", "SegmentationObjectVisualization/{}.jpg", "AnnotationsVisualization/{}.jpg"):
            picture(tmp_path / name.format(k), *SIZE, seed=k)
        save(tmp_path / "masks" / f"{k}.png", shapes(k))
    found = read(tmp_path)
    assert sorted(sample.name for sample in found.samples) == ["images/0.jpg", "images/1.jpg"]
    assert found.problems == []


def test_the_other_pictures_of_cityscapes_are_no_masks_without_images(tmp_path, picture):
    picture(tmp_path / "leftImg8bit/train/a/a_1_leftImg8bit.png", *SIZE)
    for kind in ("color", "instanceIds", "labelIds", "labelTrainIds"):
        save(tmp_path / f"gtFine/train/a/a_1_gtFine_{kind}.png", shapes(0, (7, 23) if kind == "labelIds" else (1, 2)))
    found = read(tmp_path)
    assert (found.classes, codes(found)) == (("background", "class 7", "class 23"), ["mask_no_names"])


@pytest.mark.parametrize("second", ["_background_\ncat\n", "_background_\ndog\n"])
def test_masks_with_a_list_of_names_each_are_read_when_the_lists_agree(tmp_path, picture, second):
    for name, text in (("a", "_background_\ncat\n"), ("b", second)):
        picture(tmp_path / f"{name}_json" / "img.png", *SIZE)
        picture(tmp_path / f"{name}_json" / "label_viz.png", *SIZE)
        save(tmp_path / f"{name}_json" / "label.png", shapes())
        (tmp_path / f"{name}_json" / "label_names.txt").write_text(text)
    if "dog" in second:
        with pytest.raises(UserError) as error:
            read(tmp_path)
        assert error.value.key == "mask_legends_differ"
    else:
        found = read(tmp_path)
        assert (found.classes, len(found.samples), found.problems) == (("background", "cat"), 2, [])

"""Folders named by class: which folders are classes, and what can be written into them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.datasets.collection import collect
from engine.datasets.formats import class_folders
from engine.types import UNCERTAIN, Instances, Sample, SemanticMask, Tags, UserError


@pytest.fixture
def tree(tmp_path, picture):
    """A folder with an image at every path; a path that ends with / becomes an empty folder."""
    def make(*paths):
        for number, path in enumerate(paths):
            if path.endswith("/"):
                (tmp_path / "set" / path).mkdir(parents=True)
            else:
                picture(tmp_path / "set" / path, seed=number)
        return tmp_path / "set"
    return make


def read(root):
    assert class_folders.detects(root) is not None
    return collect(class_folders.read(root), "class_folders")


def classes_of(collection):
    return {sample.name: None if sample.labels is None else collection.classes[int(sample.labels.values.argmax())] for sample in collection.samples}


def codes(collection):
    return [problem.code for problem in collection.problems]


def test_folders_are_classes_in_the_order_of_their_names(tree):
    found = read(tree("dog/1.jpg", "cat/1.jpg", "cat/2.png"))
    assert (found.classes, found.task, found.problems) == (("cat", "dog"), "classify", [])
    assert classes_of(found) == {"cat/1.jpg": "cat", "cat/2.png": "cat", "dog/1.jpg": "dog"}
    assert all(sample.labels.values.sum() == 1 and sample.split is None for sample in found.samples)


def test_folder_names_that_are_no_unicode_are_told_apart(tree, tmp_path):
    root = tree("dog/1.jpg", "è/1.jpg", "one/1.jpg", "two/1.jpg")
    for name, data in (("one", "狗".encode("gbk")), ("two", "构".encode("gbk"))):
        os.rename(os.fsencode(root / name), os.fsencode(root) + b"/" + data)  # noqa: PTH104 - bytes
    found = read(root)
    assert set(found.classes) == {"dog", "è", "狗", "构"}
    assert (len(found.samples), codes(found)) == (4, ["class_folders_recoded"])


def test_photos_whose_names_speak_of_masks_stay_in_their_class(tree):
    found = read(tree("with/1.jpg", "with/mask_1.jpg", "with/2.jpg", "with/mask_2.jpg", "without/1.jpg"))
    assert (len(found.samples), codes(found)) == (5, [])


def test_numbers_are_ordered_by_size(tree):
    assert read(tree("10/a.png", "9/b.png", "0/c.png")).classes == ("0", "9", "10")


@pytest.mark.parametrize(("train", "valid"), [("train", "val"), ("Training", "Validation"), ("train2017", "val2017"), ("train_images", "test_set")])
def test_splits_stand_above_the_classes(tree, train, valid):
    found = read(tree(f"{train}/cat/1.jpg", f"{train}/dog/2.jpg", f"{valid}/cat/3.jpg", f"{valid}/5.jpg"))
    assert found.classes == ("cat", "dog")
    splits = {sample.name.rpartition("/")[2]: sample.split for sample in found.samples}
    assert splits == {"1.jpg": "train", "2.jpg": "train", "3.jpg": splits["5.jpg"], "5.jpg": "test" if "test" in valid else "valid"}
    assert classes_of(found)[f"{valid}/5.jpg"] is None
    assert codes(found) == ["images_without_labels"]


def test_splits_may_stand_below_other_folders_or_the_classes(tree):
    found = read(tree("data/train/cat/1.jpg", "data/test/dog/2.jpg"))
    assert (found.classes, [sample.split for sample in found.samples]) == (("cat", "dog"), ["test", "train"])


def test_splits_below_the_classes(tree):
    found = read(tree("cat/train/1.jpg", "cat/test/2.jpg", "dog/train/3.jpg", "dog/test/4.jpg"))
    assert found.classes == ("cat", "dog")
    assert {sample.name: sample.split for sample in found.samples}["dog/test/4.jpg"] == "test"


def test_a_train_is_a_vehicle_where_it_stands_among_others(tree):
    assert read(tree("car/1.jpg", "train/2.jpg", "bus/3.jpg")).classes == ("bus", "car", "train")


def test_an_empty_folder_is_a_class_without_images(tree):
    found = read(tree("cat/1.jpg", "dog/1.jpg", "emu/"))
    assert found.classes == ("cat", "dog", "emu")


def test_an_empty_folder_below_a_split_is_a_class_too(tree):
    assert read(tree("train/a/1.jpg", "train/b/", "val/a/2.jpg")).classes == ("a", "b")


def test_folders_inside_a_class_add_to_it(tree):
    found = read(tree("cat/1.jpg", "cat/2.jpg", "cat/more/3.jpg", "dog/1.jpg"))
    assert (found.classes, found.problems) == (("cat", "dog"), [])


def test_one_folder_is_no_class_unless_a_split_stands_above(tree):
    assert class_folders.detects(tree("holiday/1.jpg", "holiday/2.jpg")) is None


def test_one_class_below_a_split_is_a_class(tree):
    assert read(tree("train/cat/1.jpg", "val/cat/2.jpg")).classes == ("cat",)


@pytest.mark.parametrize("paths", [("images/1.jpg", "labels/2.jpg"), ("images/train/1.jpg", "images/val/2.jpg"), 
                                   ("train/images/1.jpg", "test/images/2.jpg"),
                                   ("1.jpg", "2.jpg"), ("train/1.jpg", "val/2.jpg"), ("JPEGImages/1.jpg",)])
def test_technical_folders_are_no_classes(tree, paths):
    assert class_folders.detects(tree(*paths)) is None


def test_technical_folders_on_the_way_are_left_out(tree):
    found = read(tree("train/images/cat/1.jpg", "train/images/dog/2.jpg", "val/images/cat/3.jpg"))
    assert found.classes == ("cat", "dog")


def test_images_beside_the_folders_are_unlabeled(tree):
    found = read(tree("cat/1.jpg", "dog/2.jpg", "3.jpg"))
    assert classes_of(found)["3.jpg"] is None
    assert class_folders.detects(tree("a.jpg", "b.jpg", "c.jpg", "d.jpg")) is None


def test_nested_folders_are_classes_by_their_path_and_that_is_said(tree):
    found = read(tree("pets/cat/1.jpg", "pets/dog/1.jpg", "farm/cow/1.jpg"))
    assert found.classes == ("farm/cow", "pets/cat", "pets/dog")
    assert codes(found) == ["class_folders_nested"]
    assert "farm/cow" in found.problems[0].message()


def test_folders_that_all_share_say_nothing(tree):
    assert read(tree("set/v1/cat/1.jpg", "set/v1/dog/1.jpg")).classes == ("cat", "dog")


def test_numbered_patients_are_groups_and_no_classes(tree):
    patients = [("normal", k) for k in range(4)] + [("sick", k) for k in range(10, 14)]
    found = read(tree(*(f"{name}/patient{k:03d}/{scan}.png" for name, k in patients for scan in "ab")))
    assert found.classes == ("normal", "sick")
    assert {sample.group for sample in found.samples} == {f"patient{k:03d}" for k in (0, 1, 2, 3, 10, 11, 12, 13)}
    assert codes(found) == ["class_folders_grouped"]


def test_patients_may_stand_above_the_classes(tree):
    found = read(tree(*(f"{patient}/{name}/a{name}.png" for patient in range(10250, 10256) for name in (0, 1))))
    assert found.classes == ("0", "1")
    assert len({sample.group for sample in found.samples}) == 6


def test_magnifications_repeat_and_so_belong_to_the_class(tree):
    found = read(tree(*(f"{name}/{zoom}X/{name}{zoom}.png" for name in ("benign", "malignant") for zoom in (40, 100, 200, 400))))
    assert len(found.classes) == 8


def test_the_same_image_in_two_classes_is_named(tree):
    root = tree("cat/1.png", "dog/2.png", "dog/3.png", "cat/4.png")
    (root / "dog/copy.png").write_bytes((root / "cat/1.png").read_bytes())
    (root / "cat/again.png").write_bytes((root / "cat/1.png").read_bytes())
    found = read(root)
    assert [(problem.code, problem.where, problem.values["other"]) for problem in found.problems] == [
        ("same_image_two_classes", "dog/copy.png", "cat/1.png")]


def test_files_of_one_size_that_differ_late_are_not_the_same(tree):
    root = tree("cat/1.bmp", "dog/2.bmp")
    data = (root / "cat/1.bmp").read_bytes() + b"\0" * 40_000
    (root / "cat/1.bmp").write_bytes(data)
    (root / "dog/2.bmp").write_bytes(data[:-1] + b"\1")
    assert read(root).problems == []


def test_an_unreadable_image_is_named(tree):
    root = tree("cat/1.png", "dog/2.png")
    (root / "cat/bad.png").write_bytes(b"no picture")
    found = read(root)
    assert [(problem.code, problem.where) for problem in found.problems] == [("not_an_image", "cat/bad.png")]
    assert len(found.samples) == 2


# ---- writing

def written(tmp_path, picture, classes, rows, splits=(None,), group=None):
    samples = []
    for k, row in enumerate(rows):
        labels = Tags(np.array(row, np.float32)) if isinstance(row, list | tuple | np.ndarray) else row
        samples.append(Sample(picture(tmp_path / "in" / f"{k}.png", seed=k), (64, 48), labels, splits[k % len(splits)], group, f"{k}.png"))
    (tmp_path / "out").mkdir()
    return list(class_folders.write(classes, samples, tmp_path / "out", "copy")), collect(class_folders.read(tmp_path / "out"))


@pytest.mark.parametrize("classes", [("dog", "cat", "unused"), ("a/b", "a/c", "d"), ("train", "test", "images"), ("<b>", ":b:", "_b_"),
                                     ("A", "a", "á"), ("10", "9", "x"), ("../up", "/root", "nul"),
                                     ("patient001", "patient002", "patient003"), ("手术 剪", "=1+1", "no")])
def test_classes_read_back_under_their_names_and_in_their_order(tmp_path, picture, classes):
    rows = [np.eye(3)[k % 2] for k in range(4)]
    problems, again = written(tmp_path, picture, classes, rows, ("train", "valid", "test"))
    assert [problem for problem in problems if problem.code != "class_folder_renamed"] == []
    assert again.classes == classes
    assert {sample.name.rpartition("/")[2]: (sample.split, int(sample.labels.values.argmax())) for sample in again.samples} == {
        "0.png": ("train", 0), "1.png": ("valid", 1), "2.png": ("test", 0), "3.png": ("train", 1)}
    assert all(path.resolve().is_relative_to((tmp_path / "out").resolve()) for path in (tmp_path / "out").rglob("*"))


def test_what_has_not_exactly_one_class_is_left_out_and_named(tmp_path, picture):
    rows = [[1, 0], [1, 1], [0, 0], None, [UNCERTAIN, 0], [1, np.nan], Instances.empty(), SemanticMask(np.zeros((48, 64), np.uint16))]
    problems, again = written(tmp_path, picture, ("cat", "dog"), rows, group="p")
    assert [(problem.code, problem.where) for problem in problems] == [
        ("tags_left_out", "1.png"), ("tags_left_out", "2.png"), ("unlabeled_left_out", "3.png"), ("tags_left_out", "4.png"),
        ("tags_uncertain_left_out", "5.png"), ("image_labels_left_out", "6.png"), ("image_labels_left_out", "7.png"), ("groups_left_out", ".")]
    assert sorted(sample.name for sample in again.samples) == ["train/cat/0.png", "train/cat/5.png"]
    assert again.classes == ("cat", "dog")


def test_the_yolo_classification_sample_is_read(reference):
    found = read(reference / "data/formats/annotations/datumaro_yolo_dataset/yolov8_classification")
    assert classes_of(found) == {"train/label_0/1.jpg": "label_0", "train/label_0/2.jpg": "label_0", "train/label_1/3.jpg": "label_1"}


def test_splits_may_share_the_beginning_of_their_names_and_repeat_inside_themselves(tree):
    found = read(tree("seg_train/seg_train/sea/1.jpg", "seg_train/seg_train/ice/2.jpg", "seg_test/seg_test/sea/3.jpg", "seg_pred/seg_pred/4.jpg"))
    assert found.classes == ("ice", "sea")
    assert {Path(sample.name).stem: sample.split for sample in found.samples} == {"1": "train", "2": "train", "3": "test", "4": None}
    assert {Path(name).stem: label for name, label in classes_of(found).items()} == {"1": "sea", "2": "ice", "3": "sea", "4": None}


def test_nothing_but_splits_is_no_class(tree):
    assert class_folders.detects(tree("x_train/1.png", "x_val/2.png", "x_test/3.png")) is None


def test_a_class_may_end_like_a_split(tree):
    assert read(tree("model train/1.jpg", "steam train/2.jpg", "blood_test/3.jpg")).classes == ("blood_test", "model train", "steam train")


def test_a_set_that_lies_in_itself_once_more_has_the_same_classes(tree):
    places = [f"{folder}/{split}/{name}" for folder in ("x", "x/x") for split in ("train", "val") for name in ("cat", "dog")]
    found = read(tree(*(f"{place}/1.jpg" for place in places)))
    assert (found.classes, {sample.split for sample in found.samples}) == (("cat", "dog"), {"train", "valid"})


@pytest.mark.parametrize("photos", [False, True])
def test_a_folder_of_masks_is_no_class(tree, photos):
    root = tree(*(f"{folder}/{k}.png" for folder in ("one", "two") for k in range(3)))
    if photos:
        assert read(root).classes == ("one", "two")
        return
    for k in range(3):
        Image.fromarray(np.eye(40, 60, dtype=np.uint8) * 255).save(root / "two" / f"{k}.png")
    with pytest.raises(UserError) as error:
        read(root)
    assert (error.value.key, error.value.values) == ("class_folders_are_masks", {"images": "one", "masks": "two"})

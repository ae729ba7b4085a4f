"""Folders of images and nothing else."""

import numpy as np
import pytest
from PIL import Image

from engine.datasets.collection import collect
from engine.datasets.formats import bare_images
from engine.datasets.source import evidence
from engine.types import Instances, Sample, UserError


def test_images_in_any_folders_are_unlabeled_and_that_is_said(tmp_path, picture):
    for name in ("a.jpg", "holiday/b.PNG", "holiday/deep/c.tif"):
        picture(tmp_path / name)
    (tmp_path / "README.txt").write_text("my pictures")
    assert list(evidence(tmp_path)) == ["images"]
    found = collect(bare_images.read(tmp_path))
    assert (found.classes, found.task) == ((), "detect")
    assert sorted(sample.name for sample in found.samples) == ["a.jpg", "holiday/b.PNG", "holiday/deep/c.tif"]
    assert all(sample.labels is None and sample.split is None for sample in found.samples)
    assert [(problem.code, problem.values) for problem in found.problems] == [("only_images", {"count": 3})]


def test_folders_tell_the_split(tmp_path, picture):
    for name in ("train/a.jpg", "val/b.jpg", "test/x/c.jpg"):
        picture(tmp_path / name)
    found = collect(bare_images.read(tmp_path))
    assert {sample.name: sample.split for sample in found.samples} == {"train/a.jpg": "train", "val/b.jpg": "valid", "test/x/c.jpg": "test"}


@pytest.mark.parametrize("name", ["a.json", "labels/a.xml", "list.csv", "a.txt", "data.yaml", "labels.mat", "more.zip"])
def test_files_that_may_hold_labels_are_not_passed_over(tmp_path, picture, name):
    picture(tmp_path / "a.jpg")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("?")
    assert bare_images.detects(tmp_path) is None


def test_what_is_no_image_is_named(tmp_path, picture):
    picture(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"<html>")
    found = collect(bare_images.read(tmp_path))
    assert [(problem.code, problem.where) for problem in found.problems] == [("not_an_image", "b.jpg"), ("only_images", ".")]
    assert len(found.samples) == 1


def test_writing_keeps_images_and_splits_and_says_what_is_lost(tmp_path, picture):
    labels = Instances(np.array([[1, 1, 9, 9]]), [0])
    samples = [Sample(picture(tmp_path / "in" / f"{k}.png", seed=k), (64, 48), labels if k else None, split, "p", f"{k}.png")
               for k, split in enumerate(("train", "valid", None))]
    (tmp_path / "out").mkdir()
    problems = list(bare_images.write(("cat",), samples, tmp_path / "out", "copy"))
    assert [(problem.code, problem.values["count"]) for problem in problems] == [("all_labels_left_out", 2), ("groups_left_out", 3)]
    again = collect(bare_images.read(tmp_path / "out"))
    assert {sample.name: sample.split for sample in again.samples} == {"train/0.png": "train", "valid/1.png": "valid", "train/2.png": "train"}


@pytest.mark.parametrize(("folder", "key"), [("SegmentationClass/{}.png", "masks_without_images"), ("train/masks/{}.png", "masks_without_images"),
                                             ("task-{}-annotation-1-by-1-tag-cat-0.png", "masks_of_tasks")])
def test_masks_without_their_images_are_refused(tmp_path, folder, key):
    for k in range(2):
        path = tmp_path / folder.format(k)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(40, 60, dtype=np.uint8)).save(path)
    assert bare_images.detects(tmp_path) is not None
    with pytest.raises(UserError) as error:
        bare_images.read(tmp_path)
    assert error.value.key == key


def test_photos_of_masks_are_images(tmp_path, picture):
    picture(tmp_path / "masks" / "a.png")
    assert len(collect(bare_images.read(tmp_path)).samples) == 1

"""What the lines of a set mean, and what other tools have written."""

import math

import numpy as np
import pytest
import yaml

from engine.datasets.formats import formats
from engine.types import Instances, Polygons, Problem, Sample


def read(root):
    reading = formats.get("yolo").read(root)
    items = list(reading.items)
    return reading, {item.name: item for item in items if isinstance(item, Sample)}, [item for item in items if isinstance(item, Problem)]


def test_outline_data_sets_are_told_from_box_data_sets(yolo_folder):
    assert read(yolo_folder({"train": {"a": "0 .1 .1 .4 .1 .4 .4\n"}}))[0].task == "instance"


def turned(x, y, w, h, degrees, size=(64, 48)):
    """The four corners of a rotated rectangle, relative to the image."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(x + cos * a * w / 2 - sin * b * h / 2, y + sin * a * w / 2 + cos * b * h / 2) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return " ".join(f"{px / size[0]:.6f} {py / size[1]:.6f}" for px, py in corners)


OBLIQUE = {"train": {"a": f"0 {turned(30, 24, 20, 10, 30)}\n1 {turned(20, 20, 9, 14, 71)}\n", "b": f"1 {turned(40, 20, 30, 12, 0)}\n"}}


def test_rectangles_that_are_turned_are_oriented_boxes_and_it_is_said_once(yolo_folder):
    reading, samples, problems = read(yolo_folder(OBLIQUE))
    assert reading.task == "detect"
    assert [(problem.code, problem.severity) for problem in problems] == [("yolo_oriented_boxes", "note")]
    labels = samples["train/images/a.png"].labels
    assert labels.shapes is None
    half = 10 * math.cos(math.radians(30)) + 5 * math.sin(math.radians(30))
    assert np.allclose(labels.boxes[0, [0, 2]], [30 - half, 30 + half], atol=1e-3)


def test_boxes_that_were_turned_in_relative_units_are_oriented_boxes_too(yolo_folder):
    reading, samples, problems = read(yolo_folder({"train": {"a": "0 .4 .2 .6 .4 .4 .6 .2 .4\n1 .5 .5 .2 .2\n"}}))
    assert (reading.task, [problem.code for problem in problems]) == ("detect", ["yolo_oriented_boxes"])
    assert np.allclose(samples["train/images/a.png"].labels.boxes[0], [12.8, 9.6, 38.4, 28.8])


@pytest.mark.parametrize("more", ["1 .1 .1 .4 .1 .4 .4\n", "1 .1 .1 .5 .2 .4 .9 .1 .8\n"])
def test_any_other_outline_in_the_set_makes_them_outlines(yolo_folder, more):
    reading, samples, problems = read(yolo_folder({"train": OBLIQUE["train"], "valid": {"z": more}}))
    assert (reading.task, problems) == ("instance", [])
    assert len(samples["train/images/a.png"].labels.shapes[0].rings[0]) == 4


def test_upright_rectangles_are_outlines_as_far_as_anybody_can_tell(yolo_folder):
    reading, samples, _ = read(yolo_folder({"train": {"a": "0 .1 .1 .4 .1 .4 .4 .1 .4\n"}}))
    assert reading.task == "instance"
    assert samples["train/images/a.png"].labels.shapes is not None


@pytest.mark.parametrize(("task", "oriented"), [("obb", True), ("segment", False), ("OBB", True)])
def test_the_yaml_may_say_what_four_points_are(yolo_folder, task, oriented):
    labels = {"train": {"a": "0 .1 .1 .5 .2 .4 .9 .1 .8\n"}} if oriented else OBLIQUE
    reading, samples, _ = read(yolo_folder(labels, f"task: {task}\ntrain: train/images\nnames: [cat, dog]\n"))
    assert reading.task == ("detect" if oriented else "instance")
    assert (samples["train/images/a.png"].labels.shapes is None) == oriented


def test_the_name_of_the_folder_may_say_it_too(yolo_folder):
    labels = {"train": {"a": "0 .1 .1 .5 .2 .4 .9 .1 .8\n"}}
    assert read(yolo_folder(labels, name="ships-OBB"))[0].task == "detect"
    assert read(yolo_folder(labels, name="obbligato"))[0].task == "instance"


def test_boxes_and_outlines_in_one_file_stay_what_they_are(yolo_folder):
    _, samples, problems = read(yolo_folder({"train": {"a": "0 .5 .5 .2 .2\n1 .1 .1 .4 .1 .5 .3 .3 .5\n0 .2 .2 .1 .1\n"}}))
    labels = samples["train/images/a.png"].labels
    assert problems == []
    assert [shape is None for shape in labels.shapes] == [True, False, True]


@pytest.mark.parametrize("text", ["kpt_shape: [2, 3]\n", ""])
def test_keypoints_are_left_out_with_one_note(yolo_folder, text):
    lines = "0 .5 .5 .2 .2 .4 .4 2 .6 .6 1 .5 .5 0\n1 .5 .5 .4 .4 .4 .4 2 .6 .6 1 .5 .5 0\n"
    reading, samples, problems = read(yolo_folder({"train": {"a": lines, "b": lines}}, f"{text}train: train/images\nnames: [cat, dog]\n"))
    assert reading.task == "detect"
    assert [problem.code for problem in problems] == ["keypoints_left_out"]
    assert np.allclose(samples["train/images/a.png"].labels.boxes[0], [25.6, 19.2, 38.4, 28.8])


def test_an_image_that_two_splits_name_is_taken_once(yolo_folder):
    root = yolo_folder(yaml="train: train/images\nval: [train/images, valid/images]\ntest: list.txt\nnames: [cat, dog]\n")
    (root / "list.txt").write_text("train/images/a.png\n")
    _, samples, problems = read(root)
    assert {name: sample.split for name, sample in samples.items()} \
        == {"train/images/a.png": "train", "train/images/b.png": "train", "valid/images/c.png": "valid"}
    assert [(problem.code, problem.values["count"], problem.values["split"]) for problem in problems] \
        == [("yolo_images_twice", 2, "valid"), ("yolo_images_twice", 1, "test")]


@pytest.mark.parametrize("outlined", [False, True])
def test_the_yaml_says_what_the_lines_are(tmp_path, picture, outlined):
    square = Polygons((np.array([[10.5, 4], [30, 24], [20, 34], [0.5, 14]]),))  # a turned rectangle, which others might take for an oriented box
    labels = Instances([[0.5, 4, 30, 34]], [0], shapes=(square,) if outlined else None)
    list(formats.get("yolo").write(("a",), [Sample(picture(tmp_path / "in.png"), (64, 48), labels, name="in.png")], tmp_path, "copy"))
    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["task"] == ("segment" if outlined else "detect")
    reading, samples, _ = read(tmp_path)
    assert reading.task == ("instance" if outlined else "detect")
    assert (samples["train/images/in.png"].labels.shapes is not None) == outlined


# ---- what other tools and people have written

@pytest.mark.parametrize(("folder", "task", "codes"), [
    ("yolov8_detection", "detect", []), ("yolov8_detection_with_list_of_imgs", "detect", []), ("yolov8_detection_with_list_of_names", "detect", []),
    ("yolov8_detection_with_subset_txt", "detect", []), ("yolo", "detect", []), ("yolov8_segmentation", "instance", []),
    ("yolov8_oriented_boxes", "detect", ["yolo_oriented_boxes"]), ("yolov8_pose", "detect", ["keypoints_left_out"]),
    ("yolov8_pose_two_values_per_point", "detect", ["keypoints_left_out"])])
def test_other_tools_exports_are_read(reference, folder, task, codes):
    reading, samples, problems = read(reference / "data/formats/annotations/datumaro_yolo_dataset" / folder)
    assert reading.task == task
    (sample,) = samples.values()
    assert sample.split == "train"
    assert [reading.classes[number] for number in sample.labels.classes] == (["skeleton_label"] if "pose" in folder else ["label_2", "label_4"])
    assert (sample.labels.shapes is not None) == (task == "instance")
    assert [problem.code for problem in problems if problem.code != "yaml_path_repaired"] == codes


def test_a_folder_of_classes_is_no_yolo_set(reference):
    assert formats.get("yolo").detects(reference / "data/formats/annotations/datumaro_yolo_dataset/yolov8_classification") is None


def test_the_facades_in_yolo_are_the_facades_in_coco(reference):
    """Made from the same polygons, rounded to six decimals."""
    reading, samples, problems = read(reference / "data/formats/annotations/derived_yolo_seg")
    coco = formats.get("coco").read(reference / "data/inst_facade_coco")
    originals = {sample.image.name: sample for sample in coco.items if isinstance(sample, Sample)}
    assert (reading.task, len(samples), [problem.code for problem in problems]) == ("instance", 3, ["yolo_images_twice"])
    for sample in samples.values():
        mine, theirs = sample.labels, originals[sample.image.name].labels
        assert [reading.classes[number] for number in mine.classes] == [coco.classes[number] for number in theirs.classes]
        assert all(np.abs(one.rings[0] - other.rings[0]).max() < 1e-3 for one, other in zip(mine.shapes, theirs.shapes, strict=True))


def test_the_cones_are_all_there(reference):
    reading, samples, problems = read(reference / "data/det_cones_yolo")
    assert reading.classes == ("cone", "cube")
    counts = {split: [0, 0] for split in ("train", "valid", "test")}
    for sample in samples.values():
        counts[sample.split] = [had + int(new) for had, new in zip(counts[sample.split], np.bincount(sample.labels.classes, minlength=2),
            strict=True)]
    assert counts == {"train": [276, 147], "valid": [76, 46], "test": [55, 33]}
    assert {problem.code for problem in problems} == {"yaml_path_repaired"}


def test_chinese_names_of_files_folders_and_classes_survive(reference):
    reading, samples, _ = read(reference / "data/formats/annotations/derived_chinese_names/yolo")
    assert "窗户" in reading.classes
    assert "images/训练/建筑 外墙（第1张）.jpg" in samples

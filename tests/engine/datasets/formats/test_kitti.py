"""KITTI: 2D boxes, instance masks, and the 3D recordings that are refused."""

import numpy as np
import pytest
from PIL import Image

from engine.datasets import source
from engine.datasets.collection import collect
from engine.datasets.convert import convert
from engine.datasets.formats.kitti import detects, read
from engine.datasets.outlines import mask_of
from engine.types import UserError

LINE = "{name} 0.00 0 -1.57 {box} 1.5 1.6 3.9 1.0 1.7 20.0 -1.5"


def line(name="Car", box="1 2 30 40", score=""):
    return f"{LINE.format(name=name, box=box)}{score}\n"


@pytest.fixture
def folder(tmp_path, picture):
    def make(labels, images=("000000", "000001")):
        for number, stem in enumerate(images):
            picture(tmp_path / "training" / "image_2" / f"{stem}.png", seed=number)
        for stem, content in labels.items():
            path = tmp_path / "training" / ("label_2" if isinstance(content, str) else "instance") / stem
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".txt").write_text(content) if isinstance(content, str) else Image.fromarray(content).save(path.with_suffix(".png"))
        return tmp_path
    return make


def test_boxes_are_read_and_regions_nobody_cares_for_are_counted(folder):
    root = folder({"000000": line() + line("Pedestrian", "40.5 1 50 30", " 0.9") + line("DontCare") + line("DontCare"), "000001": ""})
    found = collect(read(root))
    assert (found.classes, found.task) == (("Car", "Pedestrian"), "detect")
    assert found.samples[0].labels.boxes.tolist() == [[1, 2, 30, 40], [40.5, 1, 50, 30]]
    assert len(found.samples[1].labels) == 0
    assert {sample.split for sample in found.samples} == {"train"}
    assert [(problem.code, problem.values["count"]) for problem in found.problems] == [("kitti_dontcare", 2)]


def test_faulty_lines_and_missing_images_are_named_with_their_place(folder):
    root = folder({"000000": "Car 1 2 3\n" + line() + line("Van", "5 5 5 9"), "000009": line()})
    found = collect(read(root))
    assert len(found.samples[0].labels) == 1
    assert {(problem.code, problem.where) for problem in found.problems} == {
        ("kitti_columns", "training/label_2/000000.txt:1"), ("object_without_area", "training/label_2/000000.txt:3"),
        ("image_missing", "training/label_2/000009.txt"), ("images_without_labels", ".")}


def test_an_instance_mask_holds_class_times_256_plus_number(folder):
    pixels = np.zeros((48, 64), np.uint16)
    pixels[:10], pixels[10:20, :20], pixels[10:20, 30:40], pixels[30:, :5], pixels[30:, 10:] = 23 * 256, 26 * 256 + 1, 26 * 256 + 2, 26 * 256, 3 * 256
    found = collect(read(folder({"000000": pixels})))
    labels = found.samples[0].labels
    assert (found.classes, found.task, len(found.samples)) == (("sky", "car"), "instance", 2)
    assert labels.classes.tolist() == [0, 1, 1, 1]
    assert [int(mask_of(shape, (64, 48)).sum()) for shape in labels.shapes] == [640, 90, 200, 100]
    assert labels.crowd.tolist() == [False, True, False, False]  # cars without a number are a crowd
    assert found.samples[1].labels is None


def test_a_mask_of_another_size_is_named(folder):
    found = collect(read(folder({"000000": np.full((10, 10), 26 * 256 + 1, np.uint16)})))
    assert [problem.code for problem in found.problems] == ["mask_size_differs", "images_without_labels"]


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.5 0.5\n", "Car 1 2 3\n", "word " * 15, "1 " * 15, ""])
def test_other_text_files_are_not_taken_for_kitti(folder, text):
    assert detects(folder({"000000": text})) is None


def test_recordings_in_3d_are_refused_with_the_reason(reference):
    root = reference / "data" / "formats" / "annotations" / "datumaro_kitti_dataset" / "kitti_raw"
    assert source.recognise(root)[0].name == "kitti"
    with pytest.raises(UserError, match="3D") as caught:
        read(root)
    assert caught.value.key == "kitti_tracklets"


@pytest.mark.parametrize(("name", "classes", "objects"), [("kitti_detection", ("Truck", "Van"), 5),
                                                          ("kitti_segmentation", ("wall", "truck", "train"), 4)])
def test_the_samples_are_read_whole(reference, tmp_path, name, classes, objects):
    root = reference / "data" / "formats" / "annotations" / "datumaro_kitti_dataset" / name
    found = collect(read(root))
    assert (found.classes, found.problems, len(found.samples)) == (classes, [], 2)
    assert sum(len(sample.labels) for sample in found.samples) == objects
    assert convert(root, tmp_path / "out", to="coco").boxes == objects


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_lines_may_be_written_in_any_encoding(folder, encoding):
    root = folder({"000000": line("汽车"), "000001": line("行人")})
    for path in (root / "training" / "label_2").iterdir():
        path.write_bytes(path.read_text().encode(encoding))
    assert detects(root) is not None
    found = collect(read(root))
    assert (set(found.classes), found.samples[0].labels.boxes.tolist()) == ({"汽车", "行人"}, [[1, 2, 30, 40]])

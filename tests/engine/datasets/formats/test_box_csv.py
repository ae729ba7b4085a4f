"""Boxes in tables."""

import numpy as np
import pytest

from engine.datasets.collection import collect
from engine.datasets.formats import box_csv, label_csv
from engine.datasets.source import evidence


@pytest.fixture
def table(tmp_path, picture):
    def make(text, name="boxes.csv"):
        for k in range(3):
            picture(tmp_path / "images" / f"x{k}.png", seed=k)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path
    return make


def read(root):
    assert list(evidence(root)) == ["box_csv"]
    return collect(box_csv.read(root), "box_csv")


@pytest.mark.parametrize("text", [
    "filename,width,height,class,xmin,ymin,xmax,ymax\nx0.png,64,48,cat,8,4,24,20\nx0.png,64,48,dog,1,2,3,6\nx1.png,64,48,dog,0,0,64,48\nx2.png,64,48,,,,,\n",
    "images/x0.png,8,4,24,20,cat\nimages/x0.png,1,2,3,6,dog\n/data/images/x1.png,0,0,64,48,dog\nimages/x2.png,,,,,\n",
    'image_id,width,bbox,source,label\nx0,64,"[8, 4, 16, 16]",a,cat\nx0,64,"[1, 2, 2, 4]",a,dog\nx1,64,"[0 0 64 48]",a,dog\nx2,64,,,\n',
    "image;label;x;y;w;h\nx0.png;cat;8;4;16;16\nx0.png;dog;1;2;2;4\nx1.png;dog;0;0;64;48\nx2.png;;;;;\n",
    "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\nx0,cat,0,R1,8,4,24,20\nx0,dog,1,R1,1,2,3,6\nx1,dog,1,R2,0,0,64,48\nx2,,,,,,,\n",
    "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name\ncat,8,4,16,16,x0.png\ndog,1,2,2,4,x0.png\ndog,0,0,64,48,x1.png\n,,,,,x2.png\n",
    "Image Index,Finding Label,Bbox [x,y,w,h],,,\nx0.png,cat,8,4,16,16,,,\nx0.png,dog,1,2,2,4,,,\nx1.png,dog,0,0,64,48,,,\nx2.png,,,,,,,,\n",
    "image,label,xmin,ymin,xmax,ymax\nx0.png,cat,0.125,0.083333333,0.375,0.416666667\nx0.png,dog,0.015625,0.041666667,0.046875,0.125\nx1.png,dog,0,0,1,1\nx2.png,,,,,\n"])
def test_every_notation_means_the_same_boxes(table, text):
    found = read(table(text))
    assert (found.classes, found.task) == (("cat", "dog"), "detect")
    assert [problem for problem in found.problems if problem.code != "box_order_assumed"] == []
    boxes = {sample.name[-6:]: sample.labels for sample in found.samples}
    assert np.allclose(boxes["x0.png"].boxes, [[8, 4, 24, 20], [1, 2, 3, 6]], atol=1e-4)
    assert boxes["x0.png"].classes.tolist() == [0, 1]
    assert np.allclose(boxes["x1.png"].boxes, [[0, 0, 64, 48]])
    assert len(boxes["x2.png"]) == 0


def test_what_is_wrong_is_named_with_its_line(table):
    found = read(table("filename,class,xmin,ymin,xmax,ymax\nx0.png,cat,8,4,24,20\nx0.png,cat,8,4,nan,20\nx1.png,cat,5,5,5,9\ngone.png,cat,1,1,2,2\n"))
    assert {(problem.code, problem.where) for problem in found.problems} == {
        ("images_without_labels", "."), ("object_not_finite", "boxes.csv:3"), ("object_without_area", "boxes.csv:4"),
        ("listed_image_missing", "boxes.csv:5")}
    assert [None if sample.labels is None else len(sample.labels) for sample in found.samples] == [1, 0, None]


def test_one_table_a_split(tmp_path, picture):
    for split in ("train", "valid"):
        picture(tmp_path / split / "a.png")
        (tmp_path / split / "_annotations.csv").write_text("filename,width,height,class,xmin,ymin,xmax,ymax\na.png,64,48,cat,1,1,9,9\n")
    found = read(tmp_path)
    assert {sample.name: (sample.split, len(sample.labels)) for sample in found.samples} == {"train/a.png": ("train", 1), "valid/a.png": ("valid", 1)}


def test_labels_without_boxes_and_open_images_are_left_to_others(table):
    assert box_csv.detects(table("image,label\nx0.png,cat\n")) is None
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\n"
    assert box_csv.detects(table(f"{header}x0,xclick,/m/01,1,0,1,0,1\n")) is None


@pytest.mark.parametrize("text", [
    "cat,8,4,16,16,x0.png,64,48\ndog,1,2,2,4,x1.png,64,48\n", "cat,8,4,16,16,x0.png\ndog,1,2,2,4,x1.png\n",
    "x0.png,cat,8,4,24,20\nx1.png,dog,1,2,3,6\n", "x0.png,64,48,cat,8,4,24,20\nx1.png,64,48,dog,1,2,3,6\n"])
def test_without_headings_the_image_may_stand_anywhere(table, text):
    found = read(table(text))
    assert found.classes == ("cat", "dog")
    boxes = {sample.name[-6:]: sample.labels.boxes.tolist() for sample in found.samples if sample.labels is not None}
    assert boxes == {"x0.png": [[8, 4, 24, 20]], "x1.png": [[1, 2, 3, 6]]}


def test_numbers_without_headings_that_cannot_be_corners_are_width_and_height(table):
    found = read(table("x0.png,cat,30,10,9,6\nx1.png,dog,1,2,20,30\n"))
    assert [sample.labels.boxes.tolist() for sample in found.samples if sample.labels is not None] == [[[30, 10, 39, 16]], [[1, 2, 21, 32]]]


@pytest.mark.parametrize(("rows", "box", "code", "count"), [
    ("x0.png,30,10,50,40,cat\nx1.png,1,2,3,6,cat\n", [30, 10, 50, 40], "box_order_told", 1),  # 30 + 50 lies beyond the image
    ("x0.png,30,10,20,30,cat\nx1.png,1,2,3,6,cat\n", [30, 10, 50, 40], "box_order_told", 1),
    ("x0.png,0.5,0.5,0.75,0.75,cat\nx1.png,0.25,0.25,0.5,0.5,cat\n", [32, 24, 48, 36], "box_order_told", 1),
    ("cat,30,10,50,40,x0.png\ncat,1,2,3,6,x1.png\n", [30, 10, 50, 40], "box_order_told", 1),
    ("x0.png,10,10,20,20,cat\nx1.png,1,2,3,6,cat\n", [10, 10, 20, 20], "box_order_assumed", 0)])
def test_what_numbers_without_headings_mean_is_told_by_all_rows_and_said(table, rows, box, code, count):
    found = read(table(rows))
    assert found.samples[0].labels.boxes.tolist() == [box]
    assert [(problem.where, problem.values["count"]) for problem in found.problems if problem.code == code] == [("boxes.csv", count)]


def test_the_boxes_beside_the_labels_of_chest_x_rays_are_only_read_when_asked_for(table):
    root = table("Image Index,Finding Label,Bbox [x,y,w,h],,,\nx0.png,Mass,8.5,4.5,16.1,16.2,,,\n", "BBox_List_2017.csv")
    (root / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID\nx0.png,Mass,0,1\nx1.png,Hernia|Mass,0,2\nx2.png,No Finding,0,3\n")
    assert list(evidence(root)) == ["label_csv"]
    labels = collect(label_csv.read(root), "label_csv")
    assert labels.classes == ("Hernia", "Mass")
    assert ("table_of_boxes_left_out", "BBox_List_2017.csv") in {(problem.code, problem.where) for problem in labels.problems}
    boxes = collect(box_csv.read(root), "box_csv")
    assert boxes.classes == ("Mass",)
    assert np.allclose(boxes.samples[0].labels.boxes, [[8.5, 4.5, 24.6, 20.7]])

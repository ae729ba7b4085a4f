"""CVAT's XML written: nothing lost, or said."""

import math
import pickle
import xml.etree.ElementTree as ElementTree

import numpy as np

from engine.datasets.collection import collect
from engine.datasets.formats import cvat
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.types import RLE, UNCERTAIN, Instances, Polygons, Sample, SemanticMask, Tags


def read(root):
    return collect(cvat.read(root), "cvat")


RING = np.array([[5, 5], [40, 5], [40, 40], [5, 40]], float)
HOLE = np.array([[10, 10], [20, 10], [20, 20], [10, 20]], float)
CLASSES = ("zebra", 'a "b" <c>', "手术 剪", "never used")


def write(samples, root, classes=CLASSES, images="copy"):
    root.mkdir(parents=True)
    return list(cvat.write(classes, samples, root, images))


def test_every_kind_of_object_comes_back_and_nothing_in_memory_changes(tmp_path, picture, same_labels):
    ring = np.random.default_rng(1).uniform(1, 40, (200, 2))
    run = rle_of_mask(mask_of(Polygons((RING,), (HOLE,)), (64, 48)))
    boxes = [[*ring.min(0), *ring.max(0)], [0.3333333, 1e-3, 63.99999, 47.123456], [5, 5, 40, 40], [1, 2, 41, 42]]
    labels = [Instances(boxes, [0, 1, 2, 0], shapes=(Polygons((ring,)), None, run, run)), Instances.empty(), None]
    samples = [Sample(picture(tmp_path / f"图 {number}.png", seed=number), (64, 48), each, split, f"p {number}", f"x/图 {number}.png")
               for number, (each, split) in enumerate(zip(labels, ("train", "valid", "test"), strict=True))]
    before = pickle.dumps(samples)
    assert write(samples, tmp_path / "out") == []
    assert pickle.dumps(samples) == before
    again = read(tmp_path / "out")
    assert (again.classes, again.task) == (CLASSES, "instance")
    assert [(sample.split, sample.group) for sample in again.samples] == [(sample.split, sample.group) for sample in samples]
    for copied, original in zip(again.samples, samples, strict=True):
        same_labels(copied.labels, original.labels)
    assert [shape for shape in again.samples[0].labels.shapes if isinstance(shape, RLE)] == [run, run]


def test_tags_come_back_and_uncertain_ones_are_said(tmp_path, picture):
    values = [[1, 0, 0, 1], [0, 0, 0, 0], [1, math.nan, UNCERTAIN, 0]]
    image_file = picture(tmp_path / "a.png")
    samples = [Sample(image_file, (64, 48), Tags(each), "train", None, f"{number}.png") for number, each in enumerate(values)]
    problems = write(samples, tmp_path / "out")
    assert [(problem.code, problem.where, problem.values) for problem in problems] == [("tags_uncertain_left_out", "2.png", {"count": 2})]
    again = read(tmp_path / "out")
    assert (again.classes, again.task) == (CLASSES, "classify")
    assert [sample.labels.values.tolist() for sample in again.samples] == [[1, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_what_cvat_cannot_hold_is_said(tmp_path, picture):
    image_file = picture(tmp_path / "a.png")
    far = np.array([[50, 10], [60, 10], [60, 20]], float)
    labels = [Instances([[5, 5, 60, 40]], [0], shapes=(Polygons((RING, far), (HOLE,)),)), Instances([[1, 2, 30, 40]], [0], crowd=[1]),
              SemanticMask(np.zeros((48, 64), np.uint16)), Instances([[1, 2, 30, 40]], [0], scores=[0.5])]
    samples = [Sample(image_file, (64, 48), each, None, None, f"{number}.png") for number, each in enumerate(labels)]
    problems = write(samples, tmp_path / "out")
    assert [(problem.code, problem.where) for problem in problems] == [("outline_joined", "0.png"), ("crowd_left_out", "1.png"),
        ("labels_not_objects", "2.png"), ("scores_left_out", ".")]
    again = read(tmp_path / "out").samples
    assert mask_of(again[0].labels.shapes[0], (64, 48)).sum() == mask_of(labels[0].shapes[0], (64, 48)).sum()
    assert [sample.labels is None for sample in again] == [False, False, True, False]


def test_another_parser_sees_plain_cvat(tmp_path, picture):
    labels = Instances([[5, 5, 40, 40], [1, 2.5, 30, 40]], [1, 0], shapes=(Polygons((RING,)), None))
    write([Sample(picture(tmp_path / "a & b.png"), (64, 48), labels, "valid", None, "a & b.png")], tmp_path / "out")
    root = ElementTree.parse(tmp_path / "out/annotations.xml").getroot()
    assert [label.text for label in root.findall("meta/task/labels/label/name")] == list(CLASSES)
    entry = root.find("image")
    assert [entry.get(key) for key in ("name", "subset", "width", "height")] == ["valid/a & b.png", "valid", "64", "48"]
    assert (tmp_path / "out/images" / entry.get("name")).is_file()
    assert entry.find("polygon").attrib == {"label": CLASSES[1], "source": "manual", "occluded": "0", "points": "5,5;40,5;40,40;5,40", "z_order": "0"}
    assert entry.find("box").get("ytl") == "2.5"

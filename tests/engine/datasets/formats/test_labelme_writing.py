"""labelme: what is written comes back, and real sets do too."""

import json
import shutil

import numpy as np
import pytest

from engine.datasets import source
from engine.datasets.collection import collect
from engine.datasets.convert import convert
from engine.datasets.formats import formats
from engine.datasets.formats.labelme import read, write
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.types import UNCERTAIN, Instances, Polygons, Sample, SemanticMask, Tags


def sample_of(picture, folder, labels, name="a.png", split="train", group=None):
    return Sample(picture(folder / name), (64, 48), labels, split, group, name)


def test_a_written_file_is_what_labelme_reads(tmp_path, picture):
    boxes = Instances([[1, 2, 3.5, 4.25]], [1])
    (tmp_path / "out").mkdir()
    assert list(write(("cat", "狗"), [sample_of(picture, tmp_path, boxes, "图 1.png", group="p1")], tmp_path / "out", "copy")) == []
    content = json.loads((tmp_path / "out" / "train" / "图 1.json").read_text(encoding="utf-8"))
    assert list(content) == ["version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth", "group"]
    assert (content["imagePath"], content["imageData"], content["imageHeight"], content["imageWidth"]) == ("图 1.png", None, 48, 64)
    assert content["shapes"] == [{"label": "狗", "points": [[1, 2], [3.5, 4.25]], "group_id": None, "description": "", "shape_type": "rectangle",
                                  "flags": {}, "mask": None}]
    assert (tmp_path / "out" / "labels.txt").read_text(encoding="utf-8") == "cat\n狗\n"


def test_rings_masks_crowds_and_patients_come_back(tmp_path, picture, same_labels):
    ring = np.array([[5, 5], [40, 5], [40, 40], [5, 40.123456]])
    mask = np.zeros((48, 64), bool)
    mask[3:9, 4:30] = mask[20, 20] = True
    labels = Instances([[5, 5, 40, 40.123456], [4, 3, 30, 21], [1, 2, 3, 4.5]], [0, 1, 1], crowd=[0, 1, 0],
                       shapes=(Polygons((ring, ring / 2 + 5)), rle_of_mask(mask), None))
    (tmp_path / "out").mkdir()
    assert list(write(("a", "b"), [sample_of(picture, tmp_path, labels, group="p1")], tmp_path / "out", "copy")) == []
    found = collect(read(tmp_path / "out"))
    copy = found.samples[0].labels
    same_labels(copy, labels)
    assert copy.crowd.tolist() == [False, True, False]
    assert (mask_of(copy.shapes[1], (64, 48)) == mask).all()
    assert (found.samples[0].group, found.problems) == ("p1", [])


def test_what_labelme_cannot_hold_is_named(tmp_path, picture):
    ring = np.array([[5, 5], [40, 5], [40, 40], [5, 40]], float)
    holed = Instances([[5, 5, 40, 40]], [0], scores=[0.5], shapes=(Polygons((ring,), (ring / 4 + 10,)),))
    (tmp_path / "out").mkdir()
    samples = [sample_of(picture, tmp_path, holed, "a.png"), sample_of(picture, tmp_path, SemanticMask(np.zeros((48, 64), np.uint16)), "b.png"),
               sample_of(picture, tmp_path, Tags([UNCERTAIN]), "c.png")]
    problems = list(write(("a",), samples, tmp_path / "out", "copy"))
    assert [problem.code for problem in problems] == ["outline_joined", "labels_not_objects", "tags_uncertain_left_out", "scores_left_out"]
    copy = collect(read(tmp_path / "out")).samples[0].labels
    assert mask_of(copy.shapes[0], (64, 48)).sum() == pytest.approx(mask_of(holed.shapes[0], (64, 48)).sum(), rel=0.01)


def test_labels_of_the_facades_come_back_point_by_point(reference, tmp_path):
    root = reference / "data" / "inst_facade_coco"
    original = collect(formats.get("coco").read(root))
    (tmp_path / "out").mkdir()
    assert [problem for problem in write(original.classes, original.samples, tmp_path / "out", "link") if problem.severity != "note"] == []
    copy = collect(read(tmp_path / "out"))
    assert (copy.classes, copy.task, copy.problems) == (original.classes, original.task, [])
    copies = {(sample.split, sample.name.rpartition("/")[2]): sample.labels for sample in copy.samples}
    assert len(copies) == len(original.samples)
    for sample in original.samples:
        again = copies[sample.split, sample.name.rpartition("/")[2]]
        assert again.classes.tolist() == sample.labels.classes.tolist()
        for mine, theirs in zip(again.shapes, sample.labels.shapes, strict=True):
            assert [len(ring) for ring in mine.rings] == [len(ring) for ring in theirs.rings]
            assert all(np.abs(one - other).max() < 1e-3 for one, other in zip(mine.rings, theirs.rings, strict=True))


def test_the_sample_files_import_and_convert(reference, tmp_path):
    root = reference / "data" / "formats" / "annotations" / "derived_labelme_json"
    chosen, _ = source.recognise(root)
    found = collect(chosen.read(root))
    assert (chosen.name, len(found.samples), sum(len(sample.labels) for sample in found.samples), found.problems) == ("labelme", 3, 64, [])
    for name in ("coco", "yolo", "labelme"):
        summary = convert(root, tmp_path / name, to=name)
        assert (summary.images, summary.boxes, summary.skipped) == (3, 64, 0)
    shutil.copytree(root, tmp_path / "bare", ignore=shutil.ignore_patterns("*.jpg"))
    assert {problem.code for problem in collect(read(tmp_path / "bare")).problems} == {"image_missing"}

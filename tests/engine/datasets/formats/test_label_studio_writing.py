"""Label Studio: what is written comes back, and the exports of others fit their images."""

import json
import shutil

import numpy as np
import pytest

from engine.datasets import source
from engine.datasets.collection import collect
from engine.datasets.convert import convert
from engine.datasets.formats import formats
from engine.datasets.formats.label_studio import read, write
from engine.datasets.formats.label_studio_tasks import name_of, paths_of
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.types import UNCERTAIN, Instances, Polygons, Sample, SemanticMask, Tags, UserError


def sample_of(picture, folder, labels, name="a.png", split="train", group=None):
    return Sample(picture(folder / name), (64, 48), labels, split, group, name)


def test_tasks_are_written_as_label_studio_imports_them(tmp_path, picture):
    (tmp_path / "out").mkdir()
    labels = Instances([[32, 12, 48, 36]], [1])
    samples = [sample_of(picture, tmp_path, labels, "图 #1.png", group="p1"), sample_of(picture, tmp_path, None, "b.png", "valid"),
               sample_of(picture, tmp_path, Instances.empty(), "c.png", None)]
    assert list(write(("cat", "狗"), samples, tmp_path / "out", "copy")) == []
    first, second, third = json.loads((tmp_path / "out" / "label_studio.json").read_text(encoding="utf-8"))
    assert first["data"] == {"image": "/data/local-files/?d=images/train/%E5%9B%BE%20%231.png", "split": "train", "group": "p1"}
    assert first["annotations"][0]["result"] == [{
        "id": "r1", "type": "rectanglelabels", "from_name": "rectanglelabels", "to_name": "image", "origin": "manual", "image_rotation": 0,
        "original_width": 64, "original_height": 48,
        "value": {"x": 50, "y": 25, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["狗"]}}]
    assert ([each["id"] for each in (first, second, third)], first["annotations"][0]["id"]) == ([1, 2, 3], 1)
    assert (second["annotations"], third["annotations"]) == ([], [{"id": 3, "result": []}])
    assert '<RectangleLabels name="rectanglelabels" toName="image">' in (tmp_path / "out" / "label_config.xml").read_text(encoding="utf-8")
    found = collect(read(tmp_path / "out"))
    assert [(sample.split, sample.group, None if sample.labels is None else len(sample.labels)) for sample in found.samples] == [
        ("train", "p1", 1), ("valid", None, None), ("train", None, 0)]


def test_masks_and_crowds_come_back_and_parts_are_joined_with_a_note(tmp_path, picture):
    ring = np.array([[5, 5], [40, 5], [40, 40], [5, 40.125]])
    mask = np.zeros((48, 64), bool)
    mask[3:9, 4:30] = mask[20, 20] = True
    labels = Instances([[4, 3, 30, 21], [2.5, 2.5, 40, 40]], [0, 1], crowd=[1, 0], shapes=(rle_of_mask(mask), Polygons((ring, ring / 2))))
    (tmp_path / "out").mkdir()
    problems = list(write(("a", "<b>&\"'"), [sample_of(picture, tmp_path, labels)], tmp_path / "out", "copy"))
    assert [problem.code for problem in problems] == ["outline_joined"]
    found = collect(read(tmp_path / "out"))
    copy = found.samples[0].labels
    assert found.classes == ("a", "<b>&\"'")
    assert (mask_of(copy.shapes[0], (64, 48)) == mask).all()
    assert copy.crowd.tolist() == [True, False]


def test_scored_objects_are_written_as_predictions(tmp_path, picture):
    (tmp_path / "out").mkdir()
    list(write(("a",), [sample_of(picture, tmp_path, Instances([[1, 1, 9, 9]], [0], scores=[0.75]))], tmp_path / "out", "copy"))
    written, = json.loads((tmp_path / "out" / "label_studio.json").read_text())
    assert written["annotations"] == []
    assert (written["predictions"][0]["score"], written["predictions"][0]["result"][0]["score"]) == (0.75, 0.75)


def test_what_label_studio_cannot_hold_is_named(tmp_path, picture):
    (tmp_path / "out").mkdir()
    samples = [sample_of(picture, tmp_path, SemanticMask(np.zeros((48, 64), np.uint16))),
               sample_of(picture, tmp_path, Tags([1, UNCERTAIN, np.nan]), "b.png")]
    problems = list(write(("a", "b", "c"), samples, tmp_path / "out", "copy"))
    assert [(problem.code, problem.values.get("count")) for problem in problems] == [("labels_not_objects", None), ("tags_uncertain_left_out", 2)]


# ---- everyone's files

def test_names_for_people_have_no_marks_of_the_upload():
    assert name_of("/data/upload/3/0123abcd-cat.png") == "cat.png"
    assert paths_of("/data/upload/3/0123abcd-cat.png")[-1] == "cat.png"
    assert name_of("https://example.org/a/b.jpg?x=1") == "b.jpg"


@pytest.mark.parametrize(("name", "config", "boxes"), [("data", "label_config", [2, 2]), ("data_obb", "label_config_obb", [23, 1, 1]),
                                                       ("data_polygons", "label_config_polygons", [1])])
def test_sample_exports_fit_images_of_their_size(reference, tmp_path, picture, name, config, boxes):
    root = reference / "data" / "formats" / "annotations" / "labelstudio" / "test_export_yolo"
    for file in (f"{name}.json", f"{config}.xml"):
        shutil.copy(root / file, tmp_path / file)
    tasks = json.loads((root / f"{name}.json").read_text())
    for each in tasks:
        size = next(((r["original_width"], r["original_height"]) for a in each["annotations"] for r in a["result"]), (64, 48))
        picture(tmp_path / "images" / f"{name_of(each['data']['image'])}.png", *size)
    found = collect(read(tmp_path))
    assert len(found.samples) == len(tasks)
    assert not [problem for problem in found.problems if problem.severity != "note"]
    counts = [len(sample.labels) for sample in found.samples]
    assert counts == boxes
    summary = convert(tmp_path, tmp_path.parent / f"{tmp_path.name}-coco", to="coco")
    assert summary.boxes == sum(counts)


@pytest.mark.parametrize("name", ["test_export_csv", "test_export_json_min", "test_export_yolo"])
def test_exports_without_their_images_name_every_one(reference, tmp_path, name):
    root = reference / "data" / "formats" / "annotations" / "labelstudio" / name
    assert source.recognise(root)[0].name == "label_studio"
    problems = []
    with pytest.raises(UserError) as caught:
        convert(root, tmp_path / "out", to="coco", problems=problems)
    assert caught.value.key == "dataset_without_images"
    missing = [problem for problem in problems if problem.code == "image_missing"]
    assert len(missing) == {"test_export_csv": 2, "test_export_json_min": 4, "test_export_yolo": 6}[name]
    assert all(problem.where for problem in missing)


def test_the_facades_come_back_point_by_point(reference, tmp_path):
    original = collect(formats.get("coco").read(reference / "data" / "inst_facade_coco"))
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

"""Label Studio's JSON-MIN: one row an annotation, its labels in columns of their own."""

import json

import numpy as np
import pytest

from engine.datasets.collection import collect
from engine.datasets.formats.label_studio import detects, read
from engine.datasets.formats.label_studio_brush import encode

SIZE = {"original_width": 64, "original_height": 48}
BOX = {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0}


@pytest.fixture
def folder(tmp_path, picture):
    def make(rows, images=("a.png",)):
        for number, image in enumerate(images):
            picture(tmp_path / image, seed=number)
        (tmp_path / "min.json").write_text(json.dumps(rows))
        return tmp_path
    return make


def row(number=1, **more):
    about = {"annotator": 1, "annotation_id": number, "created_at": "2024-01-01", "updated_at": f"2024-01-0{number}", "lead_time": 2.5}
    return {"image": "/data/upload/1/0123abcd-a.png", "id": 7, **more, **about}


def test_json_min_holds_the_same_regions(folder):
    mask = np.zeros((48, 64), bool)
    mask[3:9, 4:30] = True
    rows = [row(label=[{**BOX, "rectanglelabels": ["cat"], **SIZE}, {"points": [[1, 1], [50, 1], [50, 50]], "polygonlabels": ["dog"], **SIZE}],
                brush=[{"format": "rle", "rle": encode(mask), "brushlabels": ["cat"], **SIZE}])]
    found = collect(read(folder(rows)))
    labels = found.samples[0].labels
    assert labels.classes.tolist() == [0, 1, 0]
    assert labels.boxes[0].tolist() == [16, 12, 48, 36]
    assert found.problems == []


def test_rows_of_one_task_in_json_min_are_its_annotations(folder):
    rows = [row(1, label=[{**BOX, "rectanglelabels": ["old"], **SIZE}]), row(2, label=[{**BOX, "rectanglelabels": ["new"], **SIZE}])]
    found = collect(read(folder(rows)))
    labels = found.samples[0].labels
    assert [found.classes[each] for each in labels.classes] == ["new"]
    assert [problem.code for problem in found.problems] == ["label_studio_several"]


def test_choices_in_json_min_are_texts_or_lists(folder):
    rows = [row(quality="sharp"), {**row(quality={"choices": ["sharp", "bright"]}), "id": 8, "image": "b.png"}, {**row(), "id": 9, "image": "c.png"}]
    found = collect(read(folder(rows, ("a.png", "b.png", "c.png"))))
    assert (found.classes, found.task) == (("sharp", "bright"), "classify")
    assert [sample.labels.values.tolist() for sample in found.samples] == [[1, 0], [1, 1], [0, 0]]


def test_rows_are_known_by_their_columns(folder):
    assert detects(folder([row(label=[])])) == "min.json"
    assert detects(folder([row(label=[{**BOX, "rectanglelabels": ["cat"], **SIZE}])])) == "min.json"
    assert detects(folder([{"image": "a.png", "id": 1, "label": "cat"}])) is None


def test_a_column_of_many_texts_holds_no_classes(folder):
    rows = [{**row(caption=f"text {number}"), "id": number, "image": "a.png"} for number in range(300)]
    assert read(folder(rows)).classes == ()

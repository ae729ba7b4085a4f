"""VoTT's JSON: exports of all assets, and one file an asset."""

import json

import pytest

from engine.datasets.collection import collect
from engine.datasets.convert import convert
from engine.datasets.formats.vott import detects, read


def asset(name="a.png", *regions, state=2, size=(64, 48)):
    about = {"id": name, "name": name, "path": f"file:/home/me/pictures/{name}", "size": {"width": size[0], "height": size[1]}, "state": state}
    return {"asset": about, "regions": list(regions), "version": "2.2.0"}


def region(*tags, box=(1, 2, 30, 40), kind="RECTANGLE", points=()):
    left, top, width, height = box
    return {"id": "r1", "type": kind, "tags": list(tags), "boundingBox": {"left": left, "top": top, "width": width, "height": height},
            "points": [{"x": x, "y": y} for x, y in points]}


@pytest.fixture
def folder(tmp_path, picture):
    def make(*assets, images=("a.png",), tags=("cat", "dog")):
        root = tmp_path / "set"
        for number, image in enumerate(images):
            picture(root / image, seed=number)
        content = {"name": "p", "tags": [{"name": tag, "color": "#fff"} for tag in tags], "version": "2.2.0",
                   "assets": {str(number): each for number, each in enumerate(assets)}}
        (root / "p-export.json").write_text(json.dumps(content))
        return root
    return make


def test_boxes_polygons_and_the_order_of_tags(folder):
    root = folder(asset("a.png", region("dog"), region("cat", kind="POLYGON", points=((1, 1), (20, 1), (20.5, 30)))))
    found = collect(read(root))
    assert (found.classes, found.task, found.problems) == (("cat", "dog"), "instance", [])
    labels = found.samples[0].labels
    assert labels.boxes.tolist() == [[1, 2, 31, 42], [1, 1, 20.5, 30]]
    assert labels.classes.tolist() == [1, 0]
    assert labels.shapes[1].rings[0].tolist() == [[1, 1], [20, 1], [20.5, 30]]


def test_a_visited_image_without_regions_is_background_and_others_are_unlabeled(folder):
    root = folder(asset("a.png", state=1), asset("b.png", state=0), images=("a.png", "b.png", "c.png"))
    found = collect(read(root))
    assert [None if sample.labels is None else len(sample.labels) for sample in found.samples] == [0, None, None]


def test_several_tags_are_an_object_of_each_and_none_is_said(folder):
    found = collect(read(folder(asset("a.png", region("cat", "dog"), region(box=(5, 5, 9, 9))))))
    assert found.samples[0].labels.classes.tolist() == [0, 1, 2]
    assert {problem.code for problem in found.problems} == {"regions_of_several_classes", "objects_without_class"}


def test_missing_images_other_sizes_and_strange_values_are_named(folder):
    strange = region("cat")
    strange["boundingBox"]["left"] = "x"
    found = collect(read(folder(asset("a.png", strange, region("cat"), 5, size=(640, 480)), asset("gone.png", region("dog")))))
    assert len(found.samples[0].labels) == 1
    assert sorted(problem.code for problem in found.problems) == ["image_missing", "label_size_differs", "object_not_finite"]


def test_one_file_an_asset_is_read_too(tmp_path, picture):
    picture(tmp_path / "a.png")
    (tmp_path / "8f3a-asset.json").write_text(json.dumps(asset("a.png", region("cat"))))
    assert detects(tmp_path) == "8f3a-asset.json"
    assert len(collect(read(tmp_path)).samples[0].labels) == 1


@pytest.mark.parametrize("content", [{"labels": ["a"]}, {"assets": []}, {"images": [], "assets": {"asset": 1}}, [{"asset": {}, "regions": []}],
                                     {"name": "x"}])
def test_other_json_is_not_taken_for_vott(tmp_path, content):
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    assert detects(tmp_path) is None


@pytest.mark.parametrize("name", ["dataset", "dataset_with_meta_file"])
def test_the_sample_is_read_and_its_boxes_outside_the_image_are_named(reference, tmp_path, name):
    root = reference / "data" / "formats" / "annotations" / "datumaro_vott_json_dataset" / name
    found = collect(read(root))
    assert (len(found.samples), found.classes[:3]) == (3, ("animal", "dog", "person"))
    assert {problem.code for problem in found.problems if problem.severity == "error"} == {"object_outside"}
    assert convert(root, tmp_path / "out", to="coco").images == 3

"""Labels of tools that have no reader are named."""

import json

import numpy as np
import pytest

from engine.datasets.source import recognise
from engine.types import UserError

SHAPE = {"filename": "a.png", "size": 1, "regions": [{"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}}]}


@pytest.mark.parametrize(("name", "text", "tool"), [
    ("via.json", json.dumps({"a.png1": SHAPE}), "VIA"),
    ("project.json", json.dumps({"_via_settings": {}, "_via_img_metadata": {"a.png1": SHAPE}}), "VIA"),
    ("via.csv", 'filename,region_count,region_id,region_shape_attributes\na.png,1,0,"{""name"": ""rect""}"\n', "VIA"),
    ("ann/a.png.json", json.dumps({"size": {}, "objects": [{"classTitle": "cat", "geometryType": "rectangle", "points": {}}]}), "Supervisely"),
    ("_annotations.createml.json", json.dumps([{"image": "a.png", "annotations": [{"label": "cat", "coordinates": {"x": 1}}]}]), "CreateML")])
def test_labels_of_other_tools_are_refused_by_their_name(tmp_path, picture, name, text, tool):
    picture(tmp_path / "a.png")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        recognise(tmp_path)
    assert (refusal.value.key, refusal.value.values["name"]) == ("foreign_format", name)
    assert refusal.value.values["tool"].startswith(tool)
    assert "COCO JSON" in str(refusal.value)


@pytest.mark.parametrize("text", [
    "id,class,segmentation\na,cat,821 40 901 40 981 40\na,dog,\n", "ImageId,EncodedPixels\na.png,821 40\n",
    "ImageId,ClassId,EncodedPixels\na.png,1,821 40\n"])
def test_tables_of_run_lengths_are_refused(tmp_path, picture, text):
    picture(tmp_path / "a.png")
    (tmp_path / "train.csv").write_text(text)
    for source in (tmp_path, tmp_path / "train.csv"):
        with pytest.raises(UserError, match="run-length tables are not read"):
            recognise(source)


def test_arrays_of_numpy_are_refused(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((1, 2, 2)))
    with pytest.raises(UserError) as refusal:
        recognise(tmp_path)
    assert (refusal.value.key, refusal.value.values["name"]) == ("foreign_format", "set.npz")

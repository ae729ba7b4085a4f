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


@pytest.mark.parametrize(("name", "text", "tool"), [
    ("annotations/a.txt", "10,20,40,40,1,4,0,0\n30,10,50,60,1,1,0,1\n", "VisDrone"),
    ("annotations/a.txt", "684,8,273,116,0,0,0,0,\n", "VisDrone"),
    ("gt/gt.txt", "1,1,912,484,97,109,0,7,1\n2,1,912,484,97,109,0,7,1\n", "MOT"),
    ("gt/gt.txt", "1,-1,912.5,484,97,109,0.9,-1,-1,-1\n", "MOT"),
    ("split/wider_face_train_bbx_gt.txt", "0--Parade/0_Parade_0.jpg\n1\n10 20 40 40 0 0 0 0 0 0\n", "WIDER"),
    ("_annotations.txt", "a.png 10,20,30,40,0 1,2,3,4,1\n", "YOLO Keras")])
@pytest.mark.parametrize("images", [("a.png",), ("WIDER_train/0--Parade/0.png", "WIDER_train/1--Fight/1.png")])
def test_lists_of_other_tools_are_refused_by_their_name_and_not_taken_for_unlabeled_images(tmp_path, picture, name, text, tool, images):
    for image in images if tool in ("WIDER", "MOT") else ("a.png",):
        picture(tmp_path / image)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as refusal:
        recognise(tmp_path)
    assert (refusal.value.key, refusal.value.values["name"]) == ("foreign_format", name)
    assert refusal.value.values["tool"].startswith(tool)
    assert recognise(tmp_path, "images")[0].name == "images"


@pytest.mark.parametrize("text", ["some words about the images\n", "1 2 3\n", "1,2,3\n", "a.png\nb.png\n", "a.png 1\n", "1,2,3,4,5,6,7,8\n", ""])
def test_other_texts_beside_images_change_nothing(tmp_path, picture, text):
    picture(tmp_path / "a.png")
    (tmp_path / "readme.txt").write_text(text)
    assert recognise(tmp_path)[0].name == "images"

"""What `predict` is told and what it tells: class names from a list or a file, and a line for each object."""

import json

import numpy as np
import pytest
import torch

from engine.__main__ import main
from engine.models import create, models
from engine.predict import load
from engine.predictions import class_names
from engine.types import Instances, UserError

NAMES = ["飞机", "船", "车辆", "建筑"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A published checkpoint: weights of four classes and no names."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("bare") / "official.pth"
    torch.save({"model": create("deimv2_atto", 4).state_dict()}, file)
    return file


@pytest.mark.parametrize("text", ["飞机,船,车辆,建筑", " 飞机， 船,车辆 ，建筑,"])
def test_names_are_a_list_with_commas_of_any_script(text):
    assert class_names(text) == NAMES


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_names_are_the_lines_of_a_text_file_however_it_was_saved(tmp_path, encoding):
    (tmp_path / "names.txt").write_bytes("\r\n".join([*NAMES, ""]).encode(encoding))
    assert class_names(str(tmp_path / "names.txt")) == NAMES
    (tmp_path / "names.txt").write_bytes(",".join(NAMES).encode(encoding))
    assert class_names(str(tmp_path / "names.txt")) == NAMES


def test_a_file_of_names_that_is_missing_or_empty_is_told(tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    for name, key in (("none.txt", "path_missing"), ("empty.txt", "class_file_empty")):
        with pytest.raises(UserError) as caught:
            class_names(str(tmp_path / name))
        assert caught.value.key == key
    assert class_names("a" * 5000) == ["a" * 5000], "a list may be longer than a file name"


def test_a_name_that_stands_twice_is_a_mistake():
    with pytest.raises(UserError) as caught:
        class_names("猫,狗, 猫")
    assert caught.value.key == "class_names_twice" and "猫" in str(caught.value)


def test_more_names_than_classes_are_a_mistake(weights):
    with pytest.raises(UserError) as caught:
        load(weights, "deimv2_atto", device="cpu", classes=[*NAMES, "桥"])
    assert caught.value.key == "class_names_count"
    assert "5 class names" in str(caught.value) and "at most 4 names" in str(caught.value)


def test_names_go_to_the_first_classes_and_the_others_keep_theirs(weights):
    assert load(weights, "deimv2_atto", device="cpu", classes=NAMES[:3]).classes == (*NAMES[:3], "class 3")


def test_weights_without_names_get_those_that_are_given(weights):
    assert load(weights, "deimv2_atto", device="cpu", classes=NAMES).classes == tuple(NAMES)
    assert load(weights, "deimv2_atto", device="cpu").classes == ("class 0", "class 1", "class 2", "class 3")


def test_every_object_is_listed_as_the_file_says_it(weights, tmp_path, picture, capsys):
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    picture(tmp_path / "a.png", 120, 80)
    out = tmp_path / "out"
    command = ["predict", str(weights), str(tmp_path / "a.png"), "--model", "deimv2_atto", "--out", str(out), "--device", "cpu"]
    assert main([*command, "--threshold", "0.012", "--image-size", "96"]) == 0
    told = json.loads((out / "predictions.json").read_text(encoding="utf-8"))["images"][0]["instances"]
    lines = capsys.readouterr().out.splitlines()
    assert told and lines[0] == f"a.png: {len(told)} found (score 0.012 or more)"
    x, y, width, height = told[0]["box"]
    assert lines[1].startswith(f"  [1] {told[0]['class']} - score {told[0]['score']:.3f} - corners (")
    np.testing.assert_allclose([int(v) for v in lines[1].split("(")[1].rstrip(")").split(", ")], [x, y, x + width, y + height], atol=0.51)
    assert len(lines) == 1 + len(told)


@pytest.fixture(scope="module")
def run(tmp_path_factory, weights):
    """A run of four named classes whose best threshold was found to be 0.32."""
    folder = tmp_path_factory.mktemp("run")
    spec = models.get("deimv2_atto")
    torch.save({**torch.load(weights, weights_only=True), "model_name": "deimv2_atto", "options": {"num_classes": 4}, "task": "detect",
                "classes": ["aircraft", "ship", "vehicle", "building"], "thresholds": {"score": 0.32, "nms": 0.7},
                "preprocess": {"resize": "stretch", "size": 64, "mean": list(spec.mean), "std": list(spec.std)}}, folder / "best.pt")
    return folder


def predict(model, tmp_path, picture, *more):
    picture(tmp_path / "a.png")
    return main(["predict", str(model), str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--device", "cpu", *more])


@pytest.mark.parametrize("names", ["a,b", "a,b,c,d,e"])
def test_names_for_some_classes_alone_are_refused_with_the_names_that_the_model_has(run, tmp_path, picture, capsys, names):
    assert predict(run, tmp_path, picture, "--classes", names) == 2
    told = capsys.readouterr().err
    assert f"{names.count(',') + 1} class names" in told and "4 classes" in told and "aircraft, ship, vehicle, building" in told
    assert not (tmp_path / "out").exists()


def test_a_name_for_each_class_is_taken(run, tmp_path, picture):
    assert predict(run, tmp_path, picture, "--classes", ",".join(NAMES)) == 0
    assert json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))["classes"] == NAMES


def test_a_threshold_that_validation_found_is_told_where_nobody_gave_one(run, weights, tmp_path, picture, capsys):
    assert predict(run, tmp_path, picture) == 0
    assert capsys.readouterr().err.splitlines() == ["Scores from 0.45 on are told. In validation 0.32 was best for this model: --threshold 0.32"]
    for model, more in ((run, ["--threshold", "0.5"]), (weights, ["--model", "deimv2_atto"])):
        assert predict(model, tmp_path, picture, *more) == 0
        assert not capsys.readouterr().err


def test_without_a_threshold_a_box_needs_0_45(weights, tmp_path, picture, capsys, monkeypatch):
    from engine.predict import Predictor

    found = Instances([[1, 1, 5, 5], [2, 2, 9, 9]], [0, 1], [0.46, 0.44])
    monkeypatch.setattr(Predictor, "batch", lambda self, images: [found for _ in images])
    picture(tmp_path / "a.png")
    assert main(["predict", str(weights), str(tmp_path / "a.png"), "--model", "deimv2_atto", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines() == ["a.png: 1 found (score 0.45 or more)", "  [1] class 0 - score 0.460 - corners (1, 1, 5, 5)"]

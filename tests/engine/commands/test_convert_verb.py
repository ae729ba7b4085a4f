"""`python -m engine convert` from the outside."""

import json

import pytest

from engine.__main__ import main
from engine.datasets import convert as module


def test_it_converts_and_says_what_it_did(tmp_path, yolo_folder, capsys):
    assert main(["convert", str(yolo_folder()), str(tmp_path / "out"), "--to", "coco", "--lang", "en"]) == 0
    printed = capsys.readouterr()
    assert "3 images with 3 objects of 2 classes (train 2, valid 1)" in printed.out
    assert printed.err == ""
    assert (tmp_path / "out/train/_annotations.coco.json").is_file()


def test_problems_go_to_stderr_with_file_and_line(tmp_path, yolo_folder, capsys):
    root = yolo_folder({"train": {"a": "0 .5 .5 .2 .2\n" + "".join(f"{number} .5 .5 .2 .2\n" for number in range(50, 75))}})
    assert main(["convert", str(root), str(tmp_path / "out"), "--to", "coco", "--lang", "en"]) == 0
    printed = capsys.readouterr()
    assert "error: train/labels/a.txt:2: The class id 50 " in printed.err
    assert "0..1" in printed.err
    assert len(printed.err.splitlines()) < 20
    assert str(tmp_path) not in printed.err


def test_the_summary_can_be_json(tmp_path, yolo_folder, capsys):
    assert main(["convert", str(yolo_folder()), str(tmp_path / "out"), "--to", "yolo", "--json", "--images", "none", "--split",
        "train=0.5,val=0.5"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 3
    assert set(told["splits"]) == {"train", "valid"}


@pytest.mark.parametrize(("arguments", "words"), [
    (["{here}/gone", "{out}", "--to", "coco"], "gone"), (["{root}", "{root}", "--to", "coco"], "not empty"), (["{root}", "{out}", "--to", "png"],
    "png"),
    (["{root}", "{out}", "--to", "coco", "--split", "train=x"], "train=x"), (["{root}", "{out}", "--to", "coco", "--from", "coco"], "coco"),
    (["{root}", "{out}"], "--to"), (["{root}", "{out}", "--to", "coco", "--images", "move"], "move")])
def test_what_the_user_can_mend_ends_with_two_and_one_message(tmp_path, yolo_folder, capsys, arguments, words):
    root = yolo_folder()
    try:
        code = main(["convert"] + [argument.format(here=tmp_path, root=root, out=tmp_path / "out") for argument in arguments] + ["--lang", "en"])
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    assert code == 2
    assert words in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "out").exists()


def test_problems_are_told_even_when_nothing_comes_of_it(tmp_path, coco_folder, capsys):
    root = coco_folder()
    for image in (root / "images").iterdir():
        image.unlink()
    assert main(["convert", str(root), str(tmp_path / "out"), "--to", "coco", "--lang", "zh-CN"]) == 2
    assert "a.png" in capsys.readouterr().err


def test_our_own_bug_ends_with_one(tmp_path, yolo_folder, capsys, monkeypatch):
    monkeypatch.setattr(module, "_counted", lambda *_: 1 / 0)
    assert main(["convert", str(yolo_folder()), str(tmp_path / "out"), "--to", "coco", "--lang", "en"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

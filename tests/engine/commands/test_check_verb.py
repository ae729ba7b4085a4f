"""`python -m engine check` from the outside."""

import json

import pytest

from engine.__main__ import main
from engine.messages import LANGUAGES, catalogue, outline
from engine.types import Problem


def test_it_counts_and_names_the_problems(tmp_path, yolo_folder, capsys):
    root = yolo_folder({"train": {"a": "0 .5 .5 .2 .2\n7 .5 .5 .2 .2", "b": None}, "valid": {"c": "1 .5 .5 .2 .2"}})
    assert main(["check", str(root), "--json", str(tmp_path / "report.json"), "--lang", "en"]) == 0
    printed = capsys.readouterr()
    assert "train: 2 images, 1 objects, 1 unlabeled" in printed.out
    assert "train/labels/a.txt:2" in printed.err
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert set(report) == {"format", "task", "classes", "splits", "problems", "sizes"}
    assert all(set(problem) == {"code", "severity", "where", "message", "remedy"} for problem in report["problems"])
    assert {"label_class_range", "class_absent_from_train"} <= {problem["code"] for problem in report["problems"]}


def test_json_can_go_to_the_screen(yolo_folder, capsys):
    assert main(["check", str(yolo_folder()), "--json", "-", "--decode"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == ["cat", "dog"]


def test_errors_end_with_two(tmp_path, yolo_folder, capsys):
    assert main(["check", str(tmp_path / "gone"), "--lang", "en"]) == 2
    assert main(["check", str(yolo_folder()), "--json", str(tmp_path / "no/such/folder.json"), "--lang", "en"]) == 2
    printed = capsys.readouterr()
    assert "gone" in printed.err
    assert "folder.json" in printed.err


def test_quick_opens_no_image(tmp_path, yolo_folder, capsys):
    root = yolo_folder()
    torn = root / "train/images/a.png"
    whole = torn.read_bytes()
    torn.write_bytes(whole[:len(whole) // 2])
    (root / "valid/images/c.png").write_bytes((root / "train/images/b.png").read_bytes())
    assert main(["check", str(root), "--quick", "--json", "-", "--lang", "en"]) == 0
    assert not {"image_damaged", "same_image_in_splits"} & {problem["code"] for problem in json.loads(capsys.readouterr().out)["problems"]}
    assert main(["check", str(root), "--json", "-", "--lang", "en"]) == 0
    assert {"image_damaged", "same_image_in_splits"} <= {problem["code"] for problem in json.loads(capsys.readouterr().out)["problems"]}


def test_size_and_capacity_of_the_model_are_options(yolo_folder, capsys):
    root = yolo_folder({"train": {"a": "0 .5 .5 .02 .5\n0 .2 .2 .1 .1"}})
    assert main(["check", str(root), "--image-size", "128", "--capacity", "1", "--json", "-"]) == 0
    found = {problem["code"] for problem in json.loads(capsys.readouterr().out)["problems"]}
    assert {"boxes_tiny", "objects_over_capacity"} <= found
    assert main(["check", str(root), "--json", "-"]) == 0
    assert not {"boxes_tiny", "objects_over_capacity"} & {problem["code"] for problem in json.loads(capsys.readouterr().out)["problems"]}


def test_the_screen_shows_sizes(yolo_folder, capsys):
    assert main(["check", str(yolo_folder()), "--lang", "en"]) == 0
    shown = capsys.readouterr().out
    assert "Image sizes: 64 x 48 to 64 x 48, median 64 x 48" in shown
    assert "Box sizes: median 16 x 24 pixels" in shown


def test_progress_is_shown_on_a_terminal_only(yolo_folder, monkeypatch, capsys):
    monkeypatch.setattr("engine.commands.check.EVERY_SECONDS", 0)
    root = yolo_folder()
    assert main(["check", str(root), "--lang", "en"]) == 0
    assert "Opening images" not in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["check", str(root), "--lang", "en"]) == 0
    assert "Opening images 1 of 3" in capsys.readouterr().err


@pytest.mark.parametrize("language", LANGUAGES)
def test_further_problems_of_a_kind_are_named_in_words_and_not_by_a_code(language):
    codes = [key.split(".")[1] for key in catalogue("en") if key.startswith("problem.") and key.count(".") == 1]
    for code in codes:
        said = Problem("problems_more", "warning", ".", {"kind": code, "count": 7}).message(language)
        assert "7" in said and code not in said.split() and "{" not in said and "problem." not in said
        assert len(outline(f"problem.{code}", language)) >= 4, code

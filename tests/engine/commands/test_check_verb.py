"""`python -m engine check` from the outside."""

import json

from engine.__main__ import main


def test_it_counts_and_names_the_problems(tmp_path, yolo_folder, capsys):
    root = yolo_folder({"train": {"a": "0 .5 .5 .2 .2\n7 .5 .5 .2 .2", "b": None}, "valid": {"c": "1 .5 .5 .2 .2"}})
    assert main(["check", str(root), "--json", str(tmp_path / "report.json"), "--lang", "en"]) == 0
    printed = capsys.readouterr()
    assert "train: 2 images, 1 objects, 1 unlabeled" in printed.out
    assert "train/labels/a.txt:2" in printed.err
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert set(report) == {"format", "task", "classes", "splits", "problems"}
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

"""`python -m engine sample` from the outside."""

import pytest

from engine.__main__ import main


def test_it_writes_a_data_set_and_says_so(tmp_path, capsys):
    out = tmp_path / "飞机 set"
    assert main(["sample", "detect", str(out), "--images", "4", "--seed", "9", "--lang", "en"]) == 0
    assert (out / "data.yaml").is_file() and len(list(out.rglob("*.jpg"))) == len(list(out.rglob("*.txt"))) == 4
    printed = capsys.readouterr()
    assert "4 images" in printed.out and str(out) in printed.out and not printed.err


@pytest.mark.parametrize(("language", "words"), [("en", "Choose: detect, instance, semantic, classify."),
                                                   ("zh-CN", "请选择：detect, instance, semantic, classify。"),
                                                   ("zh-TW", "請選擇：detect, instance, semantic, classify。")])
def test_an_unknown_kind_is_told_in_one_line(tmp_path, capsys, language, words):
    assert main(["sample", "pony", str(tmp_path / "out"), "--lang", language]) == 2
    printed = capsys.readouterr()
    assert "pony" in printed.err and words in printed.err and printed.err.count("\n") == 1 and not printed.out


@pytest.mark.parametrize(("kind", "name"), [("semantic", "gland"), ("classify", "exudates")])
def test_the_other_kinds_are_written_with_the_names_of_their_classes(tmp_path, capsys, kind, name):
    assert main(["sample", kind, str(tmp_path / "out"), "--images", "2", "--lang", "en"]) == 0
    assert name in (tmp_path / "out" / "classes.txt").read_text(encoding="utf-8").split("\n")
    assert "2 images" in capsys.readouterr().out


def test_a_folder_with_something_in_it_is_refused(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["sample", "detect", str(tmp_path), "--lang", "en"]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("arguments", [["detect"], ["detect", "out", "--images", "many"], ["detect", "out", "--seed", "x"]])
def test_a_usage_error_ends_with_code_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["sample", *arguments])
    assert caught.value.code == 2


def test_help_names_the_kinds_and_both_options(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["sample", "--help"])
    printed = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(word in printed for word in ("detect", "instance", "semantic", "classify", "--images", "--seed"))

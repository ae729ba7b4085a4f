"""The drop zone: what it recognises, what it says of a bad file, and what an import tells while it works."""

import zipfile

import pytest

from engine.datasets.formats import formats
from engine.messages import LANGUAGES, catalogue
from engine.types import UserError
from engine.workspace import Workspace
from ui.pages.data import importing
from ui.pages.data.stops import Stopped
from ui.sources import chosen_source, stem_of


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


def test_the_drop_zone_says_what_it_recognised_and_why(yolo_folder, tmp_path):
    folder = yolo_folder()
    seen, ask = importing.look(None, f' "{folder}" ', "", "en")
    assert "YOLO" in seen and "data.yaml" in seen and not ask
    packed = tmp_path / "pets.zip"
    with zipfile.ZipFile(packed, "w") as target:
        for file in folder.rglob("*"):
            target.write(file, file.relative_to(folder))
    assert "YOLO" in importing.look(str(packed), "", "", "en")[0]


def test_the_drop_zone_asks_for_the_format_when_it_cannot_tell(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    seen, ask = importing.look(None, str(tmp_path), "", "en")
    assert ask and 'role="alert"' in seen and "notes.txt" in seen


def test_nothing_chosen_is_said_without_alarm():
    seen, ask = importing.look(None, "  ", "", "en")
    assert not ask and "alert" not in seen


def test_a_bad_line_is_named_and_the_rest_comes_in(workspace, yolo_folder):
    folder = yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\nnonsense\n", "b": "1 0.5 0.5 0.5 0.5\n"}})
    told = []
    report = importing.run(workspace, folder, "", "", lambda *said: told.append(said), "en")
    assert report.name == "yolo"
    assert [problem.where for problem in report.problems if problem.severity == "error"] == ["train/labels/a.txt:2"]
    assert "2 images imported" in importing.done(report, "en")
    assert told[-1] == (2, 0, "Reading images and labels")


def test_a_second_set_of_that_name_is_called_otherwise_and_that_is_said(workspace, yolo_folder):
    folder = yolo_folder()
    importing.run(workspace, folder, "pets", "", lambda *said: None, "en")
    again = importing.run(workspace, folder, "pets", "", lambda *said: None, "en")
    assert again.name != "pets"
    assert f"this one is called {again.name}" in importing.done(again, "en")


def test_an_import_that_is_stopped_leaves_nothing(workspace, yolo_folder):
    def stop(*said):
        raise Stopped

    with pytest.raises(Stopped):
        importing.run(workspace, yolo_folder(), "pets", "", stop, "en")
    assert workspace.datasets() == [] and list((workspace.root / "datasets").iterdir()) == []


def test_a_failed_import_lists_nothing(workspace, tmp_path):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"this is no archive")
    with pytest.raises(UserError) as caught:
        importing.run(workspace, bad, "", "", lambda *said: None, "en")
    assert workspace.datasets() == []
    shown = importing.failure(caught.value, "en")
    assert "bad.zip" in shown and caught.value.remedy("en") in shown


def test_archives_and_label_files_may_be_dropped():
    assert {".zip", ".tar", ".json"} <= set(importing.file_types())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_format_has_a_name(language):
    assert [name for name in formats.names() if f"format.{name}" not in catalogue(language)] == []


def test_a_source_is_the_upload_else_the_path(tmp_path):
    assert chosen_source("/tmp/x.zip", "ignored").name == "x.zip"
    assert chosen_source(None, f"'{tmp_path}'") == tmp_path
    for nothing in (None, ""):
        with pytest.raises(UserError):
            chosen_source(nothing, " ")
    with pytest.raises(UserError):
        chosen_source(None, str(tmp_path / "absent"))


@pytest.mark.parametrize(("name", "stem"), [("a.zip", "a"), ("a.tar.gz", "a"), ("a.b.tar.xz", "a.b"), (".zip", ".zip"), ("手术.tgz", "手术")])
def test_the_name_of_a_set_is_its_file_without_archive_suffixes(name, stem, tmp_path):
    assert stem_of(tmp_path / name) == stem


def test_images_dropped_one_by_one_are_gathered_once(tmp_path, picture):
    files = [str(picture(tmp_path / "up" / mark / "x.png", seed=number)) for number, mark in enumerate("ab")]
    folder = chosen_source(files, "")
    assert len(list(folder.iterdir())) == 2
    assert chosen_source(files, "") == folder
    assert len(list(folder.iterdir())) == 2
    seen, ask = importing.look(files, "", "", "en")
    assert "lb-good" in seen
    assert not ask
    assert importing.suggested_name(files, "", "zh-CN") == "我的图像"

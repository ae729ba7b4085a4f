"""The drop zone: what it recognises, what it says of a bad file, and what an import tells while it works."""

import re
import time
import zipfile

import pytest

from engine.datasets import import_steps
from engine.datasets.formats import formats
from engine.messages import LANGUAGES, catalogue
from engine.types import UserError
from engine.workspace import Workspace
from ui.pages.data import importing, words
from ui.pages.data.stops import Stopped
from ui.sources import chosen_source, stem_of

DATA_FAULTS = ("no_format", "several_formats", "format_not_found", "run_length_table", "foreign_format", "no_space_to_write", "whole_disk")


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


@pytest.mark.parametrize("whole", ["/", "/proc", "~/.."])
def test_a_whole_disk_is_refused_at_once_without_a_word_of_the_command_line(workspace, whole):
    begun = time.monotonic()
    seen, ask = importing.look(None, whole, "", "en")
    assert 'role="alert"' in seen and "not a data set" in seen and "--" not in seen and not ask
    with pytest.raises(UserError) as refused:
        importing.run(workspace, chosen_source(None, whole), "", "", lambda *said: None, "en")
    assert refused.value.key == "whole_disk"
    assert time.monotonic() - begun < 2


def test_a_folder_with_very_much_in_it_is_recognised_later_with_progress_and_cancel(workspace, yolo_folder, monkeypatch):
    monkeypatch.setattr(importing, "MOST_FOLDERS", 3)
    monkeypatch.setattr(import_steps, "EVERY_S", 0)
    folder, told = yolo_folder(), []
    seen, ask = importing.look(None, str(folder), "", "en")
    assert "recognised while it is imported" in seen and "alert" not in seen and not ask

    def cancelled(done, total, text):
        told.append((done, text))
        if done >= 3:
            raise Stopped

    with pytest.raises(Stopped):
        importing.run(workspace, folder, "", "", cancelled, "en")
    assert told == [(1, "Looking through folders"), (2, "Looking through folders"), (3, "Looking through folders")]
    assert importing.run(workspace, folder, "", "", lambda *said: None, "en").format == "yolo"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_of_a_page_speaks_of_options_of_the_command_line(language):
    texts = catalogue(language)
    of_data = {f"{kind}.{name}{end}" for name in DATA_FAULTS for kind in ("error", "problem") for end in ("", ".remedy")}
    spoken = {key: text for key, text in texts.items() if key in of_data or key.startswith(("data.", "train.", "home.", "option.", "problem."))}
    assert [key for key, text in spoken.items() if re.search(r"(?<![\w-])--[a-z]", text)] == []


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


def test_the_result_tells_what_was_left_out_and_leads_to_health(workspace, yolo_folder):
    folder = yolo_folder()
    (folder / "train/images/a.png").write_bytes(b"no image")
    shown = importing.done(importing.run(workspace, folder, "", "", lambda *said: None, "en"), "en")
    assert "2 images imported as YOLO." in shown and "1 image could not be taken." in shown
    assert '<button type="button" class="lb-button lb-quiet" data-send="health">' in shown
    assert "3 images" not in shown


def test_a_set_without_problems_needs_no_way_to_health(workspace, yolo_folder):
    report = importing.run(workspace, yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\n"}}), "", "", lambda *said: None, "en")
    report.problems.clear()
    shown = importing.done(report, "en")
    assert "1 image imported as YOLO." in shown and "health" not in shown and "could not" not in shown


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


def test_images_without_labels_lead_to_the_label_page(workspace, tmp_path, picture, yolo_folder):
    picture(tmp_path / "bare" / "a.png")
    report = importing.run(workspace, tmp_path / "bare", "bare", "", lambda *said: None, "en")
    assert 'data-send="label"' in importing.done(report, "en") and "Label them" in importing.done(report, "en")
    bare = workspace.dataset(report.dataset)
    assert 'data-send="label"' in words.header(bare, "en") and 'data-send="label"' not in words.header(bare, "en", editable=False)
    labeled = importing.run(workspace, yolo_folder(), "pets", "", lambda *said: None, "en")
    assert 'data-send="label"' not in importing.done(labeled, "en") + words.header(workspace.dataset(labeled.dataset), "en")

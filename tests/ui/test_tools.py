"""Tools > Convert without a browser."""

import json
import zipfile

import pytest

from ui.pages.tools import convert as tools


@pytest.fixture(autouse=True)
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


def test_a_data_set_becomes_a_zip_of_the_other_format(yolo_folder):
    summary, packed = tools.convert_to_zip(yolo_folder(), "coco", lambda *said: None, "en")
    assert (summary.images, summary.boxes, packed.name) == (3, 3, "yolo-coco.zip")
    with zipfile.ZipFile(packed) as archive:
        document = json.loads(archive.read("train/_annotations.coco.json"))
    assert [each["name"] for each in document["categories"]] == ["cat", "dog"]


def test_the_summary_names_numbers_what_was_left_out_and_the_command(yolo_folder):
    source = yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\nx\n"}})
    summary, _ = tools.convert_to_zip(source, "coco", lambda *said: None, "en")
    shown = tools.details_html(summary, source, "en")
    assert "a.txt:2" in shown
    assert "python -m engine convert yolo yolo-coco --to coco" in shown
    assert "YOLO to COCO" in tools.summary_html(summary, "en")


def test_a_failed_conversion_leaves_nothing_behind(tmp_path, uploads):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Exception, match="format"):
        tools.convert_to_zip(tmp_path / "empty", "coco", lambda *said: None, "en")
    assert list(uploads.iterdir()) == []


def test_names_in_the_command_cannot_run_anything(yolo_folder):
    source = yolo_folder(name="pets $(reboot) `x`")
    summary, _ = tools.convert_to_zip(source, "coco", lambda *said: None, "en")
    assert "convert &#x27;pets $(reboot) `x`&#x27;" in tools.details_html(summary, source, "en")


def test_only_formats_that_can_be_written_are_offered():
    assert {"coco", "yolo"} <= set(tools.writable())

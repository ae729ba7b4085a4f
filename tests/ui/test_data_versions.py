"""Versions and export: named states that come back, and the set as a zip."""

import zipfile

import numpy as np
import pytest

from engine.datasets import editing, versions
from engine.datasets.formats import formats
from engine.datasets.store import Dataset
from engine.types import Instances, Reading, Sample, SemanticMask, Tags, UserError
from engine.workspace import Workspace
from ui.pages.data import exporting
from ui.pages.data import versions as page
from ui.pages.tools import convert_to_zip


@pytest.fixture
def dataset(tmp_path, yolo_folder, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return Workspace(tmp_path / "workspace").import_dataset(yolo_folder(), "pets")[0]


def test_a_version_is_saved_listed_restored_and_deleted(dataset):
    assert "saved" in page.act(dataset, {"send": "save", "form": {"name": " <b>first</b> "}}, "en")
    editing.rename_class(dataset, 0, "tiger")
    version = versions.versions(dataset)[0]
    assert "restored" in page.act(dataset, {"send": "restore", "version": version.id}, "en")
    assert dataset.classes == ("cat", "dog") and len(versions.versions(dataset)) == 2
    assert "deleted" in page.act(dataset, {"send": "delete", "version": version.id}, "en")
    assert version.id not in [each.id for each in versions.versions(dataset)]


@pytest.mark.parametrize("sent", [{"send": "save"}, {"send": "save", "form": {"name": "  "}}, {"send": "restore", "version": "../x"},
                                  {"send": "delete"}, {}])
def test_what_cannot_be_done_is_said(dataset, sent):
    with pytest.raises(UserError):
        page.act(dataset, sent, "en")


def test_the_list_escapes_names_and_asks_before_it_restores(dataset):
    version = versions.save(dataset, "<b>first</b>")
    shown = page.panel_html([version], "en")
    assert "<b>first" not in shown and "3 images" in shown and 'data-action="restore"' in shown
    asked = page.panel_html([version], "en", asked=version, action="restore")
    assert "saved as a version first" in asked and 'data-send="restore"' in asked
    assert 'data-send="delete"' in page.panel_html([version], "en", asked=version, action="anything else")
    assert "<input" not in page.panel_html([version], "en", editable=False) and "<button" not in page.panel_html([version], "en", editable=False)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (25_000, "25 kB"), (3_400_000, "3.4 MB"), (7e9, "7.0 GB")])
def test_sizes_read_well(count, text):
    assert page.size(count) == text


def test_only_formats_that_hold_the_task_are_offered(dataset):
    offered = [name for _, name in exporting.choices(dataset, "en")]
    assert {"yolo", "coco"} <= set(offered)
    for name in offered:
        entry = formats.get(name)
        assert entry.write is not None and (not entry.tasks or dataset.task in entry.tasks)


def test_the_set_comes_out_as_a_zip_and_the_page_says_what_lies_in_it(dataset):
    summary, packed = convert_to_zip(dataset.folder, "coco", lambda *said: None, "en")
    assert any(name.endswith("_annotations.coco.json") for name in zipfile.ZipFile(packed).namelist())
    assert "3 images written as COCO" in exporting.told(summary, "en")


def test_the_format_that_it_came_in_is_the_first_choice(dataset):
    frame, to, status, download = exporting.unfolded(dataset, "en")
    assert to["value"] == "yolo" if isinstance(to, dict) else to.value == "yolo"
    assert exporting.unfolded(None, "en")[2] == ""


@pytest.mark.parametrize(("task", "labels", "first"), [
    ("detect", Instances([[4, 4, 24, 20]], [0]), "coco"), ("semantic", SemanticMask(np.zeros((48, 64), np.uint16)), "mask_png"),
    ("classify", Tags(np.array([1.0])), "label_csv"), ("detect", None, "images")])
def test_a_set_that_came_as_bare_images_is_offered_a_format_that_holds_what_was_labeled_since(tmp_path, picture, task, labels, first):
    sample = Sample(picture(tmp_path / "a.png"), (64, 48), labels, "train", None, "a.png")
    dataset = Dataset.create(tmp_path / "set", "set", Reading(("cat",), iter([sample]), task), format_name="images")
    assert exporting.unfolded(dataset, "en")[1].value == first

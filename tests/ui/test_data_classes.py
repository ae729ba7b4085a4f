"""The Classes tab: rename, merge, delete, and two sets into one."""

import pytest

from engine.datasets import editing, merging
from engine.types import UserError
from engine.workspace import Workspace
from ui.pages.data import classes as page
from ui.pages.data import merging as other


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def dataset(workspace, yolo_folder):
    labels = {"a": "0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.25 0.25\n", "b": "1 0.5 0.5 0.5 0.5\n", "c": "2 0.5 0.5 0.5 0.5\n"}
    yaml = "train: train/images\nnames: [cat, dog, '<b>cow</b>']\n"
    return workspace.import_dataset(yolo_folder({"train": labels}, yaml=yaml), "pets")[0]


def test_the_table_has_every_class_with_its_counts_and_escapes_names(dataset):
    shown = page.table_html(page.lines(dataset), "en")
    assert shown.count("lb-swatch") == 3 and 'value="cat"' in shown and "&lt;b&gt;cow" in shown and "<b>cow" not in shown
    assert [(line.name, line.whole) for line in page.lines(dataset)] == [("cat", 1), ("dog", 2), ("<b>cow</b>", 1)]
    assert "<input" not in page.table_html(page.lines(dataset), "en", editable=False)


def test_a_class_is_renamed_by_what_stands_in_its_field(dataset):
    page.change(dataset, {"send": "rename", "class": "1", "form": {"name-0": "no", "name-1": "  wolf ", "name-2": "no"}})
    assert dataset.classes == ("cat", "wolf", "<b>cow</b>")


@pytest.mark.parametrize("sent", [{"class": "1", "form": {}}, {"class": "1", "form": {"name-1": " "}}, {"class": "x", "form": {"name-x": "y"}},
                                  {"class": "99", "form": {"name-99": "y"}}, {"class": "1", "form": {"name-1": "cat"}}, {}])
def test_a_name_that_cannot_be_is_refused(dataset, sent):
    with pytest.raises(UserError):
        page.change(dataset, {"send": "rename", **sent})
    assert dataset.classes == ("cat", "dog", "<b>cow</b>")


def test_checked_classes_become_the_one_that_was_chosen(dataset):
    edit = page.change(dataset, {"send": "merge", "value": "0", "form": {"class": ["0", "1"]}})
    assert dataset.classes == ("cat", "<b>cow</b>") and dataset.counts()["train"]["classes"]["cat"] == 3
    editing.undo(dataset, edit.id)
    assert dataset.classes == ("cat", "dog", "<b>cow</b>")


def test_several_classes_are_deleted_as_one_change(dataset):
    edit = page.change(dataset, {"send": "delete", "classes": "0,2"})
    assert dataset.classes == ("dog",) and dataset.counts()["train"]["classes"] == {"dog": 2}
    assert len(editing.edits(dataset)) == 1 and edit.action == "classes_deleted"
    editing.undo(dataset, edit.id)
    assert dataset.classes == ("cat", "dog", "<b>cow</b>") and dataset.counts()["train"]["boxes"] == 4


def test_before_a_class_goes_the_page_says_what_goes_with_it(dataset):
    shown = page.table_html(page.lines(dataset), "en", asked=[1], affected=page.affected(dataset, [1]))
    assert "Delete dog? 2 objects in 2 images go with it" in shown and 'data-classes="1"' in shown


@pytest.mark.parametrize("sent", [{}, {"form": {"class": []}}, {"classes": "7"}, {"form": {"class": ["x"]}}, {"classes": "-1"}])
def test_nothing_checked_is_said(dataset, sent):
    with pytest.raises(UserError):
        page.change(dataset, {"send": "delete", **sent})


def test_a_target_that_is_not_there_is_refused(dataset):
    for value in ("", "9", "x"):
        with pytest.raises(UserError):
            page.change(dataset, {"send": "merge", "value": value, "form": {"class": ["0"]}})


# ---- two sets

@pytest.fixture
def second(workspace, yolo_folder):
    yaml = "train: train/images\nnames: [Cat, horse]\n"
    return workspace.import_dataset(yolo_folder({"train": {"x": "0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.25 0.25\n"}}, yaml=yaml, name="second"), "farm")[0]


def test_the_mapping_proposes_equal_names_and_marks_new_ones(dataset, second):
    shown = other.mapping_html(dataset, second, "en")
    assert 'name="to-0" value="cat"' in shown and 'name="to-1" value="horse"' in shown
    assert shown.count(">new<") == 1 and 'value="pets + farm"' in shown


def test_the_mapping_is_what_was_checked_and_typed(dataset, second):
    sent = {"form": {"take": ["0"], "to-0": "cat", "to-1": "horse", "name": " both "}}
    assert other.mapping_of(second.classes, sent) == {"Cat": "cat", "horse": None}
    assert other.name_of(sent, dataset, second) == "both" and other.name_of({}, dataset, second) == "pets + farm"
    with pytest.raises(UserError):
        other.mapping_of(second.classes, {"form": {"take": ["0"], "to-0": " "}})
    assert other.mapping_of(second.classes, {"form": "x"}) == {"Cat": None, "horse": None}


def test_the_merged_set_is_a_new_one(workspace, dataset, second):
    made = merging.merge(workspace, dataset, second, {"Cat": "cat", "horse": None}, "both")
    assert made.classes == dataset.classes and made.total() == 4 and made.counts()["train"]["classes"]["cat"] == 2
    assert second.classes == ("Cat", "horse") and dataset.total() == 3


def test_a_set_without_classes_says_where_they_are_added():
    shown = page.table_html([], "en")
    assert "Label page" in shown and "<table" not in shown and "rename" not in shown

"""One image large: its neighbours, its facts, its objects and its problems."""

import numpy as np
import pytest

from engine.datasets import editing, health
from engine.datasets.store import Dataset
from engine.types import IGNORE, UNCERTAIN, Instances, Reading, Sample, SemanticMask, Tags
from engine.workspace import Workspace
from ui.pages.data import viewer
from ui.pages.data.query import Query


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def dataset(workspace, yolo_folder):
    labels = {"a": "0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.25 0.25\n", "b": "", "bare": None}
    return workspace.import_dataset(yolo_folder({"train": labels, "valid": {"c": "1 0.9 0.5 0.5 0.5\n"}}), "pets")[0]


def one(workspace, picture, labels, classes, task):
    file = picture(workspace.root / "a.png")
    return Dataset.create(workspace.root / "datasets" / "one", "one", Reading(classes, iter([Sample(file, (64, 48), labels, name="a.png")]), task))


def test_one_image_large_knows_its_neighbours(dataset):
    first, last = viewer.at_index(dataset, Query(), 0, "en"), viewer.at_index(dataset, Query(), 3, "en")
    assert 'data-step="-1" disabled' in first and 'data-step="1" data-next' in first and "1 of 4" in first
    assert 'data-step="4" disabled' in last
    assert viewer.at_index(dataset, Query(), 4, "en") == viewer.at_index(dataset, Query(), -1, "en") == ""


def test_neighbours_are_those_that_the_filters_leave(dataset):
    only = viewer.at_index(dataset, Query(split="valid"), 0, "en")
    assert "c.png" in only and 'data-step="1" disabled' in only


def test_an_image_opened_from_elsewhere_has_no_neighbours(dataset):
    shown = viewer.viewer(dataset, dataset.row(2), "en")
    assert 'data-step="-2" disabled' in shown and 'data-step="0" disabled' in shown


def test_facts_and_objects_are_listed_and_linked_with_the_picture(dataset):
    editing.set_groups(dataset, {1: "patient 7"})
    shown = viewer.viewer(dataset, dataset.row(1), "en")
    for part in ("64 × 48 px", "train", "patient 7", "cat", "dog", "32 × 24", "16 × 12"):
        assert part in shown
    assert shown.count("<rect") == shown.count('<li data-object') == 2


def test_small_objects_lie_on_top_of_large_ones(dataset):
    shown = viewer.viewer(dataset, dataset.row(1), "en")
    assert shown.index('width="32.0"') < shown.index('width="16.0"')


def test_labels_can_be_hidden_where_there_are_some(dataset):
    assert 'aria-pressed="true"' in viewer.viewer(dataset, dataset.row(1), "en", bare=True)
    assert "data-bare" not in viewer.viewer(dataset, dataset.row(3), "en")
    assert "not labeled" in viewer.viewer(dataset, dataset.row(3), "en")


def test_the_viewer_offers_the_other_splits_and_the_trash(dataset):
    shown = viewer.viewer(dataset, dataset.row(1), "en")
    assert 'value="valid"' in shown and 'value="train"' not in shown and 'data-act="trash"' in shown
    assert "data-act" not in viewer.viewer(dataset, dataset.row(1), "en", editable=False)
    editing.trash(dataset, [1])
    assert 'data-act="restore"' in viewer.at_index(dataset, Query(trashed=True), 0, "en")


def test_its_problems_are_told(dataset):
    editing.replace_labels(dataset, {1: Instances([[10, 10, 90, 40]], [0])})
    health.examine(dataset)
    row = dataset.row(1)
    assert row.problems
    assert "reaches outside" in viewer.viewer(dataset, row, "en")


def test_a_picture_that_cannot_be_read_leaves_its_message(dataset):
    dataset.path(1).write_bytes(b"gone")
    shown = viewer.viewer(dataset, dataset.row(1), "en")
    assert "lb-unreadable" in shown and "<img" not in shown and "cat" in shown


def test_tags_are_listed_with_those_left_open(workspace, picture):
    dataset = one(workspace, picture, Tags(np.array([1, 0, UNCERTAIN])), ("cat", "dog", "bird"), "classify")
    shown = viewer.viewer(dataset, dataset.row(1), "en")
    assert "cat" in shown and "dog" not in shown and "bird" in shown and "uncertain" in shown


def test_the_areas_of_a_mask_are_listed_with_their_shares():
    mask = np.zeros((10, 10), np.uint16)
    mask[:2], mask[9] = 1, IGNORE
    assert viewer.areas(SemanticMask(mask)) == [(0, 0.7), (1, 0.2), (IGNORE, 0.1)]
    layers = np.zeros((2, 4, 4), bool)
    layers[1, :2] = True
    assert viewer.areas(SemanticMask(layers=layers)) == [(1, 0.5)]


def test_very_many_objects_are_cut_short(workspace, picture):
    count = viewer.MOST_OBJECTS + 5
    dataset = one(workspace, picture, Instances(np.tile([1, 1, 9, 9], (count, 1)), np.zeros(count)), ("cat",), "detect")
    shown = viewer.viewer(dataset, dataset.row(1), "en")
    assert shown.count("<rect") == viewer.MOST_OBJECTS and "and 5 more" in shown

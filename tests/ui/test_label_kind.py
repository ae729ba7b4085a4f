"""Label asks what to label as long as the set has no labels, and only those who may change it."""

from types import SimpleNamespace

import pytest

from engine.datasets.store import Dataset
from engine.types import Instances, Reading, Sample
from engine.workspace import Workspace
from ui.annotator import server
from ui.pages import label

VISITOR = SimpleNamespace(username=None, headers={}, query_params={})


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def bare(workspace, tmp_path, picture):
    sample = Sample(picture(tmp_path / "a.png"), (64, 48), None, "train", None, "a.png")
    with workspace.stage() as stage:
        return workspace.adopt(Dataset.create(stage / "set", "set", Reading((), iter([sample]), "detect"), format_name="images"))


def test_a_set_without_labels_is_asked_about_and_one_with_labels_is_not(bare):
    kind, timer = label.asked(bare)
    assert kind["visible"] and kind["value"] == "objects" and timer["active"]
    bare.add_class("cat")
    bare.set_labels(1, Instances([[4, 4, 24, 20]], [0]))
    kind, timer = label.asked(bare)
    assert not kind["visible"] and not timer["active"]


def test_nobody_is_asked_in_a_demo_or_without_a_set(bare):
    assert not label.asked(bare, demo=True)[0]["visible"] and not label.asked(None)[0]["visible"]


def test_a_set_whose_format_says_what_it_is_labeled_with_is_not_asked_about(workspace, yolo_folder):
    empty, _ = workspace.import_dataset(yolo_folder({"train": {"a": None, "b": None}}), "empty")
    assert not label.is_labeled(empty) and not label.asked(empty)[0]["visible"]


def test_what_was_answered_is_what_the_canvas_opens(workspace, bare):
    label.labeling.begin_with(bare, "tags")
    functions = {each.__name__: each for each in server.functions(workspace, demo=False)}
    assert functions["label_open"]({"dataset": bare.id, "image": 1}, VISITOR)["kind"] == "tags"
    assert label.asked(bare)[0]["value"] == "tags"

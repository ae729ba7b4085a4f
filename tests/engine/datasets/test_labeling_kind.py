"""What a set without labels is labeled with: said once, kept in the set, and no longer to be changed when something is labeled."""

import numpy as np
import pytest

from engine.datasets import labeling, labeling_suggested
from engine.datasets.labeling_suggested import Suggestion
from engine.datasets.store import Dataset
from engine.types import Instances, Reading, Sample, SemanticMask, Tags, UserError


@pytest.fixture
def bare(tmp_path, picture):
    samples = [Sample(picture(tmp_path / f"{number}.png", seed=number), (64, 48), None, "train", None, f"{number}.png") for number in range(2)]
    return Dataset.create(tmp_path / "set", "set", Reading(("cat", "dog"), iter(samples), "detect"), format_name="images")


@pytest.mark.parametrize(("kind", "task"), [("tags", "classify"), ("mask", "semantic"), ("objects", "detect")])
def test_what_bare_images_are_labeled_with_is_kept_in_the_set_and_the_canvas_follows(bare, kind, task):
    labeling.begin_with(bare, kind)
    assert Dataset(bare.folder).task == task
    assert labeling.opened(bare, 1).kind == kind


def test_tags_and_painted_areas_are_saved_for_images_that_came_bare(bare):
    labeling.begin_with(bare, "tags")
    labeling.save(bare, 1, {"looked": True, "shapes": [], "tags": [1, 0]}, expected=bare.row(1).revision)
    assert isinstance(bare.row(1).labels, Tags) and bare.row(1).labels.values.tolist() == [1, 0]


def test_areas_are_painted_on_images_that_came_bare(bare):
    labeling.begin_with(bare, "mask")
    strokes = {"kind": "strokes", "cls": 1, "strokes": [{"points": [20, 20, 30, 20], "radius": 5, "erase": False}]}
    labeling.save(bare, 1, {"looked": True, "shapes": [strokes], "tags": None}, expected=bare.row(1).revision)
    assert isinstance(bare.row(1).labels, SemanticMask)


def test_it_may_be_changed_until_something_is_labeled(bare):
    labeling.begin_with(bare, "tags")
    before = bare.revision
    labeling.begin_with(bare, "mask")
    assert bare.revision > before
    bare.set_labels(1, SemanticMask(np.zeros((48, 64), np.uint16)))
    labeling.begin_with(bare, "mask")
    with pytest.raises(UserError) as refused:
        labeling.begin_with(bare, "tags")
    assert refused.value.key == "label_kind_decided" and bare.task == "semantic"
    with pytest.raises(UserError):
        labeling.begin_with(bare, "poems")


def test_labels_of_the_other_kind_that_are_still_in_a_browser_are_not_taken(bare):
    opened = labeling.opened(bare, 1)
    labeling.begin_with(bare, "tags")
    box = {"kind": "box", "cls": 0, "box": [1, 2, 30, 20]}
    with pytest.raises(UserError) as refused:
        labeling.save(bare, 1, {"looked": True, "shapes": [box], "tags": None}, expected=opened.row.revision)
    assert refused.value.key == "labels_changed"


def test_suggestions_of_another_kind_go_and_outlines_stay_outlines(bare, tmp_path):
    shape = {"kind": "box", "cls": 0, "box": [1, 2, 30, 20], "state": "suggested", "score": 0.9}
    labeling_suggested.put(bare, 1, Suggestion("model", shapes=[shape]))
    labeling.begin_with(bare, "objects")
    assert labeling_suggested.with_suggestions(bare) == [1]
    labeling.begin_with(bare, "tags")
    assert labeling_suggested.with_suggestions(bare) == []
    with bare.transaction() as connection:
        connection.execute("UPDATE meta SET value = 'instance' WHERE key = 'task'")
    labeling.begin_with(bare, "objects")
    assert bare.task == "instance"


def test_an_edit_that_would_bring_labels_of_the_old_kind_back_cannot_be_undone_any_more(bare):
    from engine.datasets import editing

    bare.set_labels(1, Instances([[4, 4, 24, 20]], [0]))
    edit = editing.delete_class(bare, 0)
    bare.set_labels(1, None)
    labeling.begin_with(bare, "tags")
    assert edit.id not in [each.id for each in editing.edits(bare) if each.undoable]

"""A browser's documents name classes by key: whatever became of the list meanwhile, a shape keeps its class."""

import numpy as np
import pytest

from engine.datasets import editing, labeling, labeling_suggested
from engine.datasets.labeling_suggested import Suggestion
from engine.datasets.store import Dataset
from engine.types import Instances, Reading, Sample, Tags, UserError

SIZE = (64, 48)


@pytest.fixture
def make(tmp_path, picture):
    def made(labels, classes=("a", "b", "c"), task="detect"):
        samples = [Sample(picture(tmp_path / f"{number}.png", *SIZE, seed=number), SIZE, each, "train", None, f"{number}.png")
                   for number, each in enumerate(labels)]
        Dataset.create(tmp_path / "set", "set", Reading(classes, iter(samples), task), images="copy")
        return Dataset(tmp_path / "set")
    return made


def own_keys(dataset):
    return [keys[0] for keys in labeling.class_keys(dataset)]


def test_a_merged_class_is_known_by_the_keys_of_both(make):
    dataset = make([None])
    editing.merge_classes(dataset, [2], 0)
    assert labeling.class_keys(dataset) == [[0, 2], [1]]
    dataset.add_class("new")
    assert labeling.class_keys(dataset) == [[0, 2], [1], [3]]


def test_shapes_follow_their_classes_through_merging_and_adding(make):
    dataset = make([Instances([[1, 1, 9, 9], [20, 1, 30, 9]], [0, 2])])
    opened, keys = labeling.opened(dataset, 1), own_keys(dataset)
    editing.merge_classes(dataset, [2], 0)
    dataset.add_class("new")
    document = {**opened.document, "classes": keys}
    with pytest.raises(UserError) as caught:
        labeling.save(dataset, 1, document, expected=opened.row.revision)
    assert caught.value.key == "labels_changed"  # never a word about ids of another list
    labeling.save(dataset, 1, document, expected=dataset.row(1).revision)
    assert [dataset.classes[each] for each in dataset.row(1).labels.classes] == ["a", "a"]


def test_shapes_of_a_deleted_class_are_left_out_and_the_others_do_not_move(make):
    dataset = make([None], ("a", "b", "c", "d"))
    keys = own_keys(dataset)
    editing.delete_class(dataset, 1)
    dataset.add_class("new")
    shapes = [{"kind": "box", "cls": cls, "box": [1 + 9 * cls, 1, 9 + 9 * cls, 9]} for cls in range(4)]
    labeling.save(dataset, 1, {"looked": True, "shapes": shapes, "tags": None, "classes": keys}, expected=dataset.row(1).revision)
    assert [dataset.classes[each] for each in dataset.row(1).labels.classes] == ["a", "c", "d"]


def test_tags_can_be_saved_after_somebody_added_a_class(make):
    dataset = make([Tags(np.array([1.0, 0.0, np.nan]))], task="classify")
    opened, keys = labeling.opened(dataset, 1), own_keys(dataset)
    dataset.add_class("new")
    document = {**opened.document, "tags": [1, 1, 0], "classes": keys}
    labeling.save(dataset, 1, document, expected=opened.row.revision)
    assert labeling.opened(dataset, 1).document["tags"] == [1, 1, 0, None]


def test_a_list_of_keys_that_never_were_is_refused(make):
    dataset = make([None])
    for wrong in ([0, 1, 99], [0, "a"], [None], [1.5]):
        with pytest.raises(UserError) as caught:
            labeling.save(dataset, 1, {"looked": True, "shapes": [], "tags": None, "classes": wrong}, expected=dataset.row(1).revision)
        assert caught.value.key == "labels_unreadable"


def test_suggestions_that_came_while_an_image_was_open_stay_when_it_is_saved(make):
    dataset = make([None])
    opened = labeling.opened(dataset, 1)
    shape = {"kind": "box", "cls": 0, "box": [1, 1, 9, 9], "state": "suggested", "score": 0.9}
    labeling_suggested.put(dataset, 1, Suggestion("run", "", [shape]))
    drawn = {**opened.document, "looked": True, "suggested_at": "", "shapes": [{"kind": "box", "cls": 1, "box": [20, 20, 30, 30]}]}
    labeling.save(dataset, 1, drawn, expected=opened.row.revision)
    assert [each["state"] for each in labeling.opened(dataset, 1).document["shapes"] if "state" in each] == ["suggested"]


def test_two_rounds_of_suggestions_within_a_second_are_told_apart(make):
    dataset = make([None])
    shape = {"kind": "box", "cls": 0, "box": [1, 1, 9, 9], "state": "suggested", "score": 0.9}
    labeling_suggested.put(dataset, 1, Suggestion("run", "", [shape]))
    first = labeling.opened(dataset, 1)
    labeling_suggested.put(dataset, 1, Suggestion("run", "", [shape, {**shape, "box": [20, 1, 30, 9]}]))
    labeling.save(dataset, 1, {**first.document, "looked": True}, expected=first.row.revision)
    assert labeling_suggested.of(dataset, 1).count == 2

import numpy as np
import pytest

from engine.datasets import merging
from engine.types import IGNORE, Instances, Polygons, SemanticMask, Tags, UserError
from engine.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


def objects(*classes):
    return Instances([[1, 2, 10, 20]] * len(classes), classes)


def key_of(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    return caught.value.key


def test_names_that_mean_the_same_are_proposed():
    assert merging.propose(["Traffic Light", "dog", "CAT", "猫"], ["traffic_light", "Dog", "cat", "bird", "猫", "trafficlight"]) == {
        "traffic_light": "Traffic Light", "Dog": "dog", "cat": "CAT", "bird": "bird", "猫": "猫", "trafficlight": "Traffic Light"}
    assert merging.propose(["a b", "A_B"], ["A_B", "a-b"]) == {"A_B": "A_B", "a-b": "a b"}
    assert merging.propose([], ["x"]) == {"x": "x"}


def test_two_sets_become_a_new_one_and_stay_as_they_are(workspace, stored_set, state_of):
    one = stored_set(name="one", labels=[objects(0, 1), None, Instances.empty()])
    two = stored_set(name="two", labels=[objects(0, 1, 2), objects(2)], classes=("Dog", "fish", "rubbish"))
    before = state_of(one), state_of(two)
    merged = merging.merge(workspace, one, two, {**merging.propose(one.classes, two.classes), "rubbish": None}, "两个 & both")
    assert (state_of(one), state_of(two)) == before
    assert (merged.name, merged.task, merged.classes) == ("两个 & both", "detect", ("cat", "dog", "bird", "background", "fish"))
    rows = merged.page(0, 10)
    assert [row.labels if row.labels is None else row.labels.classes.tolist() for row in rows] == [[0, 1], None, [], [1, 4], []]
    assert [row.split for row in rows] == ["train", "valid", "test", "train", "valid"]
    assert [row.name for row in rows][3:] == ["two/0.png", "two/1.png"]
    assert rows[3].path.read_bytes() == two.row(1).path.read_bytes()
    assert rows[3].path.stat().st_ino == two.row(1).path.stat().st_ino
    sources, dropped = merged.problems()
    assert (sources.code, sources.values) == ("merged_from", {"first": "one", "first_images": 3, "second": "two", "second_images": 2})
    assert (dropped.code, dropped.values) == ("merge_class_dropped", {"name": "rubbish", "count": 2})
    assert merged.id in {dataset.id for dataset in workspace.datasets()}


def test_a_set_can_be_merged_with_itself_and_nothing_is_overwritten(workspace, stored_set):
    one = stored_set(name="one", labels=[objects(0), objects(1)])
    merged = merging.merge(workspace, one, one, {}, "one")
    again = merging.merge(workspace, one, one, {}, "one")
    assert (merged.name, again.name) == ("one", "one (2)")
    assert merged.id != again.id
    assert merged.classes == one.classes
    assert len({row.path for row in merged.page(0, 9)}) == len({row.name for row in merged.page(0, 9)}) == 4
    assert [row.name for row in merged.page(2, 2)] == ["one/one/0.png", "one/one/1.png"]


def test_the_same_patient_in_both_sets_stays_one_patient(workspace, stored_set):
    one, two = stored_set(name="one", count=2), stored_set(name="two", count=2)
    merged = merging.merge(workspace, one, two, {}, "x")
    assert {row.group for row in merged.page(0, 9)} == {"patient 0"}


def test_what_is_in_the_trash_stays_out(workspace, stored_set):
    from engine.datasets import editing
    one, two = stored_set(name="one", count=3), stored_set(name="two", count=3)
    editing.trash(two, [1, 2])
    assert merging.merge(workspace, one, two, {}, "x").total() == 4


def test_boxes_and_outlines_go_together_other_tasks_do_not(workspace, stored_set):
    boxes = stored_set(name="boxes", labels=[objects(0)])
    shape = Polygons((np.array([[1., 2], [10, 2], [10, 20]]),))
    outlines = stored_set(name="outlines", labels=[Instances([[1, 2, 10, 20]], [1], shapes=(shape,))], task="instance")
    for one, two in ((boxes, outlines), (outlines, boxes)):
        merged = merging.merge(workspace, one, two, {}, "x")
        assert merged.task == "instance"
        assert [(problem.code, problem.where) for problem in merged.problems()] == [("merged_from", "."), ("merge_boxes_only", "boxes")]
        assert sorted(row.labels.shapes is None for row in merged.page(0, 9)) == [False, True]
    tags = stored_set("tags", name="tags", count=2)
    with pytest.raises(UserError) as caught:
        merging.merge(workspace, boxes, tags, {}, "x")
    assert caught.value.key == "merge_tasks"
    assert "detect" in caught.value.message()
    assert "classify" in caught.value.message()


def test_tags_of_the_other_set_are_not_mentioned_rather_than_absent(workspace, stored_set):
    one = stored_set("tags", name="one", labels=[Tags([1, 0])], classes=("a", "b"))
    two = stored_set("tags", name="two", labels=[Tags([0.5, 1, 0])], classes=("B", "c", "b"))
    merged = merging.merge(workspace, one, two, {"B": "b"}, "x")
    assert merged.classes == ("a", "b", "c")
    assert np.array_equal([row.labels.values for row in merged.page(0, 9)], [[1, 0, np.nan], [np.nan, .5, 1]], equal_nan=True)


def test_masks_are_translated_pixel_by_pixel(workspace, stored_set):
    mask = SemanticMask(classes=np.array([[0, 1, 2, IGNORE]], np.uint16))
    one = stored_set("mask", name="one", labels=[mask], classes=("background", "x", "y"))
    two = stored_set("mask", name="two", labels=[mask], classes=("y", "z", "background"))
    merged = merging.merge(workspace, one, two, {"z": None}, "m")
    assert [row.labels.classes.tolist() for row in merged.page(0, 9)] == [[[0, 1, 2, IGNORE]], [[2, 0, 0, IGNORE]]]
    three = stored_set("mask", name="three", labels=[mask], classes=("y", "z", "u"))
    four = stored_set("mask", name="four", labels=[mask], classes=("y", "z", "u"))
    assert merging.merge(workspace, three, four, {"z": None}, "m").row(2).labels.classes.tolist() == [[0, IGNORE, 2, IGNORE]]
    layers = SemanticMask(layers=np.eye(2, 3, dtype=bool)[:, None].repeat(2, 1))
    five = stored_set("layers", name="five", labels=[layers], classes=("a", "b"))
    six = stored_set("layers", name="six", labels=[layers], classes=("b", "c"))
    merged = merging.merge(workspace, five, six, {"c": "b"}, "m")
    assert merged.row(1).labels.layers.tolist() == layers.layers.tolist()
    assert merged.row(2).labels.layers.tolist() == [np.zeros((2, 3)).tolist(), layers.layers.any(0).tolist()]


def test_progress_is_told_and_may_stop_the_merge(workspace, stored_set):
    one, two = stored_set(name="one", labels=[None] * 60), stored_set(name="two", labels=[None] * 60)
    told = []
    merging.merge(workspace, one, two, {}, "x", told.append)
    assert told
    assert max(told) <= 1

    def stop(share):
        raise RuntimeError("enough")
    with pytest.raises(RuntimeError):
        merging.merge(workspace, one, two, {}, "y", stop)
    assert [dataset.name for dataset in workspace.datasets()] == ["x"]
    assert key_of(merging.merge, workspace, one, two, {"cat": " "}, "z") == "class_name_empty"

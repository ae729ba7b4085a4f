import os
import signal
import sqlite3

import numpy as np
import pytest

from engine.datasets import editing
from engine.datasets.merging import translated
from engine.datasets.store import FILE, Dataset
from engine.types import IGNORE, Instances, Polygons, SemanticMask, Tags, UserError

NAN = float("nan")


def key_of(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    return caught.value.key


def objects(*classes):
    return Instances([[1, 2, 10, 20]] * len(classes), classes)


def classes_of(dataset):
    return [None if row.labels is None else row.labels.classes.tolist() for row in dataset.page(0, 100)]


# ---- classes

def test_a_class_gets_another_name_and_keeps_its_objects(stored_set):
    dataset = stored_set(labels=[objects(0, 1), None])
    edit = editing.rename_class(dataset, 1, "  wolf\n")
    assert dataset.classes == ("cat", "wolf", "bird", "background")
    assert classes_of(dataset) == [[0, 1], None]
    assert (edit.action, edit.values, edit.images, edit.undone, edit.undoable) == ("class_renamed", {"old": "dog", "new": "wolf"}, 0, False, True)
    assert edit.text() == "Renamed the class dog to wolf"


def test_a_name_that_another_class_has_offers_a_merge(stored_set):
    dataset = stored_set(labels=[objects(0)])
    with pytest.raises(UserError) as caught:
        editing.rename_class(dataset, 1, "cat")
    assert caught.value.key == "class_name_taken"
    assert "merge dog into cat" in caught.value.remedy()
    assert key_of(editing.rename_class, dataset, 1, " \n") == "class_name_empty"
    assert key_of(editing.rename_class, dataset, 4, "x") == "class_unknown"
    assert editing.rename_class(dataset, 1, "dog").undoable is False
    assert editing.edits(dataset) == []


def test_classes_after_a_deleted_one_move_up(stored_set):
    dataset = stored_set(labels=[objects(0, 1, 2), objects(1), objects(2, 3), Instances.empty(), None])
    edit = editing.delete_class(dataset, 1)
    assert dataset.classes == ("cat", "bird", "background")
    assert classes_of(dataset) == [[0, 1], [], [1, 2], [], None]
    assert [row.state for row in dataset.page(0, 9)] == ["labeled", "background", "labeled", "background", "unlabeled"]
    assert [row.objects for row in dataset.page(0, 9)] == [2, 0, 2, 0, 0]
    assert (edit.images, edit.values) == (2, {"name": "dog", "objects": 2})
    assert dataset.counts() == dataset.collection().counts()
    assert dataset.total(class_id=1) == 2
    assert dataset.set_labels(4, objects(2)) > 0
    assert classes_of(dataset)[3] == [2]
    assert dataset.add_class("dog") == 3
    assert classes_of(dataset)[0] == [0, 1]


def test_classes_can_be_merged_into_any_of_them_or_another(stored_set):
    for into, wanted in ((0, [[0, 0, 1], [0], [1, 2]]), (2, [[1, 0, 1], [1], [1, 2]]), (1, [[0, 0, 1], [0], [1, 2]])):
        dataset = stored_set(name=f"merge{into}", labels=[objects(0, 1, 2), objects(0), objects(2, 3)])
        source = {0: [0, 1], 2: [0], 1: [0, 1]}[into]
        edit = editing.merge_classes(dataset, source, into)
        assert len(dataset.classes) == 3
        assert classes_of(dataset) == wanted
        assert dataset.counts() == dataset.collection().counts()
        assert edit.text().startswith("Merged ")
    assert key_of(editing.merge_classes, dataset, [0], 7) == "class_unknown"
    assert key_of(editing.merge_classes, dataset, [7], 0) == "class_unknown"
    assert editing.merge_classes(dataset, [0], 0).id == 0


def test_of_merged_tags_the_surest_wins(stored_set):
    values = [1, 0.5, 0, NAN]
    dataset = stored_set("tags", labels=[Tags([one, other, 1, 0]) for one in values for other in values])
    editing.merge_classes(dataset, [1], 0)
    merged = [row.labels.values[0] for row in dataset.page(0, 100)]
    assert np.array_equal(merged, [1, 1, 1, 1, 1, .5, .5, .5, 1, .5, 0, 0, 1, .5, 0, NAN], equal_nan=True)
    assert all(len(row.labels.values) == 3 and row.labels.values[1] == 1 for row in dataset.page(0, 100))
    assert dataset.counts() == dataset.collection().counts()
    assert dataset.total(class_id=0) == 7


def test_pixels_of_a_deleted_class_become_background_or_nobodys(stored_set):
    mask = SemanticMask(classes=np.array([[0, 1], [2, 3], [IGNORE, 1]], np.uint16))
    dataset = stored_set("mask", labels=[mask])
    editing.delete_class(dataset, 1)
    assert dataset.row(1).labels.classes.tolist() == [[0, 2], [1, 2], [IGNORE, 2]]
    assert dataset.counts()["train"]["classes"] == {"cat": 1, "bird": 1, "background": 1}
    editing.delete_class(dataset, 2)
    assert dataset.row(1).labels.classes.tolist() == [[0, IGNORE], [1, IGNORE], [IGNORE, IGNORE]]
    editing.merge_classes(dataset, [0], 1)
    assert dataset.row(1).labels.classes.tolist() == [[0, IGNORE], [0, IGNORE], [IGNORE, IGNORE]]
    assert dataset.classes == ("bird",)
    dataset.set_labels(1, SemanticMask(classes=np.array([[0, IGNORE]], np.uint16)))
    assert dataset.row(1).labels.classes.tolist() == [[0, IGNORE]]


def test_layers_of_merged_classes_lie_over_each_other(stored_set):
    layers = np.zeros((4, 2, 3), bool)
    layers[0, 0, 0] = layers[1, 1, 1] = layers[3] = True
    dataset = stored_set("layers", labels=[SemanticMask(layers=layers)])
    editing.merge_classes(dataset, [1], 0)
    assert dataset.row(1).labels.layers.tolist() == [(layers[0] | layers[1]).tolist(), layers[2].tolist(), layers[3].tolist()]
    dataset.set_labels(1, dataset.row(1).labels)
    assert dataset.row(1).labels.layers.tolist() == [(layers[0] | layers[1]).tolist(), layers[2].tolist(), layers[3].tolist()]


def test_labels_in_old_ids_are_refused_after_ids_have_moved(stored_set):
    dataset = stored_set(labels=[objects(2), None])
    seen = dataset.row(2).revision
    editing.delete_class(dataset, 0)
    assert key_of(dataset.set_labels, 2, objects(2), expected=seen) == "labels_changed"
    seen = dataset.row(2).revision
    editing.rename_class(dataset, 0, "wolf")
    assert dataset.set_labels(2, objects(0), expected=seen) == dataset.row(2).revision


@pytest.mark.parametrize("kind", ["objects", "tags", "mask", "layers"])
def test_the_history_of_an_image_stays_true_through_edits_of_classes(stored_set, kind):
    old = {"objects": objects(0, 1, 2), "tags": Tags([1, 0.5, 1, NAN]), "mask": SemanticMask(classes=np.array([[0, 1], [2, 3]], np.uint16)),
           "layers": SemanticMask(layers=np.arange(24).reshape(4, 2, 3) % 3 == 0)}[kind]
    dataset = stored_set(kind, labels=[old])
    dataset.set_labels(1, None)
    editing.rename_class(dataset, 2, "sparrow")
    editing.delete_class(dataset, 0)
    (_, _, now), = dataset.history(1)
    if kind == "objects":
        assert now.classes.tolist() == [0, 1]
    elif kind == "tags":
        assert np.array_equal(now.values, [.5, 1, NAN], equal_nan=True)
    elif kind == "mask":
        assert now.classes.tolist() == [[2, 0], [1, 2]]
    else:
        assert now.layers.tolist() == old.layers[1:].tolist()
    for edit in editing.edits(dataset):
        editing.undo(dataset, edit.id)
    (_, _, again), = dataset.history(1)
    dataset.set_labels(1, again)
    assert str(vars(dataset.row(1).labels)) == str(vars(old))


@pytest.mark.parametrize("kind", ["objects", "tags", "mask", "layers"])
@pytest.mark.parametrize("seed", range(4))
def test_class_edits_do_what_translating_every_label_would_do(stored_set, alike, kind, seed):
    rng, dataset = np.random.default_rng(seed), stored_set(kind, 12, name=f"{kind}-{seed}")
    while len(dataset.classes) > 1:
        before, names = [row.labels for row in dataset.page(0, 100)], list(dataset.classes)
        gone = int(rng.integers(len(names)))
        left = [number for number in range(len(names)) if number != gone]
        heir = int(rng.choice(left)) if rng.random() < .5 else None
        if heir is None:
            editing.delete_class(dataset, gone)
        else:
            editing.merge_classes(dataset, [gone], heir)
        numbers = [left.index(number) if number != gone else None if heir is None else left.index(heir) for number in range(len(names))]
        assert dataset.classes == tuple(names[number] for number in left)
        wanted = [translated(labels, numbers, dataset.classes) for labels in before]
        assert all(alike(row.labels, labels) for row, labels in zip(dataset.page(0, 100), wanted, strict=True))
        assert dataset.counts() == dataset.collection().counts()


# ---- images

def test_images_in_the_trash_are_gone_from_everything_but_the_trash(stored_set):
    dataset = stored_set(labels=[objects(0), objects(1), None])
    edit = editing.trash(dataset, [1, 1])
    assert (edit.action, edit.images, edit.text()) == ("trashed", 1, "Images moved to the trash: 1")
    assert (dataset.total(), dataset.total(trashed=True)) == (2, 1)
    assert [row.id for row in dataset.page(0, 9)] == [2, 3]
    assert [row.id for row in dataset.page(0, 9, trashed=True)] == [1]
    assert "train" not in dataset.counts()
    assert len(dataset.samples()) == len(dataset.collection().samples) == len(list(dataset.reading().items)) == 2
    assert [item.id for item in dataset.items()] == [2, 3]
    assert dataset.row(1).path.is_file()
    assert dataset.total(class_id=0) == 0
    assert editing.trash(dataset, [1]).id == 0
    assert editing.restore(dataset, [1, 2]).images == 1
    assert dataset.total() == 3
    assert key_of(editing.trash, dataset, [1, 99]) == "image_unknown"


def test_emptying_the_trash_deletes_files_for_good_and_cannot_be_undone(stored_set):
    dataset = stored_set(labels=[objects(0), objects(1), None])
    dataset.set_labels(1, None)
    moved = editing.move(dataset, [1, 2], "test")
    other = editing.set_groups(dataset, {3: "x"})
    editing.trash(dataset, [1])
    path, thumb = dataset.row(1).path, dataset.thumbnail(1)
    assert editing.empty_trash(dataset) == 1
    assert not path.exists()
    assert not thumb.exists()
    assert key_of(dataset.row, 1) == "image_unknown"
    assert dataset.history(1) == []
    assert [(edit.action, edit.undoable, edit.images) for edit in editing.edits(dataset)] == [
        ("trash_emptied", False, 1), ("trashed", False, 1), ("groups_set", True, 1), ("moved", False, 2)]
    assert key_of(editing.undo, dataset, moved.id) == "edit_not_undoable"
    editing.undo(dataset, other.id)
    revision = dataset.revision
    assert editing.empty_trash(dataset) == 0
    assert (dataset.revision, editing.edits(dataset, 1)[0].action) == (revision, "trash_emptied")
    with pytest.raises(RuntimeError), editing.combined(dataset, "repaired", {}):
        editing.empty_trash(dataset)
    assert len(list((dataset.folder / "images").iterdir())) == 2


def test_splits_and_groups_are_set_in_one_edit_each(stored_set):
    dataset = stored_set(labels=[None] * 6)
    assert editing.move(dataset, [1, 2, 3], "valid").values == {"count": 2, "split": "valid"}
    assert editing.assign_splits(dataset, {1: "test", 2: "valid", 4: "valid"}).images == 2
    assert [row.split for row in dataset.page(0, 9)] == ["test", "valid", "valid", "valid", "valid", "test"]
    editing.set_groups(dataset, {1: "a", 2: None, 3: ""})
    assert [row.group for row in dataset.page(0, 4)] == ["a", None, None, "patient 1"]
    assert key_of(editing.move, dataset, [1], "trian") == "split_unknown"
    assert key_of(editing.assign_splits, dataset, {1: "train", 2: "x"}) == "split_unknown"
    assert dataset.row(1).split == "test"


def test_labels_of_many_images_are_replaced_at_once(stored_set):
    dataset = stored_set(labels=[objects(0), objects(1), None])
    edit = editing.replace_labels(dataset, {1: None, 3: objects(2, 2)}, "repaired", {"why": "test"})
    assert (edit.action, edit.values, edit.images) == ("repaired", {"why": "test"}, 2)
    assert classes_of(dataset) == [None, [1], [2, 2]]
    assert dataset.counts() == dataset.collection().counts()
    assert key_of(editing.replace_labels, dataset, {1: objects(0), 2: objects(4)}) == "class_unknown"
    assert key_of(editing.replace_labels, dataset, {1: objects(0), 9: None}) == "image_unknown"
    assert classes_of(dataset)[0] is None


# ---- together, and not at all

def test_edits_within_a_combined_one_are_one_entry_and_see_each_other(stored_set, state_of):
    dataset = stored_set(labels=[objects(0, 1), objects(1), None])
    before = state_of(dataset)
    with editing.combined(dataset, "repaired", {"count": 2}):
        editing.move(dataset, [1], "test")
        editing.replace_labels(dataset, {1: objects(0, 0)})
        assert dataset.row(1).labels.classes.tolist() == [0, 0]
        editing.delete_class(dataset, 1)
        editing.replace_labels(Dataset(dataset.folder), {2: objects(0)})
        editing.trash(dataset, [3])
    edit, = editing.edits(dataset)
    assert (edit.action, edit.values, edit.images) == ("repaired", {"count": 2}, 3)
    assert classes_of(dataset) == [[0, 0], [0]]
    editing.undo(dataset, edit.id)
    assert state_of(dataset) == before


@pytest.mark.parametrize("error", [RuntimeError("in the middle"), KeyboardInterrupt()])
def test_an_edit_that_fails_in_the_middle_leaves_nothing(stored_set, state_of, error):
    dataset = stored_set(labels=[objects(0, 1), objects(1), None])
    before, revision = state_of(dataset), dataset.revision
    with pytest.raises(type(error)), editing.combined(dataset, "repaired", {}):
        editing.delete_class(dataset, 0)
        editing.trash(dataset, [1])
        raise error
    assert state_of(dataset) == before
    assert (dataset.revision, editing.edits(dataset)) == (revision, [])


def test_a_process_that_is_killed_within_an_edit_leaves_nothing(stored_set, state_of):
    dataset = stored_set(labels=[objects(0, 1), None])
    before = state_of(dataset)
    child = os.fork()
    if child == 0:
        with editing.combined(dataset, "repaired", {}):
            editing.delete_class(dataset, 0)
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert state_of(Dataset(dataset.folder)) == before
    assert editing.trash(dataset, [1]).images == 1


def test_a_set_that_may_only_be_read_refuses_edits(stored_set):
    dataset = Dataset(stored_set(labels=[objects(0)]).folder, readonly=True)
    assert dataset.counts() == dataset.collection().counts()
    for call in (lambda: editing.trash(dataset, [1]), lambda: dataset.set_labels(1, None), lambda: dataset.add_class("x"),
                 lambda: editing.undo(dataset, 1), lambda: editing.empty_trash(dataset)):
        assert key_of(call) == "dataset_read_only"


def test_polygons_scores_and_crowds_come_back(stored_set, state_of):
    shape = Polygons((np.array([[1.5, 2], [9, 2.25], [9, 9]]),), (np.array([[2., 3], [4, 3], [4, 4]]),))
    dataset = stored_set(labels=[Instances([[1, 2, 9, 9]] * 2, [0, 1], shapes=(shape, None), crowd=[True, False], scores=[.5, .25])])
    before = state_of(dataset)
    editing.replace_labels(dataset, {1: Instances.empty()})
    editing.undo(dataset, editing.edits(dataset)[0].id)
    assert state_of(dataset) == before


def test_what_a_stranger_wrote_into_the_journal_is_only_text(stored_set):
    dataset = stored_set(labels=[objects(0)])
    editing.move(dataset, [1], "test")
    with sqlite3.connect(dataset.folder / FILE) as connection:
        connection.execute("UPDATE edits SET details = '{'")
    assert key_of(editing.edits, dataset) == "dataset_damaged"

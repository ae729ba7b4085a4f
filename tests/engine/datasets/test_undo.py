import threading

import numpy as np
import pytest

from engine.datasets import editing
from engine.datasets.store import Dataset
from engine.types import Instances, UserError


def refused(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return caught.value


def some_edit(dataset, rng, make_labels):
    """One edit of any kind that changes something, or None."""
    ids = [row.id for row in dataset.page(0, 100)]
    few = [int(number) for number in rng.permutation(ids)[:3]]
    classes = len(dataset.classes)
    choices = [lambda: editing.move(dataset, few, str(rng.choice(["train", "valid", "test"]))), lambda: editing.trash(dataset, few[:1]),
               lambda: editing.restore(dataset, [row.id for row in dataset.page(0, 2, trashed=True)]),
               lambda: editing.set_groups(dataset, dict.fromkeys(few, str(rng.integers(5)))),
               lambda: editing.replace_labels(dataset, {number: make_labels(rng, classes) for number in few}),
               lambda: editing.rename_class(dataset, int(rng.integers(classes)), f"name {rng.integers(1000)}")]
    if classes > 2:
        choices += [lambda: editing.delete_class(dataset, int(rng.integers(classes))),
                    lambda: editing.merge_classes(dataset, [int(number) for number in rng.integers(0, classes, 2)], int(rng.integers(classes)))]
    edit = choices[int(rng.integers(len(choices)))]()
    return edit if edit.id else None


@pytest.mark.parametrize("kind", ["objects", "tags", "mask", "layers"])
@pytest.mark.parametrize("seed", range(2))
def test_undoing_any_row_of_edits_goes_back_the_way_it_came(stored_set, state_of, kind, seed):
    from engine.types import SemanticMask, Tags

    def make_labels(rng, classes):
        if kind == "objects":
            return Instances(np.sort(rng.uniform(0, 40, (2, 2, 2)), 1).reshape(-1, 4).round(1), rng.integers(0, classes, 2))
        if kind == "tags":
            return Tags(rng.choice([0, 1, .5, np.nan], classes))
        return SemanticMask(layers=rng.random((classes, 6, 8)) < .3) if kind == "layers" else \
            SemanticMask(classes=rng.integers(0, classes, (6, 8)).astype(np.uint16))

    rng = np.random.default_rng(seed)
    dataset = stored_set(kind, 8, name=f"{kind}{seed}", classes=("cat", "dog", "bird", "background", "fish", "cow"), labels=[
        make_labels(rng, 6) if number % 4 else None for number in range(8)])
    stack = [(None, state_of(dataset))]
    for _ in range(18):
        if len(stack) > 1 and rng.random() < .35:
            edit, _ = stack.pop()
            assert editing.undo(dataset, edit.id).undone
            assert state_of(dataset) == stack[-1][1]
        elif (edit := some_edit(dataset, rng, make_labels)) is not None:
            stack.append((edit, state_of(dataset)))
            counts, truth = dataset.counts(), dataset.collection().counts()
            assert counts == truth
    while len(stack) > 1:
        edit, _ = stack.pop()
        editing.undo(dataset, edit.id)
        assert state_of(dataset) == stack[-1][1]


def test_an_image_that_was_labeled_since_is_named(stored_set):
    dataset = stored_set(labels=[None] * 4)
    edit = editing.move(dataset, [1, 2], "test")
    dataset.set_labels(2, Instances.empty())
    error = refused(editing.undo, dataset, edit.id)
    assert (error.key, error.values["name"]) == ("edit_changed_since", "set/1.png")
    assert dataset.row(1).split == "test"


def test_a_later_edit_of_the_same_image_is_named_and_goes_first(stored_set):
    dataset = stored_set(labels=[None] * 4)
    first = editing.move(dataset, [1, 2], "test")
    second = editing.set_groups(dataset, {2: "x"})
    third = editing.move(dataset, [3], "train")
    error = refused(editing.undo, dataset, first.id)
    assert (error.key, error.values["name"], error.values["edit"]) == ("edit_covered", "set/1.png", "Images given another group: 1")
    editing.undo(dataset, second.id)
    editing.undo(dataset, first.id)
    assert [row.split for row in dataset.page(0, 4)] == ["train", "valid", "train", "train"]
    editing.undo(dataset, third.id)
    assert refused(editing.undo, dataset, first.id).key == "edit_already_undone"
    assert refused(editing.undo, dataset, 99).key == "edit_unknown"
    assert [edit.undone for edit in editing.edits(dataset)] == [True, True, True]


def test_labels_saved_between_two_edits_are_never_lost_by_undoing_both(stored_set):
    dataset = stored_set(labels=[None] * 2)
    first = editing.move(dataset, [1], "test")
    dataset.set_labels(1, Instances.empty())
    second = editing.set_groups(dataset, {1: "x"})
    editing.undo(dataset, second.id)
    assert refused(editing.undo, dataset, first.id).key == "edit_changed_since"
    assert dataset.row(1).state == "background"


def test_revisions_only_grow_so_that_nobody_saves_over_what_they_have_not_seen(stored_set):
    dataset = stored_set(labels=[Instances([[1, 1, 5, 5]], [1])])
    seen = [dataset.row(1).revision]
    for call in (lambda: editing.delete_class(dataset, 1), lambda: editing.undo(dataset, 1), lambda: editing.move(dataset, [1], "test"),
                 lambda: editing.undo(dataset, 2), lambda: dataset.set_labels(1, None)):
        call()
        seen.append(dataset.row(1).revision)
    assert seen == sorted(set(seen))


def test_a_deleted_class_cannot_come_back_beside_one_of_its_name(stored_set):
    dataset = stored_set(labels=[None])
    edit = editing.delete_class(dataset, 1)
    dataset.add_class("dog")
    error = refused(editing.undo, dataset, edit.id)
    assert (error.key, error.values["name"]) == ("edit_classes_changed", "dog")
    editing.rename_class(dataset, 3, "hound")
    editing.undo(dataset, edit.id)
    assert dataset.classes == ("cat", "dog", "bird", "background", "hound")


def test_a_new_name_is_taken_back_only_while_it_stands(stored_set):
    dataset = stored_set(labels=[None])
    first = editing.rename_class(dataset, 0, "lion")
    second = editing.rename_class(dataset, 0, "tiger")
    assert refused(editing.undo, dataset, first.id).key == "edit_classes_changed"
    editing.undo(dataset, second.id)
    third = editing.delete_class(dataset, 0)
    assert refused(editing.undo, dataset, first.id).key == "edit_classes_changed"
    editing.undo(dataset, third.id)
    dataset.add_class("fish")
    editing.undo(dataset, first.id)
    assert dataset.classes == ("cat", "dog", "bird", "background", "fish")


def test_a_class_edit_of_others_does_not_stand_in_the_way(stored_set):
    dataset = stored_set(labels=[Instances([[1, 1, 5, 5]], [number]) for number in (0, 1, 2)])
    first = editing.delete_class(dataset, 0)
    editing.rename_class(dataset, 0, "wolf")
    editing.delete_class(dataset, 1)
    editing.undo(dataset, first.id)
    assert dataset.classes == ("cat", "wolf", "background")
    assert [row.labels.classes.tolist() for row in dataset.page(0, 9)] == [[0], [1], []]


def test_only_the_last_fifty_edits_can_be_undone(stored_set):
    dataset = stored_set(labels=[None] * 2)
    for number in range(55):
        editing.set_groups(dataset, {1: f"g{number}"})
    listed = editing.edits(dataset, 100)
    assert [edit.undoable for edit in listed] == [True] * 50 + [False] * 5
    assert len(editing.edits(dataset)) == 50
    assert refused(editing.undo, dataset, listed[-1].id).key == "edit_not_undoable"
    with dataset.connection() as connection:
        assert connection.execute("SELECT count(*) FROM undo_images").fetchone()[0] == 50
    for edit in listed[:50]:
        editing.undo(dataset, edit.id)
    assert dataset.row(1).group == "g4"


def test_two_hundred_edits_from_eight_threads_all_land(stored_set):
    dataset, errors = stored_set(labels=[None] * 8), []

    def work(thread):
        own = Dataset(dataset.folder)
        for number in range(25):
            try:
                if number % 3 == 0:
                    editing.set_groups(own, {1 + number % 8: f"{thread}-{number}"})
                elif number % 3 == 1:
                    own.set_labels(1 + (thread + number) % 8, Instances([[0, 0, 1 + number, 5]], [0]))
                else:
                    with editing.combined(own, "repaired", {}):
                        editing.set_groups(own, {1 + number % 8: f"c{thread}-{number}"})
                        editing.replace_labels(own, {1 + number % 8: Instances([[0, 0, 2, 2 + thread]], [1])})
            except Exception as error:  # noqa: BLE001
                errors.append(error)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert dataset.revision == 200
    assert dataset.counts() == dataset.collection().counts()
    history = sum(len(dataset.history(number)) for number in range(1, 9))
    both = 8 * len([number for number in range(25) if number % 3 == 2])  # replaced labels stand in the journal and in the history of their image
    assert len(editing.edits(dataset, 1000)) + history == 200 + both

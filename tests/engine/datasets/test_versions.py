import itertools
import sqlite3

import numpy as np
import pytest

from engine.datasets import editing, versions
from engine.datasets.store import Dataset
from engine.types import Instances, UserError


def key_of(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    return caught.value.key


def objects(*classes):
    return Instances([[1, 2, 10, 20]] * len(classes), classes)


@pytest.mark.parametrize("kind", ["objects", "tags", "mask", "layers"])
def test_a_version_brings_back_everything_as_it_was(stored_set, state_of, kind):
    dataset = stored_set(kind, 9)
    editing.merge_classes(dataset, [1], 0)
    editing.trash(dataset, [2])
    before = state_of(dataset)
    version = versions.save(dataset, "first")
    editing.delete_class(dataset, 1)
    editing.rename_class(dataset, 0, "lion")
    dataset.add_class("fish")
    editing.restore(dataset, [2])
    editing.trash(dataset, [3, 4])
    editing.move(dataset, [5, 6, 7], "test")
    dataset.set_labels(1, None)
    after = state_of(dataset)
    edit = versions.restore(dataset, version.id)
    assert state_of(dataset) == before
    assert dataset.counts() == dataset.collection().counts()
    assert (edit.action, edit.values, edit.undoable) == ("version_restored", {"name": "first"}, False)
    kept, first = versions.versions(dataset)
    assert (kept.name, kept.automatic, first) == ("Before “first” was restored", True, version)
    versions.restore(dataset, kept.id, kept_as="后悔")
    assert state_of(dataset) == after


def test_a_version_says_what_it_holds(stored_set):
    dataset = stored_set(labels=[objects(0, 1), objects(1), None])
    editing.trash(dataset, [2])
    version = versions.save(dataset, "  第一版 <b>\n")
    assert (version.name, version.images, version.objects, version.classes, version.automatic) == ("第一版 <b>", 2, 2, 4, False)
    assert version.bytes == (dataset.folder / "versions" / f"{version.id}.sqlite").stat().st_size
    again = versions.save(dataset, "第一版 <b>")
    assert versions.versions(dataset) == [again, version]
    assert key_of(versions.save, dataset, " \n") == "version_name_empty"
    assert len(versions.versions(dataset)) == 2


@pytest.mark.parametrize("then", [0.2, -7200.0], ids=["the second turns", "the clock is set back"])
def test_a_later_version_comes_first_whatever_the_clock_does(stored_set, monkeypatch, then):
    readings = itertools.chain([1_790_000_000_900_000_000], itertools.repeat(1_790_000_000_900_000_000 + int(then * 1e9)))
    monkeypatch.setattr(versions.time, "time_ns", lambda: next(readings))
    dataset = stored_set(labels=[objects(0)])
    saved = [versions.save(dataset, name) for name in ("one", "two", "three")]
    assert versions.versions(dataset) == saved[::-1]
    assert saved[0].id.startswith("20260921-141320-900000000-"), "the name tells the time of one reading"


def test_images_that_came_after_a_version_go_to_the_trash(stored_set):
    dataset = stored_set(labels=[objects(0), objects(1), None])
    version = versions.save(dataset, "early")
    with sqlite3.connect(dataset.folder / "versions" / f"{version.id}.sqlite") as connection:
        connection.execute("DELETE FROM images WHERE id = 2")
        connection.execute("DELETE FROM shapes WHERE image_id = 2")
        connection.execute("DELETE FROM content WHERE image_id = 2")
    versions.restore(dataset, version.id)
    assert [row.id for row in dataset.page(0, 9)] == [1, 3]
    assert dataset.page(0, 9, trashed=True)[0].labels.classes.tolist() == [1]
    editing.restore(dataset, [2])
    assert dataset.counts()["valid"]["boxes"] == 1


def test_images_that_were_deleted_for_good_come_back_while_a_version_knows_them(stored_set):
    dataset = stored_set(labels=[objects(0), objects(1), None])
    version = versions.save(dataset, "all")
    path, gone = dataset.row(2).path, dataset.row(3).path
    editing.trash(dataset, [2, 3])
    assert editing.empty_trash(dataset) == 2
    assert path.is_file()
    versions.restore(dataset, version.id)
    assert dataset.row(2).labels.classes.tolist() == [1]
    assert dataset.row(2).path == path
    editing.trash(dataset, [2, 3])
    editing.empty_trash(dataset)
    for each in versions.versions(dataset):
        assert path.is_file()
        versions.delete(dataset, each.id)
    assert not path.exists()
    assert not gone.exists()
    assert dataset.row(1).path.is_file()
    assert key_of(versions.delete, dataset, version.id) == "version_unknown"


def test_restoring_closes_the_journal_and_undoing_would_be_refused(stored_set):
    dataset = stored_set(labels=[None] * 3)
    version = versions.save(dataset, "x")
    edit = editing.move(dataset, [1], "test")
    versions.restore(dataset, version.id)
    assert key_of(editing.undo, dataset, edit.id) == "edit_not_undoable"
    later = editing.move(dataset, [2], "test")
    editing.undo(dataset, later.id)


def test_nobody_saves_labels_over_a_restored_version(stored_set):
    dataset = stored_set(labels=[objects(2), None])
    version = versions.save(dataset, "x")
    seen = dataset.row(2).revision
    dataset.set_labels(2, objects(1))
    later = dataset.row(2).revision
    versions.restore(dataset, version.id)
    assert dataset.row(2).labels is None
    assert key_of(dataset.set_labels, 2, objects(0), expected=later) == "labels_changed"
    assert key_of(dataset.set_labels, 2, objects(0), expected=seen) == "labels_changed"


def test_labels_of_a_class_that_a_version_never_had_do_not_turn_into_another(stored_set):
    dataset = stored_set(labels=[objects(0), None])
    version = versions.save(dataset, "four classes")
    dataset.add_class("fish")
    dataset.set_labels(1, objects(4, 1))
    dataset.set_labels(1, None)
    versions.restore(dataset, version.id)
    dataset.add_class("cow")
    assert dataset.history(1)[-1][2].classes.tolist() == [1]
    assert dataset.classes[4] == "cow"


def test_a_restore_that_fails_changes_nothing(stored_set, state_of, monkeypatch):
    dataset = stored_set(labels=[objects(0), objects(1), None])
    version = versions.save(dataset, "x")
    editing.trash(dataset, [1])
    before = state_of(dataset)

    def fail(connection, which, values=()):
        raise RuntimeError("late")
    monkeypatch.setattr(versions.journal, "close", fail)
    with pytest.raises(RuntimeError):
        versions.restore(dataset, version.id)
    assert state_of(dataset) == before


def test_a_save_that_fails_leaves_no_version(stored_set, monkeypatch):
    dataset = stored_set(labels=[None])

    def full(*arguments):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(versions.os, "fsync", full)
    assert key_of(versions.save, dataset, "x") == "no_space_to_write"
    assert list((dataset.folder / "versions").iterdir()) == []


@pytest.mark.parametrize("wanted", ["../labels", "/etc/passwd", "", "x"])
def test_versions_are_looked_up_and_never_joined_to_a_path(stored_set, wanted):
    dataset = stored_set(labels=[None])
    assert key_of(versions.restore, dataset, wanted) == "version_unknown"
    assert key_of(versions.delete, dataset, wanted) == "version_unknown"


def test_a_damaged_version_is_left_out_and_keeps_the_files_that_it_may_need(stored_set, tmp_path):
    dataset = stored_set(labels=[None] * 3)
    version = versions.save(dataset, "x")
    file = dataset.folder / "versions" / f"{version.id}.sqlite"
    file.write_bytes(b"no database")
    (file.parent / "link.sqlite").symlink_to(dataset.folder / "labels.sqlite")
    assert versions.versions(dataset) == []
    assert key_of(versions.restore, dataset, version.id) == "version_damaged"
    path = dataset.row(1).path
    editing.trash(dataset, [1])
    assert editing.empty_trash(dataset) == 1
    assert path.is_file()
    versions.delete(dataset, version.id)
    assert not file.exists()


def test_a_version_of_another_set_is_refused(stored_set):
    one, other = stored_set(name="one", labels=[objects(0), None]), stored_set(name="other", labels=[None] * 3)
    version = versions.save(other, "x")
    (one.folder / "versions").mkdir()
    with sqlite3.connect(other.folder / "versions" / f"{version.id}.sqlite") as connection:
        connection.execute("UPDATE images SET file = 'else' || id || '.png'")
    (other.folder / "versions" / f"{version.id}.sqlite").rename(one.folder / "versions" / f"{version.id}.sqlite")
    assert key_of(versions.restore, one, version.id) == "version_damaged"
    assert one.row(1).labels.classes.tolist() == [0]


def test_versions_are_kept_between_edits_only(stored_set):
    dataset = stored_set(labels=[None])
    with pytest.raises(RuntimeError), editing.combined(dataset, "repaired", {}):
        versions.save(dataset, "x")
    assert Dataset(dataset.folder).revision == 0


def test_random_edits_around_versions_always_come_back(stored_set, state_of):
    rng = np.random.default_rng(3)
    dataset, known = stored_set(count=10), {}
    for step in range(30):
        what = int(rng.integers(6))
        ids = [row.id for row in dataset.page(0, 100)]
        if what == 0:
            known[versions.save(dataset, str(step)).id] = state_of(dataset)
        elif what == 1 and known:
            chosen = str(rng.choice(sorted(known)))
            versions.restore(dataset, chosen)
            assert state_of(dataset) == known[chosen]
        elif what == 2 and len(dataset.classes) > 1:
            editing.delete_class(dataset, int(rng.integers(len(dataset.classes))))
        elif what == 3 and ids:
            editing.trash(dataset, [int(rng.choice(ids))])
            if rng.random() < .3:
                editing.empty_trash(dataset)
        elif what == 4 and ids:
            dataset.add_class(f"new {step}")
            dataset.set_labels(ids[0], objects(len(dataset.classes) - 1))
        elif open_edits := [edit for edit in editing.edits(dataset) if edit.undoable]:
            editing.undo(dataset, open_edits[0].id) if rng.random() < .5 else None
        assert dataset.counts() == dataset.collection().counts()

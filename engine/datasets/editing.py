"""Editing a whole set: classes, splits, groups, the trash. Every call is one transaction and one entry of the journal, which can be undone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from engine.datasets import labeling_tables, thumbnails
from engine.datasets import store_journal as journal
from engine.datasets import store_rows as rows
from engine.datasets.objects import clean_name
from engine.datasets.store import Dataset, check_classes, keep_history
from engine.datasets.store_classes import Classes
from engine.types import SPLITS, Labels, UserError

BACKGROUND = "background"
BESIDE = ("shapes", "content", "history", "image_problems", "fingerprints")  # what is known of an image, by its id


@dataclass(frozen=True)
class Edit:
    """An entry of the journal. Its text is `edit.<action>` filled with `values`; `at` is UTC; `images` counts those that it touched."""

    id: int
    at: str
    action: str
    values: dict[str, Any]
    images: int
    undone: bool
    undoable: bool = True

    def text(self, language: str | None = None) -> str:
        return journal.text_of(self.action, {"count": self.images, **self.values}, language)


def edits(dataset: Dataset, limit: int = 50) -> list[Edit]:
    """Newest first."""
    with dataset.connection() as connection:
        found = connection.execute("SELECT id, at, action, details, images, undone FROM edits ORDER BY id DESC LIMIT ?", (limit,))
        return [_edit_of(row) for row in found]


def undo(dataset: Dataset, edit_id: int) -> Edit:
    """Puts everything back as it was before this edit, in one transaction. Raises UserError when it has been changed since."""
    with dataset.transaction() as connection:
        journal.undo(connection, edit_id)
        return _find(connection, edit_id)


@contextmanager
def combined(dataset: Dataset, action: str, values: Mapping[str, Any]) -> Iterator[None]:
    """Makes the edits of this thread to `dataset` within one entry `action` of the journal: done, and undone, together or not at all."""
    with journal.change(dataset, action, dict(values)):
        yield


# ---- classes

def rename_class(dataset: Dataset, class_id: int, name: str) -> Edit:
    """Raises UserError for an empty name and for one that another class has."""
    name = clean_name(name)
    if not name:
        raise UserError("class_name_empty")
    with _made(dataset, "class_renamed") as change:
        classes = Classes.load(change.connection)
        key = _key(classes, class_id)
        if name in classes.names and classes.names.index(name) != class_id:
            raise UserError("class_name_taken", name=name, old=classes.names[class_id])
        change.said = {"old": classes.names[class_id], "new": name}
        change.save_classes()
        change.connection.execute("UPDATE classes SET name = ? WHERE id = ?", (name, key))
    return _latest(dataset, change)


def merge_classes(dataset: Dataset, class_ids: Iterable[int], into: int) -> Edit:
    """All objects, tags and pixels of `class_ids` become class `into`; the others' ids move up, so that there is no gap."""
    with _made(dataset, "classes_merged") as change:
        connection, classes = change.connection, Classes.load(change.connection)
        heir = _key(classes, into)
        gone = [_key(classes, class_id) for class_id in sorted(set(class_ids) - {into})]
        change.said = {"names": ", ".join(classes.names[classes.keys.index(key)] for key in gone), "into": classes.names[into]}
        _touch_classes(change, gone)
        marks = ",".join(map(str, [heir, *gone]))
        connection.execute(f"""INSERT OR REPLACE INTO content (class_id, image_id, objects, pixels)
            SELECT {heir}, c.image_id, CASE WHEN i.kind = 'objects' THEN sum(c.objects) ELSE max(c.objects) END, sum(c.pixels)
            FROM content c JOIN images i ON i.id = c.image_id WHERE c.class_id IN ({marks}) AND c.image_id IN (SELECT id FROM temp.touched)
            GROUP BY c.image_id""")
        _retire(change, classes, gone, "heir", heir)
    return _latest(dataset, change)


def delete_class(dataset: Dataset, class_id: int) -> Edit:
    """Its objects and tags go, its pixels become background, or nobody's without such a class. An image that loses its last object is empty."""
    with _made(dataset, "class_deleted") as change:
        connection, classes = change.connection, Classes.load(change.connection)
        key = _key(classes, class_id)
        ground = next((each for each, name in zip(classes.keys, classes.names, strict=True) if name == BACKGROUND and each != key), None)
        lost = connection.execute("SELECT coalesce(sum(objects), 0) FROM content WHERE class_id = ?", (key,)).fetchone()[0]
        change.said = {"name": classes.names[class_id], "objects": lost}
        _touch_classes(change, [key])
        connection.execute("""UPDATE images SET objects = images.objects - c.objects,
            state = CASE WHEN images.objects = c.objects THEN 'background' ELSE state END
            FROM content c WHERE c.class_id = ? AND c.image_id = images.id AND images.kind = 'objects'""", (key,))
        if ground is not None:
            connection.execute(f"""INSERT OR REPLACE INTO content (class_id, image_id, objects, pixels)
                SELECT {ground}, c.image_id, 1, sum(c.pixels) FROM content c JOIN images i ON i.id = c.image_id
                WHERE i.kind = 'mask' AND c.class_id IN ({ground}, {key}) AND c.image_id IN (SELECT id FROM temp.touched) GROUP BY c.image_id""")
        _retire(change, classes, [key], "ground", ground)
    return _latest(dataset, change)


def _touch_classes(change: journal.Change, keys: list[int]) -> None:
    """Images that show one of these classes. Tags may also deny a class, which `content` does not tell: all images with tags are taken."""
    marks = ",".join(map(str, keys)) or "NULL"
    change.touch_where(f"SELECT image_id FROM content WHERE class_id IN ({marks}) UNION SELECT id FROM images WHERE kind = 'tags' AND {bool(keys)}")
    change.save(content=True)
    change.save_classes()


def _retire(change: journal.Change, classes: Classes, keys: list[int], column: str, follower: int | None) -> None:
    """Takes classes out of the list; `column` says what becomes of their labels: "heir" or "ground"."""
    for key in keys:
        change.connection.execute("DELETE FROM content WHERE class_id = ?", (key,))
        change.connection.execute(f"UPDATE classes SET {column} = ? WHERE id = ?", (follower, key))
        change.ids_moved = True
    journal.order_classes(change.connection, [key for key in classes.keys if key not in keys])


def _key(classes: Classes, class_id: int) -> int:
    if not 0 <= class_id < len(classes.keys):
        raise UserError("class_unknown", id=class_id, count=len(classes.keys))
    return classes.keys[class_id]


# ---- images

def trash(dataset: Dataset, image_ids: Iterable[int]) -> Edit:
    """Takes images out of the set; their files stay until the trash is emptied."""
    return _set_column(dataset, "trashed", dict.fromkeys(image_ids, journal.now()), "trashed", "i.trashed IS NULL")


def restore(dataset: Dataset, image_ids: Iterable[int]) -> Edit:
    """Brings images back from the trash."""
    return _set_column(dataset, "restored", dict.fromkeys(image_ids, None), "trashed", "i.trashed IS NOT NULL")


def move(dataset: Dataset, image_ids: Iterable[int], split: str) -> Edit:
    """Moves images to another split."""
    return _set_column(dataset, "moved", dict.fromkeys(image_ids, _known_split(split)), "split", values={"split": split})


def assign_splits(dataset: Dataset, splits: Mapping[int, str]) -> Edit:
    """A split for each of these images."""
    for split in set(splits.values()):
        _known_split(split)
    return _set_column(dataset, "splits_assigned", splits, "split")


def set_groups(dataset: Dataset, groups: Mapping[int, str | None]) -> Edit:
    """The patient, video or folder that each of these images belongs to."""
    return _set_column(dataset, "groups_set", {image_id: group or None for image_id, group in groups.items()}, "grp")


def replace_labels(dataset: Dataset, labels: Mapping[int, Labels | None], action: str = "labels_replaced",
                   values: Mapping[str, Any] | None = None) -> Edit:
    """New labels for each of these images; None = nobody has looked at it. The old ones stay in the history of each image."""
    with _made(dataset, action, values) as change:
        classes = Classes.load(change.connection)
        for each in labels.values():
            check_classes(each, classes)
        _touch_known(dataset, change, labels)
        change.save(labels=True)
        for image_id, each in labels.items():
            keep_history(change.connection, image_id)
            rows.put_labels(change.connection, image_id, each, classes)
        labeling_tables.no_longer_checked(change.connection, labels)
    return _latest(dataset, change)


def _set_column(dataset: Dataset, action: str, wanted: Mapping[int, str | None], column: str, when: str = "", *,
                values: Mapping[str, Any] | None = None) -> Edit:
    """Sets `column` of each image to its value; images that have it already are not touched."""
    with _made(dataset, action, values) as change:
        _touch_known(dataset, change, wanted)
        connection = change.connection
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (id INTEGER PRIMARY KEY, value TEXT)")
        connection.execute("DELETE FROM temp.wanted")
        connection.executemany("INSERT INTO temp.wanted VALUES (?, ?)", ((int(image_id), value) for image_id, value in wanted.items()))
        change.touch_where(f"SELECT i.id FROM temp.wanted w JOIN images i ON i.id = w.id WHERE {when or f'i.{column} IS NOT w.value'}")
        change.save()
        connection.execute(f"""UPDATE images SET {column} = (SELECT value FROM temp.wanted w WHERE w.id = images.id)
            WHERE id IN (SELECT id FROM temp.touched)""")
        change.said = {"count": change.touched()}
    return _latest(dataset, change)


def _touch_known(dataset: Dataset, change: journal.Change, image_ids: Iterable[int]) -> None:
    """Raises UserError when one of the images is not there."""
    change.touch(image_ids)
    unknown = change.connection.execute("SELECT id FROM temp.touched WHERE id NOT IN (SELECT id FROM images) LIMIT 1").fetchone()
    if unknown is not None:
        raise UserError("image_unknown", id=unknown[0], name=dataset.id)


def _known_split(split: str) -> str:
    if split not in SPLITS:
        raise UserError("split_unknown", value=str(split)[:80], known=", ".join(SPLITS))
    return split


def empty_trash(dataset: Dataset) -> int:
    """Forgets the images in the trash for good and returns how many there were. Files that a version still needs stay."""
    from engine.datasets.versions import needed

    if journal.ongoing(dataset.folder) is not None:
        raise RuntimeError("files cannot be brought back: the trash is emptied between edits, not within one")
    with _made(dataset, "trash_emptied") as change:
        connection = change.connection
        change.touch_where("SELECT id FROM images WHERE trashed IS NOT NULL")
        found = connection.execute("SELECT id, file FROM images WHERE id IN (SELECT id FROM temp.touched)").fetchall()
        if not found:
            return 0
        change.undoable = False
        journal.close(connection, "id IN (SELECT edit_id FROM undo_images WHERE image_id IN (SELECT id FROM temp.touched))")
        connection.execute("DELETE FROM images WHERE id IN (SELECT id FROM temp.touched)")
        for table in (*BESIDE, *sorted(labeling_tables.present(connection))):
            connection.execute(f"DELETE FROM {table} WHERE image_id IN (SELECT id FROM temp.touched)")
        connection.execute("UPDATE edits SET undone = ?, images = ?, details = ? WHERE id = ?",
                           (journal.CLOSED, len(found), json.dumps({"count": len(found)}), change.edit_id))
        kept = needed(dataset, {file for _, file in found})
    for image_id, file in found:
        if file not in kept:
            with suppress(OSError, UserError):
                dataset.image_path(file).unlink()
        thumbnails.forget(dataset.folder, image_id)
    return len(found)


# ---- inside

@contextmanager
def _made(dataset: Dataset, action: str, values: Mapping[str, Any] | None = None) -> Iterator[journal.Change]:
    with journal.change(dataset, action, dict(values or {})) as change:
        yield change


def _latest(dataset: Dataset, change: journal.Change) -> Edit:
    """The entry that a change became; one without id when there was nothing to change."""
    with dataset.connection() as connection:
        return _find(connection, change.edit_id)


def _find(connection: sqlite3.Connection, edit_id: int) -> Edit:
    found = connection.execute("SELECT id, at, action, details, images, undone FROM edits WHERE id = ?", (edit_id,)).fetchone()
    return _edit_of(found) if found else Edit(0, journal.now(), "nothing", {}, 0, False, False)


def _edit_of(row: tuple[Any, ...]) -> Edit:
    number, at, action, details, images, undone = row
    return Edit(number, at, action, json.loads(details), images, undone == journal.UNDONE, undone == journal.OPEN)

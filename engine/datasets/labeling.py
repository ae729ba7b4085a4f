"""The labeling studio's side of a data set: one image to label, saving it, who looked at what and when.

Marks ("checked", "skipped", "accepted"), authors and suggestions stand in tables of their own beside the labels; a set that nobody labeled here
does not have them. An image's state is "unlabeled", "suggested", "labeled", "checked" or "skipped".
"""

from __future__ import annotations

import io
import json
import sqlite3
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from engine.datasets import labeling_suggested as suggested
from engine.datasets import labeling_tables as tables
from engine.datasets import store_journal
from engine.datasets.images import open_image, resize
from engine.datasets.labeling_derive import KINDS, derive
from engine.datasets.labeling_keys import by_keys, keys_of
from engine.datasets.labeling_queue import ORDERS, STATES, Queue, one_tag_each, progress, queue
from engine.datasets.labeling_shapes import KIND_OF_TASK, Document, document, kind_of, labels_of, parted, suggested_of, suggested_tags_of
from engine.datasets.labeling_suggested import Suggestion
from engine.datasets.store import Dataset, Row, epoch_of
from engine.datasets.store_classes import Classes
from engine.datasets.store_rows import state_of
from engine.types import Instances, Labels, UserError

__all__ = ["KINDS", "MARKS", "ORDERS", "STATES", "Mark", "Opened", "Queue", "Saved", "begin_with", "class_keys", "derive", "history", "mark_of",
           "one_tag_each", "opened", "picture", "progress", "queue", "save", "version"]
MARKS = ("checked", "skipped")
TASK_OF_KIND = {"objects": "detect", "tags": "classify", "mask": "semantic"}
LARGEST_SIDE, LOSSLESS_PIXELS = 6144, 300_000
LONGEST_WHO = 80


@dataclass(frozen=True)
class Mark:
    """What was said of an image, by whom ("" = not known) and when (UTC). `token` names the edit that made `revision`.

    "accepted": its suggestions became truth many at once, and no person has looked at it since.
    """

    mark: str | None = None
    who: str = ""
    at: str = ""
    revision: int = -1
    token: str = ""


@dataclass(frozen=True)
class Opened:
    """One image with everything that the canvas needs but its pixels.

    Suggestions stand in `document` as shapes with "state" "suggested" and a "score", those of tags as "suggested_tags". "suggested_at" says which
    suggestions they are: when it is sent back and a model has made new ones meanwhile, the new ones stay.
    """

    row: Row
    kind: str
    document: Document
    state: str
    mark: Mark
    source: str = ""


@dataclass(frozen=True)
class Saved:
    """What an image became: its revision, its state, and who did that when."""

    revision: int
    state: str
    mark: Mark


def opened(dataset: Dataset, image_id: int) -> Opened:
    """Raises UserError when there is no such image."""
    row = dataset.row(image_id)
    with dataset.connection() as connection:
        classes = Classes.load(connection)
        mark, suggestion = _mark_of(connection, image_id), suggested.read(connection, classes, image_id)
        derived = _derived_of(connection, image_id, row.revision)
    kind, content = kind_of(row.labels, dataset.task), document(row.labels, classes.names)
    if kind == "tags" and content["tags"] is None:
        content["tags"] = [None] * len(classes.names)
    for place in derived:
        if place < len(content["shapes"]):
            content["shapes"][place]["derived"] = True
    if suggestion.count:
        content["shapes"] += [] if kind == "tags" else suggestion.shapes
        content["suggested_at"] = suggestion.at
        if kind == "tags" and suggestion.tags is not None:
            content["suggested_tags"] = suggestion.tags
    return Opened(row, kind, content, _state(row.state, mark.mark, suggestion.count), mark, suggestion.source)


def begin_with(dataset: Dataset, kind: str) -> None:
    """Says what a set without labels is to be labeled with: "objects", "tags" or "mask".

    Suggestions of another kind are forgotten, and what a browser still holds of that kind is not taken. Raises UserError for another kind, and
    once something is labeled.
    """
    if kind not in TASK_OF_KIND:
        raise UserError("browse_unknown", value=str(kind)[:80], known=", ".join(TASK_OF_KIND))
    with dataset.transaction() as connection:
        run = connection.execute
        if kind_of(None, run("SELECT value FROM meta WHERE key = 'task'").fetchone()[0]) == kind:
            return
        if run("SELECT 1 FROM images WHERE state <> 'unlabeled' LIMIT 1").fetchone():
            raise UserError("label_kind_decided", name=dataset.name)
        run("UPDATE meta SET value = ? WHERE key = 'task'", (TASK_OF_KIND[kind],))
        run("UPDATE meta SET value = value + 1 WHERE key IN ('revision', 'class_epoch')")
        store_journal.close(connection, "id IN (SELECT edit_id FROM undo_images WHERE state <> 'unlabeled')", ())
        for table in {"suggestions", "suggested"} & tables.present(connection):
            run(f"DELETE FROM {table}")


def save(dataset: Dataset, image_id: int, sent: Any, *, expected: int, who: str = "", token: str = "", mark: str | None = None) -> Saved:
    """Stores the document that a browser sent: shapes that are still suggested among the suggestions, all others as truth.

    `expected` is the revision that was edited. Raises UserError "labels_changed" when somebody was faster, others for a document that is none.
    Without a document (None) only the mark changes. It is one transaction: all of it is kept, or nothing.
    """
    if mark is not None and mark not in MARKS:
        raise UserError("labels_unreadable", what="mark")
    size, kind, state, revision, classes = _facts(dataset, image_id)
    if expected != revision:  # before anything else: the ids of another list of classes mean nothing now
        raise UserError("labels_changed", id=image_id)
    made = Mark(mark, who[:LONGEST_WHO], store_journal.now(), revision, token[:64])
    if sent is None:
        return _save_mark(dataset, image_id, made, expected, state)
    kind, names = kind or KIND_OF_TASK.get(dataset.task, "objects"), classes.names
    sent = by_keys(sent, classes)
    truth, waiting = parted(sent)
    labels = labels_of(truth, kind, names, size)
    seen = sent.get("suggested_at") if isinstance(sent.get("suggested_at"), str) else None
    wanted = Suggestion(shapes=suggested_of(waiting, kind, names, size) if kind != "tags" else [],
                        tags=suggested_tags_of(sent.get("suggested_tags"), len(names)) if kind == "tags" else None)
    places = [place for place, each in enumerate(truth["shapes"]) if isinstance(each, dict) and each.get("derived") is True]
    left: list[int] = []

    def beside(connection: sqlite3.Connection, classes: Classes, number: int) -> None:
        left.append(_keep_suggestions(connection, classes, image_id, wanted, seen))
        _keep_derived(connection, image_id, number, places if isinstance(labels, Instances) else [])
        _say(connection, image_id, replace(made, revision=number), new=True)

    revision = dataset.set_labels(image_id, labels, expected=expected, beside=beside)
    return Saved(revision, _state(state_of(labels), mark, left[0]), replace(made, revision=revision))


def _save_mark(dataset: Dataset, image_id: int, made: Mark, expected: int, state: str) -> Saved:
    with dataset.transaction() as connection:
        found = connection.execute("SELECT revision FROM images WHERE id = ?", (image_id,)).fetchone()
        if found is None or found[0] + epoch_of(connection) != expected:
            raise UserError("labels_changed", id=image_id)
        _say(connection, image_id, replace(made, revision=expected))
        count = suggested.read(connection, Classes.load(connection), image_id).count
    return Saved(expected, _state(state, made.mark, count), replace(made, revision=expected))


def _say(connection: sqlite3.Connection, image_id: int, made: Mark, *, new: bool = False) -> None:
    """Keeps a mark; of a `new` revision also who made it. Labels that were checked are no longer suspicious."""
    suggested.keep_mark(connection, image_id, made.mark, made.who, made.revision, made.at, made.token, made=new)
    if made.mark == "checked" and "suspect_order" in tables.present(connection):
        connection.execute("DELETE FROM suspect_order WHERE image_id = ?", (image_id,))


def _keep_suggestions(connection: sqlite3.Connection, classes: Classes, image_id: int, wanted: Suggestion, seen: str | None) -> int:
    """How many suggestions an image has afterwards. Those of a model that the person has not seen yet stay."""
    kept = suggested.read(connection, classes, image_id)
    if seen is not None and kept.count and kept.at != seen:
        return kept.count
    if kept.count or wanted.count:
        suggested.write(connection, classes, image_id, replace(wanted, source=kept.source, at=kept.at))
    return wanted.count


def _keep_derived(connection: sqlite3.Connection, image_id: int, revision: int, places: list[int]) -> None:
    """Which objects of this revision were filled in and not made by a person."""
    if places:
        tables.create(connection, "derived")
        connection.execute("INSERT OR REPLACE INTO derived VALUES (?,?,?)", (image_id, revision, json.dumps(places)))


def _derived_of(connection: sqlite3.Connection, image_id: int, revision: int) -> list[int]:
    if "derived" not in tables.present(connection):
        return []
    found = connection.execute("SELECT objects FROM derived WHERE image_id = ? AND revision = ?", (image_id, revision)).fetchone()
    return [place for place in json.loads(found[0]) if type(place) is int and place >= 0] if found else []


def _facts(dataset: Dataset, image_id: int) -> tuple[tuple[int, int], str | None, str, int, Classes]:
    """(size, kind of labels, stored state, revision) of an image, without reading its labels, and the classes of the set."""
    with dataset.connection() as connection:
        found = connection.execute("SELECT width, height, kind, state, revision FROM images WHERE id = ?", (image_id,)).fetchone()
        if found is None:
            raise UserError("image_unknown", id=image_id, name=dataset.id)
        return (found[0], found[1]), found[2], found[3], found[4] + epoch_of(connection), Classes.load(connection)


def class_keys(dataset: Dataset) -> list[list[int]]:
    """For each class the keys under which documents may name it: its own first, then those of classes that were merged into it."""
    with dataset.connection() as connection:
        return keys_of(Classes.load(connection))


def version(dataset: Dataset, image_id: int, revision: int) -> Document:
    """The document that the image had at `revision`. Raises UserError when the history does not hold it."""
    found = [labels for number, _, labels in dataset.history(image_id) if number == revision]
    if not found:
        raise UserError("label_version_unknown", id=revision)
    return document(found[-1], dataset.classes)


def history(dataset: Dataset, image_id: int, limit: int = 50) -> list[tuple[int, str, str, Labels | None]]:
    """(revision, UTC time of the edit that ended it, who made that edit, labels until then), newest first."""
    with dataset.connection() as connection:
        known = "authors" in tables.present(connection)
        who = dict(connection.execute("SELECT revision, who FROM authors WHERE image_id = ?", (image_id,))) if known else {}
    return [(revision, at, who.get(revision + 1, ""), labels) for revision, at, labels in reversed(dataset.history(image_id)[-limit:])]


def mark_of(dataset: Dataset, image_id: int) -> Mark:
    with dataset.connection() as connection:
        return _mark_of(connection, image_id)


def _mark_of(connection: sqlite3.Connection, image_id: int) -> Mark:
    if "marks" not in tables.present(connection):
        return Mark()
    found = connection.execute("SELECT mark, who, at, revision, token FROM marks WHERE image_id = ?", (image_id,)).fetchone()
    return Mark(*found) if found else Mark()


def _state(stored: str, mark: str | None, suggestions: int = 0) -> str:
    """As labeling_queue.STATE, for one image."""
    if mark == "skipped" or (mark == "checked" and stored in ("labeled", "background")):
        return mark
    if stored == "background":
        return "labeled"
    return "suggested" if stored == "unlabeled" and suggestions else stored


# ---- pixels

def picture(dataset: Dataset, image_id: int, largest: int = LARGEST_SIDE) -> tuple[str, bytes]:
    """(mime type, encoded pixels) of an image as people see it, at most `largest` pixels wide and high. Raises UserError."""
    pixels = open_image(dataset.path(image_id))
    longest = max(pixels.shape[:2])
    if longest > largest:
        pixels = resize(pixels, (max(1, round(pixels.shape[1] * largest / longest)), max(1, round(pixels.shape[0] * largest / longest))))
    buffer = io.BytesIO()
    if pixels.shape[0] * pixels.shape[1] <= LOSSLESS_PIXELS:
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        return "image/png", buffer.getvalue()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return "image/jpeg", buffer.getvalue()

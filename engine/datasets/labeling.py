"""The labeling studio's side of a data set: one image to label, saving it, the order of work, who looked at what and when.

Marks ("checked", "skipped") and authors stand in two tables of their own beside the labels; a set that nobody labeled here does not have them.
An image's state is "unlabeled", "suggested", "labeled", "checked" or "skipped".
"""

from __future__ import annotations

import io
import sqlite3
from dataclasses import dataclass
from typing import Any

from PIL import Image

from engine.datasets import store_journal, store_query
from engine.datasets.images import open_image, resize
from engine.datasets.labeling_shapes import KIND_OF_TASK, Document, document, kind_of, labels_of
from engine.datasets.store import Dataset, Row, epoch_of
from engine.datasets.store_classes import Classes
from engine.datasets.store_rows import state_of
from engine.types import Labels, UserError

STATES = ("unlabeled", "suggested", "labeled", "checked", "skipped")
MARKS = ("checked", "skipped")
TABLES = (
    """CREATE TABLE IF NOT EXISTS marks (image_id INTEGER PRIMARY KEY, mark TEXT, who TEXT NOT NULL, at TEXT NOT NULL, revision INTEGER NOT NULL,
        token TEXT NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS authors (image_id INTEGER NOT NULL, revision INTEGER NOT NULL, who TEXT NOT NULL, PRIMARY KEY (image_id, revision))",
)
NO_MARKS = "(SELECT NULL AS image_id, NULL AS mark)"
# A mark stands on top of what the labels say: only labels that a person made or accepted can be checked.
STATE = """CASE WHEN m.mark = 'skipped' THEN 'skipped' WHEN m.mark = 'checked' AND i.state IN ('labeled', 'background') THEN 'checked'
    WHEN i.state = 'background' THEN 'labeled' ELSE i.state END"""
LARGEST_SIDE, LOSSLESS_PIXELS = 6144, 300_000
LONGEST_WHO = 80


@dataclass(frozen=True)
class Mark:
    """What a person said of an image, who that was ("" = not known) and when (UTC). `token` names the edit that made `revision`."""

    mark: str | None = None
    who: str = ""
    at: str = ""
    revision: int = -1
    token: str = ""


@dataclass(frozen=True)
class Queue:
    """A stretch of the order of work: (id, state) of images, the place of the first one, and how many there are in all."""

    images: list[tuple[int, str]]
    start: int
    total: int


@dataclass(frozen=True)
class Opened:
    """One image with everything that the canvas needs but its pixels."""

    row: Row
    kind: str
    document: Document
    state: str
    mark: Mark


@dataclass(frozen=True)
class Saved:
    """What an image became: its revision, its state, and who did that when."""

    revision: int
    state: str
    mark: Mark


def opened(dataset: Dataset, image_id: int) -> Opened:
    """Raises UserError when there is no such image."""
    row = dataset.row(image_id)
    mark, kind, classes = mark_of(dataset, image_id), kind_of(row.labels, dataset.task), dataset.classes
    content = document(row.labels, classes)
    if kind == "tags" and content["tags"] is None:
        content["tags"] = [None] * len(classes)
    return Opened(row, kind, content, _state(row.state, mark.mark), mark)


def save(dataset: Dataset, image_id: int, sent: Any, *, expected: int, who: str = "", token: str = "", mark: str | None = None) -> Saved:
    """Stores the document that a browser sent.

    `expected` is the revision that was edited. Raises UserError "labels_changed" when somebody was faster, others for a document that is none.
    Without a document (None) only the mark changes.
    """
    if mark is not None and mark not in MARKS:
        raise UserError("labels_unreadable", what="mark")
    size, kind, state, revision = _facts(dataset, image_id)
    if sent is not None:
        labels = labels_of(sent, kind or KIND_OF_TASK.get(dataset.task, "objects"), dataset.classes, size)
        revision, state = dataset.set_labels(image_id, labels, expected=expected), state_of(labels)
    elif revision != expected:
        raise UserError("labels_changed", id=image_id)
    made = Mark(mark, who[:LONGEST_WHO], store_journal.now(), revision, token[:64])
    _keep_mark(dataset, image_id, made)
    return Saved(revision, _state(state, mark), made)


def _facts(dataset: Dataset, image_id: int) -> tuple[tuple[int, int], str | None, str, int]:
    """(size, kind of labels, stored state, revision) of an image, without reading its labels."""
    with dataset.connection() as connection:
        found = connection.execute("SELECT width, height, kind, state, revision FROM images WHERE id = ?", (image_id,)).fetchone()
        if found is None:
            raise UserError("image_unknown", id=image_id, name=dataset.id)
        return (found[0], found[1]), found[2], found[3], found[4] + epoch_of(connection)


def version(dataset: Dataset, image_id: int, revision: int) -> Document:
    """The document that the image had at `revision`. Raises UserError when the history does not hold it."""
    found = [labels for number, _, labels in dataset.history(image_id) if number == revision]
    if not found:
        raise UserError("label_version_unknown", id=revision)
    return document(found[-1], dataset.classes)


def history(dataset: Dataset, image_id: int, limit: int = 50) -> list[tuple[int, str, str, Labels | None]]:
    """(revision, UTC time of the edit that ended it, who made that edit, labels until then), newest first."""
    with dataset.connection() as connection:
        known = _has_tables(connection)
        who = dict(connection.execute("SELECT revision, who FROM authors WHERE image_id = ?", (image_id,))) if known else {}
    return [(revision, at, who.get(revision + 1, ""), labels) for revision, at, labels in reversed(dataset.history(image_id)[-limit:])]


def mark_of(dataset: Dataset, image_id: int) -> Mark:
    with dataset.connection() as connection:
        if not _has_tables(connection):
            return Mark()
        found = connection.execute("SELECT mark, who, at, revision, token FROM marks WHERE image_id = ?", (image_id,)).fetchone()
    return Mark(*found) if found else Mark()


def _keep_mark(dataset: Dataset, image_id: int, mark: Mark) -> None:
    with dataset.transaction() as connection:
        for table in TABLES:
            connection.execute(table)
        connection.execute("""INSERT INTO marks (image_id, mark, who, at, revision, token) VALUES (?,?,?,?,?,?)
            ON CONFLICT (image_id) DO UPDATE SET mark = excluded.mark, who = excluded.who, at = excluded.at, revision = excluded.revision,
            token = excluded.token WHERE excluded.revision >= marks.revision""", (image_id, mark.mark, mark.who, mark.at, mark.revision, mark.token))
        connection.execute("INSERT OR REPLACE INTO authors VALUES (?,?,?)", (image_id, mark.revision, mark.who))


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'marks'").fetchone() is not None


def _state(stored: str, mark: str | None) -> str:
    """As STATE, for one image."""
    if mark == "skipped" or (mark == "checked" and stored in ("labeled", "background")):
        return mark
    return "labeled" if stored == "background" else stored


# ---- the order of work

def queue(dataset: Dataset, around: int = 0, *, before: int = 30, after: int = 60, state: str | None = None, **filters: Any) -> Queue:
    """The images that fit, `before` of them ahead of the image `around` and `after` from it on. Filters as in Dataset.page, and `state`."""
    with dataset.connection() as connection:
        source, values = _source(connection, state, filters)
        picked = f"SELECT i.id, {STATE} {source}"
        ahead = connection.execute(f"{picked} AND i.id < ? ORDER BY i.id DESC LIMIT ?", (*values, around, before)).fetchall()
        rest = connection.execute(f"{picked} AND i.id >= ? ORDER BY i.id LIMIT ?", (*values, around, after)).fetchall()
        total = connection.execute(f"SELECT count(*) {source}", values).fetchone()[0]
        place = connection.execute(f"SELECT count(*) {source} AND i.id < ?", (*values, around)).fetchone()[0]
    return Queue([*reversed(ahead), *rest], place - len(ahead), total)


def progress(dataset: Dataset) -> dict[str, int]:
    """How many images are in each state; those in the trash do not count."""
    with dataset.connection() as connection:
        source, values = _source(connection, None, {})
        found = dict(connection.execute(f"SELECT {STATE} AS shown, count(*) {source} GROUP BY shown", values))
    return {state: found.get(state, 0) for state in STATES}


def _source(connection: sqlite3.Connection, state: str | None, filters: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """FROM and WHERE of the images that fit."""
    if state and state not in STATES:
        raise UserError("browse_unknown", value=str(state)[:80], known=", ".join(STATES))
    where, values = store_query._where(Classes.load(connection), store_query.Filters(**filters))
    where = where.replace("images.id", "i.id")
    marks = "marks" if _has_tables(connection) else NO_MARKS
    return (f"FROM images i LEFT JOIN {marks} m ON m.image_id = i.id {where}" + (f" AND ({STATE}) = ?" if state else ""),
            (*values, state) if state else values)


def one_tag_each(dataset: Dataset) -> bool:
    """Whether no image of the set shows more than one class: then choosing a tag takes the others away."""
    with dataset.connection() as connection:
        several = connection.execute("""SELECT 1 FROM content c JOIN images i ON i.id = c.image_id WHERE i.kind = 'tags'
            GROUP BY c.image_id HAVING count(*) > 1 LIMIT 1""").fetchone()
        return several is None


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

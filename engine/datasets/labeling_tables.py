"""The tables that stand beside the labels of a stored set: who looked, what a model suggests, what is worth looking at first.

Every one is optional: sets that nobody labeled here lack them. Classes stand in them by key, so edits of classes cannot falsify them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

# `count` is how many shapes and tags an image is suggested to have; `suggested` tells of which classes they are. `place` is the order of work.
# `suspect_order` and `rarity` are orders of images, as `ranks` is: a place for each. `derived`: the places (JSON) of
# the objects that were filled in, as long as the image still has this revision.
TABLES = {
    "marks": "image_id INTEGER PRIMARY KEY, mark TEXT, who TEXT NOT NULL, at TEXT NOT NULL, revision INTEGER NOT NULL, token TEXT NOT NULL",
    "authors": "image_id INTEGER NOT NULL, revision INTEGER NOT NULL, who TEXT NOT NULL, PRIMARY KEY (image_id, revision)",
    "suggestions": "image_id INTEGER PRIMARY KEY, source TEXT NOT NULL, at TEXT NOT NULL, count INTEGER NOT NULL, document TEXT NOT NULL",
    "suggested": "class_id INTEGER NOT NULL, image_id INTEGER NOT NULL, PRIMARY KEY (class_id, image_id)",
    "ranks": """image_id INTEGER PRIMARY KEY, place INTEGER NOT NULL, uncertainty REAL NOT NULL, reason TEXT NOT NULL, source TEXT NOT NULL,
        at TEXT NOT NULL""",
    "suspects": """number INTEGER PRIMARY KEY, image_id INTEGER NOT NULL, kind TEXT NOT NULL, score REAL NOT NULL, x1 REAL, y1 REAL, x2 REAL, y2 REAL,
        class_id INTEGER NOT NULL, other_id INTEGER, source TEXT NOT NULL, at TEXT NOT NULL""",
    "suspect_order": "image_id INTEGER PRIMARY KEY, place INTEGER NOT NULL",
    "rarity": "image_id INTEGER PRIMARY KEY, place INTEGER NOT NULL",
    "derived": "image_id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, objects TEXT NOT NULL",
}
WITHOUT_ROWID = frozenset(("suggested",))
INDEXES = {
    "suggestions": ("suggestions_light ON suggestions (image_id, count)",),  # the state of an image, without reading a document
    "suggested": ("suggested_image ON suggested (image_id, class_id)",),
    "ranks": ("ranks_place ON ranks (place, image_id)",),
    "suspects": ("suspects_image ON suspects (image_id)",),
    "suspect_order": ("suspect_order_place ON suspect_order (place, image_id)",),
    "rarity": ("rarity_place ON rarity (place, image_id)",),
}


def present(connection: sqlite3.Connection) -> set[str]:
    """The names of those tables that the set has."""
    return {name for name, in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if name in TABLES}


def create(connection: sqlite3.Connection, *names: str) -> None:
    """Makes those of these tables that are not there yet."""
    missing = [name for name in names if name not in present(connection)]
    for name in missing:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({TABLES[name]}){' WITHOUT ROWID' if name in WITHOUT_ROWID else ''}")
        for index in INDEXES.get(name, ()):
            connection.execute(f"CREATE INDEX IF NOT EXISTS {index}")


def no_longer_checked(connection: sqlite3.Connection, image_ids: Iterable[int]) -> None:
    """What a person has checked was other labels than these images have now."""
    if "marks" in present(connection):
        connection.execute("UPDATE marks SET mark = NULL WHERE mark = 'checked' AND image_id IN (SELECT value FROM json_each(?))",
                           (json.dumps([int(each) for each in image_ids]),))


def marks_of(known: Iterable[str]) -> str:
    """What stands in FROM for the marks of images."""
    return "marks" if "marks" in known else "(SELECT NULL AS image_id, NULL AS mark)"


def suggestions_of(known: Iterable[str], alias: str) -> str:
    """What stands in FROM, under this alias, for the number of suggestions of images."""
    return f"suggestions {alias} INDEXED BY suggestions_light" if "suggestions" in known else f"(SELECT NULL AS image_id, 0 AS count) {alias}"

"""The order of work in a data set: which images come next, what state they are in, and how many of each there are."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace
from typing import Any

from engine.datasets import labeling_tables as tables
from engine.datasets import store_query
from engine.datasets.store import Dataset
from engine.datasets.store_classes import Classes
from engine.types import UserError

STATES = ("unlabeled", "suggested", "labeled", "checked", "skipped")
ORDERS = ("id", "uncertain", "suspect", "rare")
# A mark stands on top of what the labels say: only labels that a person made or accepted can be checked.
STATE = """CASE WHEN m.mark = 'skipped' THEN 'skipped' WHEN m.mark = 'checked' AND i.state IN ('labeled', 'background') THEN 'checked'
    WHEN i.state = 'background' THEN 'labeled' WHEN i.state = 'unlabeled' AND s.count > 0 THEN 'suggested' ELSE i.state END"""
TABLE_OF = {"uncertain": "ranks", "suspect": "suspect_order", "rare": "rarity"}
STORED = {"unlabeled": "i.state = 'unlabeled'", "suggested": "i.state IN ('suggested', 'unlabeled')",
          "labeled": "i.state IN ('labeled', 'background')"}  # what such images have in their own row
SAID = "mark IN ('skipped', 'checked')"
LAST = 2**62
PLACED = "AND i.id = o.image_id"


@dataclass(frozen=True)
class Queue:
    """A stretch of the order of work: (id, state) of images, the place of the first one, and how many there are in all."""

    images: list[tuple[int, str]]
    start: int
    total: int


def queue(dataset: Dataset, around: int = 0, *, before: int = 30, after: int = 60, order: str = "id", state: str | None = None,
          cls: int | None = None, text: str | None = None, unseen: bool = False, **filters: Any) -> Queue:
    """The images that fit, `before` of them ahead of the image `around` and `after` from it on; from the first one when there is no such image.

    `order`: "id"; "uncertain", as they were ranked; "suspect", the most suspicious labels first, without checked images; "rare", by the rarest
    class that an image shows or is suggested to show. Images without a value come last, by id. Filters: `state` is one of STATES, `cls` a
    class that is there or suggested, `text` a part of the name, `unseen` those whose labels were accepted and not looked at; others as in
    Dataset.page. Raises UserError for an order or filter that is none.
    """
    if order not in ORDERS:
        raise UserError("browse_unknown", value=str(order)[:80], known=", ".join(ORDERS))
    if order == "rare":
        _refresh_rarity(dataset)
    with dataset.connection() as connection:
        known = tables.present(connection)
        fitting = _fitting(connection, known, state, cls, {**filters, **({"search": text} if text else {})})
        if unseen:
            accepted = f"i.id IN (SELECT image_id FROM {tables.marks_of(known)} WHERE mark = 'accepted')"
            fitting = replace(fitting, where=f"{fitting.where} AND {accepted}")
        table = TABLE_OF.get(order)
        found = _Walk(connection, fitting, table if table in known else None)
        ids, start, total = found.window(around, before, after)
        return Queue(found.with_states(ids, known), start, total)


@dataclass(frozen=True)
class _Fitting:
    """FROM (without the word) and WHERE of the images that fit, as `i`."""

    tables: str
    where: str
    values: tuple[Any, ...]


class _Walk:
    """Images in an order: those with a place in `table` first, by place and id, then all others by id. Indexes answer everything."""

    def __init__(self, connection: sqlite3.Connection, fitting: _Fitting, table: str | None) -> None:
        self.connection, self.fitting, self.table = connection, fitting, table

    def count(self, more: str = "", values: tuple[Any, ...] = (), *, placed: bool = False) -> int:
        joined = f"{self.fitting.tables} CROSS JOIN {self.table} o" if placed else self.fitting.tables  # in the order of ids: neighbours lie together
        found = self.connection.execute(f"SELECT count(*) FROM {joined} {self.fitting.where} {more}", (*self.fitting.values, *values))
        return found.fetchone()[0]

    def window(self, around: int, before: int, after: int) -> tuple[list[int], int, int]:
        """`before` ids ahead of `around` and `after` from it on, the place of the first of them, and how many fit in all."""
        if self.table is not None:
            return *self._placed_window(around, before, after), self.count()
        ahead = self._by_id("AND i.id < ?", around, before, down=True)
        total, here = self.connection.execute(f"SELECT count(*), coalesce(sum(i.id < ?), 0) FROM {self.fitting.tables} {self.fitting.where}",
                                              (around, *self.fitting.values)).fetchone()
        return [*reversed(ahead), *self._by_id("AND i.id >= ?", around, after)], here - len(ahead), total

    def _placed_window(self, around: int, before: int, after: int) -> tuple[list[int], int]:
        known = self.connection.execute("SELECT 1 FROM images WHERE id = ?", (around,)).fetchone() is not None
        own = self.connection.execute(f"SELECT place FROM {self.table} WHERE image_id = ?", (around,)).fetchone()
        if own is None and known:
            ahead = self._by_id(f"AND i.id < ? AND {self._unplaced}", around, before, down=True)
            here = self._placed_before((LAST, 0)) + self.count(f"AND i.id < ? AND {self._unplaced}", (around,))
            if len(ahead) < before:
                ahead += self._by_place("", (), before - len(ahead), down=True)
            return [*reversed(ahead), *self._by_id(f"AND i.id >= ? AND {self._unplaced}", around, after)], here - len(ahead)
        key = (own[0], around) if own is not None else (-1, 0)
        ahead = self._by_place("AND (o.place, o.image_id) < (?, ?)", key, before, down=True)
        rest = self._by_place("AND (o.place, o.image_id) >= (?, ?)", key, after)
        if len(rest) < after:
            rest += self._by_id(f"AND i.id >= ? AND {self._unplaced}", 0, after - len(rest))
        if own is None:
            return rest, 0
        return [*reversed(ahead), *rest], self._placed_before(key) - len(ahead)

    def _placed_before(self, key: tuple[int, int]) -> int:
        before = "AND (o.place, o.image_id) < (?, ?)"
        if self.fitting.where != "WHERE trashed IS NULL":
            return self.count(f"{PLACED} {before}", key, placed=True)
        run = self.connection.execute  # of all images an index knows it, but for the few in the trash
        trashed = run(f"SELECT count(*) FROM images i CROSS JOIN {self.table} o WHERE trashed IS NOT NULL {PLACED} {before}", key).fetchone()[0]
        return run(f"SELECT count(*) FROM {self.table} o WHERE 1 {before}", key).fetchone()[0] - trashed

    @property
    def _unplaced(self) -> str:
        return f"NOT EXISTS (SELECT 1 FROM {self.table} o WHERE o.image_id = i.id)"

    def _by_id(self, more: str, around: int, limit: int, *, down: bool = False) -> list[int]:
        found = self.connection.execute(f"""SELECT i.id FROM {self.fitting.tables} {self.fitting.where} {more}
            ORDER BY i.id {"DESC" if down else ""} LIMIT ?""", (*self.fitting.values, around, limit))
        return [each for each, in found]

    def _by_place(self, more: str, key: tuple[int, ...], limit: int, *, down: bool = False) -> list[int]:
        way = "DESC" if down else ""
        found = self.connection.execute(f"""SELECT i.id FROM {self.table} o CROSS JOIN {self.fitting.tables} {self.fitting.where} {PLACED} {more}
            ORDER BY o.place {way}, o.image_id {way} LIMIT ?""", (*self.fitting.values, *key, limit))
        return [each for each, in found]

    def with_states(self, ids: list[int], known: set[str]) -> list[tuple[int, str]]:
        chosen = "i.id IN (SELECT value FROM json_each(?))"
        states = dict(self.connection.execute(f"SELECT i.id, {STATE} FROM {_with_marks(known)} WHERE {chosen}", (json.dumps(ids),)))
        return [(each, states[each]) for each in ids]


def ids_in(dataset: Dataset, *states: str) -> list[int]:
    """The ids of all images in one of these states, ascending."""
    with dataset.connection() as connection:
        known, found = tables.present(connection), []
        for state in states:
            fitting = _fitting(connection, known, state, None, {})
            found += [each for each, in connection.execute(f"SELECT i.id FROM {fitting.tables} {fitting.where}", fitting.values)]
    return sorted(found)


def progress(dataset: Dataset) -> dict[str, int]:
    """How many images are in each state; those in the trash do not count."""
    with dataset.connection() as connection:
        known = tables.present(connection)
        counts = dict.fromkeys(STATES, 0)
        for state, images in connection.execute("SELECT state, count(*) FROM images WHERE trashed IS NULL GROUP BY state").fetchall():
            counts["labeled" if state == "background" else state] += images
        plain = "CASE WHEN i.state = 'background' THEN 'labeled' ELSE i.state END"
        for table in {"marks", "suggestions"} & known:  # only these images may be in another state than their labels say
            light = "marks" if table == "marks" else "suggestions INDEXED BY suggestions_light"
            chosen = SAID if table == "marks" else "count > 0"
            rest = f"AND i.id NOT IN (SELECT image_id FROM marks WHERE {SAID})" if table == "suggestions" and "marks" in known else ""
            moved = connection.execute(f"""SELECT before, now, count(*) FROM (SELECT {plain} AS before, {STATE} AS now
                FROM (SELECT image_id FROM {light} WHERE {chosen}) c CROSS JOIN {_with_marks(known)}
                WHERE i.id = c.image_id AND i.trashed IS NULL {rest}) GROUP BY before, now""")
            for before, now, images in moved.fetchall():
                counts[before] -= images
                counts[now] += images
    return counts


def _with_marks(known: set[str]) -> str:
    """FROM, without the word, that STATE needs."""
    return (f"images i LEFT JOIN {tables.marks_of(known)} m ON m.image_id = i.id "
            f"LEFT JOIN {tables.suggestions_of(known, 's')} ON s.image_id = i.id")


def _fitting(connection: sqlite3.Connection, known: set[str], state: str | None, cls: int | None, filters: dict[str, Any]) -> _Fitting:
    """Marks and suggestions are joined only where the state is asked for."""
    if state and state not in STATES:
        raise UserError("browse_unknown", value=str(state)[:80], known=", ".join(STATES))
    classes = Classes.load(connection)
    where, values = store_query.where_of(classes, store_query.Filters(**filters))
    where = where.replace("images.id", "i.id")
    if cls is not None:
        key = classes.keys[cls] if type(cls) is int and 0 <= cls < len(classes.keys) else -1
        shown = ["content", *({"suggested"} & known)]
        either = " OR ".join(f"i.id IN (SELECT image_id FROM {table} WHERE class_id = ?)" for table in shown)
        where, values = f"{where} AND ({either})", (*values, *[key] * len(shown))
    if state:
        said = f"i.id IN (SELECT image_id FROM {tables.marks_of(known)} WHERE mark = '{state}')"  # few have such a mark
        where, values = f"{where} AND {STORED.get(state, said)} AND ({STATE}) = ?", (*values, state)
    return _Fitting(_with_marks(known) if state else "images i", where, values)


def one_tag_each(dataset: Dataset) -> bool:
    """Whether no image of the set shows more than one class: then choosing a tag takes the others away."""
    with dataset.connection() as connection:
        several = connection.execute("""SELECT 1 FROM content c JOIN images i ON i.id = c.image_id WHERE i.kind = 'tags'
            GROUP BY c.image_id HAVING count(*) > 1 LIMIT 1""").fetchone()
        return several is None


# ---- rarity

RARITY = """SELECT image_id, min(images) AS place FROM shown JOIN (SELECT class_id, count(*) AS images FROM shown GROUP BY class_id)
    USING (class_id) GROUP BY image_id"""


def _refresh_rarity(dataset: Dataset) -> None:
    """How many images show the rarest class of each, counted anew once the set or its suggestions have grown by a twentieth, or shrunk.

    In between the order stays: images do not change their places under a person's hands.
    """
    if dataset.readonly:
        return
    with dataset.connection() as connection:
        known = tables.present(connection)
        size = _shown_size(connection, known)
        kept = connection.execute("SELECT value FROM meta WHERE key = 'rarity'").fetchone()
    if "rarity" in known and kept is not None and 0.95 * size <= int(kept[0]) <= size:
        return
    with dataset.transaction() as connection:
        tables.create(connection, "rarity")
        every = "SELECT class_id, image_id FROM content" + (" UNION SELECT class_id, image_id FROM suggested" if "suggested" in known else "")
        connection.execute("DELETE FROM rarity")
        connection.execute(f"WITH shown AS MATERIALIZED ({every}) INSERT INTO rarity (image_id, place) {RARITY}")
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('rarity', ?)", (str(size),))


def _shown_size(connection: sqlite3.Connection, known: set[str]) -> int:
    rows = connection.execute("SELECT count(*) FROM content").fetchone()[0]
    return rows + (connection.execute("SELECT count(*) FROM suggested").fetchone()[0] if "suggested" in known else 0)

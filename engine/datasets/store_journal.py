"""One edit in the making, and the way back: what it changes is copied first, by SQL alone, and put back in one transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine import messages
from engine.types import UserError

if TYPE_CHECKING:
    from engine.datasets.store import Dataset

KEPT_EDITS = 50
OPEN, UNDONE, CLOSED = range(3)
LIGHT = "split, grp, state, revision, objects, trashed"
SHAPES = "id, image_id, class_id, x1, y1, x2, y2, score, crowd, outline"
CONTENT = "class_id, image_id, objects, pixels"
UNDO_TABLES = ("undo_images", "undo_shapes", "undo_content", "undo_classes")
_ongoing: ContextVar[dict[str, Change]] = ContextVar("ongoing changes")


@dataclass
class Change:
    """An edit while its transaction is open. Call `save` before rows are changed."""

    connection: sqlite3.Connection
    edit_id: int
    ids_moved: bool = False
    undoable: bool = True
    said: dict[str, Any] = field(default_factory=dict)

    def touch(self, image_ids: Iterable[int]) -> None:
        """Makes `touched` the temporary table of these images; the statements below speak of it."""
        self.touch_where("SELECT value FROM json_each(?)", (json.dumps([int(image_id) for image_id in image_ids]),))

    def touch_where(self, select: str, values: tuple[Any, ...] = ()) -> None:
        self.connection.execute("CREATE TEMP TABLE IF NOT EXISTS touched (id INTEGER PRIMARY KEY)")
        self.connection.execute("DELETE FROM temp.touched")
        self.connection.execute(f"INSERT OR IGNORE INTO temp.touched {select}", values)

    def touched(self) -> int:
        return self.connection.execute("SELECT count(*) FROM temp.touched").fetchone()[0]

    def save(self, *, labels: bool = False, content: bool = False) -> None:
        """Copies the rows of the touched images, with `labels` their labels too, with `content` only what they show. What is saved once stays."""
        run, number = self.connection.execute, (self.edit_id,)
        run(f"""INSERT OR IGNORE INTO undo_images (edit_id, image_id, {LIGHT})
            SELECT ?, id, {LIGHT} FROM images WHERE id IN (SELECT id FROM temp.touched)""", number)
        if labels or content:
            level = 2 if labels else 1
            news = f"SELECT image_id FROM undo_images WHERE edit_id = {int(self.edit_id)} AND image_id IN (SELECT id FROM temp.touched)"
            run(f"""INSERT INTO undo_content (edit_id, {CONTENT}) SELECT ?, {CONTENT} FROM content
                WHERE image_id IN ({news} AND whole = 0)""", number)
            if labels:
                run(f"INSERT INTO undo_shapes (edit_id, {SHAPES}) SELECT ?, {SHAPES} FROM shapes WHERE image_id IN ({news} AND whole < 2)", number)
                run("""UPDATE undo_images SET (kind, extra) = (SELECT kind, extra FROM images WHERE images.id = image_id)
                    WHERE edit_id = ? AND whole < 2 AND image_id IN (SELECT id FROM temp.touched)""", number)
            run(f"""UPDATE undo_images SET whole = {level} WHERE edit_id = ? AND whole < {level}
                AND image_id IN (SELECT id FROM temp.touched)""", number)

    def save_classes(self) -> None:
        """Copies the list of classes; `finish` keeps of it what has changed."""
        known = self.connection.execute("SELECT 1 FROM undo_classes WHERE edit_id = ?", (self.edit_id,)).fetchone()
        if known is None:
            self.connection.execute("""INSERT INTO undo_classes (edit_id, id, name, place, heir, ground)
                SELECT ?, id, name, place, heir, ground FROM classes""", (self.edit_id,))

    def finish(self) -> None:
        """Counts what was touched, gives it new revisions, and forgets what is too old to be undone."""
        run, number = self.connection.execute, (self.edit_id,)
        run("""DELETE FROM undo_classes WHERE edit_id = ? AND EXISTS (SELECT 1 FROM classes c WHERE c.id = undo_classes.id
            AND c.name = undo_classes.name AND (c.place IS NULL) = (undo_classes.place IS NULL))""", number)
        run("""UPDATE undo_classes SET name_after = c.name, gone_after = c.place IS NULL FROM classes c
            WHERE c.id = undo_classes.id AND edit_id = ?""", number)
        run("UPDATE images SET revision = revision + 1 WHERE id IN (SELECT image_id FROM undo_images WHERE edit_id = ?)", number)
        run("UPDATE undo_images SET after = (SELECT revision FROM images i WHERE i.id = image_id) WHERE edit_id = ?", number)
        images = run("SELECT count(*) FROM undo_images WHERE edit_id = ?", number).fetchone()[0]
        classes = run("SELECT count(*) FROM undo_classes WHERE edit_id = ?", number).fetchone()[0]
        if not images and not classes and self.undoable:
            run("DELETE FROM edits WHERE id = ?", number)
            return
        run("UPDATE edits SET images = max(images, ?) WHERE id = ?", (images, self.edit_id))
        run("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
        if self.ids_moved:
            run("UPDATE meta SET value = value + 1 WHERE key = 'class_epoch'")
        close(self.connection, "id <= (SELECT id FROM edits WHERE undone = 0 ORDER BY id DESC LIMIT 1 OFFSET ?)", (KEPT_EDITS,))


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def ongoing(folder: object) -> Change | None:
    """The change that this thread is making to the data set in `folder`."""
    return _ongoing.get({}).get(str(folder))


@contextmanager
def change(dataset: Dataset, action: str, values: dict[str, Any]) -> Iterator[Change]:
    """A transaction that becomes one entry of the journal. Within another one of the same data set it is a part of that."""
    outer = ongoing(dataset.folder)
    if outer is not None:
        said = outer.said
        yield outer
        outer.said = said  # the entry speaks of the whole
        return
    with dataset.transaction() as connection:
        number = connection.execute("INSERT INTO edits (at, action, details) VALUES (?,?,?)", (now(), action, json.dumps(values))).lastrowid or 0
        made = Change(connection, number)
        token = _ongoing.set({**_ongoing.get({}), str(dataset.folder): made})
        try:
            yield made
        finally:
            _ongoing.reset(token)
        if made.said:
            connection.execute("UPDATE edits SET details = ? WHERE id = ?", (json.dumps({**made.said, **values}), number))
        made.finish()


def close(connection: sqlite3.Connection, which: str, values: tuple[Any, ...] = ()) -> None:
    """Edits that can no longer be undone keep their entry and lose their copies."""
    found = connection.execute(f"SELECT id FROM edits WHERE undone = {OPEN} AND {which}", values).fetchall()
    for edit in found:
        connection.execute(f"UPDATE edits SET undone = {CLOSED} WHERE id = ?", edit)
        forget(connection, edit[0])


def forget(connection: sqlite3.Connection, edit_id: int) -> None:
    for table in UNDO_TABLES:
        connection.execute(f"DELETE FROM {table} WHERE edit_id = ?", (edit_id,))


# ---- the way back

def undo(connection: sqlite3.Connection, edit_id: int) -> None:
    """Puts back what the edit changed. Raises UserError when somebody has changed that since."""
    found = connection.execute("SELECT undone FROM edits WHERE id = ?", (edit_id,)).fetchone()
    if found is None:
        raise UserError("edit_unknown", id=edit_id)
    if found[0] != OPEN:
        raise UserError("edit_already_undone" if found[0] == UNDONE else "edit_not_undoable")
    _refuse_when_changed(connection, edit_id)
    _put_back_classes(connection, edit_id)
    _put_back_images(connection, edit_id)
    connection.execute(f"UPDATE edits SET undone = {UNDONE} WHERE id = ?", (edit_id,))
    forget(connection, edit_id)
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")


def _refuse_when_changed(connection: sqlite3.Connection, edit_id: int) -> None:
    changed = connection.execute("""SELECT u.image_id, i.name FROM undo_images u LEFT JOIN images i ON i.id = u.image_id
        WHERE u.edit_id = ? AND i.revision IS NOT u.after ORDER BY u.image_id LIMIT 1""", (edit_id,)).fetchone()
    if changed is None:
        return
    later = connection.execute(f"""SELECT e.id, e.at, e.action, e.details FROM undo_images u JOIN edits e ON e.id = u.edit_id
        WHERE u.image_id = ? AND e.id > ? AND e.undone = {OPEN} ORDER BY e.id DESC LIMIT 1""", (changed[0], edit_id)).fetchone()
    name = changed[1] or f"#{changed[0]}"
    if later is None:
        raise UserError("edit_changed_since", name=name)
    raise UserError("edit_covered", name=name, edit=text_of(later[2], json.loads(later[3])), at=later[1])


def text_of(action: str, values: dict[str, Any], language: str | None = None) -> str:
    return messages.text(f"edit.{action}", language, **values)


def _put_back_images(connection: sqlite3.Connection, edit_id: int) -> None:
    run, number = connection.execute, (edit_id,)
    whole = "SELECT image_id FROM undo_images WHERE edit_id = ? AND whole"
    run(f"DELETE FROM content WHERE image_id IN ({whole} > 0)", number)
    run(f"DELETE FROM shapes WHERE image_id IN ({whole} = 2)", number)
    columns = SHAPES.replace("id, ", "", 1)
    run(f"INSERT INTO shapes ({columns}) SELECT {columns} FROM undo_shapes WHERE edit_id = ? ORDER BY image_id, id", number)
    run(f"INSERT INTO content ({CONTENT}) SELECT {CONTENT} FROM undo_content WHERE edit_id = ?", number)
    run("""UPDATE images SET kind = u.kind, extra = u.extra FROM undo_images u
        WHERE u.edit_id = ? AND u.whole = 2 AND u.image_id = images.id""", number)
    run("""UPDATE images SET split = u.split, grp = u.grp, state = u.state, objects = u.objects, trashed = u.trashed, revision = images.revision + 1
        FROM undo_images u WHERE u.edit_id = ? AND u.image_id = images.id""", number)
    # Older edits of these images see them again as they left them, under a new revision.
    run("""UPDATE undo_images AS older SET after = (SELECT i.revision FROM images i WHERE i.id = older.image_id) FROM undo_images u
        WHERE u.edit_id = ? AND older.image_id = u.image_id AND older.edit_id < u.edit_id AND older.after = u.revision""", number)


def _put_back_classes(connection: sqlite3.Connection, edit_id: int) -> None:
    """Names as they were, and classes that were merged or deleted at their old place. Raises UserError when a later edit has changed them."""
    before = connection.execute("SELECT id, name, place, name_after, gone_after FROM undo_classes WHERE edit_id = ? ORDER BY place",
                                (edit_id,)).fetchall()
    alive = dict(connection.execute("SELECT id, name FROM classes WHERE place IS NOT NULL ORDER BY place"))
    order, revived = list(alive), False
    for key, name, place, name_after, gone_after in before:
        if not gone_after and alive.get(key) != name_after:
            raise UserError("edit_classes_changed", name=name_after)
        if name in alive.values():
            raise UserError("edit_classes_changed", name=name)
        if gone_after:
            revived = True
            order.insert(min(place, len(order)), key)
            connection.execute("UPDATE classes SET heir = NULL, ground = NULL WHERE id = ?", (key,))
        alive[key] = name
        connection.execute("UPDATE classes SET name = ? WHERE id = ?", (name, key))
    if revived:
        order_classes(connection, order)
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'class_epoch'")


def order_classes(connection: sqlite3.Connection, alive: list[int]) -> None:
    """Gives the classes `alive` (keys) the ids 0..C-1 in this order; all others are gone."""
    connection.execute("UPDATE classes SET place = NULL")
    connection.executemany("UPDATE classes SET place = ? WHERE id = ?", ((number, key) for number, key in enumerate(alive)))

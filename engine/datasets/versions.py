"""Named snapshots of a stored set: its facts in one file of their own, without history, journal or thumbnails. Images are never copied."""

from __future__ import annotations

import calendar
import json
import os
import re
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from engine import messages
from engine.datasets import labeling_tables, store_schema
from engine.datasets import store_journal as journal
from engine.datasets.editing import Edit, edits
from engine.datasets.faults import writing
from engine.datasets.objects import clean_name
from engine.datasets.store import Dataset
from engine.types import UserError

FOLDER = "versions"
KEPT = ("meta", "classes", "images", "shapes", "content")
CARRIED = ("name", "task", "format", "revision", "created")
_SECONDS = "%Y%m%d-%H%M%S"
_STAMPED = re.compile(r"(\d{8}-\d{6})-(\d{9})-")


@dataclass(frozen=True)
class Version:
    """`name` is whatever a person called it, `at` UTC, `bytes` the size of its file. `automatic`: kept before another was restored."""

    id: str
    name: str
    at: str
    images: int
    objects: int
    classes: int
    bytes: int
    automatic: bool = False


def versions(dataset: Dataset) -> list[Version]:
    """Newest first. A file that is none of ours is left out."""
    found = []
    for file in _files(dataset):
        with suppress(UserError):
            found.append(_read(file))
    return sorted(found, key=lambda version: version.id, reverse=True)


def save(dataset: Dataset, name: str) -> Version:
    """Keeps the present state under `name`. Raises UserError when the name is empty or the disk is full."""
    _refuse_within_edit(dataset)
    with dataset.transaction():
        return _save(dataset, name, automatic=False)


def restore(dataset: Dataset, version_id: str, *, kept_as: str | None = None) -> Edit:
    """Brings back the facts of a version, after keeping the present ones as a version `kept_as`.

    Images that came later go to the trash. Edits made before can then no longer be undone; the kept version takes their place.
    """
    _refuse_within_edit(dataset)
    file = _find(dataset, version_id)
    name = _read(file).name
    with dataset.transaction(attached=file) as connection:
        _save(dataset, kept_as or messages.text("version.before_restore", None, name=name), automatic=True)
        changed = connection.execute("SELECT i.id FROM images i JOIN attached.images v ON v.id = i.id WHERE v.revision <> i.revision").fetchall()
        _put_back(dataset, connection)
        labeling_tables.no_longer_checked(connection, [image_id for image_id, in changed])
        journal.close(connection, "1")
        images = connection.execute("SELECT count(*) FROM attached.images").fetchone()[0]
        connection.execute("INSERT INTO edits (at, action, details, images, undone) VALUES (?, 'version_restored', ?, ?, ?)",
                           (journal.now(), json.dumps({"name": name}), images, journal.CLOSED))
        connection.executemany("UPDATE meta SET value = value + 1 WHERE key = ?", (("revision",), ("class_epoch",)))
    return edits(dataset, 1)[0]


def delete(dataset: Dataset, version_id: str) -> None:
    """Removes a version, and the files of images that nothing else knows any more."""
    with dataset.transaction() as connection:
        file = _find(dataset, version_id)
        held: set[str] = set()
        with suppress(UserError):
            held = _image_files(file)
        file.unlink(missing_ok=True)
        unneeded = held - {name for name, in connection.execute("SELECT file FROM images")} - needed(dataset, held)
    for name in unneeded:
        with suppress(OSError, UserError):
            dataset.image_path(name).unlink()


def needed(dataset: Dataset, names: set[str]) -> set[str]:
    """Those of these image files that some version speaks of; all of them when one of the versions cannot be read."""
    try:
        return names & set().union(*(_image_files(file) for file in _files(dataset)))
    except UserError:
        return names


def _refuse_within_edit(dataset: Dataset) -> None:
    if journal.ongoing(dataset.folder) is not None:
        raise RuntimeError("a version is kept between edits, not within one")


# ---- saving

def _save(dataset: Dataset, name: str, *, automatic: bool) -> Version:
    """The caller holds the right to write, so what is read here is what there is, and nobody empties the trash meanwhile."""
    name = clean_name(name)
    if not name:
        raise UserError("version_name_empty")
    folder = dataset.folder / FOLDER
    with writing(folder):
        target = folder / f"{_stamp(max((file.stem for file in _files(dataset)), default=''))}-{uuid.uuid4().hex[:6]}.sqlite"
        part = folder / f".{target.name}"
        folder.mkdir(exist_ok=True)
        for left in folder.glob(".*.sqlite"):  # nobody else is saving now, so a process that was killed has left it
            left.unlink(missing_ok=True)
        try:
            _write(dataset, part, {"version_name": name, "version_at": journal.now(), "automatic": str(int(automatic))})
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return _read(target)


def _stamp(newest: str) -> str:
    """The time now as the beginning of a file's name (UTC, to the nanosecond), from one reading of the clock. Names order the versions, so it comes
    after that of the newest file, even where the clock was set back."""
    now = time.time_ns()
    if (was := _STAMPED.match(newest)) is not None:
        with suppress(ValueError):  # digits that are no date
            now = max(now, calendar.timegm(time.strptime(was[1], _SECONDS)) * 10**9 + int(was[2]) + 1)
    seconds, rest = divmod(now, 10**9)
    return f"{time.strftime(_SECONDS, time.gmtime(seconds))}-{rest:09d}"


def _write(dataset: Dataset, part: Path, said: dict[str, str]) -> None:
    with closing(store_schema.connect(dataset.file)) as connection:
        run = connection.execute
        run("ATTACH ? AS attached", (part.absolute().as_uri(),))
        run("PRAGMA attached.journal_mode = OFF")
        run("PRAGMA attached.synchronous = OFF")
        run("BEGIN")
        store_schema.create_tables(connection, {name: store_schema.FACTS[name] for name in KEPT}, "attached")
        for table in KEPT:
            columns = store_schema.columns_of(table)
            run(f"INSERT INTO attached.{table} ({columns}) SELECT {columns} FROM main.{table}")
        run(f"DELETE FROM attached.meta WHERE key NOT IN ({','.join('?' * len(CARRIED))})", CARRIED)
        totals = run("SELECT count(*), coalesce(sum(objects), 0) FROM attached.images WHERE trashed IS NULL").fetchone()
        classes = run("SELECT count(*) FROM attached.classes WHERE place IS NOT NULL").fetchone()[0]
        facts = {**said, "images": str(totals[0]), "objects": str(totals[1]), "classes": str(classes)}
        connection.executemany("INSERT INTO attached.meta VALUES (?, ?)", facts.items())
        run(f"PRAGMA attached.user_version = {store_schema.VERSION}")
        run("COMMIT")


# ---- reading

def _files(dataset: Dataset) -> list[Path]:
    folder = dataset.folder / FOLDER
    return [file for file in sorted(folder.glob("*.sqlite")) if not file.name.startswith(".") and file.is_file() and not file.is_symlink()]


def _find(dataset: Dataset, version_id: str) -> Path:
    """Looked up among what is there, never joined to a path."""
    known = {file.stem: file for file in _files(dataset)}
    if version_id not in known:
        raise UserError("version_unknown", id=str(version_id)[:80])
    return known[version_id]


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            if connection.execute("PRAGMA user_version").fetchone()[0] != store_schema.VERSION:
                raise ValueError("version of the file")
            yield connection
    except (sqlite3.DatabaseError, ValueError, TypeError, LookupError) as error:
        raise UserError("version_damaged", name=file.stem, reason=str(error)[:200]) from error


def _read(file: Path) -> Version:
    with _opened(file) as connection:
        said = dict(connection.execute("SELECT key, value FROM meta"))
        images, objects, classes = (int(said[key]) for key in ("images", "objects", "classes"))
        return Version(file.stem, said["version_name"], said["version_at"], images, objects, classes, file.stat().st_size, said["automatic"] == "1")


def _image_files(file: Path) -> set[str]:
    """Raises UserError when the version is damaged."""
    with _opened(file) as connection:
        return {name for name, in connection.execute("SELECT file FROM images")}


# ---- restoring

def _put_back(dataset: Dataset, connection: sqlite3.Connection) -> None:
    run = connection.execute
    if run("SELECT 1 FROM images i JOIN attached.images v ON v.id = i.id WHERE v.file <> i.file LIMIT 1").fetchone():
        raise UserError("version_damaged", name=dataset.id, reason="image files")
    run("""UPDATE images SET trashed = ?, revision = revision + 1
        WHERE trashed IS NULL AND id NOT IN (SELECT id FROM attached.images)""", (journal.now(),))
    columns = store_schema.columns_of("images")
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns.split(", ") if column not in ("id", "file", "revision"))
    run(f"""INSERT INTO images ({columns}) SELECT {columns} FROM attached.images WHERE 1
        ON CONFLICT (id) DO UPDATE SET {changed}, revision = images.revision + 1""")
    for table in ("shapes", "content"):
        run(f"DELETE FROM {table} WHERE image_id IN (SELECT id FROM attached.images)")
        columns = store_schema.columns_of(table).removeprefix("id, ")
        run(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM attached.{table}")
    run("UPDATE classes SET place = NULL, heir = NULL, ground = NULL")
    run("""INSERT INTO classes (id, name, place, heir, ground) SELECT id, name, place, heir, ground FROM attached.classes WHERE 1
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, place = excluded.place, heir = excluded.heir, ground = excluded.ground""")

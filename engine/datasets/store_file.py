"""Opening labels.sqlite: for reading in one consistent view, for writing all or nothing. What goes wrong is told as a UserError."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from engine.datasets import store_journal, store_schema
from engine.types import UserError

FILE = "labels.sqlite"
DAMAGE = (sqlite3.DatabaseError, ValueError, TypeError, LookupError, AttributeError, zlib.error)
Value = TypeVar("Value")


def is_dataset(folder: Path) -> bool:
    return (Path(folder) / FILE).is_file()


class StoreFile:
    """The database in `folder`. Every call opens its own connection, so any thread may use the same object.

    A file of version 1 is brought up to date on first opening; not when the folder cannot be written or `readonly` is asked for:
    then a private copy is read instead.
    """

    def __init__(self, folder: Path, *, readonly: bool = False) -> None:
        self.folder = Path(folder)
        self.id = self.folder.name
        self.readonly = readonly or not store_schema.writable(self.folder)
        if not is_dataset(self.folder):
            raise UserError("dataset_missing", name=self.id)
        self.file = self.folder / FILE
        with self.telling():
            version = store_schema.version_of(self.file)
            if version not in (1, store_schema.VERSION):
                raise UserError("dataset_newer" if version > store_schema.VERSION else "dataset_damaged", name=self.id, reason=f"version {version}")
            if version == 1 and self.readonly:
                self.file = store_schema.migrated_copy(self.file)
            elif version == 1:
                store_schema.migrate(self.file)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """For reading what was there at one moment; within an edit of the same thread, that edit's own view."""
        change = store_journal.ongoing(self.folder)
        with self.telling():
            if change is not None:
                yield change.connection
                return
            with closing(store_schema.connect(self.file)) as connection:
                if self.readonly:
                    connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                yield connection

    @contextmanager
    def transaction(self, *, attached: Path | None = None) -> Iterator[sqlite3.Connection]:
        """For writing, one at a time; part of the edit that the same thread is making. `attached` is another database, by that name.

        Raises UserError where the set may only be read.
        """
        if self.readonly:
            raise UserError("dataset_read_only", name=self.id)
        change = store_journal.ongoing(self.folder)
        if change is not None:
            yield change.connection
            return
        with self.telling((sqlite3.DatabaseError,)), closing(store_schema.connect(self.file)) as connection:
            if attached is not None:
                connection.execute("ATTACH ? AS attached", (f"{attached.absolute().as_uri()}?immutable=1",))
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")  # without it, closing takes everything back

    def cached(self, key: str, compute: Callable[[sqlite3.Connection], Value]) -> Value:
        """A value that JSON can hold, kept until the next edit."""
        with self.connection() as connection:
            revision = connection.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()[0]
            known = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            if known and (cached := json.loads(known[0]))["revision"] == revision:
                return cached["value"]
            value = compute(connection)
            with suppress(sqlite3.OperationalError):  # somebody is writing, or the set may only be read: it is computed again next time
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps({"revision": revision, "value": value})))
                if store_journal.ongoing(self.folder) is None:
                    connection.execute("COMMIT")
            return value

    def meta(self, key: str) -> str:
        with self.connection() as connection:
            return connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]

    def image_path(self, file: str) -> Path:
        """The image on disk. The table may come from a stranger: a name with steps in it is none of ours."""
        path = f"{self.folder}/images/{file}"
        if not file or file in (".", "..") or "/" in file or "\\" in file or "\0" in file or os.path.islink(path):  # noqa: PTH114 - for every row
            raise UserError("dataset_damaged", name=self.id, reason="file name")
        return Path(path)

    @contextmanager
    def telling(self, kinds: tuple[type[Exception], ...] = DAMAGE) -> Iterator[None]:
        try:
            yield
        except kinds as error:
            key = "dataset_busy" if "locked" in str(error) else "no_space_to_write" if "disk is full" in str(error) else "dataset_damaged"
            raise UserError(key, name=self.id, path=self.id, reason=str(error)[:200]) from error

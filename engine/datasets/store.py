"""The data sets of a workspace: a folder with `images/` and `labels.sqlite`. Edits cost one row, pages of 100,000 images cost nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from engine.datasets import store_rows as rows
from engine.datasets.archive import Progress
from engine.datasets.collection import Collection, present
from engine.datasets.faults import writing
from engine.datasets.formats import ImagePolicy
from engine.datasets.images import open_image, resize
from engine.datasets.store_import import fill
from engine.types import UNCERTAIN, Instances, Labels, Problem, Reading, Sample, SemanticMask, Tags, UserError

FILE = "labels.sqlite"
DAMAGE = (sqlite3.DatabaseError, ValueError, TypeError, KeyError, AttributeError, zlib.error)
BATCH = 500


@dataclass(frozen=True)
class Row:
    """One image on a page. `revision` counts its edits: hand it back to `set_labels` to notice that somebody was faster."""

    id: int
    name: str
    split: str
    size: tuple[int, int]
    labels: Labels | None
    path: Path
    state: str = "labeled"
    revision: int = 0


def is_dataset(folder: Path) -> bool:
    return (Path(folder) / FILE).is_file()


class Dataset:
    """A stored data set. Every call opens its own connection, so any thread may use the same object."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.id = self.folder.name
        if not is_dataset(self.folder):
            raise UserError("dataset_missing", name=self.id)
        with self._open() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != rows.VERSION:
                raise UserError("dataset_newer" if version > rows.VERSION else "dataset_damaged", name=self.id, reason=f"version {version}")

    @classmethod
    def create(cls, folder: Path, name: str, content: Collection | Reading, progress: Progress | None = None, *,
               images: ImagePolicy = "copy", format_name: str = "") -> Dataset:
        """Fills a hidden folder beside `folder` and renames it at the end: a half import is never seen, nor left behind."""
        stage = folder.parent / f".partial-{uuid.uuid4().hex}"
        with writing(folder):
            try:
                (stage / "images").mkdir(parents=True)
                fill(stage / FILE, name, content, progress or (lambda share: None), images, format_name)
                if folder.exists():
                    folder.rmdir()
                stage.rename(folder)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
        return cls(folder)

    # ---- facts

    @property
    def name(self) -> str:
        return self._meta("name")

    @property
    def task(self) -> str:
        return self._meta("task")

    @property
    def format(self) -> str:
        """The format that it was imported from."""
        return self._meta("format")

    @property
    def revision(self) -> int:
        """Grows with every edit."""
        return int(self._meta("revision"))

    @property
    def classes(self) -> tuple[str, ...]:
        with self._open() as connection:
            return tuple(name for name, in connection.execute("SELECT name FROM classes ORDER BY id"))

    def counts(self) -> dict[str, dict[str, Any]]:
        """{split: {"images", "boxes", "unlabeled", "classes": {name: objects}}}; computed once a revision."""
        with self._open() as connection:
            revision = connection.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()[0]
            known = connection.execute("SELECT value FROM meta WHERE key = 'counts'").fetchone()
            if known and (cached := json.loads(known[0]))["revision"] == revision:
                return cached["counts"]
            counts = _counted(connection)
            with suppress(sqlite3.OperationalError):  # a data set that may only be read is counted every time
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('counts', ?)", (json.dumps({"revision": revision, "counts": counts}),))
            return counts

    def problems(self) -> list[Problem]:
        with self._open() as connection:
            found = connection.execute("SELECT code, severity, place, details FROM problems ORDER BY id")
            return [Problem(code, severity, place, json.loads(details)) for code, severity, place, details in found]

    # ---- images and labels

    def page(self, offset: int, limit: int, *, split: str | None = None, class_id: int | None = None, state: str | None = None) -> list[Row]:
        """`limit` images from `offset` on that fit all filters, with their labels."""
        where, values = _filter(split, class_id, state)
        with self._open() as connection:
            return list(self._rows(connection, f"{where} ORDER BY id LIMIT ? OFFSET ?", (*values, limit, offset)))

    def total(self, *, split: str | None = None, class_id: int | None = None, state: str | None = None) -> int:
        where, values = _filter(split, class_id, state)
        with self._open() as connection:
            return connection.execute(f"SELECT count(*) FROM images {where}", values).fetchone()[0]

    def row(self, image_id: int) -> Row:
        """Raises UserError when there is no such image."""
        with self._open() as connection:
            found = list(self._rows(connection, "WHERE id = ?", (image_id,)))
        if not found:
            raise UserError("image_unknown", id=image_id, name=self.id)
        return found[0]

    def samples(self, split: str | None = None) -> list[Sample]:
        return list(self._samples(split))

    def reading(self) -> Reading:
        return Reading(self.classes, self._samples(None), self.task)

    def collection(self) -> Collection:
        return Collection(self.classes, self.samples(), self.problems(), self.format, self.task)

    def set_labels(self, image_id: int, labels: Labels | None, *, expected: int | None = None) -> int:
        """Replaces the labels of one image, keeps the old ones in the history and returns the image's new revision.

        With `expected`, raises UserError when the image has been edited since that revision.
        """
        if isinstance(labels, Instances) and len(labels) and labels.classes.max() >= len(self.classes):
            raise UserError("class_unknown", id=int(labels.classes.max()), count=len(self.classes))
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute("SELECT revision, kind, extra FROM images WHERE id = ?", (image_id,)).fetchone()
            if found is None:
                raise UserError("image_unknown", id=image_id, name=self.id)
            if expected is not None and found[0] != expected:
                raise UserError("labels_changed", id=image_id)
            before = rows.snapshot(found[1], found[2], _shapes_of(connection, [image_id]).get(image_id, []))
            connection.execute("INSERT INTO history (image_id, revision, at, before) VALUES (?,?,?,?)",
                               (image_id, found[0], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), before))
            rows.put_labels(connection, image_id, labels)
            connection.execute("UPDATE images SET revision = revision + 1 WHERE id = ?", (image_id,))
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
            return found[0] + 1

    def history(self, image_id: int) -> list[tuple[int, str, Labels | None]]:
        """(revision, UTC time of the edit that ended it, labels until then), oldest first."""
        with self._open() as connection:
            found = connection.execute("SELECT revision, at, before FROM history WHERE image_id = ? ORDER BY id", (image_id,))
            return [(revision, at, rows.restored(before)) for revision, at, before in found]

    def set_split(self, image_ids: Iterable[int], split: str) -> None:
        with self._open() as connection:
            connection.executemany("UPDATE images SET split = ? WHERE id = ?", ((split, image_id) for image_id in image_ids))
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")

    def add_class(self, name: str) -> int:
        """The id of the class `name`, which is added when it is new."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            known = connection.execute("SELECT id FROM classes WHERE name = ?", (name,)).fetchone()
            if known is not None:
                return known[0]
            number = connection.execute("SELECT count(*) FROM classes").fetchone()[0]
            connection.execute("INSERT INTO classes VALUES (?, ?)", (number, name))
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
            return number

    def thumbnail(self, image_id: int, side: int = 256) -> Path:
        """A WebP of at most `side` pixels, made once. Pages show only these, never a file that a stranger made."""
        folder = self.folder / "thumbs" / str(int(side))
        target = folder / f"{int(image_id)}.webp"
        if not target.is_file():
            picture = open_image(self.row(image_id).path)
            scale = min(1.0, side / max(picture.shape[:2]))
            small = resize(picture, (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))))
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f".{uuid.uuid4().hex}.webp"
            Image.fromarray(small).save(part, quality=80)
            part.replace(target)
        return target

    # ---- inside

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = rows.connect(self.folder / FILE)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except DAMAGE as error:
            raise UserError("dataset_damaged", name=self.id, reason=str(error)[:200]) from error

    def _meta(self, key: str) -> str:
        with self._open() as connection:
            return connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]

    def _path(self, file: str) -> Path:
        """The image on disk. The table may come from a stranger: a name with steps in it is none of ours."""
        if not file or file in (".", "..") or "/" in file or "\\" in file or "\0" in file or (path := self.folder / "images" / file).is_symlink():
            raise UserError("dataset_damaged", name=self.id, reason="file name")
        return path

    def _rows(self, connection: sqlite3.Connection, rest: str, values: tuple[Any, ...]) -> Iterator[Row]:
        found = connection.execute(f"SELECT id, name, split, width, height, file, state, revision, kind, extra FROM images {rest}", values)
        while batch := found.fetchmany(BATCH):
            shapes = _shapes_of(connection, [row[0] for row in batch])
            for number, name, split, width, height, file, state, revision, kind, extra in batch:
                labels = rows.labels_of(kind, extra, shapes.get(number, ()))
                yield Row(number, name, split, (width, height), labels, self._path(file), state, revision)

    def _samples(self, split: str | None) -> Iterator[Sample]:
        where, values = _filter(split, None, None)
        with self._open() as connection:
            groups = dict(connection.execute("SELECT id, grp FROM images WHERE grp IS NOT NULL"))
            for row in self._rows(connection, f"{where} ORDER BY id", values):
                yield Sample(row.path, row.size, row.labels, row.split, groups.get(row.id), row.name)


def _filter(split: str | None, class_id: int | None, state: str | None) -> tuple[str, tuple[Any, ...]]:
    parts = [("split = ?", split), ("state = ?", state), ("id IN (SELECT image_id FROM shapes WHERE class_id = ?)", class_id)]
    used = [(text, value) for text, value in parts if value is not None]
    return ("WHERE " + " AND ".join(text for text, _ in used) if used else "", tuple(value for _, value in used))


def _shapes_of(connection: sqlite3.Connection, image_ids: list[int]) -> dict[int, list[rows.ShapeRow]]:
    marks = ",".join("?" * len(image_ids))
    found = connection.execute(f"SELECT {rows.SHAPE_COLUMNS} FROM shapes WHERE image_id IN ({marks}) ORDER BY image_id, id", image_ids)
    return {image_id: [row[1:] for row in group] for image_id, group in groupby(found, key=lambda row: row[0])}


def _counted(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    names = [name for name, in connection.execute("SELECT name FROM classes ORDER BY id")]
    counts: dict[str, dict[str, Any]] = {}
    order = "CASE split WHEN 'train' THEN 0 WHEN 'valid' THEN 1 ELSE 2 END"
    for split, images, unlabeled in connection.execute(
            f"SELECT split, count(*), sum(state = 'unlabeled') FROM images GROUP BY split ORDER BY {order}, split"):
        counts[split] = {"images": images, "boxes": 0, "unlabeled": unlabeled, "classes": dict.fromkeys(names, 0)}
    for split, class_id, objects in connection.execute(
            "SELECT i.split, s.class_id, count(*) FROM shapes s JOIN images i ON i.id = s.image_id GROUP BY i.split, s.class_id"):
        counts[split]["boxes"] += objects
        counts[split]["classes"][names[class_id]] = objects
    for split, kind, extra in connection.execute("SELECT split, kind, extra FROM images WHERE kind IN ('tags', 'mask', 'layers')"):
        labels = rows.labels_of(kind, extra, ())
        shown = labels.values > UNCERTAIN if isinstance(labels, Tags) else present(labels, len(names)) if isinstance(labels, SemanticMask) else ()
        for name, there in zip(names, shown, strict=False):
            counts[split]["classes"][name] += int(there)
    return counts

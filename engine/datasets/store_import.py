"""Filling a new data set from a stream of samples."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from engine.datasets import store_rows as rows
from engine.datasets import store_schema
from engine.datasets.archive import Progress
from engine.datasets.collection import Collection
from engine.datasets.formats import ImagePolicy
from engine.datasets.placing import Placer
from engine.datasets.store_classes import Classes
from engine.types import Problem, Reading, Sample, UserError

BATCH = 500
IMAGE_COLUMNS = "id, file, name, width, height, split, grp, state, objects, kind, extra"


def fill(file: Path, name: str, source: Collection | Reading, progress: Progress, images: ImagePolicy, format_name: str) -> None:
    """Streams the source into a new database. Nobody can see it before it is whole, so nothing guards it on the way; indexes come last."""
    reading = source if isinstance(source, Reading) else Reading(source.classes, iter([*source.problems, *source.samples]), source.task)
    format_name = format_name or (source.format if isinstance(source, Collection) else "")
    expected = len(source.samples) if isinstance(source, Collection) else 0
    with closing(store_schema.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        store_schema.create_all(connection)
        created = datetime.now(UTC).isoformat(timespec="milliseconds")
        facts = {"name": name, "task": reading.task, "format": format_name, "revision": "0", "class_epoch": "0", "created": created}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
        connection.executemany("INSERT INTO classes (id, name, place) VALUES (?, ?, ?)",
                               ((number, each, number) for number, each in enumerate(reading.classes)))
        number = _insert_all(connection, reading, Placer(file.parent, images), lambda done: progress(min(1.0, done / expected) if expected else 0.0))
        if not number:
            raise UserError("dataset_without_images", name=name, problems=connection.execute("SELECT count(*) FROM problems").fetchone()[0])
        rows.count_shapes(connection)
        store_schema.create_indexes(connection)
        connection.execute("COMMIT")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_mode = WAL")
    with file.open("rb") as written:
        os.fsync(written.fileno())


@dataclass
class _Waiting:
    """Rows on their way into the tables, many at a time."""

    images: list[tuple] = field(default_factory=list)
    shapes: list[rows.ShapeRow] = field(default_factory=list)
    content: list[tuple] = field(default_factory=list)

    def insert(self, connection: sqlite3.Connection) -> None:
        connection.executemany(f"INSERT INTO images ({IMAGE_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", self.images)
        rows.insert_shapes(connection, self.shapes)
        connection.executemany("INSERT INTO content (class_id, image_id, objects, pixels) VALUES (?,?,?,?)", self.content)
        for table in (self.images, self.shapes, self.content):
            table.clear()


def _insert_all(connection: sqlite3.Connection, reading: Reading, placer: Placer, progress: Callable[[int], None]) -> int:
    number, waiting, classes = 0, _Waiting(), Classes.fresh(reading.classes)
    for item in reading.items:
        if isinstance(item, Problem):
            _insert_problem(connection, item)
            continue
        for problem in (placing := _Placing(placer, item)):
            if problem.code != "image_renamed":  # inside a data set an image keeps its name, whatever its file is called
                _insert_problem(connection, problem)
        if placing.file is None:
            continue
        number += 1
        _add(waiting, number, item, placing.file, classes)
        if number % BATCH == 0:
            waiting.insert(connection)
            progress(number)
    waiting.insert(connection)
    return number


class _Placing:
    """Places one image; iterating gives the problems, afterwards `file` is its name or None."""

    def __init__(self, placer: Placer, sample: Sample) -> None:
        self.steps = placer.place(sample, "images")
        self.file: str | None = None

    def __iter__(self) -> Iterator[Problem]:
        self.file = yield from self.steps


def _insert_problem(connection: sqlite3.Connection, problem: Problem) -> None:
    connection.execute("INSERT INTO problems (code, severity, place, details) VALUES (?,?,?,?)",
                       (problem.code, problem.severity, _text(problem.where), json.dumps(problem.values, default=str)))


def _add(waiting: _Waiting, number: int, sample: Sample, file: str, classes: Classes) -> None:
    labels = sample.labels
    group = None if sample.group is None else _text(sample.group)
    waiting.images.append((number, file, _text(sample.name or file), *sample.size, sample.split or "train", group,
                           rows.state_of(labels), rows.objects_in(labels), *rows.extra_of(labels, classes)))
    waiting.shapes += rows.shape_rows(number, labels, classes)
    if rows.objects_in(labels) == 0:  # objects are counted all at once in the end
        waiting.content += ((class_id, number, objects, pixels) for class_id, objects, pixels in rows.content_of(labels, len(classes.keys)))


def _text(name: str) -> str:
    """A name that SQLite can hold: bytes that were no UTF-8 on disk are shown as question marks."""
    return name.encode("utf-8", "replace").decode()

"""Filling a new data set from a stream of samples."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.datasets import store_rows as rows
from engine.datasets.archive import Progress
from engine.datasets.collection import Collection
from engine.datasets.formats import ImagePolicy
from engine.datasets.placing import Placer
from engine.types import Problem, Reading, Sample, UserError

BATCH = 500


def fill(file: Path, name: str, source: Collection | Reading, progress: Progress, images: ImagePolicy, format_name: str) -> None:
    """Streams the source into a new database; one transaction, since nobody can see it before it is whole."""
    reading = source if isinstance(source, Reading) else Reading(source.classes, iter([*source.problems, *source.samples]), source.task)
    format_name = format_name or (source.format if isinstance(source, Collection) else "")
    expected = len(source.samples) if isinstance(source, Collection) else 0
    connection = rows.connect(file)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(rows.SCHEMA)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        facts = {"name": name, "task": reading.task, "format": format_name, "revision": "0", "created": created}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
        connection.executemany("INSERT INTO classes VALUES (?, ?)", enumerate(reading.classes))
        number = _insert_all(connection, reading, Placer(file.parent, images), lambda done: progress(min(1.0, done / expected) if expected else 0.0))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if not number:
            raise UserError("dataset_without_images", name=name, problems=connection.execute("SELECT count(*) FROM problems").fetchone()[0])
    finally:
        connection.close()


def _insert_all(connection: sqlite3.Connection, reading: Reading, placer: Placer, progress: Callable[[int], None]) -> int:
    number = 0
    for item in reading.items:
        if isinstance(item, Problem):
            _insert_problem(connection, item)
            continue
        for problem in (placing := _Placing(placer, item)):
            _insert_problem(connection, problem)
        if placing.file is not None:
            number += 1
            _insert_image(connection, number, item, placing.file)
        if number % BATCH == 0:
            progress(number)
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


def _insert_image(connection: sqlite3.Connection, number: int, sample: Sample, file: str) -> None:
    kind, extra = rows.extra_of(sample.labels)
    connection.execute("INSERT INTO images (id, file, name, width, height, split, grp, state, kind, extra) VALUES (?,?,?,?,?,?,?,?,?,?)",
                       (number, file, _text(sample.name or file), *sample.size, sample.split or "train", sample.group,
                        rows.state_of(sample.labels), kind, extra))
    rows.insert_shapes(connection, rows.shape_rows(number, sample.labels))


def _text(name: str) -> str:
    """A name that SQLite can hold: bytes that were no UTF-8 on disk are shown as question marks."""
    return name.encode("utf-8", "replace").decode()

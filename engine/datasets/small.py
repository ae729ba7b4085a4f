"""Objects that are smaller than a model learns."""

from __future__ import annotations

import sqlite3

from engine.datasets.store import Dataset
from engine.datasets.store_classes import GONE, Classes


def smaller_than(dataset: Dataset, side: float) -> tuple[int, int]:
    """Boxes of the training part with a side below `side` pixels of their image, and all of them; computed once a revision."""
    small, every = dataset.cached(f"smaller_than_{side:g}", lambda connection: _counted(connection, side))
    return small, every


def _counted(connection: sqlite3.Connection, side: float) -> list[int]:
    ids = Classes.load(connection).ids
    found = connection.execute("""SELECT s.class_id, sum(min(s.x2 - s.x1, s.y2 - s.y1) < ?), count(*) FROM shapes s JOIN images i ON i.id = s.image_id
        WHERE i.trashed IS NULL AND i.split = 'train' GROUP BY s.class_id""", (side,)).fetchall()
    kept = [row for row in found if ids.get(row[0], GONE) != GONE]
    return [sum(row[1] for row in kept), sum(row[2] for row in kept)]

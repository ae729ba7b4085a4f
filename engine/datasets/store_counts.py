"""How many of what a stored set holds, without looking at a single label."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from engine.datasets.store_classes import Classes
from engine.types import SPLITS

if TYPE_CHECKING:
    from engine.datasets.splits import Item

ClassCount = tuple[str, int, int, int]


def counted(connection: sqlite3.Connection, shown: list[ClassCount] | None = None) -> dict[str, dict[str, Any]]:
    """{split: {"images", "boxes", "unlabeled", "classes": {name: count}}}, in the order train, valid, test."""
    classes = Classes.load(connection)
    counts: dict[str, dict[str, Any]] = {}
    found = connection.execute("""SELECT split, count(*), sum(objects), sum(state = 'unlabeled') FROM images WHERE trashed IS NULL
        GROUP BY split""").fetchall()
    for split, images, boxes, unlabeled in sorted(found, key=lambda row: (SPLITS.index(row[0]) if row[0] in SPLITS else len(SPLITS), row[0])):
        counts[split] = {"images": images, "boxes": boxes, "unlabeled": unlabeled, "classes": dict.fromkeys(classes.names, 0)}
    for split, key, objects, _ in class_counts(connection) if shown is None else shown:
        name = classes.names[classes.ids[key]]
        counts[split]["classes"][name] += objects
    return counts


def class_counts(connection: sqlite3.Connection) -> list[ClassCount]:
    """(split, class key, objects, images that show it); for tags and masks the objects are images too."""
    return connection.execute("""SELECT i.split, c.class_id, sum(c.objects), count(*) FROM content c JOIN images i ON i.id = c.image_id
        WHERE i.trashed IS NULL GROUP BY i.split, c.class_id""").fetchall()


def items(connection: sqlite3.Connection) -> Iterator[Item]:
    """What dealing images to splits needs to know of each: its classes (an id for every object), its group, its look-alikes."""
    from engine.datasets.splits import Item

    classes = Classes.load(connection)
    images = connection.execute("""SELECT i.id, i.name, i.grp, i.split, f.cluster FROM images i LEFT JOIN fingerprints f ON f.image_id = i.id
        WHERE i.trashed IS NULL ORDER BY i.id""")
    content = connection.cursor().execute("SELECT image_id, class_id, objects FROM content ORDER BY image_id, class_id")
    shown = groupby(content, key=lambda row: row[0])
    current, contained = next(shown, (0, iter(())))
    done = False
    for number, name, group, split, cluster in images:
        while not done and current < number:
            current, contained = next(shown, (0, iter(())))
            done = current == 0
        ids: tuple[int, ...] = ()
        if not done and current == number:
            ids = tuple(classes.ids[key] for _, key, objects in contained for _ in range(objects))
        yield Item(number, name, group, split, ids, cluster)

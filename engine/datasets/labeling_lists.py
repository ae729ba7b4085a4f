"""Two lists of what is worth a person's time, kept beside the labels: images by how much a model would learn from them, and suspicious labels."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.datasets import labeling_tables as tables
from engine.datasets import store_journal
from engine.datasets.store import Dataset
from engine.datasets.store_classes import GONE, Classes

KINDS = ("missed", "unpredicted", "class", "shifted", "tag", "area")
SAME_PIXELS = 1.0
COVERED = 0.5


@dataclass(frozen=True)
class Ranked:
    """An image and why it is worth labeling: `reason` is "uncertain" or "different" (catalogue keys `rank.<reason>`); uncertainty in 0..1."""

    image_id: int
    uncertainty: float
    reason: str


@dataclass(frozen=True)
class Suspect:
    """A label that may be wrong; `kind` is one of KINDS (catalogue keys `suspect.<kind>`), score in 0..1, box in original pixels.

    "missed": class `cls` is seen where no label is; "unpredicted": the label of `cls` is not seen; "class": the label of `cls` is seen as `other`;
    "shifted": the label of `cls` lies elsewhere (`box` is the label's); "tag": the tag `cls` is seen the other way, or as `other`;
    "area": the painted pixels of `cls` differ.
    """

    image_id: int
    kind: str
    score: float
    box: tuple[float, float, float, float] | None
    cls: int
    other: int | None = None


# ---- ranks

def put_ranks(dataset: Dataset, ranked: Sequence[Ranked], source: str) -> None:
    """Replaces the order of work "uncertain" by this one, the most useful image first."""
    with dataset.transaction() as connection:
        tables.create(connection, "ranks")
        connection.execute("DELETE FROM ranks")
        now = store_journal.now()
        connection.executemany("INSERT INTO ranks (image_id, place, uncertainty, reason, source, at) VALUES (?,?,?,?,?,?)",
                               ((each.image_id, place, each.uncertainty, each.reason, source, now) for place, each in enumerate(ranked)))


def ranks(dataset: Dataset, limit: int = -1, *, unlabeled: bool = False) -> list[Ranked]:
    """The first `limit` images in that order, without the trash; of those that nobody has labeled or skipped yet, when `unlabeled`."""
    with dataset.connection() as connection:
        known = tables.present(connection)
        if "ranks" not in known:
            return []
        more = "AND i.state IN ('unlabeled', 'suggested') AND m.mark IS NOT 'skipped'" if unlabeled else ""
        found = connection.execute(f"""SELECT r.image_id, r.uncertainty, r.reason FROM ranks r CROSS JOIN images i
            LEFT JOIN {tables.marks_of(known)} m ON m.image_id = i.id WHERE i.id = r.image_id AND i.trashed IS NULL {more}
            ORDER BY r.place LIMIT ?""", (limit,))
        return [Ranked(*row) for row in found]


# ---- suspects

def put_suspects(dataset: Dataset, found: Iterable[Suspect], source: str) -> None:
    """Replaces the list of suspicious labels by this one, the most suspicious first."""
    with dataset.transaction() as connection:
        tables.create(connection, "suspects", "suspect_order")
        classes, now = Classes.load(connection), store_journal.now()
        connection.execute("DELETE FROM suspects")
        connection.executemany("""INSERT INTO suspects (number, image_id, kind, score, x1, y1, x2, y2, class_id, other_id, source, at)
            VALUES (?,?,?,?,?,?,?,?,?,?,?,?)""", ((
                number, each.image_id, each.kind, each.score, *(each.box or (None,) * 4), classes.keys[each.cls],
                None if each.other is None else classes.keys[each.other], source, now) for number, each in enumerate(found)))
        connection.execute("DELETE FROM suspect_order")
        connection.execute("INSERT INTO suspect_order (image_id, place) SELECT image_id, min(number) FROM suspects GROUP BY image_id")


def suspects(dataset: Dataset, limit: int = 200) -> list[Suspect]:
    """The most suspicious labels as far as they still stand: not in checked images or the trash, and neither changed nor added since."""
    with dataset.connection() as connection:
        known = tables.present(connection)
        if "suspects" not in known:
            return []
        classes = Classes.load(connection)
        rows = connection.execute(f"""SELECT s.image_id, s.kind, s.score, s.x1, s.y1, s.x2, s.y2, s.class_id, s.other_id FROM suspects s
            CROSS JOIN images i LEFT JOIN {tables.marks_of(known)} m ON m.image_id = i.id WHERE i.id = s.image_id AND i.trashed IS NULL
            AND m.mark IS NOT 'checked' AND m.mark IS NOT 'skipped' ORDER BY s.number""")
        found: list[Suspect] = []
        for each in _suspects_of(rows, classes):
            if len(found) >= limit >= 0:
                break
            if _stands(connection, classes, each):
                found.append(each)
        return found


def _suspects_of(rows: Iterable[tuple], classes: Classes) -> Iterator[Suspect]:
    for image_id, kind, score, x1, y1, x2, y2, key, other in rows:
        number, second = classes.ids.get(key, GONE), classes.ids.get(other, GONE) if other is not None else None
        if number != GONE and second != GONE:
            yield Suspect(image_id, kind, score, None if x1 is None else (x1, y1, x2, y2), number, second)


def _stands(connection: sqlite3.Connection, classes: Classes, each: Suspect) -> bool:
    """Whether the labels are still those that were suspected; of tags and painted areas nobody can tell before they are checked."""
    if each.box is None or each.kind not in ("missed", "unpredicted", "class", "shifted"):
        return True
    labels = connection.execute("SELECT class_id, x1, y1, x2, y2 FROM shapes WHERE image_id = ?", (each.image_id,)).fetchall()
    if each.kind == "missed":
        boxes = np.array([row[1:] for row in labels], np.float64).reshape(-1, 4)
        return not len(boxes) or float(overlaps(np.array([each.box]), boxes).max()) < COVERED
    return any(classes.ids.get(row[0]) == each.cls and max(abs(a - b) for a, b in zip(row[1:], each.box, strict=True)) < SAME_PIXELS
               for row in labels)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """f64[N,M]: intersection over union of boxes [N,4] and [M,4], x1,y1,x2,y2."""
    first, second = np.asarray(first, np.float64).reshape(-1, 4), np.asarray(second, np.float64).reshape(-1, 4)
    low, high = np.maximum(first[:, None, :2], second[None, :, :2]), np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    sizes = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) for boxes in (first, second)]
    return shared / np.maximum(sizes[0][:, None] + sizes[1][None] - shared, 1e-12)



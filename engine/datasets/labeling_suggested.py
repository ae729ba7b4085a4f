"""What models suggest for the images of a stored set. It lies beside the labels and never among them: training, checks and exports do not see it.

A person accepts suggestions on the canvas, or many at once with `accept`; the images then carry the mark "accepted" until somebody has looked.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from engine.datasets import labeling_tables as tables
from engine.datasets import store_journal
from engine.datasets.labeling_shapes import document, kind_of, labels_of
from engine.datasets.store import Dataset, Row, epoch_of
from engine.datasets.store_classes import GONE, Classes
from engine.types import Labels, UserError

ACCEPTED = "accepted"
BATCH = 500
AT_ONCE = 20  # images a transaction: others wait for it


@dataclass(frozen=True)
class Suggestion:
    """What is suggested of one image: shapes as the canvas has them (with "state" and "score"), and the probability of each tag, None = not known.

    `source` is the run or model that it comes from, `at` UTC. A set of tags without any is None.
    """

    source: str = ""
    at: str = ""
    shapes: list[dict[str, Any]] = field(default_factory=list)
    tags: list[float | None] | None = None

    @property
    def count(self) -> int:
        """Shapes and tags that wait for a person."""
        return len(self.shapes) + sum(value is not None for value in self.tags or ())


def of(dataset: Dataset, image_id: int) -> Suggestion:
    """The suggestions of one image, empty when there are none."""
    with dataset.connection() as connection:
        return read(connection, Classes.load(connection), image_id)


def read(connection: sqlite3.Connection, classes: Classes, image_id: int) -> Suggestion:
    """Objects of classes that are gone are left out; merged classes are their heirs."""
    if "suggestions" not in tables.present(connection):
        return Suggestion()
    found = connection.execute("SELECT source, at, document FROM suggestions WHERE image_id = ?", (image_id,)).fetchone()
    if found is None:
        return Suggestion()
    content = json.loads(found[2])
    shapes = [{**shape, "cls": number} for shape in content["shapes"] if (number := classes.ids.get(shape["cls"], GONE)) != GONE]
    return Suggestion(found[0], found[1], shapes, _tags_by_id(content.get("tags"), classes))


def _tags_by_id(kept: Mapping[str, float] | None, classes: Classes) -> list[float | None] | None:
    tags: list[float | None] = [None] * len(classes.keys)
    for key, value in (kept or {}).items():
        if (number := classes.ids.get(int(key), GONE)) != GONE:
            tags[number] = max(value, tags[number] or 0.0)
    return tags if kept and any(value is not None for value in tags) else None


def write(connection: sqlite3.Connection, classes: Classes, image_id: int, made: Suggestion) -> None:
    """Replaces the suggestions of one image; part of the caller's transaction."""
    known = "suggestions" in tables.present(connection)
    if known:
        connection.execute("DELETE FROM suggestions WHERE image_id = ?", (image_id,))
        connection.execute("DELETE FROM suggested WHERE image_id = ?", (image_id,))
    if not made.count:
        return
    if not known:
        tables.create(connection, "suggestions", "suggested")
    shapes = [{**shape, "cls": classes.keys[shape["cls"]]} for shape in made.shapes]
    tags = {key: value for key, value in zip(classes.keys, made.tags or (), strict=False) if value is not None}
    text = json.dumps({"shapes": shapes, "tags": tags or None}, separators=(",", ":"))
    connection.execute("INSERT INTO suggestions (image_id, source, at, count, document) VALUES (?,?,?,?,?)",
                       (image_id, made.source, made.at or _instant(), made.count, text))
    shown = {shape["cls"] for shape in shapes} | {key for key, value in tags.items() if value > 0.5}
    connection.executemany("INSERT INTO suggested (class_id, image_id) VALUES (?,?)", ((key, image_id) for key in sorted(shown)))


def _instant() -> str:
    """UTC to the microsecond: it tells suggestions from those that were there a moment ago."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def put(dataset: Dataset, image_id: int, made: Suggestion, *, expected: int | None = None) -> bool:
    """Replaces the suggestions of one image, durably. With `expected`, not when the image has been edited since that revision: then False."""
    with dataset.transaction() as connection:
        found = connection.execute("SELECT revision FROM images WHERE id = ?", (image_id,)).fetchone()
        if found is None or (expected is not None and found[0] + epoch_of(connection) != expected):
            return False
        write(connection, Classes.load(connection), image_id, made)
        return True


def discard(dataset: Dataset, ids: Iterable[int]) -> int:
    """Forgets the suggestions of these images and returns how many of them had some."""
    with dataset.transaction() as connection:
        if "suggestions" not in tables.present(connection):
            return 0
        gone = 0
        for part in _parts(ids):
            gone += connection.execute("DELETE FROM suggestions WHERE image_id IN (SELECT value FROM json_each(?))", (part,)).rowcount
            connection.execute("DELETE FROM suggested WHERE image_id IN (SELECT value FROM json_each(?))", (part,))
        return gone


def with_suggestions(dataset: Dataset, ids: Iterable[int] | None = None) -> list[int]:
    """Those of these images (of all, without the trash, when None) that have suggestions beside their labels, ascending."""
    with dataset.connection() as connection:
        if "suggestions" not in tables.present(connection):
            return []
        every = connection.execute("""SELECT s.image_id FROM suggestions s INDEXED BY suggestions_light JOIN images i ON i.id = s.image_id
            WHERE s.count > 0 AND i.trashed IS NULL ORDER BY s.image_id""")
        found = [image_id for image_id, in every]
    wanted = None if ids is None else set(ids)
    return [each for each in found if wanted is None or each in wanted]


def sources(dataset: Dataset) -> list[str]:
    """The runs and models that the suggestions come from."""
    with dataset.connection() as connection:
        if "suggestions" not in tables.present(connection):
            return []
        return [source for source, in connection.execute("SELECT DISTINCT source FROM suggestions ORDER BY source")]


# ---- accepting many at once

def accept(dataset: Dataset, ids: Iterable[int], *, threshold: float = 0.0, who: str = "") -> int:
    """Suggestions with a score >= `threshold` become truth; returns the number of images that changed.

    What a person painted stays on top. A tag is taken as there from max(threshold, 0.5) on, and as not there below one minus that; where an image
    has one class, the likeliest is taken. Skipped images are left alone. Each image carries the mark "accepted" until a person saves or checks it;
    somebody who has it open is told when saving. Raises UserError for a threshold outside 0..1.
    """
    from engine.datasets.labeling_queue import one_tag_each

    if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UserError("option_bounds", name="threshold", value=threshold, low=0, high=1)
    single = dataset.task == "classify" and one_tag_each(dataset)
    every, changed = with_suggestions(dataset, ids), 0
    for start in range(0, len(every), AT_ONCE):
        with dataset.transaction() as connection:
            for row in dataset.rows_in(connection, every[start:start + AT_ONCE]):
                changed += _accept_one(dataset, connection, row, float(threshold), who, single)
    return changed


def _accept_one(dataset: Dataset, connection: sqlite3.Connection, row: Row, threshold: float, who: str, single: bool) -> bool:
    classes = Classes.load(connection)
    suggestion = read(connection, classes, row.id)
    if _mark_of(connection, row.id) == "skipped":
        return False
    taken = [shape for shape in suggestion.shapes if shape["score"] >= threshold]
    rest = [shape for shape in suggestion.shapes if shape["score"] < threshold]
    kind = kind_of(row.labels, dataset.task)
    if kind == "tags":
        labels, left = _accepted_tags(row.labels, suggestion, len(classes.names), threshold, single)
    else:
        labels, left = _accepted_shapes(row.labels, taken, kind, classes.names, row.size), None
    if not taken and left == suggestion.tags:
        return False

    def beside(connection: sqlite3.Connection, now: Classes, revision: int) -> None:
        write(connection, now, row.id, Suggestion(suggestion.source, suggestion.at, rest, left))
        keep_mark(connection, row.id, ACCEPTED, who, revision)

    dataset.put_labels(connection, row.id, labels, beside=beside)
    return True


def _accepted_shapes(labels: Labels | None, taken: Sequence[dict[str, Any]], kind: str, classes: Sequence[str],
                     size: tuple[int, int]) -> Labels | None:
    """Truth and what was taken. Where each pixel has one class, the later shape wins: that is the truth."""
    plain = [{key: value for key, value in shape.items() if key not in ("state", "score")} for shape in taken]
    truth = document(labels, classes)["shapes"]
    return labels_of({"looked": True, "shapes": [*plain, *truth] if kind == "mask" else [*truth, *plain], "tags": None}, kind, classes, size)


def _accepted_tags(labels: Labels | None, suggestion: Suggestion, count: int, threshold: float,
                   single: bool) -> tuple[Labels | None, list[float | None] | None]:
    """Tags with what was taken, and the probabilities that are left."""
    tags, left = list(suggestion.tags or [None] * count), document(labels, [""] * count)["tags"] or [None] * count
    values = list(left)
    chances = np.array([-1.0 if value is None else value for value in tags])
    sure = max(threshold, 0.5)
    if single and len(chances) and chances.max() >= threshold and all(value in (None, 0.0) for value in values):
        values = [float(number == chances.argmax()) for number in range(count)]
        tags = [None] * count
    elif not single:
        for number, value in enumerate(tags):
            if value is not None and values[number] is None and (value >= sure or value <= 1 - sure):
                values[number], tags[number] = float(value >= sure), None
    if all(value is None for value in values):
        return labels, suggestion.tags
    return labels_of({"looked": True, "shapes": [], "tags": values}, "tags", [""] * count, (0, 0)), tags if any(v is not None for v in tags) else None


def unseen(dataset: Dataset, split: str | None = None) -> int:
    """How many images have truth that was accepted from suggestions and that no person has looked at since."""
    with dataset.connection() as connection:
        if "marks" not in tables.present(connection):
            return 0
        more = "" if split is None else " AND i.split = ?"
        return connection.execute(f"""SELECT count(*) FROM marks m JOIN images i ON i.id = m.image_id
            WHERE m.mark = '{ACCEPTED}' AND i.trashed IS NULL AND i.state IN ('labeled', 'background'){more}""",
                                  () if split is None else (split,)).fetchone()[0]


def unseen_files(dataset: Dataset) -> set[str]:
    """The names of the image files with such truth."""
    with dataset.connection() as connection:
        if "marks" not in tables.present(connection):
            return set()
        found = connection.execute(f"SELECT i.file FROM marks m JOIN images i ON i.id = m.image_id WHERE m.mark = '{ACCEPTED}' AND i.trashed IS NULL")
        return {file for file, in found}


def marks_by_file(dataset: Dataset) -> dict[str, str]:
    """{name of the image file: "accepted" or "checked"}."""
    with dataset.connection() as connection:
        if "marks" not in tables.present(connection):
            return {}
        return dict(connection.execute("""SELECT i.file, m.mark FROM marks m JOIN images i ON i.id = m.image_id
            WHERE m.mark IN ('accepted', 'checked') AND i.trashed IS NULL""").fetchall())


def put_marks(dataset: Dataset, marks: Mapping[str, str]) -> None:
    """Gives a set that was just made the marks of its images, by their names."""
    if not marks:
        return
    with dataset.transaction() as connection:
        epoch = epoch_of(connection)
        for image_id, name, revision in connection.execute("SELECT id, name, revision FROM images").fetchall():
            if name in marks:
                keep_mark(connection, image_id, marks[name], "", revision + epoch, made=False)


def keep_mark(connection: sqlite3.Connection, image_id: int, mark: str | None, who: str, revision: int, at: str = "", token: str = "", *,
              made: bool = True) -> None:
    """What is said of an image and, when it was `made` with it, who made its revision; part of the caller's transaction."""
    tables.create(connection, "marks", "authors")
    connection.execute("""INSERT INTO marks (image_id, mark, who, at, revision, token) VALUES (?,?,?,?,?,?)
        ON CONFLICT (image_id) DO UPDATE SET mark = excluded.mark, who = excluded.who, at = excluded.at, revision = excluded.revision,
        token = excluded.token WHERE excluded.revision >= marks.revision""", (image_id, mark, who, at or store_journal.now(), revision, token))
    if made:
        connection.execute("INSERT OR REPLACE INTO authors VALUES (?,?,?)", (image_id, revision, who))


def _mark_of(connection: sqlite3.Connection, image_id: int) -> str | None:
    if "marks" not in tables.present(connection):
        return None
    found = connection.execute("SELECT mark FROM marks WHERE image_id = ?", (image_id,)).fetchone()
    return found[0] if found else None


def _parts(ids: Iterable[int]) -> Iterator[str]:
    """These ids as JSON lists of a bearable length."""
    every = [int(each) for each in ids]
    for start in range(0, len(every), BATCH):
        yield json.dumps(every[start:start + BATCH])


"""The data sets of a workspace: a folder with `images/` and `labels.sqlite`. Edits cost one row, pages of 100,000 images cost nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.datasets import store_journal, store_query, store_report, thumbnails
from engine.datasets import store_rows as rows
from engine.datasets.archive import Progress
from engine.datasets.collection import Collection
from engine.datasets.faults import writing
from engine.datasets.formats import ImagePolicy
from engine.datasets.store_classes import Classes
from engine.datasets.store_counts import counted, items
from engine.datasets.store_file import FILE, StoreFile, is_dataset
from engine.datasets.store_import import fill
from engine.types import Instances, Labels, Problem, Reading, Sample, UserError

if TYPE_CHECKING:
    from engine.datasets.health import Report
    from engine.datasets.splits import Item

__all__ = ["FILE", "Dataset", "Row", "check_classes", "epoch_of", "is_dataset", "keep_history"]
BATCH = 500
Beside = Callable[[sqlite3.Connection, Classes, int], None]
COLUMNS = "id, name, split, width, height, file, state, revision, objects, grp, kind, extra"


@dataclass(frozen=True)
class Row:
    """One image on a page. `revision` counts its edits: hand it back to `set_labels` to notice that somebody was faster.

    `objects` counts its shapes, `problems` are the codes that the last health check found in it.
    """

    id: int
    name: str
    split: str
    size: tuple[int, int]
    labels: Labels | None
    path: Path
    state: str = "labeled"
    revision: int = 0
    objects: int = 0
    group: str | None = None
    problems: tuple[str, ...] = ()


class Dataset(StoreFile):
    """A stored data set; any thread may use the same object."""

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
        return self.meta("name")

    @property
    def created(self) -> str:
        """UTC time of the import; sorts as text."""
        return self.meta("created")

    @property
    def task(self) -> str:
        return self.meta("task")

    @property
    def format(self) -> str:
        """The format that it was imported from."""
        return self.meta("format")

    @property
    def revision(self) -> int:
        """Grows with every edit."""
        return int(self.meta("revision"))

    @property
    def classes(self) -> tuple[str, ...]:
        with self.connection() as connection:
            return Classes.load(connection).names

    def counts(self) -> dict[str, dict[str, Any]]:
        """{split: {"images", "boxes", "unlabeled", "classes": {name: objects}}}; computed once a revision."""
        return self.cached("counts", counted)

    def most_objects(self) -> dict[str, int]:
        """{split: objects of the fullest image}; computed once a revision."""
        return self.cached("most_objects", lambda connection: dict(connection.execute(
            "SELECT split, max(objects) FROM images WHERE trashed IS NULL GROUP BY split").fetchall()))

    def groups(self, limit: int = 500) -> list[str]:
        """The first `limit` patients, videos or folders that images belong to, by name."""
        with self.connection() as connection:
            found = connection.execute("SELECT DISTINCT grp FROM images WHERE trashed IS NULL AND grp IS NOT NULL ORDER BY grp LIMIT ?", (limit,))
            return [name for name, in found]

    def problems(self) -> list[Problem]:
        """What the import met."""
        with self.connection() as connection:
            found = connection.execute("SELECT code, severity, place, details FROM problems ORDER BY id")
            return [Problem(code, severity, place, json.loads(details)) for code, severity, place, details in found]

    def report(self) -> Report | None:
        """What the last health check found; None when there was none."""
        with self.connection() as connection:
            return store_report.kept(connection)

    def report_is_stale(self) -> bool:
        """Whether the set has changed since the report that is kept."""
        with self.connection() as connection:
            return store_report.is_stale(connection)

    def keep_report(self, report: Report, problems_by_image: Mapping[int, Iterable[Problem]], *, revision: int | None = None) -> None:
        """`revision` is that of the set when the check began; the present one by default."""
        with self.transaction() as connection:
            now = connection.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()[0]
            store_report.keep(connection, report, problems_by_image, now if revision is None else str(revision))

    def fingerprints(self) -> dict[int, store_report.Fingerprint]:
        """{image id: (digest of the file, perceptual hash)} as far as they are known."""
        with self.connection() as connection:
            return store_report.fingerprints(connection)

    def keep_fingerprints(self, found: Mapping[int, store_report.Fingerprint], *, clusters: Mapping[int, int | None] | None = None) -> None:
        """`clusters`: images that look alike share a number."""
        with self.transaction() as connection:
            store_report.keep_fingerprints(connection, found, clusters or {})

    # ---- images and labels

    def page(self, offset: int, limit: int, *, sort: str = "id", brief: bool = False, **filters: Any) -> list[Row]:
        """`limit` images from `offset` on that fit all filters, with their labels; `brief` leaves out objects and pixels, but not their kind.

        Filters: split, class_id, state, problem (a code, or "any"), group, search (part of the name), size ("small", "medium", "large") and
        trashed=True for those in the trash. `sort`: "id", "name", "objects" or "size", with "-" in front for descending.
        """
        chosen = store_query.Filters(**filters)
        with self.connection() as connection:
            ids = store_query.ids_of_page(connection, Classes.load(connection), sort, limit, offset, chosen)
            found = {row.id: row for row in self._rows(connection, ids, brief=brief)}
            return [found[image_id] for image_id in ids]

    def ids(self, **filters: Any) -> list[int]:
        """The ids of all images that fit the filters of `page`, ascending."""
        chosen = store_query.Filters(**filters)
        with self.connection() as connection:
            return store_query.ids_of_page(connection, Classes.load(connection), "id", -1, 0, chosen)

    def total(self, **filters: Any) -> int:
        """How many images fit the filters of `page`."""
        chosen = store_query.Filters(**filters)
        with self.connection() as connection:
            return store_query.count(connection, Classes.load(connection), chosen)

    def row(self, image_id: int) -> Row:
        """One image, in the trash or not. Raises UserError when there is no such image."""
        with self.connection() as connection:
            found = list(self._rows(connection, [image_id]))
        if not found:
            raise UserError("image_unknown", id=image_id, name=self.id)
        return found[0]

    def samples(self, split: str | None = None) -> list[Sample]:
        return list(self._samples(split))

    def reading(self) -> Reading:
        return Reading(self.classes, self._samples(None), self.task)

    def collection(self) -> Collection:
        return Collection(self.classes, self.samples(), self.problems(), self.format, self.task)

    def items(self) -> Iterator[Item]:
        """What dealing images to splits needs to know of each."""
        with self.connection() as connection:
            yield from items(connection)

    def set_labels(self, image_id: int, labels: Labels | None, *, expected: int | None = None, beside: Beside | None = None) -> int:
        """Replaces the labels of one image, keeps the old ones in the history and returns the image's new revision.

        With `expected`, raises UserError when the image, or the list of classes, has been edited since that revision. `beside` writes what
        belongs to the edit, in the same transaction; it is told the classes and the new revision.
        """
        with self.transaction() as connection:
            return self.put_labels(connection, image_id, labels, expected, beside)

    def put_labels(self, connection: sqlite3.Connection, image_id: int, labels: Labels | None, expected: int | None = None,
                   beside: Beside | None = None) -> int:
        """`set_labels` as a part of the caller's transaction."""
        classes = Classes.load(connection)
        check_classes(labels, classes)
        found = connection.execute("SELECT revision, kind, extra FROM images WHERE id = ?", (image_id,)).fetchone()
        if found is None:
            raise UserError("image_unknown", id=image_id, name=self.id)
        revision = found[0] + epoch_of(connection)
        if expected not in (None, revision):
            raise UserError("labels_changed", id=image_id)
        keep_history(connection, image_id)
        rows.put_labels(connection, image_id, labels, classes)
        connection.execute("UPDATE images SET revision = revision + 1 WHERE id = ?", (image_id,))
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
        if beside is not None:
            beside(connection, classes, revision + 1)
        return revision + 1

    def rows_in(self, connection: sqlite3.Connection, ids: list[int]) -> Iterator[Row]:
        """These images as the caller's transaction sees them; what is not there is left out."""
        return self._rows(connection, ids)

    def history(self, image_id: int) -> list[tuple[int, str, Labels | None]]:
        """(revision, UTC time of the edit that ended it, labels until then in today's classes), oldest first."""
        with self.connection() as connection:
            classes = Classes.load(connection)
            found = connection.execute("SELECT revision, at, before FROM history WHERE image_id = ? ORDER BY id", (image_id,))
            return [(revision, at, rows.restored(before, classes)) for revision, at, before in found]

    def add_class(self, name: str) -> int:
        """The id of the class `name`, which is added when it is new."""
        with self.transaction() as connection:
            names = Classes.load(connection).names
            if name in names:
                return names.index(name)
            connection.execute("INSERT INTO classes (name, place) VALUES (?, ?)", (name, len(names)))
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
            return len(names)

    def thumbnail(self, image_id: int, side: int = 256) -> Path:
        """A WebP of at most `side` pixels, made once. Pages show only these, never a file that a stranger made."""
        target = thumbnails.place(self.folder, image_id, side)
        if not target.is_file():
            thumbnails.make(self.path(image_id), target, side)
        return target

    def path(self, image_id: int) -> Path:
        """The file of an image. Raises UserError when there is no such image."""
        with self.connection() as connection:
            found = connection.execute("SELECT file FROM images WHERE id = ?", (image_id,)).fetchone()
        if found is None:
            raise UserError("image_unknown", id=image_id, name=self.id)
        with self.telling():
            return self.image_path(found[0])

    # ---- inside

    def _rows(self, connection: sqlite3.Connection, ids: list[int], *, brief: bool = False, packed: bool = False) -> Iterator[Row]:
        """These images in any order; what is not there is left out. `packed`: masks stay compressed until somebody looks."""
        read = rows.packed_labels_of if packed else rows.labels_of
        classes, epoch = Classes.load(connection), epoch_of(connection)
        for start in range(0, len(ids), BATCH):
            chosen = ids[start:start + BATCH]
            marks = ",".join("?" * len(chosen))
            shapes = {} if brief else rows.shapes_of(connection, chosen)
            problems: dict[int, list[str]] = {}
            for number, code in connection.execute(f"SELECT image_id, code FROM image_problems WHERE image_id IN ({marks}) ORDER BY code", chosen):
                problems.setdefault(number, []).append(code)
            found = connection.execute(f"SELECT {COLUMNS} FROM images WHERE id IN ({marks}) ORDER BY id", chosen)
            for number, name, split, width, height, file, state, revision, objects, group, kind, extra in found:
                labels = read(kind, extra, shapes.get(number, ()), classes) if not brief else rows.kind_of(kind, extra, classes)
                yield Row(number, name, split, (width, height), labels, self.image_path(file), state, revision + epoch, objects, group,
                          tuple(problems.get(number, ())))

    def _samples(self, split: str | None) -> Iterator[Sample]:
        with self.connection() as connection:
            ids = store_query.ids_of_page(connection, Classes.load(connection), "id", -1, 0, store_query.Filters(split=split))
            for row in self._rows(connection, ids, packed=True):
                yield Sample(row.path, row.size, row.labels, row.split, row.group, row.name)


def check_classes(labels: Labels | None, classes: Classes) -> None:
    """Raises UserError for objects of a class that there is not."""
    if isinstance(labels, Instances) and len(labels) and labels.classes.max() >= len(classes.names):
        raise UserError("class_unknown", id=int(labels.classes.max()), count=len(classes.names))


def keep_history(connection: sqlite3.Connection, image_id: int) -> None:
    """Notes the labels that an image has now, before they are replaced; part of the caller's transaction."""
    revision, kind, extra = connection.execute("SELECT revision, kind, extra FROM images WHERE id = ?", (image_id,)).fetchone()
    before = rows.snapshot(kind, extra, rows.shapes_of(connection, [image_id]).get(image_id, []))
    connection.execute("INSERT INTO history (image_id, revision, at, before) VALUES (?,?,?,?)",
                       (image_id, revision + epoch_of(connection), store_journal.now(), before))


def epoch_of(connection: sqlite3.Connection) -> int:
    """How often class ids have moved; a part of every image's revision, so that labels in old ids are never saved."""
    return int(connection.execute("SELECT value FROM meta WHERE key = 'class_epoch'").fetchone()[0])

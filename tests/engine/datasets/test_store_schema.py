"""Sets that version 1 has written, from its own table definitions."""

import json
import sqlite3
import threading
import zlib

import cv2
import numpy as np
import pytest

from engine.datasets import editing, store_schema
from engine.datasets.collection import count_samples
from engine.datasets.formats import formats
from engine.datasets.store import FILE, Dataset
from engine.types import RLE, Instances, Tags, UserError

VERSION_1 = """
PRAGMA journal_mode = WAL;
PRAGMA user_version = 1;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE classes (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE images (id INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE, name TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    split TEXT NOT NULL, grp TEXT, state TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0, kind TEXT, extra BLOB);
CREATE TABLE shapes (id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL, class_id INTEGER NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL,
    x2 REAL NOT NULL, y2 REAL NOT NULL, score REAL, crowd INTEGER NOT NULL DEFAULT 0, outline TEXT);
CREATE TABLE problems (id INTEGER PRIMARY KEY, code TEXT NOT NULL, severity TEXT NOT NULL, place TEXT NOT NULL, details TEXT NOT NULL);
CREATE TABLE history (id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL, revision INTEGER NOT NULL, at TEXT NOT NULL, before BLOB NOT NULL);
CREATE INDEX images_split ON images (split, id);
CREATE INDEX images_state ON images (state, id);
CREATE INDEX shapes_image ON shapes (image_id);
CREATE INDEX shapes_class ON shapes (class_id, image_id);
CREATE INDEX history_image ON history (image_id);
INSERT INTO meta VALUES ('name', '旧的'), ('task', 'instance'), ('format', 'coco'), ('revision', '3'), ('created', '2025-01-01T00:00:00Z'),
    ('counts', '{"revision": "3", "counts": {}}');
INSERT INTO classes VALUES (0, 'cat'), (1, 'dog'), (2, 'background');
INSERT INTO images VALUES
    (1, 'a.png', 'x/a.png', 6, 4, 'train', 'p1', 'labeled', 2, 'objects', NULL),
    (2, 'b.png', 'x/b.png', 6, 4, 'valid', NULL, 'background', 0, 'objects', NULL),
    (3, 'c.png', 'c.png', 6, 4, 'train', NULL, 'unlabeled', 1, NULL, NULL),
    (4, 'd.png', 'd.png', 6, 4, 'train', NULL, 'labeled', 0, 'tags', '[1, null, 0.5]'),
    (5, 'e.png', 'e.png', 6, 4, 'test', NULL, 'labeled', 0, 'mask', NULL), (6, 'f.png', 'f.png', 6, 4, 'test', NULL, 'labeled', 0, 'layers', NULL);
INSERT INTO shapes VALUES (1, 1, 1, 1, 1, 3, 3.5, NULL, 0, '{"rings":[[1,1,3,1,3,3.5]]}'),
    (2, 1, 1, 0, 0, 6, 4, NULL, 1, NULL), (3, 1, 0, 0, 0, 2, 2, NULL, 0, NULL);
INSERT INTO problems VALUES (1, 'image_missing', 'error', 'y.png', '{}');
"""


@pytest.fixture
def old_set(tmp_path, picture):
    folder = tmp_path / "old"
    for number, name in enumerate("abcdef"):
        picture(folder / "images" / f"{name}.png", 6, 4, number)
    connection = sqlite3.connect(folder / FILE)
    connection.executescript(VERSION_1)
    mask = cv2.imencode(".png", np.arange(24, dtype=np.uint16).reshape(4, 6) % 2 + 1)[1].tobytes()
    rle = json.dumps({"size": [4, 6], "counts": _rle(np.ones((4, 6), bool))})
    connection.execute("UPDATE images SET extra = ? WHERE id = 4", (b"[1, null, 0.5]",))
    connection.execute("UPDATE images SET extra = ? WHERE id = 5", (mask,))
    connection.execute("UPDATE images SET extra = ? WHERE id = 6", (zlib.compress(json.dumps([rle] * 3).encode()),))
    before = zlib.compress(json.dumps({"kind": "objects", "extra": None, "rows": [[1, 1, 1, 3, 3, None, 0, None]]}).encode())
    connection.execute("INSERT INTO history VALUES (1, 1, 1, '2025-01-02T00:00:00Z', ?)", (before,))
    connection.commit()
    connection.close()
    return folder


def _rle(mask):
    from engine.datasets.outlines import rle_of_mask
    return rle_of_mask(mask).counts.decode()


def check_old(dataset):
    assert (dataset.name, dataset.task, dataset.format, dataset.revision) == ("旧的", "instance", "coco", 3)
    assert dataset.classes == ("cat", "dog", "background")
    rows = dataset.page(0, 10)
    assert [(row.id, row.name, row.split, row.group, row.state, row.revision, row.objects) for row in rows] == [
        (1, "x/a.png", "train", "p1", "labeled", 2, 3), (2, "x/b.png", "valid", None, "background", 0, 0),
        (3, "c.png", "train", None, "unlabeled", 1, 0),
        (4, "d.png", "train", None, "labeled", 0, 0), (5, "e.png", "test", None, "labeled", 0, 0), (6, "f.png", "test", None, "labeled", 0, 0)]
    assert rows[0].labels.classes.tolist() == [1, 1, 0]
    assert rows[0].labels.shapes[0].rings[0].tolist() == [[1, 1], [3, 1], [3, 3.5]]
    assert rows[0].labels.crowd.tolist() == [False, True, False]
    assert np.array_equal(rows[3].labels.values, [1, np.nan, .5], equal_nan=True)
    assert rows[4].labels.classes.tolist() == (np.arange(24).reshape(4, 6) % 2 + 1).tolist()
    assert rows[5].labels.layers.all()
    assert dataset.counts() == count_samples(dataset.samples(), dataset.classes)
    assert [dataset.total(class_id=number) for number in range(3)] == [3, 3, 2]
    (revision, at, labels), = dataset.history(1)
    assert (revision, at, labels.classes.tolist()) == (1, "2025-01-02T00:00:00Z", [1])
    assert [problem.code for problem in dataset.problems()] == ["image_missing"]


def version_of(folder):
    with sqlite3.connect(folder / FILE) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_a_set_of_version_1_is_brought_up_to_date_and_kept_beside(old_set):
    content = list(sqlite3.connect(old_set / FILE).iterdump())
    dataset = Dataset(old_set)
    check_old(dataset)
    check_old(Dataset(old_set))
    assert version_of(old_set) == 2
    assert list(sqlite3.connect(old_set / store_schema.BACKUP).iterdump()) == content
    editing.delete_class(dataset, 0)
    assert dataset.history(1)[0][2].classes.tolist() == [0]
    editing.undo(dataset, 1)
    check_tables(dataset, Dataset.create(old_set.parent / "new", "x", dataset.collection()))


def check_tables(one, other):
    """Both databases have the same tables and indexes."""
    def schema(dataset):
        with dataset.connection() as connection:
            columns = {name: [row[1:] for row in connection.execute(f"PRAGMA table_info({name})")]
                       for name, in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")}
            return columns, sorted(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
    assert schema(one) == schema(other)


def test_a_set_of_version_1_that_may_only_be_read_stays_as_it_is(old_set, monkeypatch):
    monkeypatch.setattr(store_schema, "writable", lambda folder: folder != old_set)
    dataset = Dataset(old_set)
    check_old(dataset)
    with pytest.raises(UserError) as caught:
        editing.trash(dataset, [1])
    assert caught.value.key == "dataset_read_only"
    assert version_of(old_set) == 1
    assert sorted(file.name for file in old_set.iterdir() if not file.name.endswith(("-wal", "-shm"))) == ["images", FILE]


def test_converting_a_set_of_version_1_changes_nothing_in_it(old_set):
    reading = formats.get("lightbox").read(old_set)
    samples = list(reading.items)
    assert len(samples) == 6
    assert isinstance(samples[3].labels, Tags)
    assert version_of(old_set) == 1
    assert not (old_set / store_schema.BACKUP).exists()


def test_a_failing_migration_leaves_version_1(old_set):
    with sqlite3.connect(old_set / FILE) as connection:
        connection.execute("UPDATE images SET extra = x'00' WHERE id = 5")
        before = list(connection.iterdump())
    with pytest.raises(UserError) as caught:
        Dataset(old_set)
    assert caught.value.key == "dataset_damaged"
    assert (version_of(old_set), list(sqlite3.connect(old_set / FILE).iterdump())) == (1, before)


def test_a_set_that_many_open_at_once_is_migrated_once(old_set):
    found, errors = [], []

    def work():
        try:
            found.append(Dataset(old_set).total())
        except Exception as error:  # noqa: BLE001
            errors.append(error)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, found) == ([], [6] * 8)
    with sqlite3.connect(old_set / store_schema.BACKUP) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 1


def test_edits_still_work_after_a_migration(old_set):
    dataset = Dataset(old_set)
    dataset.set_labels(3, Instances([[0, 0, 2, 2]], [2], shapes=(RLE(_rle(np.eye(4, 6, dtype=bool)).encode(), (4, 6)),)))
    editing.merge_classes(dataset, [0], 1)
    assert dataset.counts() == count_samples(dataset.samples(), dataset.classes)
    assert dataset.classes == ("dog", "background")

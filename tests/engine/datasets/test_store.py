import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.datasets import editing
from engine.datasets.collection import Collection, load
from engine.datasets.store import FILE, Dataset
from engine.types import RLE, Instances, Polygons, Problem, Reading, Sample, SemanticMask, Tags, UserError


@pytest.fixture
def stored(tmp_path, yolo_folder):
    root = yolo_folder({"train": {"a": "0 .5 .5 .5 .5\n1 .25 .25 .25 .25\n", "b": "", "d": None}, "valid": {"a": "1 .5 .5 .25 .5\n9 .5 .5 .1 .1"}})
    return Dataset.create(tmp_path / "stored", "名字", load(root, tmp_path / "scratch"))


def key_of(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    return caught.value.key


def test_everything_that_was_read_is_kept(stored):
    assert (stored.name, stored.classes, stored.task, stored.format, stored.revision, stored.id) == ("名字", ("cat", "dog"), "detect", "yolo", 0,
        "stored")
    assert [(row.name, row.split, row.size, row.state) for row in stored.page(0, 10)] == [
        ("train/images/a.png", "train", (64, 48), "labeled"), ("train/images/b.png", "train", (64, 48), "background"),
        ("train/images/d.png", "train", (64, 48), "unlabeled"), ("valid/images/a.png", "valid", (64, 48), "labeled")]
    assert stored.page(0, 1)[0].labels.boxes.tolist() == [[16, 12, 48, 36], [8, 6, 24, 18]]
    assert [(problem.code, problem.where, problem.values["class_id"]) for problem in stored.problems() if problem.severity == "error"] \
        == [("label_class_range", "valid/labels/a.txt:2", "9")]
    assert len({row.path for row in stored.page(0, 10)}) == 4
    assert all(row.path.is_file() for row in stored.page(0, 10))


def test_counts_and_filters_agree(stored):
    assert stored.counts() == stored.collection().counts()
    assert stored.counts()["train"] == {"images": 3, "boxes": 2, "unlabeled": 1, "classes": {"cat": 1, "dog": 1}}
    for filters, wanted in (({}, 4), ({"split": "valid"}, 1), ({"class_id": 1}, 2), ({"state": "unlabeled"}, 1),
                            ({"class_id": 1, "split": "train", "state": "labeled"}, 1), ({"split": "test"}, 0)):
        assert stored.total(**filters) == len(stored.page(0, 100, **filters)) == wanted
    assert [row.id for row in stored.page(1, 2)] == [2, 3]
    assert stored.page(10, 5) == []


def test_an_edit_changes_one_image_and_keeps_what_was(stored):
    before = stored.row(1).labels
    new = Instances([[1, 2, 3, 4]], [1])
    assert stored.set_labels(1, new, expected=0) == 1
    assert stored.row(1).labels.boxes.tolist() == [[1, 2, 3, 4]]
    assert (stored.revision, stored.row(1).revision, stored.row(2).revision) == (1, 1, 0)
    assert stored.counts()["train"]["classes"] == {"cat": 0, "dog": 1}
    (revision, _, old), = stored.history(1)
    assert revision == 0
    assert old.boxes.tolist() == before.boxes.tolist()
    stored.set_labels(1, None)
    assert stored.row(1).labels is None
    assert stored.row(1).state == "unlabeled"
    assert len(stored.history(1)) == 2


def test_the_slower_of_two_people_is_told(stored):
    stored.set_labels(1, None, expected=0)
    assert key_of(stored.set_labels, 1, Instances.empty(), expected=0) == "labels_changed"
    assert stored.row(1).labels is None
    assert key_of(stored.set_labels, 99, None) == "image_unknown"
    assert key_of(stored.set_labels, 1, Instances([[0, 0, 1, 1]], [2])) == "class_unknown"


RING = np.array([[1.25, 2], [30, 2.5], [30, 30]])


@pytest.mark.parametrize("labels", [
    Instances.empty(), Tags(np.array([1, 0, np.nan], np.float32)), SemanticMask(classes=np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000),
    SemanticMask(layers=np.arange(24).reshape(2, 3, 4) % 5 == 0), Instances([[0, 0, 5, 5]], [0], scores=[0.75]),
    Instances([[1, 2, 30, 30]] * 3, [0, 1, 1], shapes=(Polygons((RING, RING + 5), (RING / 3 + 5,)), RLE(b"04L", (3, 4)), None), crowd=[False, True,
    False])])
def test_labels_of_every_kind_come_back_as_they_were(stored, labels):
    stored.set_labels(1, labels)
    again = stored.row(1).labels
    assert type(again) is type(labels)
    for name, value in vars(labels).items():
        other = getattr(again, name)
        if name == "shapes" and value is not None:
            assert all(np.array_equal(mine, theirs) for mine, theirs in zip(other[0].rings + other[0].holes, value[0].rings + value[0].holes,
                strict=True))
            assert other[1:] == value[1:]
        elif value is None:
            assert other is None
        else:
            assert np.array_equal(other, value, equal_nan=value.dtype.kind == "f")
    stored.set_labels(1, None)
    assert type(stored.history(1)[-1][2]) is type(labels)


def test_a_hundred_threads_lose_no_edit(stored):
    errors = []

    def edit(number):
        try:
            stored.set_labels(1 + number % 4, Instances([[0, 0, 1 + number, 5]], [0]))
            stored.page(0, 4)
        except Exception as error:  # noqa: BLE001
            errors.append(error)
    threads = [threading.Thread(target=edit, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert stored.revision == 100
    assert sum(len(stored.history(number)) for number in range(1, 5)) == 100


def test_thumbnails_are_made_once_and_never_the_original(stored):
    thumb = stored.thumbnail(1, 32)
    with Image.open(thumb) as picture:
        assert (picture.format, picture.size) == ("WEBP", (32, 24))
    first = thumb.stat().st_mtime_ns
    assert stored.thumbnail(1, 32) == thumb
    assert thumb.stat().st_mtime_ns == first
    assert key_of(stored.thumbnail, 99) == "image_unknown"
    stored.row(2).path.write_bytes(b"<svg onload=alert(1)>")
    assert key_of(stored.thumbnail, 2) == "not_an_image"


def test_classes_and_splits_can_be_changed(stored):
    assert stored.add_class("bird") == 2
    assert stored.add_class("cat") == 0
    assert stored.classes == ("cat", "dog", "bird")
    editing.move(stored, [1, 2], "valid")
    assert stored.counts()["valid"]["images"] == 3


def test_groups_survive(tmp_path, picture):
    image = picture(tmp_path / "x.png")
    dataset = Dataset.create(tmp_path / "s", "x", Collection(("a",), [Sample(image, (64, 48), None, None, "patient 1", "x.png")]))
    assert [(sample.group, sample.split) for sample in dataset.samples()] == [("patient 1", "train")]


def test_a_failing_import_leaves_nothing(tmp_path, picture):
    def items():
        yield Sample(picture(tmp_path / "in/x.png"), (64, 48), None, name="x.png")
        assert not (tmp_path / "out/stored").exists()
        raise RuntimeError("in the middle")
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError):
        Dataset.create(tmp_path / "out/stored", "x", Reading(("a",), items()))
    assert list((tmp_path / "out").iterdir()) == []
    assert key_of(Dataset.create, tmp_path / "out/stored", "x", Reading(("a",), iter([Problem("image_missing", "error",
        "x")]))) == "dataset_without_images"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_is_none_or_damaged_or_newer_is_refused_in_words(tmp_path, stored):
    assert key_of(Dataset, tmp_path) == "dataset_missing"
    for content in (b"", b"SQLite format 3\0" + bytes(200), b"text"):
        (tmp_path / FILE).write_bytes(content)
        assert key_of(Dataset, tmp_path) == "dataset_damaged"
    with sqlite3.connect(stored.folder / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert key_of(Dataset, stored.folder) == "dataset_newer"


@pytest.mark.parametrize("file", ["../../secret.png", "/etc/passwd", "..", "", "a\\b"])
def test_a_table_made_by_a_stranger_cannot_point_outside(stored, file):
    with sqlite3.connect(stored.folder / FILE) as connection:
        connection.execute("UPDATE images SET file = ? WHERE id = 1", (file,))
    assert key_of(stored.row, 1) == "dataset_damaged"


@pytest.mark.parametrize("change", ["UPDATE shapes SET x1 = 'text'", "UPDATE shapes SET class_id = -5", "UPDATE shapes SET outline = '{'",
                                    "UPDATE images SET kind = 'tags', extra = x'00'", "DROP TABLE shapes",
                                    "UPDATE images SET kind = 'mask', extra = x'00'",
                                    "UPDATE shapes SET outline = '[1]'", "UPDATE images SET kind = 'layers', extra = x'00'"])
def test_rows_that_make_no_sense_are_a_damaged_data_set_and_no_crash(stored, change):
    with sqlite3.connect(stored.folder / FILE) as connection:
        connection.execute(change)
    assert key_of(stored.page, 0, 10) == "dataset_damaged"


def test_a_page_of_twenty_thousand_images_is_there_at_once(tmp_path):
    rng = np.random.default_rng(0)
    labels = [Instances(np.sort(rng.uniform(0, 300, (6, 4)), 1), rng.integers(0, 20, 6)) for _ in range(50)]
    items = (Sample(Path(f"{number}.png"), (300, 300), labels[number % 50], ("train", "valid")[number % 5 == 0], None,
        f"{number}.png") for number in range(20_000))
    dataset = Dataset.create(tmp_path / "big", "big", Reading(tuple(map(str, range(20))), items), images="none")
    for filters in ({}, {"class_id": 3}, {"split": "valid"}, {"class_id": 3, "split": "valid", "state": "labeled"}):
        start = time.perf_counter()
        assert len(dataset.page(dataset.total(**filters) - 50, 50, **filters)) == 50
        assert time.perf_counter() - start < 0.3

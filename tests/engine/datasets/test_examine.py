"""The health check of a stored set: what it keeps, and what it need not do twice."""

import shutil
import time

import numpy as np
import pytest
from PIL import Image

from engine.datasets import editing, health_facts, similar, store_journal
from engine.datasets.collection import Collection, load
from engine.datasets.health import check, examine
from engine.datasets.store import Dataset
from engine.types import Instances, Polygons, Problem, Sample, SemanticMask, Tags


@pytest.fixture
def stored(tmp_path, yolo_folder):
    box = " .5 .5 .2 .2\n"
    root = yolo_folder({"train": {"a": f"0{box}0{box}9{box}", "b": f"0{box}", "n": None}, "valid": {"c": f"1{box}"}})
    shutil.copy(root / "train/images/b.png", root / "valid/images/c.png")
    return Dataset.create(tmp_path / "stored", "set", load(root, tmp_path / "scratch"))


def codes(report):
    return {problem.code for problem in report.problems}


def test_the_report_is_kept_and_grows_stale(stored):
    report = examine(stored)
    assert stored.report() == report
    assert not stored.report_is_stale()
    editing.move(stored, [1], "test")
    assert stored.report_is_stale()


def test_what_the_import_met_is_included_and_belongs_to_its_image(stored):
    report = examine(stored)
    assert {"label_class_range", "same_image_in_splits", "class_absent_from_train"} <= codes(report)
    by_name = {row.name: set(row.problems) for row in stored.page(0, 10)}
    assert {"label_class_range"} <= by_name["train/images/a.png"]
    assert "same_image_in_splits" in by_name["valid/images/c.png"]
    assert "same_image_in_splits" in by_name["train/images/b.png"]
    assert "label_class_range" not in by_name["train/images/b.png"]
    assert [row.name for row in stored.page(0, 10, problem="class_absent_from_train")] == ["valid/images/c.png"]


def test_how_far_the_reading_is_is_told_from_the_first_row_on_and_can_be_ended(stored, monkeypatch):
    monkeypatch.setattr(health_facts, "ROWS_TOLD", 2)
    told = []
    examine(stored, reading=lambda *said: told.append(("labels", *said)), progress=lambda *said: told.append(("images", *said)))
    rows = stored.total() + sum(len(row.labels) for row in stored.page(0, 9) if row.labels is not None)
    assert told[:3] == [("labels", 0, rows), ("labels", 2, rows), ("labels", 4, rows)]
    assert told[-1][0] == "images"

    class Ended(Exception):
        pass

    def end(done, total):
        raise Ended

    with pytest.raises(Ended):
        examine(stored, reading=end)


def test_a_stored_set_and_a_collection_get_the_same_report(stored):
    ours, theirs = examine(stored), check(stored.collection(), decode=True)
    assert (ours.splits, ours.classes, ours.task, ours.extras["sizes"]) == (theirs.splits, theirs.classes, theirs.task, theirs.extras["sizes"])
    assert [each.as_dict() for each in ours.problems] == [each.as_dict() for each in theirs.problems]
    assert ours.splits == stored.counts()


@pytest.mark.parametrize("labels", [[Tags([1, 0.5]), Tags([np.nan, 1]), None],
    [SemanticMask(classes=np.array([[0, 1], [1, 65535]], np.uint16)), SemanticMask(layers=np.eye(2, dtype=bool)[:, None].repeat(2, 1)), None],
    [Instances([[0, 0, 9, 9], [-4, 0, 5, 5]], [0, 1], shapes=(None, Polygons((np.array([[0, 0], [5, 0], [5, 5.0]]),)))), Instances.empty(), None]])
def test_all_kinds_of_labels_are_read_alike_from_the_store(tmp_path, picture, labels):
    samples = [Sample(picture(tmp_path / f"{n}.png", seed=n), (64, 48), each, "train", "g", f"{n}.png") for n, each in enumerate(labels)]
    stored = Dataset.create(tmp_path / "set", "set", Collection(("a", "b"), samples, task="classify"))
    assert [each.as_dict() for each in examine(stored).problems] == [each.as_dict() for each in check(stored.collection(), decode=True).problems]


def test_images_are_opened_once(stored, monkeypatch):
    monkeypatch.setattr(store_journal, "now", lambda: "2026-11-22T08:40:43Z")
    first, seen = examine(stored), []
    assert set(stored.fingerprints()) == {1, 2, 3, 4}
    real = similar.see
    monkeypatch.setattr(similar, "see", lambda path, **options: seen.append(path) or real(path, **options))
    assert examine(stored) == first
    assert seen == []


def test_remarks_are_remembered_with_the_report(tmp_path, monkeypatch):
    path = tmp_path / "deep.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 60000, (48, 64), np.uint16)).save(path)
    sample = Sample(path, (64, 48), Instances([[0, 0, 9, 9]], [0]), "train", None, "deep.png")
    stored = Dataset.create(tmp_path / "set", "set", Collection(("a",), [sample]))
    assert "image_windowed" in codes(examine(stored))
    monkeypatch.setattr(similar, "see", None)
    assert "image_windowed" in codes(examine(stored))


def test_look_alikes_are_known_to_whoever_deals_splits(stored):
    examine(stored)
    alike = {item.id: item.alike for item in stored.items()}
    assert alike[2] is not None
    assert alike[2] == alike[4]
    assert alike[1] is None


def test_a_check_that_is_ended_keeps_what_it_has_seen(tmp_path, picture):
    samples = [Sample(picture(tmp_path / f"{n}.png", seed=n), (64, 48), Instances([[0, 0, 9, 9]], [0]), "train", None, f"{n}.png") for n in range(40)]
    stored = Dataset.create(tmp_path / "set", "set", Collection(("a",), samples))

    def ended(done, total):
        if done == 16:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        examine(stored, progress=ended)
    assert len(stored.fingerprints()) == 16
    assert stored.report() is None
    counts = []
    examine(stored, progress=lambda done, total: counts.append((done, total)))
    assert counts[-1] == (24, 24)


def test_without_decoding_no_image_is_opened(stored, monkeypatch):
    monkeypatch.setattr(similar, "see", None)
    assert "same_image_in_splits" not in codes(examine(stored, decode=False))


def test_an_image_that_has_gone_or_is_torn_is_told_with_its_number(stored):
    files = {row.name: row.path for row in stored.page(0, 10)}
    files["train/images/a.png"].unlink()
    whole = files["train/images/n.png"].read_bytes()
    files["train/images/n.png"].write_bytes(whole[:len(whole) // 2])
    report = examine(stored)
    assert {"file_unreadable", "image_damaged"} <= codes(report)
    assert report.extras["unreadable"] == [1, 3]
    assert "image_damaged" in stored.page(0, 1, problem="image_damaged")[0].problems


def test_a_stored_set_that_may_only_be_read_is_checked_too(stored):
    report = examine(Dataset(stored.folder, readonly=True))
    assert "same_image_in_splits" in codes(report)
    assert stored.report() is None


def test_ten_thousand_stored_images_are_examined_within_seconds(tmp_path, picture):
    image, chance = picture(tmp_path / "x.png"), np.random.default_rng(0)
    labels = [Instances(np.sort(chance.uniform(0, 48, (9, 4)), 1), chance.integers(0, 5, 9)) for _ in range(100)]
    samples = [Sample(image, (64, 48), labels[n % 100], "train", None, f"{n}.png") for n in range(10_000)]
    stored = Dataset.create(tmp_path / "set", "set", Collection(tuple("abcde"), samples, [Problem("x", "note", f"{n}.txt:3") for n in range(1000)]),
                            images="link")
    started = time.perf_counter()
    examine(stored, decode=False)
    assert time.perf_counter() - started < 5  # a tenth of that alone

"""The data page without a browser: what it shows of a set, and what it says of a bad one."""

import zipfile

import numpy as np
import pytest

from engine.types import RLE, Instances, Polygons, UserError
from engine.workspace import Workspace
from ui.pages.data import browse, importing, pictures, words
from ui.pages.data.browse import PAGE_SIZE, Query
from ui.sources import chosen_source, stem_of


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def dataset(workspace, yolo_folder):
    labels = {f"image{i:02d}": f"{i % 2} 0.5 0.5 0.5 0.5\n" for i in range(30)}
    folder = yolo_folder({"train": {**labels, "bare": None}, "valid": {"c": "1 0.5 0.5 0.25 0.5\n"}})
    return workspace.import_dataset(folder, "<b>pets</b> & co")[0]


def test_the_header_has_name_numbers_and_classes_and_escapes_them(dataset):
    shown = words.header(dataset, "en")
    assert "&lt;b&gt;pets&lt;/b&gt; &amp; co" in shown and "<b>pets" not in shown
    for part in ("32", "31", "cat", "dog", "train", "valid"):
        assert part in shown


def test_counts_in_words_know_one_from_many(workspace, yolo_folder):
    single, _ = workspace.import_dataset(yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\n"}}, yaml="train: train/images\nnames: [cat]\n"), "one")
    assert words.counts_in_words(single, "en") == "1 image · 1 object · 1 class"


def test_a_page_holds_its_share_and_the_last_page_the_rest(dataset):
    assert browse.grid(dataset, Query(), "en").count("lb-tile\"") == PAGE_SIZE
    assert browse.grid(dataset, Query(page=2), "en").count("lb-tile\"") == 32 - PAGE_SIZE
    assert [browse.pages_of(n) for n in (0, 1, PAGE_SIZE, PAGE_SIZE + 1)] == [1, 1, 1, 2]
    assert [browse.within(page, 32) for page in (-3, 1, 2, 9)] == [1, 1, 2, 2]


def test_filters_leave_what_fits_and_say_so_when_nothing_does(dataset):
    assert browse.grid(dataset, Query(split="valid"), "en").count("lb-tile\"") == 1
    assert "unlabeled" in browse.grid(dataset, Query(state="unlabeled"), "en")
    assert "No image fits" in browse.grid(dataset, Query(split="test"), "en")


def test_whatever_a_browser_sends_as_a_filter_is_harmless(dataset):
    query = Query.of({"$ne": 1}, ["1; DROP TABLE images"], None)
    assert "No image fits" in browse.grid(dataset, query, "en")
    assert query.filters["class_id"] is None


def test_every_picture_has_a_text_and_every_tile_a_name(dataset):
    shown = browse.grid(dataset, Query(), "en")
    assert shown.count("<img") == shown.count(' alt="') == PAGE_SIZE
    assert 'alt=""' not in shown


def test_one_image_large_knows_its_neighbours(dataset):
    first, last = browse.viewer(dataset, Query(), 0, "en"), browse.viewer(dataset, Query(), 31, "en")
    assert 'data-step="-1" disabled' in first and 'data-step="1" aria' in first
    assert 'data-step="32" disabled' in last
    assert browse.viewer(dataset, Query(), 32, "en") == browse.viewer(dataset, Query(), -1, "en") == ""


def test_an_image_that_cannot_be_read_leaves_its_name(dataset):
    dataset.page(0, 1)[0].path.write_bytes(b"gone")
    shown = browse.grid(dataset, Query(), "en")
    assert shown.count("<img") == PAGE_SIZE - 1 and "lb-unreadable" in shown


def test_labels_follow_a_picture_to_another_size():
    ring = np.array([[0, 0], [10, 0], [10, 20]], float)
    labels = Instances([[0, 0, 10, 20]] * 2, [0, 1], shapes=(Polygons((ring,), (ring,)), RLE(b"x", (20, 10))))
    half = pictures.scaled(labels, 0.5, 0.25)
    assert half.boxes.tolist() == [[0, 0, 5, 5]] * 2
    assert half.shapes[0].rings[0].max(axis=0).tolist() == [5, 5] and half.shapes[0].holes[0].max(axis=0).tolist() == [5, 5]
    assert half.shapes[1] is None
    assert pictures.scaled(labels, 1, 1) is labels


def test_the_drop_zone_says_what_it_recognised_and_why(yolo_folder, tmp_path):
    folder = yolo_folder()
    seen, ask = importing.look(None, f' "{folder}" ', "", "en")
    assert "YOLO" in seen and "data.yaml" in seen and not ask
    packed = tmp_path / "pets.zip"
    with zipfile.ZipFile(packed, "w") as target:
        for file in folder.rglob("*"):
            target.write(file, file.relative_to(folder))
    assert "YOLO" in importing.look(str(packed), "", "", "en")[0]


def test_the_drop_zone_asks_for_the_format_when_it_cannot_tell(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    seen, ask = importing.look(None, str(tmp_path), "", "en")
    assert ask and 'role="alert"' in seen and "notes.txt" in seen


def test_nothing_chosen_is_said_without_alarm():
    seen, ask = importing.look(None, "  ", "", "en")
    assert not ask and "alert" not in seen


def test_a_bad_line_is_named_and_the_rest_comes_in(workspace, yolo_folder):
    folder = yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\nnonsense\n", "b": "1 0.5 0.5 0.5 0.5\n"}})
    reports = []
    report = importing.run(workspace, folder, "", "", lambda *said: reports.append(said), "en")
    assert report.name == "yolo"
    assert [problem.where for problem in report.problems if problem.severity == "error"] == ["train/labels/a.txt:2"]
    assert "2 images imported" in importing.done(report, "en")


def test_a_failed_import_lists_nothing(workspace, tmp_path):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"this is no archive")
    with pytest.raises(UserError) as caught:
        importing.run(workspace, bad, "", "", lambda *said: None, "en")
    assert workspace.datasets() == []
    shown = importing.failure(caught.value, "en")
    assert "bad.zip" in shown and caught.value.remedy("en") in shown


def test_a_source_is_the_upload_else_the_path(tmp_path):
    assert chosen_source("/tmp/x.zip", "ignored").name == "x.zip"
    assert chosen_source(None, f"'{tmp_path}'") == tmp_path
    for nothing in (None, ""):
        with pytest.raises(UserError):
            chosen_source(nothing, " ")
    with pytest.raises(UserError):
        chosen_source(None, str(tmp_path / "absent"))


@pytest.mark.parametrize(("name", "stem"), [("a.zip", "a"), ("a.tar.gz", "a"), ("a.b.tar.xz", "a.b"), (".zip", ".zip"), ("手术.tgz", "手术")])
def test_the_name_of_a_set_is_its_file_without_archive_suffixes(name, stem, tmp_path):
    assert stem_of(tmp_path / name) == stem

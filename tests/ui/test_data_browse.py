"""Browse without a browser: what a page of thumbnails shows, what its filters mean, and what can be done to the images."""

import re

import numpy as np
import pytest

from engine.datasets import editing, health
from engine.datasets.outlines import rle_of_mask
from engine.datasets.store import Dataset
from engine.types import RLE, UNCERTAIN, Instances, Polygons, Reading, Sample, SemanticMask, Tags, UserError
from engine.workspace import Workspace
from ui.pages.data import browse, grid, pictures
from ui.pages.data.query import PAGE_SIZES, Query, class_choices, group_choices, problem_choices, split_choices

PAGE = PAGE_SIZES[0]


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def dataset(workspace, yolo_folder):
    labels = {f"image{i:02d}": f"{i % 2} 0.5 0.5 0.5 0.5\n" for i in range(30)}
    folder = yolo_folder({"train": {**labels, "bare": None}, "valid": {"c": "1 0.5 0.5 0.25 0.5\n"}})
    return workspace.import_dataset(folder, "pets")[0]


def shown(dataset, query=None, **options):
    return grid.grid(dataset, query or Query(), "en", **options)[0]


def tiles(markup):
    return [int(number) for number in re.findall(r'data-id="(\d+)"', markup)]


def test_a_page_holds_its_share_and_the_last_page_the_rest(dataset):
    assert len(tiles(shown(dataset))) == PAGE
    assert len(tiles(shown(dataset, Query(page=2)))) == 32 - PAGE
    assert len(tiles(shown(dataset, Query(per_page=48)))) == 32
    assert [Query().pages(n) for n in (0, 1, PAGE, PAGE + 1)] == [1, 1, 1, 2]
    assert [Query(page=page).within(32).page for page in (-3, 1, 2, 9)] == [1, 1, 2, 2]


def test_a_page_that_is_not_there_becomes_the_nearest_one(dataset):
    assert grid.grid(dataset, Query(page=99), "en")[1].page == 2


def test_every_filter_leaves_what_fits_and_says_so_when_nothing_does(dataset):
    assert len(tiles(shown(dataset, Query(split="valid")))) == 1
    assert "not labeled" in shown(dataset, Query(state="unlabeled"))
    assert len(tiles(shown(dataset, Query(class_id="1", per_page=48)))) == 16
    assert len(tiles(shown(dataset, Query(search="IMAGE0")))) == 10
    assert len(tiles(shown(dataset, Query(size="small", per_page=48)))) == 32
    empty = shown(dataset, Query(split="test"))
    assert "No image fits" in empty and "data-reset" in empty


@pytest.mark.parametrize(("sort", "first"), [("name", "bare.png"), ("-name", "c.png"), ("objects", "bare.png")])
def test_the_order_is_the_one_that_was_asked_for(dataset, sort, first):
    assert first in shown(dataset, Query(sort=sort)).split("lb-tile-name", 1)[1][:60]


def test_whatever_a_browser_sends_as_filters_is_harmless(dataset):
    query = Query.of(["x"], {"$ne": 1}, "1; DROP TABLE images", None, 3.5, b"x", "huge", "yes", "name; DROP", "9999999999", "NaN")
    assert query.filters["class_id"] is None and query.filters["size"] is None and not query.trashed
    assert (query.sort, query.per_page, query.page) == ("id", PAGE, 1)
    assert "No image fits" in shown(dataset, query)
    assert Query.of("", "", "²").filters["class_id"] is None


def test_lists_of_filters_hold_what_the_set_has(dataset):
    assert [value for _, value in split_choices(dataset, "en")] == ["", "train", "valid"]
    assert [name for name, _ in class_choices(dataset, "en")][1:] == ["cat", "dog"]
    assert [value for _, value in problem_choices(dataset, "en")] == [""]
    assert [value for _, value in group_choices(dataset, "en")] == [""]
    editing.set_groups(dataset, {1: "patient 7"})
    assert [value for _, value in group_choices(dataset, "en")] == ["", "patient 7"]
    assert tiles(shown(dataset, Query(group="patient 7"))) == [1]


def test_every_picture_has_a_text_and_every_box_a_name(dataset):
    markup = shown(dataset)
    assert markup.count("<img") == markup.count(' alt="') == markup.count('aria-label="Select ') == PAGE
    assert 'alt=""' not in markup


def test_pictures_come_for_the_tiles_that_ask(dataset, workspace):
    found = grid.pictures_for(workspace, {"dataset": dataset.id, "ids": [1, 2, 999]})
    assert found["1"].startswith("data:image/jpeg;base64,") and found["999"] is None
    dataset.path(2).write_bytes(b"gone")
    for file in dataset.folder.rglob("*.webp"):
        file.unlink()
    assert grid.pictures_for(workspace, {"dataset": dataset.id, "ids": [2]}) == {"2": None}


@pytest.mark.parametrize("sent", [None, [], "x", {"ids": [1]}, {"dataset": "../..", "ids": [1]}, {"dataset": "pets", "ids": ["1", True, None, {}]},
                                  {"dataset": "pets", "ids": "12"}])
def test_whatever_a_browser_asks_pictures_for_is_harmless(dataset, workspace, sent):
    assert grid.pictures_for(workspace, sent) == {}


def test_pictures_are_asked_for_in_reasonable_numbers(dataset, workspace):
    assert len(grid.pictures_for(workspace, {"dataset": dataset.id, "ids": list(range(1, 33))})) == grid.MOST_PICTURES


def test_the_trash_offers_the_way_back_and_the_rest_the_way_there(dataset):
    assert 'data-act="trash"' in shown(dataset) and 'data-act="restore"' not in shown(dataset)
    editing.trash(dataset, [3])
    assert 3 not in tiles(shown(dataset, Query(per_page=48)))
    there = shown(dataset, Query(trashed=True))
    assert tiles(there) == [3] and 'data-act="restore"' in there and 'data-act="empty" data-confirm="Delete 1 image for good?"' in there


def test_a_demo_shows_but_does_not_change(dataset):
    assert "data-act" not in shown(dataset, editable=False) and "data-move" not in shown(dataset, editable=False)


def test_selected_images_are_moved_trashed_and_brought_back(dataset):
    moved = browse.edit(dataset, {"action": "move", "value": "test", "ids": [1, 2]})
    assert (moved.images, dataset.row(2).split) == (2, "test")
    browse.edit(dataset, {"action": "trash", "ids": [1]})
    assert dataset.total() == 31
    browse.edit(dataset, {"action": "restore", "ids": [1]})
    assert dataset.total() == 32


@pytest.mark.parametrize("asked", [{}, {"action": "trash"}, {"action": "trash", "ids": ["1"]}, {"action": "drop", "ids": [1]},
                                   {"action": "move", "value": "elsewhere", "ids": [1]}, {"action": "trash", "ids": [10 ** 9]}])
def test_what_cannot_be_done_is_said_and_changes_nothing(dataset, asked):
    with pytest.raises(UserError):
        browse.edit(dataset, asked)
    assert dataset.total() == 32


def test_an_image_with_problems_carries_a_mark(dataset):
    dataset.path(1).write_bytes(b"no image")
    health.examine(dataset)
    assert "any" in [value for _, value in problem_choices(dataset, "en")]
    found = shown(dataset, Query(problem="any"))
    assert "lb-tile-mark" in found and 1 in tiles(found)


def stored(workspace, picture, labels, classes, task):
    file = picture(workspace.root / "a.png")
    return Dataset.create(workspace.root / "datasets" / "one", "one", Reading(classes, iter([Sample(file, (64, 48), labels, name="a.png")]), task))


def test_tags_stand_on_the_tile_with_those_left_open_marked(workspace, picture):
    names = tuple(f"tag{i}" for i in range(8))
    dataset = stored(workspace, picture, Tags(np.array([1, 0, UNCERTAIN, 1, np.nan, 1, 1, 0])), names, "classify")
    markup = shown(dataset)
    assert "tag0" in markup and "tag2 ?" in markup and "tag1<" not in markup and "+2" in markup


def test_a_mask_is_drawn_in_the_colours_of_its_classes_and_leaves_the_background_alone(workspace, picture):
    mask = np.zeros((48, 64), np.uint16)
    mask[10:30, 10:40] = 1
    dataset = stored(workspace, picture, SemanticMask(mask), ("background", "tumour"), "semantic")
    gray = np.full((48, 64, 3), 100, np.uint8)
    drawn = pictures.drawn(gray, dataset.row(1), dataset.classes)
    assert (drawn[0, 0] == 100).all() and (drawn[20, 20] != 100).any()


def test_labels_follow_a_picture_to_another_size():
    ring = np.array([[0, 0], [10, 0], [10, 20]], float)
    labels = Instances([[0, 0, 10, 20]] * 2, [0, 1], shapes=(Polygons((ring,), (ring,)), None))
    half = pictures.scaled(labels, 0.5, 0.25)
    assert half.boxes.tolist() == [[0, 0, 5, 5]] * 2
    assert half.shapes[0].rings[0].max(axis=0).tolist() == [5, 5] and half.shapes[0].holes[0].max(axis=0).tolist() == [5, 5]
    assert half.shapes[1] is None
    assert pictures.scaled(labels, 1, 1) is labels


def test_a_mask_of_runs_becomes_an_outline_when_it_is_scaled():
    mask = np.zeros((20, 30), bool)
    mask[4:12, 6:18] = True
    code = rle_of_mask(mask)
    assert isinstance(code, RLE)
    half = pictures.scaled(Instances([[6, 4, 18, 12]], [0], shapes=(code,)), 0.5, 0.5)
    points = np.vstack(half.shapes[0].rings)
    assert np.allclose(points.min(0), (3, 2), atol=0.5) and np.allclose(points.max(0), (9, 6), atol=0.5)


def test_all_images_that_fit_the_filters_can_be_selected_at_once(tmp_path, yolo_folder):
    workspace = Workspace(tmp_path / "more")
    labels = {f"x{number:02d}": f"{number % 2} 0.5 0.5 0.5 0.5\n" for number in range(30)}
    made = workspace.import_dataset(yolo_folder({"train": labels}, name="thirty"), "thirty")[0]
    shown, query = grid.grid(made, Query.of(class_id="1", per_page="24"), "en")
    assert "Select all" not in shown
    shown, query = grid.grid(made, Query.of(search="x", per_page="24"), "en")
    assert "Select all 30 that fit" in shown
    assert "Select all 30<" in grid.grid(made, Query.of(), "en")[0]
    asked = {"dataset": made.id, "query": query.sent}
    assert grid.fitting(workspace, asked) == [row.id for row in made.page(0, 99, search="x")]
    assert grid.fitting(workspace, {**asked, "query": {"class_id": "1"}}) == [row.id for row in made.page(0, 99, class_id=1)]
    for bad in (None, {}, {"dataset": "../x", "query": {}}, {"dataset": made.id, "query": "x"}, {"dataset": made.id, "query": {"size": []}}):
        assert all(number in range(1, 31) for number in grid.fitting(workspace, bad))

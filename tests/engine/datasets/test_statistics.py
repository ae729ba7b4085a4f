"""Numbers of stored sets against pandas and plain loops over the labels themselves."""

import numpy as np
import pandas as pd
import pytest

from engine.datasets import editing
from engine.datasets.collection import load
from engine.datasets.statistics import ASPECTS, GRID, MOST_POINTS, REFERENCE_SIDE, SIDES, statistics
from engine.datasets.store import Dataset
from engine.types import IGNORE, Instances, SemanticMask, Tags


def frame_of(dataset):
    """A row for each object."""
    rows = [(row.id, row.split, *row.size, number, *box) for row in dataset.page(0, 10**6) if isinstance(row.labels, Instances)
            for number, box in zip(row.labels.classes.tolist(), row.labels.boxes.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=["image", "split", "width", "height", "class", "x1", "y1", "x2", "y2"])


def slow_heat(frame):
    heat = np.zeros((GRID, GRID), np.uint32)
    for each in frame.itertuples():
        x1, x2, y1, y2 = (min(max(value, 0), 1) * GRID for value in
                          (each.x1 / each.width, each.x2 / each.width, each.y1 / each.height, each.y2 / each.height))
        left, top = min(int(x1), GRID - 1), min(int(y1), GRID - 1)
        heat[top:max(int(np.ceil(y2)), top + 1), left:max(int(np.ceil(x2)), left + 1)] += 1
    return heat


def check_numbers(dataset):
    found, frame = statistics(dataset), frame_of(dataset)
    rows = dataset.page(0, 10**6)
    count = len(dataset.classes)
    assert found.counts == dataset.collection().counts()
    assert list(found.objects) == frame.groupby("class").size().reindex(range(count), fill_value=0).tolist()
    assert list(found.images) == frame.groupby("class")["image"].nunique().reindex(range(count), fill_value=0).tolist()
    sizes = pd.Series([row.size for row in rows]).value_counts()
    assert {(width, height): times for width, height, times in found.sizes} == sizes.to_dict()
    assert [times for _, _, times in found.sizes] == sorted(sizes.tolist(), reverse=True)
    edges, counts = found.per_image
    many = frame.groupby("image").size().reindex([row.id for row in rows], fill_value=0)
    assert list(counts) == pd.cut(many, edges, right=False).value_counts(sort=False).tolist()
    assert sum(counts) == len(rows)
    aspect = ((frame.x2 - frame.x1) / (frame.y2 - frame.y1)).clip(ASPECTS[0], ASPECTS[-1] - 1e-9)
    assert list(found.aspects[1]) == pd.cut(aspect, ASPECTS, right=False).value_counts(sort=False).tolist()
    side = np.sqrt((frame.x2 - frame.x1) * (frame.y2 - frame.y1)) * REFERENCE_SIDE / frame[["width", "height"]].max(axis=1)
    assert list(found.sides[1]) == pd.cut(side.clip(0, SIDES[-1] - 1e-9), SIDES, right=False).value_counts(sort=False).tolist()
    assert np.array_equal(found.heat, slow_heat(frame))
    most = frame["class"].value_counts().index[0]
    assert list(found.class_heat) == sorted(found.class_heat, key=lambda number: -found.objects[number])
    assert np.array_equal(found.class_heat[most], slow_heat(frame[frame["class"] == most]))
    assert len(found.points) == min(MOST_POINTS, len(frame))
    if len(frame) <= MOST_POINTS:
        assert np.allclose(np.sort(found.points[:, 0]), np.sort((frame.x2 - frame.x1) / frame.width), atol=1e-5)
        assert sorted(found.points[:, 2].tolist()) == sorted(frame["class"].tolist())
    assert (found.together, found.pixels) == (None, None)


@pytest.mark.parametrize("name", ["inst_facade_coco", "det_cones_yolo"])
def test_the_numbers_of_real_sets_are_those_of_pandas(tmp_path, reference, name):
    check_numbers(Dataset.create(tmp_path / "set", name, load(reference / "data" / name, tmp_path / "scratch"), images="link"))


def test_the_numbers_stay_right_through_edits(stored_set):
    dataset = stored_set(count=40)
    check_numbers(dataset)
    editing.merge_classes(dataset, [0], 2)
    check_numbers(dataset)
    editing.delete_class(dataset, 0)
    editing.trash(dataset, [1, 2, 3, 40])
    check_numbers(dataset)
    editing.undo(dataset, editing.edits(dataset)[0].id)
    check_numbers(dataset)


def test_they_are_computed_once_a_revision(stored_set, monkeypatch):
    dataset = stored_set(count=5)
    first = statistics(dataset)
    monkeypatch.setattr("engine.datasets.statistics._computed", lambda connection: pytest.fail("computed again"))
    again = statistics(Dataset(dataset.folder))
    assert repr(first) == repr(again)
    assert first.heat.dtype == again.heat.dtype == np.uint32
    monkeypatch.undo()
    dataset.set_labels(1, Instances([[0, 0, 64, 48]], [0]))
    assert statistics(dataset).heat.min() > first.heat.min()


def test_tags_count_images_and_what_they_show_together(stored_set):
    dataset = stored_set("tags", 30)
    values = np.array([row.labels.values for row in dataset.page(0, 100) if isinstance(row.labels, Tags)])
    shown = (np.nan_to_num(values) > .5).astype(int)
    found = statistics(dataset)
    assert list(found.images) == list(found.objects) == shown.sum(0).tolist()
    assert found.together.tolist() == (shown.T @ shown).tolist()
    assert found.heat.sum() == 0
    assert found.points.shape == (0, 3)


def test_masks_count_pixels(stored_set):
    masks = [np.array([[0, 0, 1], [1, IGNORE, 3]], np.uint16), np.zeros((2, 3), np.uint16)]
    large = [np.kron(mask, np.ones((24, 22), np.uint16))[:, :64] for mask in masks]
    dataset = stored_set("mask", labels=[None, *(SemanticMask(classes=mask) for mask in large)])
    pixels = np.concatenate([row.labels.classes.ravel() for row in dataset.page(0, 9) if row.labels])
    assert np.allclose(statistics(dataset).pixels, [np.mean(pixels == number) for number in range(4)])
    assert statistics(dataset).images == (2, 1, 0, 1)


def test_an_empty_set_has_empty_numbers(stored_set):
    found = statistics(stored_set(labels=[None]))
    assert (sum(found.objects), found.per_image, found.class_heat, found.pixels) == (0, ((0, 1), (1,)), {}, None)


def test_damaged_numbers_are_told(stored_set):
    import sqlite3

    from engine.types import UserError
    dataset = stored_set(labels=[Instances([[0, 0, 5, 5]], [0])])
    with sqlite3.connect(dataset.folder / "labels.sqlite") as connection:
        connection.execute("UPDATE shapes SET x1 = 'text'")
    with pytest.raises(UserError) as caught:
        statistics(dataset)
    assert caught.value.key == "dataset_damaged"

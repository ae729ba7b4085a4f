"""The predict page for models that find outlines: filters on what is already found, drawing, downloads."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from engine.datasets.images import save_image
from engine.datasets.outlines import rle_of_mask
from engine.types import Instances
from ui.pages.predict import controls, downloads, view
from ui.pages.predict.pictures import drawn, shown_pixels
from ui.pages.predict.result import Filter, Result, Shot, overlap_of, prepared

SIZE = (64, 48)


def rectangle(left, top, right, bottom):
    mask = np.zeros(SIZE[::-1], bool)
    mask[top:bottom, left:right] = True
    return rle_of_mask(mask)


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A bar, the same bar seen again a little lower by a less sure query, and another object."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    save_image(tmp_path / "a.png", np.full((48, 64, 3), 120, np.uint8))
    boxes = [[0, 0, 40, 20], [0, 4, 40, 20], [44, 30, 60, 40]]
    labels = Instances(boxes, [0, 1, 1], [0.9, 0.6, 0.3], tuple(rectangle(*box) for box in boxes))
    return Result("di_maskdino_atto", "instance", ("clamp", "probe"), 0.25, [Shot(tmp_path / "a.png", "a.png", SIZE, labels)], nms=0.7)


def test_masks_that_overlap_go_and_come_without_another_look(found):
    labels = found.shots[0].labels
    assert [Filter(0.0, nms=nms)(labels).classes.tolist() for nms in (1.0, 0.9, 0.7)] == [[0, 1, 1], [0, 1, 1], [0, 1]]
    assert len(Filter(0.5, nms=0.7)(labels)) == 1


def test_a_class_that_is_not_shown_still_hides_what_it_covers(found):
    assert Filter(0.0, (1,), nms=0.7)(found.shots[0].labels).scores.tolist() == pytest.approx([0.3])


def test_with_every_class_on_show_only_masks_of_one_class_compete(found):
    assert len(Filter(0.0, nms=0.7, every=True)(found.shots[0].labels)) == 3


def test_boxes_compete_with_those_of_their_class():
    boxes = Instances([[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 8]], [0, 0, 1], [0.9, 0.8, 0.7])
    assert [Filter(0.0, nms=nms)(boxes).scores.tolist() for nms in (0.1, 1.0)] == [pytest.approx([0.9, 0.7]), pytest.approx([0.9, 0.8, 0.7])]


def test_masks_are_filled_as_far_as_asked_and_contours_leave_their_inside(found):
    shot, plain = found.shots[0], shown_pixels(found.shots[0].file)
    inside = (150, 100)  # of the picture, ten times as large, away from names and edges
    seen = [drawn(plain, found, shot, Filter(0.8, None, opacity, contours))[inside].astype(int)
            for opacity, contours in ((0.0, False), (0.3, False), (0.8, False), (0.8, True))]
    change = [int(np.abs(each - 120).sum()) for each in seen]
    assert change[0] == change[3] == 0 < change[1] < change[2]


def test_the_table_and_the_csv_tell_the_area_of_each_mask(found):
    assert ">800<" in view.result_html(found, 0, Filter(0.5, nms=0.7), "en")
    with downloads.csv_file(found, Filter(0.0)).open(encoding="utf-8-sig", newline="") as stream:
        assert [row["area"] for row in csv.DictReader(stream)] == ["800", "640", "160"]


def test_the_json_holds_masks_that_pycocotools_reads(found):
    told = json.loads(downloads.json_file(found, Filter(0.0, nms=0.7)).read_text(encoding="utf-8"))
    rows = told["images"][0]["instances"]
    assert [int(coco_mask.area(row["mask"])) for row in rows] == [800, 160]
    assert told["task"] == "instance"


def test_the_page_asks_for_every_overlapping_mask_and_begins_where_the_model_does():
    class Model:
        tta = tiled = False

        def __init__(self):
            self.task, self.classes, self.threshold, self.exclusive = SimpleNamespace(name="instance", thresholds={"nms": 0.6}), ("a",), 0.3, False

        def adjust(self, **given):
            self.task = SimpleNamespace(name="instance", thresholds={**self.task.thresholds, **given})

    loaded = Model()
    assert prepared(loaded, tta=True, tiled=False, every=True).task.thresholds == {"nms": 1.0, "every_class": True}
    assert overlap_of(loaded) == 0.6


def test_a_result_sets_the_sliders_to_what_the_model_has(found):
    untouched = Filter(0.45, None, 1.0, nms=1.0)
    chosen, updates = controls.for_result(found, controls.Begun(("a", None), 0.45, 1.0, 1.0), untouched, "en")
    threshold, _, opacity, contours, *_, nms, tta, tiled, every, slices, begun = updates
    assert (threshold.value, opacity.value, nms.value) == (chosen.threshold, chosen.opacity, chosen.nms) == (0.25, 0.45, 0.7)
    assert begun == controls.Begun(("a", None), 0.25, 0.7, 0.45)
    assert [each.visible for each in (contours, nms, tta, tiled, every, slices)] == [True, True, True, False, True, True]

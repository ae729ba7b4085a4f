"""Predicted objects with masks: written as run lengths that pycocotools reads, and drawn where they are."""

import json

import numpy as np
from pycocotools import mask as coco_mask

from engine import overlay, predictions
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.overlay_labels import draw_labels
from engine.types import Instances, Polygons

SIZE = (60, 40)


def ring(x, y, side):
    return Polygons((np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float64),))


def found():
    mask = np.zeros(SIZE[::-1], bool)
    mask[5:25, 10:40] = True
    mask[10:15, 20:30] = False
    boxes = np.array([[10, 5, 40, 25], [45, 20, 55, 30], [0, 0, 5, 5]])
    return mask, Instances(boxes, np.array([1, 0, 1]), np.array([0.9, 0.8, 0.7]), (rle_of_mask(mask), ring(45, 20, 10), None))


def test_masks_are_written_as_run_lengths_and_read_back_by_pycocotools():
    mask, labels = found()
    told = json.loads(json.dumps(predictions.as_json("m", "instance", ("a", "b"), [("x.png", SIZE, labels)])))
    rows = told["images"][0]["instances"]
    assert [row["class"] for row in rows] == ["b", "a", "b"] and rows[0]["box"] == [10, 5, 30, 20]
    assert np.array_equal(coco_mask.decode(rows[0]["mask"]).astype(bool), mask)
    assert np.array_equal(coco_mask.decode(rows[1]["mask"]).astype(bool), mask_of(ring(45, 20, 10), SIZE))
    assert "mask" not in rows[2], "a box has no mask"


def test_masks_are_drawn_where_they_are_and_keep_their_hole():
    mask = np.zeros((240, 320), bool)
    mask[50:200, 40:280] = True
    mask[90:160, 120:200] = False
    labels = Instances(np.array([[40, 50, 280, 200]]), np.array([1]), np.array([0.9]), (rle_of_mask(mask),))
    drawn = draw_labels(np.full((240, 320, 3), 100, np.uint8), labels, ("a", "b"), names=False)
    colour = np.array([int(overlay.color_of(1)[i : i + 2], 16) for i in (1, 3, 5)])
    assert np.abs(drawn[120, 80].astype(float) - (100 * 0.6 + colour * 0.4)).max() < 2
    assert (drawn[125, 160] == 100).all() and (drawn[220:] == 100).all()

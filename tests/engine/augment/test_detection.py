"""Boxes follow the pixels: checked against a picture in which each object is one flat colour."""

import numpy as np
import pytest

from engine.augment.detection import apply, pipeline


def picture(boxes, width=200, height=150):
    image = np.full((height, width, 3), 10, np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        image[y1:y2, x1:x2] = 0
        image[y1:y2, x1:x2, number] = 250
    return image


BOXES = np.array([[20, 30, 80, 70], [110, 60, 180, 140], [90, 5, 130, 40]], np.float32)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("preset", ["flip", "standard"])
def test_every_kept_box_surrounds_its_object(preset, seed):
    image, boxes, kept = apply(pipeline(preset, strong=True), picture(BOXES), BOXES, seed)
    for box, number in zip(boxes, kept, strict=True):
        others = [channel for channel in range(3) if channel != number]
        rows, columns = np.nonzero((image[..., number] > 100) & (image[..., others].max(-1) < 100))
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, found, atol=2.5)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another():
    transform = pipeline("standard", strong=True)
    first, second, third = (apply(transform, picture(BOXES), BOXES, seed) for seed in (7, 7, 8))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert first[0].shape != third[0].shape or not np.array_equal(first[0], third[0])


def test_no_augmentation_changes_nothing():
    image = picture(BOXES)
    same, boxes, kept = apply(pipeline("none", strong=True), image, BOXES, 0)
    assert same is image and boxes is BOXES and list(kept) == [0, 1, 2]


@pytest.mark.parametrize("boxes", [np.zeros((0, 4), np.float32), np.array([[-40, -40, -5, -5], [5, 5, 5, 9], [190, 140, 400, 400]], np.float32)])
def test_images_without_boxes_and_boxes_outside_are_accepted(boxes):
    for seed in range(5):
        _, after, kept = apply(pipeline("standard", strong=True), picture(BOXES), boxes, seed)
        assert len(after) == len(kept) and set(kept) <= {2}

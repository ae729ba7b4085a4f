"""Copy-paste: what lies on top is seen, and what it covers is not."""

import cv2
import numpy as np

from engine.augment.copy_paste import MOST_COVERED, paste, prepared
from engine.augment.instance import Scene, areas_of, unpacked
from engine.datasets.outlines import mask_of
from engine.types import Instances

SIDE = 64


def made(boxes, classes, colour):
    """Objects as squares, each class a gray of its own, on black."""
    image, masks = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((len(boxes), SIDE, SIDE), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
        image[mask] = colour
    return Scene(image, np.packbits(masks, axis=-1), np.array(classes, np.int64))


BASE = made([(4, 4, 30, 30), (34, 34, 60, 60), (40, 4, 50, 14)], [0, 1, 2], 90)


def test_covered_masks_lose_exactly_the_pasted_pixels_and_the_image_shows_what_the_masks_say():
    donor = made([(20, 20, 44, 44)], [7], 200)
    result = paste(BASE, donor, 0)
    assert result.classes.tolist() == [0, 1, 2, 7]
    cover = unpacked(donor.masks[0])
    for mask, before in zip(result.masks[:3], BASE.masks, strict=True):
        assert np.array_equal(unpacked(mask), unpacked(before) & ~cover)
    assert np.array_equal(unpacked(result.masks[3]), cover)
    wide = np.ones((5, 5), np.uint8)
    inner, outer = (change(cover.astype(np.uint8), wide).astype(bool) for change in (cv2.erode, cv2.dilate))
    assert (result.image[inner] == 200).all() and np.array_equal(result.image[~outer], BASE.image[~outer])
    rim = cover & ~inner
    assert (result.image[rim] < 200).any(), "the edge is soft"


def test_what_is_hidden_goes():
    result = paste(BASE, made([(38, 2, 52, 12)], [7], 200), 0)  # eight of ten rows of the third object
    assert MOST_COVERED < 0.8 and result.classes.tolist() == [0, 1, 7]
    assert paste(BASE, made([(0, 0, 64, 64)], [7], 200), 0).classes.tolist() == [7]
    kept = paste(BASE, made([(38, 2, 52, 10)], [7], 200), 0)  # six of ten
    assert kept.classes.tolist() == [0, 1, 2, 7] and areas_of(kept.masks)[2] == 40


def test_the_same_seed_pastes_the_same_and_never_nothing():
    donor = made([(x, 32, x + 6, 60) for x in range(0, 60, 8)], list(range(10, 18)), 200)
    results = [paste(BASE, donor, seed) for seed in range(40)]
    pasted = [[each for each in result.classes if each >= 10] for result in results]
    assert all(pasted) and len({tuple(each) for each in pasted}) > 20 and 3 < np.mean([len(each) for each in pasted]) < 5.5
    for seed in (0, 7):
        again = paste(BASE, donor, seed)
        assert np.array_equal(again.image, results[seed].image) and np.array_equal(again.masks, results[seed].masks)
        assert again.classes.tolist() == results[seed].classes.tolist()


def test_nothing_is_pasted_from_an_image_without_objects_and_anything_on_an_empty_one():
    assert paste(BASE, made([], [], 200), 0) is BASE
    result = paste(made([], [], 0), made([(0, 50, 20, 64)], [3], 200), 0)
    assert result.classes.tolist() == [3] and result.masks.shape == (1, SIDE, SIDE // 8)


def test_neither_scene_is_changed():
    donor, before = made([(20, 20, 44, 44)], [7], 200), BASE.image.copy()
    paste(BASE, donor, 0)
    assert np.array_equal(BASE.image, before) and areas_of(donor.masks).tolist() == [24 * 24]


def test_a_preview_shows_the_objects_as_training_sees_them():
    picture = (np.full((80, 120, 3), 50, np.uint8), Instances(np.array([[10, 10, 60, 50], [70, 20, 110, 70]]), np.array([1, 2]),
                                                              crowd=np.array([False, True])), (120, 80))
    other = (np.full((40, 40, 3), 250, np.uint8), Instances(np.array([[5, 5, 35, 35]]), np.array([4])), (40, 40))
    for seed in range(5):
        made = prepared(picture, lambda _: other, preset="standard", share=1.0, side=SIDE, seed=seed)
        labels = made.labels()
        assert 4 in labels.classes and 2 not in labels.classes, "crowds are not learnt"
        assert [mask_of(shape, (SIDE, SIDE)).sum() for shape in labels.shapes] == areas_of(made.masks).tolist()
        alone = prepared(picture, lambda _: None, preset="standard", share=1.0, side=SIDE, seed=seed)
        assert set(alone.classes.tolist()) <= {1}

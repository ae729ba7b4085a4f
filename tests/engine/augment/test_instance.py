"""Objects follow the pixels: checked against pictures in which each object is one flat colour, and against masks that were warped."""

import cv2
import numpy as np
import pytest

from engine.augment import instance
from engine.augment.instance import FILL, Move, areas_of, boxes_of, draw_move, moved_mask, relit, scene, unpacked
from engine.datasets.images import resize
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.types import Instances, Polygons

SIZE = (200, 150)
STAR = np.array([[40, 20], [90, 30], [150, 10], [120, 70], [170, 120], [90, 90], [30, 130], [50, 70]], np.float64)


def whole(crop, side):
    mask, left, top = crop
    full = np.zeros((side, side), bool)
    full[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return full


def moves(side=96):
    yield Move(side, side)
    yield Move(side, side, mirrored=True)
    for preset in ("standard", "large_scale"):
        for seed in range(8):
            yield draw_move(preset, strong=True, side=side, seed=seed)


def warped(mask, size, move):
    """By OpenCV, from a much finer mask: what is covered by half or more."""
    fine = 8
    large = cv2.resize(mask.astype(np.uint8) * 255, (move.extent * fine, move.extent * fine), interpolation=cv2.INTER_NEAREST)
    shift = np.float32([[1, 0, move.left * fine], [0, 1, move.top * fine]])
    square = cv2.warpAffine(large, shift, (move.side * fine, move.side * fine), flags=cv2.INTER_NEAREST)
    small = cv2.resize(square, (move.side, move.side), interpolation=cv2.INTER_AREA) >= 128
    return small[:, ::-1] if move.mirrored else small


def within_a_pixel(one, two):
    """Each mask lies in the other when that is made one pixel wider."""
    kernel = np.ones((3, 3), np.uint8)
    wider = [cv2.dilate(each.astype(np.uint8), kernel).astype(bool) for each in (one, two)]
    return not (one & ~wider[1]).any() and not (two & ~wider[0]).any()


@pytest.mark.parametrize("move", list(moves()), ids=str)
def test_outlines_and_run_lengths_move_as_a_warped_mask_does(move):
    hole = np.array([[90, 45], [110, 45], [110, 65], [90, 65]], np.float64)
    for shape in (Polygons((STAR,)), Polygons((STAR,), (hole,)), rle_of_mask(mask_of(Polygons((STAR,), (hole,)), SIZE))):
        found, expected = whole(moved_mask(shape, SIZE, move), move.side), warped(mask_of(shape, SIZE), SIZE, move)
        assert within_a_pixel(found, expected)
        assert abs(int(found.sum()) - int(expected.sum())) <= 0.06 * expected.sum() + 12


@pytest.mark.parametrize("preset", ["none", "flip", "standard", "large_scale"])
def test_image_and_masks_move_together(preset):
    image = np.full((150, 200, 3), 10, np.uint8)
    boxes = np.array([[20, 30, 80, 70], [110, 60, 180, 140], [90, 5, 130, 40]])
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2] = 0
        image[y1:y2, x1:x2, number] = 250
    corners = [Polygons((np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float64),)) for x1, y1, x2, y2 in boxes]
    for seed in range(15):
        move = draw_move(preset, strong=True, side=128, seed=seed)
        seen = scene(image, Instances(boxes, np.arange(3), shapes=tuple(corners)), SIZE, move)
        for mask, number in zip(seen.masks, seen.classes, strict=True):
            others = [channel for channel in range(3) if channel != number]
            coloured = (seen.image[..., number] > 128) & (seen.image[..., others].max(-1) < FILL // 2)
            assert within_a_pixel(unpacked(mask), coloured)
        np.testing.assert_array_equal(boxes_of(seen.masks), [tight(unpacked(mask)) for mask in seen.masks] or np.zeros((0, 4)))


def tight(mask):
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_at_scale_one_the_image_is_the_one_that_prediction_sees():
    image = np.random.default_rng(0).integers(0, 255, (150, 200, 3), np.uint8)
    assert np.array_equal(scene(image, Instances.empty(), SIZE, Move(64, 64)).image, resize(image, (64, 64)))


def test_the_same_seed_gives_the_same_and_other_seeds_cover_the_range():
    drawn = [draw_move("large_scale", strong=True, side=256, seed=seed) for seed in range(300)]
    assert drawn == [draw_move("large_scale", strong=True, side=256, seed=seed) for seed in range(300)]
    scales = np.array([move.extent / 256 for move in drawn])
    assert 0.09 < scales.min() < 0.15 and 1.9 < scales.max() <= 2.0 and 0.35 < np.mean([move.mirrored for move in drawn]) < 0.65
    standard = np.array([draw_move("standard", strong=True, side=256, seed=seed).extent for seed in range(300)]) / 256
    assert 0.49 < standard.min() < 0.6 and 1.4 < standard.max() <= 1.51
    assert all(0 <= -move.left <= move.extent - 256 if move.extent > 256 else 0 <= move.left <= 256 - move.extent for move in drawn)


def test_weak_epochs_keep_the_flip_only_and_none_keeps_all():
    assert {draw_move("large_scale", strong=False, side=64, seed=seed) for seed in range(20)} == {Move(64, 64), Move(64, 64, mirrored=True)}
    assert draw_move("none", strong=True, side=64, seed=3) == Move(64, 64)
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert relit(image, "standard", strong=False, seed=1) is image and relit(image, "flip", strong=True, seed=1) is image
    lit = [relit(image, "large_scale", strong=True, seed=seed) for seed in range(12)]
    assert any(not np.array_equal(each, image) for each in lit)
    assert all(np.array_equal(each, relit(image, "large_scale", strong=True, seed=seed)) for seed, each in enumerate(lit))


def test_what_is_cut_off_or_too_small_is_left_out():
    image = np.zeros((100, 100, 3), np.uint8)
    boxes = np.array([[0, 0, 3, 3], [10, 10, 40, 40], [60, 60, 99, 99]], np.float64)
    labels = Instances(boxes, np.array([5, 6, 7]), shapes=(None, None, None))
    assert scene(image, labels, (100, 100), Move(96, 96)).classes.tolist() == [6, 7], "3 x 3 pixels are too few"
    assert scene(image, labels, (100, 100), Move(96, 192, -96, -96)).classes.tolist() == [7], "the rest lies outside"
    assert len(scene(image, Instances.empty(), (100, 100), Move(96, 96))) == 0


def test_areas_and_boxes_of_packed_masks_equal_those_of_plain_ones():
    plain = np.random.default_rng(1).random((6, 32, 32)) < 0.05
    plain[:, 7, 9] = True
    packed = np.packbits(plain, axis=-1)
    assert areas_of(packed).tolist() == plain.sum((1, 2)).tolist()
    assert boxes_of(packed).tolist() == [tight(each) for each in plain]
    assert boxes_of(packed[:0]).shape == (0, 4)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="large_scale"):
        draw_move("tutorial", strong=True, side=64, seed=0)
    assert instance.PRESETS == ("none", "flip", "standard", "large_scale")

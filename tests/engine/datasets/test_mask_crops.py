"""Masks read and written by their part alone, against pycocotools on the whole image."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from engine.datasets.mask_crops import crop_of, rle_of_crop
from engine.datasets.outlines import mask_of, rle_of_mask


def masks():
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (1, 9), (9, 1), (20, 31), (64, 48)):
        for chance in (0.02, 0.3, 0.97):
            yield random.random((height, width)) < chance
        yield np.zeros((height, width), bool)
        yield np.ones((height, width), bool)
        column = np.zeros((height, width), bool)
        column[:, width // 2:] = True
        yield column
        foot = np.zeros((height, width), bool)
        foot[-1, 0] = foot[0, -1] = True
        yield foot


@pytest.mark.parametrize("mask", list(masks()), ids=lambda mask: f"{mask.shape[1]}x{mask.shape[0]}-{int(mask.sum())}")
def test_a_part_is_written_and_read_as_the_whole_would_be(mask):
    height, width = mask.shape
    packed = rle_of_mask(mask)
    crop, left, top = crop_of(packed)
    again = np.zeros_like(mask)
    again[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    assert np.array_equal(again, mask)
    assert crop.size == 0 or (crop[[0, -1]].any(1).all() and crop[:, [0, -1]].any(0).all())
    assert rle_of_crop(crop, left, top, (width, height)) == packed
    assert rle_of_crop(mask, 0, 0, (width, height)) == packed


def test_long_runs_of_large_images_are_read():
    packed = rle_of_mask(np.pad(np.ones((900, 700), bool), ((1000, 1100), (1500, 1800))))
    crop, left, top = crop_of(packed)
    assert (crop.shape, left, top, crop.all()) == ((900, 700), 1500, 1000, True)
    assert coco_mask.area({"size": [3000, 4000], "counts": rle_of_crop(crop, left, top, (4000, 3000)).counts}) == 630_000
    assert mask_of(rle_of_crop(crop, left, top, (4000, 3000)), (4000, 3000)).sum() == 630_000

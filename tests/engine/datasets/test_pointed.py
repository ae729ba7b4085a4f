"""Objects that a person points at, against drawn truth."""

import time

import cv2
import numpy as np
import pytest

from engine.datasets.pointed import pointed
from engine.types import UserError


def scene(size=(300, 400), noise=12, seed=0):
    """A textured ground with a bright ellipse, and where that is."""
    random = np.random.default_rng(seed)
    truth = np.zeros(size, np.uint8)
    cv2.ellipse(truth, (size[1] // 3, size[0] // 2), (size[1] // 8, size[0] // 5), 20, 0, 360, 1, -1)
    ground = np.full((*size, 3), (60, 90, 70), float)
    ground[truth > 0] = (190, 120, 110)
    return np.clip(ground + random.normal(0, noise, ground.shape), 0, 255).astype(np.uint8), truth > 0


def iou(a, b):
    return (a & b).sum() / max((a | b).sum(), 1)


def test_one_point_finds_the_object_under_it():
    image, truth = scene()
    assert iou(pointed(image, [(133, 150)]), truth) > 0.95


def test_a_box_around_an_object_finds_it():
    image, truth = scene()
    assert iou(pointed(image, [], box=(78, 80, 190, 220)), truth) > 0.95


def test_a_point_outside_takes_a_part_away():
    image, truth = scene()
    image[:, 200:] = image[:, 60:260]  # the same object again, to the right
    both = pointed(image, [(133, 150), (273, 150)])
    one = pointed(image, [(133, 150)], [(273, 150)])
    assert both[150, 273] and not one[150, 273] and one[150, 133]


def test_the_answer_is_the_same_each_time_and_stays_in_the_window():
    image, _ = scene()
    first = pointed(image, [(133, 150)], window=(100, 100, 170, 200))
    assert (first == pointed(image, [(133, 150)], window=(100, 100, 170, 200))).all()
    assert not first[:, :100].any() and not first[200:].any()


def test_nothing_stands_out_of_an_even_ground():
    assert pointed(np.full((64, 64, 3), 127, np.uint8), [(30, 30)]).dtype == bool


@pytest.mark.parametrize("asked", [{"inside": []}, {"inside": [(-5, 3)]}, {"inside": [(1e5, 3)]}, {"inside": [(5, 5)], "window": (0, 0, 3, 3)},
                                   {"inside": [(5, 5)] * 65}, {"inside": [], "box": (500, 500, 600, 600)}])
def test_points_that_lie_nowhere_are_refused(asked):
    image, _ = scene()
    with pytest.raises(UserError):
        pointed(image, asked.pop("inside"), **asked)


def test_large_images_take_as_long_as_small_ones():
    image, truth = scene((2160, 3840))
    start = time.perf_counter()
    found = pointed(image, [(1280, 1080)])
    assert time.perf_counter() - start < 3
    assert iou(found, truth) > 0.9

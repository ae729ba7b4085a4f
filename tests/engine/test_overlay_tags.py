"""The picture of an image with its tags: enlarged, truth and answer beside it in letters that can be read."""

import numpy as np
import pytest

from engine.overlay_tags import CARD, answers, tag_card
from engine.types import UNCERTAIN, SemanticMask, Tags
from engine.worker import PREVIEW_SIDE, preview

CLASSES = ("edema", "肺炎", "mass", "nodule")
NAN = float("nan")


def card(truth, found, limits=(0.5,) * 4, side=64, temperature=1.0):
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    return tag_card(image, Tags(np.array(truth)), Tags(np.array(found)), CLASSES, limits, temperature)


def test_a_small_image_is_enlarged_and_stands_beside_its_truth_and_its_answer():
    drawn = card((1, 0, 0, 0), (0.9, 0.2, 0.1, 0.1))
    assert drawn.shape == (CARD, 2 * CARD, 3) and drawn.dtype == np.uint8
    picture, words = drawn[:, :CARD], drawn[:, CARD:]
    assert picture.std() > 30 and (picture[: CARD // 64 - 2, : CARD // 64 - 2].std((0, 1)) < 12).all()
    rows = np.flatnonzero((words < 100).any((1, 2)))
    assert rows[-1] - rows[0] > CARD // 3


@pytest.mark.parametrize("size", [(20, 900), (900, 20), (1, 1), (700, 700)])
def test_images_of_any_shape_fit(size):
    drawn = tag_card(np.full((*size, 3), 90, np.uint8), Tags(np.ones(4)), Tags(np.ones(4)), CLASSES, (0.5,) * 4, 1.0)
    assert drawn.shape == (CARD, 2 * CARD, 3) and (drawn[:, :CARD] == 90).all(-1).any()


def test_another_truth_and_another_answer_each_change_their_own_part():
    first, truth, answer = card((1, 0, 0, 0), (0.9, 0, 0, 0)), card((0, 0, 1, 0), (0.9, 0, 0, 0)), card((1, 0, 0, 0), (0, 0.9, 0, 0))
    upper = np.flatnonzero((first != truth).any((1, 2)))
    lower = np.flatnonzero((first != answer).any((1, 2)))
    assert len(upper) and len(lower) and upper.max() < lower.min()


def test_nothing_and_unknown_tags_are_drawn_too():
    for truth in ((0, 0, 0, 0), (NAN,) * 4, (UNCERTAIN, 0, NAN, 0)):
        assert (card(truth, (0.1,) * 4)[:, CARD:] < 100).any()
    assert (card((UNCERTAIN, 0, 0, 0), (0.1,) * 4) != card((0, 0, 0, 0), (0.1,) * 4)).any()


def test_an_answer_is_what_reaches_its_threshold_and_of_single_labels_the_likeliest():
    found = Tags(np.array((0.3, 0.35, 0.05, 0.3)))
    assert answers(found, (0.5, 0.5, 0.01, 0.3), 1.0) == [(1, pytest.approx(0.35), False), (0, pytest.approx(0.3), False),
                                                         (3, pytest.approx(0.3), True), (2, pytest.approx(0.05), True)]
    assert [each[2] for each in answers(found, None, 1.0)] == [True, False, False, False]


def test_probabilities_are_made_honest_before_they_meet_their_thresholds():
    """Thresholds are given for probabilities behind the temperature, as a prediction shows them."""
    (_, chance, there), *_ = answers(Tags(np.array((0.88, 0, 0, 0))), (0.8, 0.5, 0.5, 0.5), 2.0)
    assert chance == pytest.approx(1 / (1 + (0.12 / 0.88) ** 0.5)) and not there


def test_a_run_keeps_such_a_picture_of_tags_and_draws_on_the_image_otherwise():
    image = np.full((64, 64, 3), 90, np.uint8)
    tags = Tags(np.array((1.0, 0, 0, 0)))
    assert preview(image, tags, tags, CLASSES, {"classes": None, "temperature": 1.5}).shape == (CARD, 2 * CARD, 3)
    area = SemanticMask(classes=np.zeros((64, 64), np.uint16))
    assert preview(image, area, area, CLASSES, {"score": 0.5}).shape == (PREVIEW_SIDE, PREVIEW_SIDE, 3)

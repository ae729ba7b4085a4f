"""Masks of the same object: suppressed within one prediction, merged across several."""

import numpy as np
import pytest

from engine.datasets.outlines import mask_of, rle_of_mask
from engine.tasks.mask_merging import SEEN_ONCE, merged
from engine.tasks.suppression import overlaps, suppressed
from engine.types import Instances

SIZE = (60, 40)


def found(*objects):
    """(x1, y1, x2, y2, class, score) as filled boxes."""
    shapes = []
    for x1, y1, x2, y2, *_ in objects:
        mask = np.zeros(SIZE[::-1], bool)
        mask[y1:y2, x1:x2] = True
        shapes.append(rle_of_mask(mask))
    table = np.array(objects, np.float64).reshape(-1, 6)
    return Instances(table[:, :4], table[:, 4], table[:, 5], tuple(shapes))


def test_overlaps_are_those_of_masks():
    one, two = found((0, 0, 10, 10, 0, 0.9), (20, 20, 30, 30, 0, 0.8)), found((0, 0, 10, 5, 0, 0.7), (5, 0, 15, 10, 1, 0.6), (40, 0, 50, 9, 0, 0.5))
    np.testing.assert_allclose(overlaps(one, two), [[0.5, 1 / 3, 0], [0, 0, 0]])
    assert overlaps(one, found()).shape == (2, 0)


def test_the_lesser_of_two_masks_goes_whatever_its_class():
    kept = suppressed(found((0, 0, 10, 9, 1, 0.7), (0, 0, 10, 10, 0, 0.9), (0, 0, 10, 8, 0, 0.6), (30, 0, 40, 10, 0, 0.1)), 0.8)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.6, 0.1]), ".9 overlap goes, .8 is not above the limit, best first"
    assert len(suppressed(found((0, 0, 10, 9, 1, 0.7), (0, 0, 10, 10, 0, 0.9)), 1.0)) == 2
    assert len(suppressed(found(), 0.5)) == 0


def test_what_was_suppressed_suppresses_nothing():
    chain = [(x, 0, x + 10, 10, 0, 0.9 - x / 100) for x in (0, 3, 6)]  # neighbours overlap by 7/13, the ends by 4/16
    assert suppressed(found(*chain), 0.5).boxes[:, 0].tolist() == [0, 6]


def test_boxes_do_not_matter_where_masks_differ():
    diagonal, other = np.eye(40, 60, dtype=bool), np.eye(40, 60, dtype=bool)[::-1]
    shapes = (rle_of_mask(diagonal), rle_of_mask(other))
    crossed = Instances(np.array([[0, 0, 40, 40], [0, 0, 40, 40]]), np.array([0, 0]), np.array([0.9, 0.8]), shapes)
    assert len(suppressed(crossed, 0.5)) == 2, "two crossing instruments have the same box"


def test_objects_that_all_views_agree_on_are_one_with_the_mean_score():
    views = [found((0, 0, 10, 10, 0, score)) for score in (0.9, 0.7, 0.8, 0.6)]
    one = merged(views)
    assert one.scores.tolist() == pytest.approx([0.75]) and one.boxes.tolist() == [[0, 0, 10, 10]] and one.shapes == views[0].shapes


def test_a_sure_object_seen_in_one_view_only_is_kept():
    one = merged([found((0, 0, 10, 10, 0, 0.9), (20, 20, 30, 30, 1, 0.95)), *[found((0, 0, 10, 10, 0, 0.9))] * 3])
    assert one.classes.tolist() == [0, 1] and one.scores.tolist() == pytest.approx([0.9, 0.95 * SEEN_ONCE])
    assert one.scores[1] > 0.6
    twice = merged([found((0, 0, 10, 10, 0, 0.8)), found((0, 0, 10, 10, 0, 0.8)), found(), found()])
    assert twice.scores.tolist() == pytest.approx([0.8 * (SEEN_ONCE + (1 - SEEN_ONCE) / 3)])


def test_the_mask_is_what_most_of_the_certainty_is_for():
    one = merged([found((0, 0, 20, 10, 0, 0.9)), found((0, 0, 16, 10, 0, 0.8)), found((0, 0, 16, 10, 0, 0.8))])
    assert mask_of(one.shapes[0], SIZE).sum() == 160
    weighty = merged([found((0, 0, 20, 10, 0, 0.9)), found((0, 0, 16, 10, 0, 0.3)), found((0, 0, 16, 10, 0, 0.3))])
    assert mask_of(weighty.shapes[0], SIZE).sum() == 200


def test_views_of_different_classes_or_places_stay_apart_and_one_view_gives_one_member():
    apart = merged([found((0, 0, 10, 10, 0, 0.9)), found((0, 0, 10, 10, 1, 0.9)), found((0, 20, 10, 30, 0, 0.9))])
    assert len(apart) == 3
    doubled = merged([found((0, 0, 10, 10, 0, 0.9), (0, 0, 10, 9, 0, 0.8)), found((0, 0, 10, 10, 0, 0.7))])
    assert len(doubled) == 2, "two objects of one view are never one"


def test_nothing_merges_to_nothing():
    assert len(merged([found(), found()])) == 0

"""Box arithmetic and the assignment of queries to truths."""

from itertools import permutations

import pytest
import torch
from torchvision.ops import box_iou, generalized_box_iou

from engine.models.matching import Pairs, Targets, cxcywh_to_xyxy, match, overlaps, unite, xyxy_to_cxcywh


def boxes_of(*shape):
    return torch.cat((torch.rand(*shape, 2), torch.rand(*shape, 2) * 0.5 + 0.05), -1)


def pairs_of(*triples, sets):
    """Pairs of (set, image, query, truth), the same images in every set."""
    per_set = [[t[1:] for t in triples if t[0] == s] for s in range(sets)]
    columns = torch.tensor(per_set).permute(2, 0, 1)
    return Pairs(columns[0, 0], columns[1], columns[2])


def test_corners_and_back():
    boxes = boxes_of(5)
    assert torch.allclose(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes, atol=1e-6)


def test_negative_sides_count_as_zero():
    assert cxcywh_to_xyxy(torch.tensor([0.5, 0.5, -0.2, 0.2])).tolist() == pytest.approx([0.5, 0.4, 0.5, 0.6])


def test_overlaps_agree_with_torchvision():
    first, second = cxcywh_to_xyxy(boxes_of(6)), cxcywh_to_xyxy(boxes_of(4))
    iou, giou = overlaps(first[:, None], second)
    assert torch.allclose(iou, box_iou(first, second), atol=1e-6)
    assert torch.allclose(giou, generalized_box_iou(first, second), atol=1e-6)


def test_two_points_overlap_by_nothing_and_pass_no_nan_back():
    point = torch.full((1, 4), 0.5, requires_grad=True)
    iou, giou = overlaps(point, point.detach())
    (iou + giou).sum().backward()
    assert iou.item() == 0
    assert point.grad.isfinite().all()


@pytest.mark.parametrize("late", [False, True])
def test_the_assignment_is_the_cheapest_of_all(late):
    torch.manual_seed(0)
    logits, boxes = torch.randn(1, 1, 5, 3), boxes_of(1, 1, 5)
    targets = Targets.collate([{"labels": torch.tensor([2, 0, 2]), "boxes": boxes_of(3)}])
    pairs = match(logits, boxes, targets, late=late)

    def price(queries):
        score = logits[0, 0, list(queries), targets.labels[0]].sigmoid()
        found, wanted = boxes[0, 0, list(queries)], targets.boxes[0]
        iou, giou = overlaps(cxcywh_to_xyxy(found), cxcywh_to_xyxy(wanted))
        if late:
            return -(score * iou**4).sum().item()
        focal = 0.25 * (1 - score) ** 2 * -(score + 1e-8).log() - 0.75 * score**2 * -(1 - score + 1e-8).log()
        return (5 * (found - wanted).abs().sum(-1) + 2 * focal - 2 * giou).sum().item()

    cheapest = min(price(queries) for queries in permutations(range(5), 3))
    chosen = pairs.query[0][pairs.truth[0].argsort()]
    assert price(chosen.tolist()) == pytest.approx(cheapest, abs=1e-5)


def test_images_without_truths_get_no_pairs():
    targets = Targets.collate([{"labels": torch.zeros(n).long(), "boxes": boxes_of(n)} for n in (0, 2, 0)])
    pairs = match(torch.randn(4, 3, 6, 1), boxes_of(4, 3, 6), targets)
    assert pairs.image.tolist() == [1, 1]
    assert pairs.query.shape == (4, 2)


def test_a_batch_without_truths_gives_empty_pairs():
    targets = Targets.collate([{"labels": torch.zeros(0).long(), "boxes": torch.zeros(0, 4)}] * 2)
    pairs = match(torch.randn(3, 2, 6, 2), boxes_of(3, 2, 6), targets)
    assert len(pairs) == len(unite(pairs)) == 0
    assert pairs.query.shape == (3, 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("late", [False, True])
def test_broken_predictions_are_matched_all_the_same(value, late):
    logits, boxes = torch.full((1, 1, 4, 2), value), torch.full((1, 1, 4, 4), value)
    targets = Targets.collate([{"labels": torch.tensor([0, 1]), "boxes": boxes_of(2)}])
    assert len(match(logits, boxes, targets, late=late)) == 2


def test_more_truths_than_queries_fill_every_query():
    targets = Targets.collate([{"labels": torch.zeros(9).long(), "boxes": boxes_of(9)}])
    assert sorted(match(torch.randn(1, 1, 4, 1), boxes_of(1, 1, 4), targets).query[0].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("truths", [2, 6, 30])
def test_the_published_order_decides_between_truths_of_equal_frequency(truths):
    """The trainer of the authors sorts the distinct pairs of an image with torch's unstable sort: long lists change the order of equals."""
    torch.manual_seed(truths)
    query, truth = torch.randint(0, truths, (2, 7, truths))
    distinct, counts = torch.stack((query.flatten(), truth.flatten()), 1).unique(return_counts=True, dim=0)
    expected = {}
    for own, wanted in distinct[counts.argsort(descending=True)].tolist():
        expected.setdefault(own, wanted)
    both = Pairs(torch.arange(2).repeat_interleave(truths), query.repeat(1, 2), truth.repeat(1, 2))
    shared = unite(both)
    for image in range(2):
        here = shared.image == image
        assert dict(zip(shared.query[0][here].tolist(), shared.truth[0][here].tolist(), strict=True)) == expected


def test_united_pairs_keep_the_most_frequent_truth_of_each_query():
    pairs = pairs_of((0, 0, 7, 1), (0, 1, 7, 0), (1, 0, 7, 2), (1, 1, 3, 0), (2, 0, 7, 2), (2, 1, 3, 1), sets=3)
    shared = unite(pairs)
    assert shared.image.tolist() == [0, 1, 1]
    assert shared.query.tolist() == [[7, 3, 7]]
    assert shared.truth.tolist() == [[2, 0, 0]]

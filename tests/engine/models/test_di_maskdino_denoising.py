"""Denoising queries of DI-MaskDINO: where they lie, how noisy they are, and who may look at whom."""

import pytest
import torch

from engine.models.di_maskdino.config import Config
from engine.models.di_maskdino.denoising import make_denoising

CLASSES = 9


def target_of(count):
    boxes = torch.cat((torch.rand(count, 2) * 0.4 + 0.3, torch.rand(count, 2) * 0.2 + 0.05), 1)
    return {"labels": torch.randint(0, CLASSES, (count,)), "boxes": boxes}


def made(*counts, seed=0, **settings):
    torch.manual_seed(seed)
    targets = [target_of(count) for count in counts]
    return targets, make_denoising(targets, CLASSES, Config(**settings))


def naive_mask(groups, size, queries):
    """Built entry by entry from the rules: queries see no slot, a group sees itself and the queries."""
    total = groups * size + queries
    def blocked(row, column):
        return column < groups * size and (row >= groups * size or row // size != column // size)
    return torch.tensor([[blocked(row, column) for column in range(total)] for row in range(total)])


@pytest.mark.parametrize(("counts", "groups"), [((25, 3), 4), ((6, 6), 16), ((1,), 100), ((51, 0, 2), 1), ((100,), 1)])
def test_as_many_groups_as_fit_each_with_a_slot_for_every_object_of_the_fullest_image(counts, groups):
    _, noise = made(*counts)
    assert (noise.groups, noise.size) == (groups, max(counts))
    assert noise.labels.shape == (len(counts), groups * max(counts))
    assert noise.boxes.shape == (*noise.labels.shape, 4)
    assert noise.filled.sum(1).tolist() == [count * groups for count in counts]


def test_more_objects_than_denoising_queries_leave_one_group():
    _, noise = made(130, 2)
    assert (noise.groups, noise.size) == (1, 130)
    assert noise.mask(40).shape == (170, 170)


def test_without_objects_or_without_denoising_queries_there_is_none():
    assert made(0, 0)[1] is None
    assert made(3, denoising_queries=0)[1] is None


@pytest.mark.parametrize(("counts", "queries"), [((2, 5), 7), ((1,), 3), ((40, 12), 6), ((120,), 4)])
def test_visibility_is_what_the_rules_say_entry_by_entry(counts, queries):
    _, noise = made(*counts, denoising_queries=20)
    assert torch.equal(noise.mask(queries), naive_mask(noise.groups, noise.size, queries))


def test_every_query_can_look_at_something():
    _, noise = made(3, 5)
    assert not noise.mask(10).all(1).any()


def test_without_noise_the_queries_are_the_objects():
    targets, noise = made(3, 5, 0, label_noise=0.0, box_noise=0.0, denoising_queries=20)
    image, slot, truth = (torch.from_numpy(part) for part in noise.places())
    assert len(image) == (3 + 5) * 4
    for i, s, t in zip(image.tolist(), slot.tolist(), truth.tolist(), strict=True):
        assert noise.filled[i, s] and s % noise.size == t
        assert noise.labels[i, s] == targets[i]["labels"][t]
        assert torch.allclose(noise.boxes[i, s].sigmoid(), targets[i]["boxes"][t], atol=1e-5)
    assert len(set(zip(image.tolist(), slot.tolist(), strict=True))) == len(image)


def test_places_go_image_by_image_and_empty_slots_hold_zeros():
    _, noise = made(2, 5)
    image, slot, _ = noise.places()
    assert (image[1:] >= image[:-1]).all()
    taken = torch.zeros_like(noise.filled)
    taken[torch.from_numpy(image), torch.from_numpy(slot)] = True
    assert torch.equal(taken, noise.filled)
    assert not noise.labels[~taken].any() and not noise.boxes[~taken].any()


def test_boxes_move_within_the_noise_and_stay_finite():
    targets, noise = made(10, denoising_queries=1000)
    moved, truth = noise.boxes[0].sigmoid().view(100, 10, 4), targets[0]["boxes"]
    reach = torch.cat((truth[:, 2:] / 2, truth[:, 2:]), 1) * 0.4
    share = (moved - truth) / reach
    assert share.abs().amax() <= 1 + 1e-4
    assert share.amin() < -0.98 and share.amax() > 0.98
    assert share.mean().abs() < 0.05


def test_boxes_at_the_border_give_finite_logits():
    targets = [{"labels": torch.tensor([0, 1]), "boxes": torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.0, 1.0, 1e-9, 1.0]])}]
    assert make_denoising(targets, CLASSES, Config()).boxes.isfinite().all()


def test_one_label_in_five_becomes_any_class():
    targets, noise = made(10, denoising_queries=2000)
    changed = (noise.labels.view(-1, 10) != targets[0]["labels"]).float().mean().item()
    assert changed == pytest.approx(0.2 * (1 - 1 / CLASSES), abs=0.03)
    assert noise.labels.min() >= 0 and noise.labels.max() < CLASSES


def test_one_class_stays_that_class():
    torch.manual_seed(0)
    targets = [{**target_of(4), "labels": torch.zeros(4, dtype=torch.int64)}]
    assert not make_denoising(targets, 1, Config()).labels.any()

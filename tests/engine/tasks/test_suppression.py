"""What is seen twice, against torchvision's suppression; how much objects of a data set may overlap."""

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms, nms

from engine.config import TrainConfig
from engine.models import models
from engine.recipe import DataFacts, Machine, suggest
from engine.tasks.detect import Detect
from engine.tasks.suppression import allowed_overlap, suppressed
from engine.types import Instances


def crowd(count, classes, seed=0):
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(10, 40, (count, 2))], 1)
    return Instances(boxes, random.integers(0, classes, count), random.random(count))


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.5, 0.7, 0.9])
def test_boxes_go_as_torchvision_lets_them_go(limit):
    found = crowd(300, 3)
    boxes, scores, classes = (torch.from_numpy(each) for each in (found.boxes, found.scores, found.classes))
    assert np.array_equal(suppressed(found, limit).boxes, found.boxes[nms(boxes, scores, limit)])
    assert np.array_equal(suppressed(found, limit, by_class=True).boxes, found.boxes[batched_nms(boxes, scores, classes, limit)])


def test_a_limit_of_one_keeps_boxes_that_are_the_same():
    found = Instances([[0, 0, 9, 9]] * 3, [0, 0, 0], [0.2, 0.9, 0.5])
    assert suppressed(found, 1.0).scores.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert len(suppressed(found, 0.99)) == 1


def outputs():
    """Two boxes of class 0 that overlap by 0.82, and one of class 1 between them."""
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.54, 0.5, 0.4, 0.4], [0.52, 0.5, 0.4, 0.4]]])
    return {"logits": torch.tensor([[[2.0, -9.0], [1.0, -9.0], [-9.0, 0.5]]]), "boxes": boxes}


def shown(found):
    return [each.above(0.3).classes.tolist() for each in found]


def test_published_weights_keep_every_box_and_a_run_keeps_what_it_was_told():
    assert shown(Detect().decode(outputs(), [(100, 100)])) == [[0, 0, 1]]
    assert shown(Detect(thresholds={"nms": 0.7}).decode(outputs(), [(100, 100)])) == [[0, 1]]
    assert shown(Detect(thresholds={"nms": 0.9}).decode(outputs(), [(100, 100)])) == [[0, 0, 1]]


def test_what_a_mirror_shows_again_counts_once_as_well():
    views = iter([outputs(), {**outputs(), "boxes": outputs()["boxes"] * torch.tensor([-1.0, 1, 1, 1]) + torch.tensor([1.0, 0, 0, 0])}])
    assert shown(Detect(thresholds={"nms": 0.7}).from_views(lambda _: next(views), torch.zeros(1, 3, 8, 8), [(100, 100)])) == [[0, 1]]


def test_validation_tells_with_what_it_measured():
    assert Detect(thresholds={"nms": 0.7}).meter(["a"]).result()["thresholds"]["nms"] == 0.7
    assert Detect().meter(["a"]).result()["thresholds"]["nms"] == 1.0


def pairs(count, overlap, classes=(0, 0)):
    """Images with two boxes that overlap as told."""
    move = 100 * (1 - overlap) / (1 + overlap)
    return [Instances([[0, 0, 100, 100], [move, 0, 100 + move, 100]], classes) for _ in range(count)]


@pytest.mark.parametrize(("overlap", "allowed"), [(0.2, 0.7), (0.69, 0.7), (0.75, 0.8), (0.85, 0.9), (0.93, 1.0)])
def test_as_much_is_allowed_as_labelled_objects_overlap(overlap, allowed):
    assert allowed_overlap(pairs(10, overlap)) == allowed


def test_a_few_exceptions_other_classes_crowds_and_labels_given_twice_do_not_count():
    assert allowed_overlap(pairs(1, 0.93) + pairs(999, 0.1)) == 0.7
    assert allowed_overlap(pairs(10, 0.93, (0, 1))) == 0.7
    assert allowed_overlap(pairs(10, 1.0)) == 0.7
    crowds = [Instances(each.boxes, each.classes, crowd=np.array([True, False])) for each in pairs(10, 0.93)]
    assert allowed_overlap(crowds) == 0.7
    assert allowed_overlap([]) == 0.7


def test_the_recipe_takes_it_from_the_data_unless_a_person_said():
    facts = DataFacts(100, 20, 2, overlap=0.8)
    plan = suggest(TrainConfig(device="cpu"), models.get("deimv2_atto"), facts, Machine(), pretrained=False)
    assert plan.config.nms == 0.8
    assert [each.because("en") for each in plan.derived if each.name == "nms"]
    said = suggest(TrainConfig(device="cpu", nms=0.0), models.get("deimv2_atto"), facts, Machine(), pretrained=False)
    assert said.config.nms == 0.0
    assert Detect().told(said.config) == {"nms": 0.0}
    other = suggest(TrainConfig(model="timm", task="classify"), models.get("timm"), facts, Machine(), pretrained=False)
    assert other.config.nms == -1

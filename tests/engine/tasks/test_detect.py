"""Detection's targets and decoding, there and back."""

from pathlib import Path

import numpy as np
import torch

from engine.config import TrainConfig
from engine.tasks.detect import Detect
from engine.types import Instances, Sample

CONFIG = TrainConfig(augment="none", image_size=64)


def test_a_target_decodes_to_the_boxes_it_came_from():
    boxes = np.array([[10, 20, 60, 80], [100, 5, 190, 99]], np.float32)
    sample = Sample(Path("x.jpg"), (200, 100), Instances(boxes, np.array([2, 0])))
    pixels, target = Detect().encode(CONFIG, sample, np.zeros((100, 200, 3), np.uint8), 0, strong=False)
    assert pixels.shape == (64, 64, 3) and target["labels"].tolist() == [2, 0]
    logits = torch.full((1, 2, 3), -9.0)
    logits[0, 0, 2], logits[0, 1, 0] = 4.0, 3.0
    found = Detect().decode({"logits": logits, "boxes": target["boxes"][None]}, [(200, 100)])[0]
    np.testing.assert_allclose(found.boxes[:2], boxes, atol=1e-3)
    assert found.classes[:2].tolist() == [2, 0] and len(found) == 6


def test_boxes_scale_with_an_image_that_was_shrunk_on_loading():
    sample = Sample(Path("x.jpg"), (400, 200), Instances(np.array([[100, 50, 300, 150]]), np.array([0])))
    _, target = Detect().encode(CONFIG, sample, np.zeros((100, 200, 3), np.uint8), 0, strong=False)
    np.testing.assert_allclose(target["boxes"].numpy(), [[0.5, 0.5, 0.5, 0.5]], atol=1e-6)


def test_crowds_are_not_learnt_and_boxes_outside_are_clipped_or_dropped():
    boxes = np.array([[0, 0, 50, 50], [60, 60, 90, 90], [90, 90, 400, 400], [300, 300, 400, 400]])
    sample = Sample(Path("x.jpg"), (100, 100), Instances(boxes, np.zeros(4), crowd=np.array([True, False, False, False])))
    _, target = Detect().encode(CONFIG, sample, np.zeros((100, 100, 3), np.uint8), 0, strong=False)
    np.testing.assert_allclose(target["boxes"].numpy(), [[0.75, 0.75, 0.3, 0.3], [0.95, 0.95, 0.1, 0.1]], atol=1e-6)


def test_broken_numbers_from_a_network_never_reach_a_label():
    outputs = {"logits": torch.randn(1, 5, 1), "boxes": torch.tensor([[[float("nan")] * 4] * 5])}
    assert np.isfinite(Detect().decode(outputs, [(10, 10)])[0].boxes).all()


def test_a_mirrored_view_comes_back_to_its_place_and_merges_with_the_first():
    boxes, width = np.array([[10, 20, 60, 80], [100, 5, 190, 99]], np.float32), 200
    seen = Instances(boxes, np.array([0, 1]), np.array([0.8, 0.6]))
    mirrored = Instances(np.array([[140, 20, 190, 80], [0, 0, 9, 9]]), np.array([0, 1]), np.array([0.6, 0.4]))
    merged = Detect().merge(seen, Detect().mirror(mirrored, width))
    np.testing.assert_allclose(merged.boxes[0], boxes[0], atol=1e-4)
    np.testing.assert_allclose(merged.scores, [0.7, 0.42, 0.28], atol=1e-6)
    assert merged.classes.tolist() == [0, 1, 1]

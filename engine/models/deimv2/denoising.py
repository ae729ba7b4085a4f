"""Denoising queries: truths with noise on label and box, which the decoder learns to undo (contrastive, as in DINO, arXiv:2203.03605)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.models.deimv2.config import Config
from engine.models.deimv2.layers import inverse_sigmoid
from engine.models.matching import Pairs, Targets, cxcywh_to_xyxy, xyxy_to_cxcywh


@dataclass(frozen=True)
class Denoising:
    """Noisy queries of a batch: labels i64[B,D] (number of classes = empty slot), box logits f32[B,D,4].

    They form `groups` that do not see each other; each holds every truth once near and once far. `pairs` are the near ones.
    """

    labels: Tensor
    boxes: Tensor
    pairs: Pairs
    groups: int

    @property
    def size(self) -> int:
        """Queries of one group."""
        return self.labels.shape[1] // self.groups


def make_denoising(targets: Targets, num_classes: int, config: Config) -> Denoising | None:
    """None when no image has a box. A group holds a slot per truth of the fullest image, twice: near ones, then far ones."""
    most = max(targets.counts, default=0)
    if most == 0:
        return None
    groups = max(1, config.denoising_queries // most)
    repeats = 2 * groups
    filled = targets.filled.repeat(1, repeats)
    labels = _noisy_labels(targets.labels.repeat(1, repeats), filled, num_classes, config.label_noise)
    boxes = targets.boxes.repeat(1, repeats, 1)
    far = torch.arange(2, device=boxes.device).repeat_interleave(most).repeat(groups)
    return Denoising(labels, _noisy_boxes(boxes, far, config.box_noise), _positive_pairs(targets, groups, most), groups)


def _noisy_labels(labels: Tensor, filled: Tensor, num_classes: int, noise: float) -> Tensor:
    """Half of `noise` of the labels become random ones; empty slots get the extra class. i64[B,D]."""
    replaced = torch.rand(labels.shape, device=labels.device) < noise * 0.5
    random = torch.randint(0, num_classes, labels.shape, dtype=torch.int32, device=labels.device).long()
    return torch.where(filled, torch.where(replaced, random, labels), num_classes)


def _noisy_boxes(boxes: Tensor, far: Tensor, noise: float) -> Tensor:
    """Logits of boxes f32[B,D,4] whose corners moved by up to half a side, one to two halves where far i64[D] is 1."""
    sign = torch.randint_like(boxes, 0, 2) * 2 - 1
    share = torch.rand_like(boxes) + far[:, None]
    half = boxes[..., 2:].repeat(1, 1, 2) * 0.5
    corners = cxcywh_to_xyxy(boxes) + sign * share * half * noise
    return inverse_sigmoid(xyxy_to_cxcywh(corners.clamp(0, 1)).abs())


def _positive_pairs(targets: Targets, groups: int, most: int) -> Pairs:
    """The near slots of every truth, image by image, group by group."""
    images = np.repeat(np.arange(len(targets.counts)), [count * groups for count in targets.counts])
    truths = np.concatenate([np.tile(np.arange(count), groups) for count in targets.counts])
    starts = np.concatenate([np.repeat(np.arange(groups) * 2 * most, count) for count in targets.counts])
    return Pairs.from_numpy(images, (starts + truths)[None], truths[None], targets.boxes.device)

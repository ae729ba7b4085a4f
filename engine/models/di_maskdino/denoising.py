"""Denoising queries: truths with noise on label and box, which the decoder learns to undo (DN-DETR, arXiv:2203.01305)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.models.di_maskdino.config import Config
from engine.models.matching import Targets

EPS = 1e-5


@dataclass(frozen=True)
class Denoising:
    """Noisy queries of a batch: labels i64[B,D], box logits f32[B,D,4], and which slots hold one, `filled` bool[B,D].

    Slots are laid out group by group, each with a slot per truth of the fullest image; truth t of an image of `counts` truths lies in
    slot t of every group. Empty slots have label 0 and box logits 0, and their content should be 0 as well.
    """

    labels: Tensor
    boxes: Tensor
    filled: Tensor
    groups: int
    counts: tuple[int, ...]

    @property
    def size(self) -> int:
        """Slots of one group."""
        return self.labels.shape[1] // self.groups

    def mask(self, queries: int) -> Tensor:
        """bool[D+Q,D+Q], rows look at columns, True = must not: a group sees itself and the Q queries behind the slots, queries see no slot."""
        group = torch.arange(self.groups, device=self.labels.device).repeat_interleave(self.size)
        group = torch.cat((group, group.new_full((queries,), -1)))
        return (group[None] >= 0) & (group[:, None] != group[None])

    def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image, slot and truth i64[P] of every filled slot, image by image."""
        image = np.repeat(np.arange(len(self.counts)), np.multiply(self.counts, self.groups))
        truth = np.concatenate([np.tile(np.arange(count), self.groups) for count in self.counts])
        start = np.concatenate([np.repeat(np.arange(self.groups) * self.size, count) for count in self.counts])
        return image, start + truth, truth


def make_denoising(targets: list[dict[str, Tensor]], num_classes: int, config: Config) -> Denoising | None:
    """None when no image has an object, or `denoising_queries` is 0. As many groups as fit in `denoising_queries` slots, but at least one.

    Targets: see `Criterion`. A label becomes any class with chance `label_noise`; a centre moves by up to `box_noise` half sides,
    sides change by up to the share `box_noise`.
    """
    most = max((len(each["labels"]) for each in targets), default=0)
    if most == 0 or config.denoising_queries == 0:
        return None
    truths = Targets.collate(targets)
    groups = max(1, config.denoising_queries // most)
    filled = truths.filled.repeat(1, groups)
    labels = truths.labels.repeat(1, groups)
    replaced = torch.rand(labels.shape, device=labels.device) < config.label_noise
    labels = torch.where(replaced, torch.randint(0, num_classes, labels.shape, device=labels.device), labels)
    boxes = truths.boxes.repeat(1, groups, 1)
    reach = torch.cat((boxes[..., 2:] / 2, boxes[..., 2:]), -1) * config.box_noise
    boxes = (boxes + (torch.rand_like(boxes) * 2 - 1) * reach).clamp(0, 1).logit(EPS)
    return Denoising(labels * filled, boxes * filled[..., None], filled, groups, truths.counts)

"""Boxes as tensors, and the one-to-one assignment of queries to truths that detectors of the DETR family train with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

TINY = 1e-12


@dataclass(frozen=True)
class Targets:
    """Truths of a batch, padded to the fullest image (T boxes): labels i64[B,T], boxes f32[B,T,4] cxcywh in 0..1."""

    labels: Tensor
    boxes: Tensor
    counts: tuple[int, ...]

    @classmethod
    def collate(cls, targets: list[dict[str, Tensor]]) -> Targets:
        labels = pad_sequence([target["labels"].reshape(-1).long() for target in targets], batch_first=True)
        boxes = pad_sequence([target["boxes"].reshape(-1, 4).float() for target in targets], batch_first=True)
        return cls(labels, boxes, tuple(len(target["labels"]) for target in targets))

    @property
    def total(self) -> int:
        return sum(self.counts)

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Image and slot of every truth, two i64[P]."""
        image = np.repeat(np.arange(len(self.counts)), self.counts)
        slot = np.concatenate([np.arange(count) for count in self.counts])
        both = torch.from_numpy(np.stack((image, slot))).to(self.labels.device, non_blocking=True)
        return both[0], both[1]

    @cached_property
    def filled(self) -> Tensor:
        """bool[B,T]: which slots hold a truth."""
        return torch.zeros_like(self.labels, dtype=torch.bool).index_put(self.places, torch.tensor(True, device=self.labels.device))


@dataclass(frozen=True)
class Pairs:
    """Assigned (query, truth) pairs of S sets of predictions: image i64[P], query and truth i64[S,P], or [1,P] for all sets alike."""

    image: Tensor
    query: Tensor
    truth: Tensor

    @classmethod
    def from_numpy(cls, image: np.ndarray, query: np.ndarray, truth: np.ndarray, device: torch.device) -> Pairs:
        rows = torch.from_numpy(np.concatenate((image[None], query, truth)).astype(np.int64)).to(device, non_blocking=True)
        return cls(rows[0], rows[1 : 1 + len(query)], rows[1 + len(query) :])

    def of(self, predictions: Tensor) -> Tensor:
        """The assigned rows [S,P,...] of predictions [S,B,Q,...]."""
        sets = torch.arange(len(predictions), device=predictions.device)[:, None]
        return predictions[sets, self.image, self.query]

    def of_truth(self, values: Tensor) -> Tensor:
        """The assigned rows [S,P,...] (or [1,P,...]) of truths [B,T,...]."""
        return values[self.image, self.truth]

    def __len__(self) -> int:
        return len(self.image)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Corners; negative sides count as zero."""
    centre, half = boxes[..., :2], boxes[..., 2:].clamp(min=0) * 0.5
    return torch.cat((centre - half, centre + half), -1)


def xyxy_to_cxcywh(corners: Tensor) -> Tensor:
    low, high = corners[..., :2], corners[..., 2:]
    return torch.cat(((low + high) * 0.5, high - low), -1)


def overlaps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (arXiv:1902.09630) of corner boxes [...,4]; shapes broadcast. Boxes without area count as 0."""
    low1, high1, low2, high2 = first[..., :2], first[..., 2:], second[..., :2], second[..., 2:]
    shared = (torch.minimum(high1, high2) - torch.maximum(low1, low2)).clamp(min=0).prod(-1)
    union = (high1 - low1).prod(-1) + (high2 - low2).prod(-1) - shared
    hull = (torch.maximum(high1, high2) - torch.minimum(low1, low2)).prod(-1)
    iou = shared / union.clamp(min=TINY)
    return iou, iou - (hull - union) / hull.clamp(min=TINY)


def early_cost(probability: Tensor, boxes: Tensor, truths: Tensor) -> Tensor:
    """Focal class cost, L1 and GIoU f32[S,P,Q]: probability f32[S,P,Q] of the truth's class, boxes f32[S,P,Q,4], truths f32[P,1,4]."""
    missed = 0.25 * (1 - probability).square() * -(probability + 1e-8).log()
    alarm = 0.75 * probability.square() * -(1 - probability + 1e-8).log()
    distance = (boxes - truths).abs().sum(-1)
    giou = overlaps(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truths))[1]
    return 5 * distance + 2 * (missed - alarm) - 2 * giou


def late_cost(probability: Tensor, boxes: Tensor, truths: Tensor) -> Tensor:
    """Score times IoU^4, for predictions that are nearly right already. Shapes as in `early_cost`."""
    return -probability * overlaps(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truths))[0].pow(4)


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, targets: Targets, *, late: bool = False) -> Pairs:
    """Hungarian assignment of S sets at once: logits f[S,B,Q,K], boxes f32[S,B,Q,4]. The costs leave the device in one go.

    An image with n truths gives min(n, Q) pairs in every set.
    """
    from scipy.optimize import linear_sum_assignment  # takes a second, and only training matches
    places, queries = targets.places, logits.shape[2]
    probability = logits.mT[:, places[0], targets.labels[places]].float().sigmoid()
    cost = (late_cost if late else early_cost)(probability, boxes[:, places[0]], targets.boxes[places][:, None])
    costs = cost.nan_to_num(1.0, 1e9, -1e9).cpu().double().numpy()
    ends = np.cumsum(targets.counts)[:-1]
    solved = [[linear_sum_assignment(block) for block in np.split(each, ends)] for each in costs]
    image = np.repeat(np.arange(len(targets.counts)), [min(n, queries) for n in targets.counts])
    truth, query = (np.stack([np.concatenate([pair[part] for pair in row]) for row in solved]) for part in (0, 1))
    return Pairs.from_numpy(image, query, truth, logits.device)


def unite(pairs: Pairs) -> Pairs:
    """One assignment for all sets: every query keeps the truth that it got in most sets.

    Of equals it keeps the one that torch's unstable sort on the CPU puts first, as in the published trainer: the lower one in short lists.
    """
    all_pairs = torch.stack((pairs.image.expand_as(pairs.query), pairs.query, pairs.truth)).flatten(1).cpu().numpy()
    distinct, counts = np.unique(all_pairs, axis=1, return_counts=True)
    starts = np.flatnonzero(np.diff(distinct[0], prepend=-1))
    ranks = [torch.from_numpy(part).argsort(descending=True).numpy() for part in np.split(counts, starts[1:])]
    ranked = distinct[:, np.concatenate([start + rank for start, rank in zip(starts, ranks, strict=False)])] if len(starts) else distinct
    first = np.unique(ranked[:2], axis=1, return_index=True)[1]
    image, query, truth = ranked[:, first]
    return Pairs.from_numpy(image, query[None], truth[None], pairs.query.device)

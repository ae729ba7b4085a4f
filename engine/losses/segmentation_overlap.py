"""Losses on the overlap of regions, over all pixels of a batch, averaged over the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from engine.losses.segmentation import Pixels

TINY = 1e-7


def tversky(seen: Pixels, *, fp: float, fn: float, power: float = 1.0) -> Tensor:
    """Mean over the classes of (1 - TI) ** power; Dice is fp = fn = 0.5, Jaccard fp = fn = 1. Absent classes: see `average`."""
    found = seen.logits.softmax(0) if seen.exclusive else seen.logits.sigmoid()
    hit = (found * seen.truth).sum(1)
    index = hit / (hit + fp * (found.sum(1) - hit) + fn * (seen.truth.sum(1) - hit)).clamp_min(TINY)
    return average(seen, (1 - index).clamp_min(TINY if power < 1 else 0) ** power)


def lovasz(seen: Pixels) -> Tensor:
    """The Lovász extension of the Jaccard loss (Berman et al. 2018, arXiv:1705.08790): on the softmax of exclusive classes, else on hinges.

    The mean over the classes; absent ones, of which it would only see the worst pixel: see `average`.
    """
    found = seen.logits.softmax(0) if seen.exclusive else F.relu(1 - seen.logits * (2 * seen.truth - 1))
    errors = (seen.truth - found).abs() if seen.exclusive else found
    return average(seen, torch.stack([_extension(*pair) for pair in zip(errors, seen.truth, strict=True)]))


def average(seen: Pixels, cost: Tensor) -> Tensor:
    """The mean of `cost` f32[C] over the classes that show. For those that no pixel shows stands what still tells false positives apart:

    their mean binary cross-entropy; of exclusive classes, all absent ones together -log(1 - their summed probability), as one class.
    """
    missing = ~seen.truth.any(1)
    if not missing.any():
        return cost.mean()
    if seen.exclusive:
        instead = (seen.logits.logsumexp(0) - seen.logits[~missing].logsumexp(0)).mean()
        return torch.cat([cost[~missing], instead[None]]).mean()
    return torch.where(missing, F.softplus(seen.logits).mean(1), cost).mean()


def _extension(errors: Tensor, truth: Tensor) -> Tensor:
    """Sum of the errors f32[N], weighted by how much the Jaccard loss grows when pixels are got wrong in their order, worst first."""
    order = errors.detach().argsort(descending=True)
    wrong = truth[order]
    total = wrong.sum()
    grown = 1 - (total - wrong.cumsum(0)) / (total + (1 - wrong).cumsum(0)).clamp_min(1)
    steps = torch.cat([grown[:1], grown[1:] - grown[:-1]])
    return torch.dot(errors[order], steps)

"""Losses that count pixels one by one: all that somebody may judge, foreground or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from engine.losses.segmentation import Pixels


def cross_entropy(seen: Pixels) -> Tensor:
    """Exclusive classes: softmax cross-entropy, a weighted mean by class weight. Else: binary, the weight multiplies positive pixels."""
    if seen.exclusive:
        return F.cross_entropy(seen.logits.T, seen.index, weight=seen.weight)
    weight = None if seen.weight is None else seen.weight[:, None]
    return F.binary_cross_entropy_with_logits(seen.logits, seen.truth, pos_weight=weight)


def focal(seen: Pixels, *, gamma: float) -> Tensor:
    """(1 - p)^gamma times the cross-entropy, p = probability of what is true (Lin et al. 2017, arXiv:1708.02002), the mean over pixels.

    gamma 0 is cross-entropy. There is no alpha: class weights take its place.
    """
    if seen.exclusive:
        log_p = -F.cross_entropy(seen.logits.T, seen.index, reduction="none")
        weight = log_p.new_ones(()) if seen.weight is None else seen.weight[seen.index]
        return (weight * (1 - log_p.exp()).clamp_min(0) ** gamma * -log_p).sum() / weight.expand_as(log_p).sum()
    log_p = -F.binary_cross_entropy_with_logits(seen.logits, seen.truth, reduction="none")
    cost = (1 - log_p.exp()).clamp_min(0) ** gamma * -log_p
    if seen.weight is not None:
        cost = cost * (1 + seen.truth * (seen.weight[:, None] - 1))
    return cost.mean()

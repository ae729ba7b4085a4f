"""Exponential moving average of a network's weights and floating buffers."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn


def twin(source: nn.Module) -> Any:
    """A copy of a network. What some keep of their last forward (LeViT: attention biases by place) is copied without its graph."""
    memo: dict[int, Any] = {}
    for module in source.modules():
        for value in vars(module).values():
            kept = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
            memo |= {id(each): each.detach().clone() for each in kept if isinstance(each, torch.Tensor) and not each.is_leaf}
    return copy.deepcopy(source, memo)


class Ema:
    """`network` is a copy whose floating tensors follow: e = d*e + (1-d)*w, d = decay*(1 - exp(-t/warmup)).

    Warm-up equals the averaging window, so that the random start is forgotten. Shared tensors are averaged once.
    """

    def __init__(self, source: nn.Module, decay: float) -> None:
        self.network = twin(source).eval().requires_grad_(False)
        self.updates = 0
        self.set_decay(decay)

    def set_decay(self, decay: float) -> None:
        self.decay = decay
        self.warmup = 1 / max(1e-6, 1 - decay)

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.warmup))
        averages = [*self.network.parameters(), *self.network.buffers()]
        values = [*source.parameters(), *source.buffers()]
        floating = [(a, v) for a, v in zip(averages, values, strict=True) if a.dtype.is_floating_point]
        torch._foreach_lerp_([a for a, _ in floating], [v for _, v in floating], 1 - decay)

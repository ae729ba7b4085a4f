"""Parts that the stages share: normed convolutions, perceptrons, and where things are as sines and cosines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.di_maskdino.config import GROUPS

TEMPERATURE = 10000.0


class GroupNorm(nn.GroupNorm):
    """With the group count of the published networks. A map of a single place is normalised like any other."""

    def __init__(self, dim: int) -> None:
        super().__init__(GROUPS, dim)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of torch
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class NormedConv(nn.Conv2d):
    """Convolution without bias that keeps the size, group norm and, if asked, ReLU."""

    def __init__(self, into: int, out: int, kernel: int = 1, *, activate: bool = False) -> None:
        super().__init__(into, out, kernel, padding=kernel // 2, bias=False)
        self.norm = GroupNorm(out)
        self.activate = activate
        nn.init.kaiming_uniform_(self.weight, a=1)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of torch
        found = self.norm(super().forward(input))
        return F.relu(found) if self.activate else found


class MLP(nn.Module):
    """Linear layers with ReLU between them; `widths` are those of the input, of each hidden layer and of the output."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(into, out) for into, out in zip(widths, widths[1:], strict=False))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class FeedForward(nn.Module):
    """Two linear layers around a ReLU. A base class, so that they keep their published names inside each transformer layer."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, width)
        self.linear2 = nn.Linear(width, dim)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(F.relu(self.linear1(x)))


@dataclass(frozen=True)
class Memory:
    """What queries look at: tokens f32[B,S,C] of levels of the given (height, width), coarsest first, and their position f32[S,C]."""

    tokens: Tensor
    position: Tensor
    shapes: tuple[tuple[int, int], ...]


def box_head(dim: int) -> MLP:
    """Box from a query; starts by changing nothing."""
    head = MLP(dim, dim, dim, 4)
    nn.init.zeros_(head.layers[-1].weight)
    nn.init.zeros_(head.layers[-1].bias)
    return head


def start_transformer(module: nn.Module) -> None:
    """Xavier weights for every matrix, as published."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of x, finite also at and beyond 0 and 1."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def refined(boxes: Tensor, change: Tensor) -> Tensor:
    """Boxes in 0..1 moved by `change` on the scale of logits."""
    return (inverse_sigmoid(boxes) + change).sigmoid()


def box_position(boxes: Tensor, dim: int) -> Tensor:
    """Sines and cosines f32[B,Q,2*dim] of boxes f32[B,Q,4] cxcywh in 0..1; dim/2 values for each of y, x, w, h."""
    angles = boxes[..., [1, 0, 2, 3], None] * torch.from_numpy(_frequencies(dim // 2)).to(boxes)
    return torch.stack((angles[..., 0::2].sin(), angles[..., 1::2].cos()), -1).flatten(-3)


@lru_cache(maxsize=32)
def map_position(height: int, width: int, dim: int) -> np.ndarray:
    """Sines and cosines f32[h*w,dim] of the places of a map, row by row: dim/2 values for y, then for x. Places count from 1."""
    eps = 1e-6
    rows, columns = (np.arange(1, side + 1, dtype=np.float32) / np.float32(side + eps) for side in (height, width))
    angles = (np.broadcast_to(rows[:, None], (height, width)), np.broadcast_to(columns[None], (height, width)))
    each = [np.asarray(part).reshape(-1, 1) * _frequencies(dim // 2) for part in angles]
    return np.concatenate([np.stack((np.sin(one[:, 0::2]), np.cos(one[:, 1::2])), -1).reshape(len(one), -1) for one in each], 1)


@lru_cache(maxsize=32)
def _frequencies(count: int) -> np.ndarray:
    """f32[count]; each stands twice, for a sine and a cosine."""
    pairs = 2 * (np.arange(count) // 2) / count
    return (2 * math.pi / TEMPERATURE**pairs).astype(np.float32)


def positions(shapes: tuple[tuple[int, int], ...], dim: int, like: Tensor) -> Tensor:
    """The positions f32[S,dim] of all levels, one after the other."""
    return torch.from_numpy(np.concatenate([map_position(height, width, dim) for height, width in shapes])).to(like)


@lru_cache(maxsize=32)
def _centres(shapes: tuple[tuple[int, int], ...]) -> np.ndarray:
    grids = [np.stack(np.meshgrid((np.arange(w, dtype=np.float32) + 0.5) / w, (np.arange(h, dtype=np.float32) + 0.5) / h), -1) for h, w in shapes]
    return np.concatenate([grid.reshape(-1, 2) for grid in grids]).astype(np.float32)


def centres(shapes: tuple[tuple[int, int], ...], like: Tensor) -> Tensor:
    """The middle f32[S,2] (x, y in 0..1) of every place of all levels."""
    return torch.from_numpy(_centres(shapes)).to(like)


def flat(maps: list[Tensor]) -> Tensor:
    """Tokens f32[B,S,C] of maps f32[B,C,h,w], level by level, row by row."""
    return torch.cat([each.flatten(2).mT for each in maps], 1)


def shapes_of(maps: list[Tensor]) -> tuple[tuple[int, int], ...]:
    return tuple((int(each.shape[2]), int(each.shape[3])) for each in maps)

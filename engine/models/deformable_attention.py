"""Deformable attention (Zhu et al., 2021, arXiv:2010.04159) over maps of several levels, with and without value and output projections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableAttention(nn.Module):
    """Every query reads a few points of every level around its reference box and mixes them by learned weights.

    queries f[B,N,d], boxes f32[B,N,4] (cx,cy,w,h in 0..1), maps f32[B,d,h,w] per level, finest first -> f32[B,N,d].
    Head m reads channels m*d/heads and up. `points` are the points per level; one softmax runs over all of them.
    """

    num_points_scale: Tensor

    def __init__(self, dim: int, heads: int, points: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.sampling_offsets = nn.Linear(dim, heads * sum(points) * 2)
        self.attention_weights = nn.Linear(dim, heads * sum(points))
        self.register_buffer("num_points_scale", torch.tensor([1 / n for n in points for _ in range(n)]))
        start_on_rays(self.sampling_offsets, self.attention_weights, heads, points)

    def forward(self, queries: Tensor, boxes: Tensor, maps: list[Tensor]) -> Tensor:
        batch, count, _ = queries.shape
        offsets = self.sampling_offsets(queries).float().transpose(1, 2).reshape(batch, self.heads, -1, 2, count)
        weights = self.attention_weights(queries).float().transpose(1, 2).reshape(batch, self.heads, -1, count).softmax(2)
        grid = sampling_grid(boxes, offsets, self.num_points_scale)
        return sample(maps, grid, weights.flatten(0, 1)[:, None], self.points).view(batch, -1, count).transpose(1, 2)


class ProjectedDeformableAttention(nn.Module):
    """As published: tokens are projected before they are read, and their mixture after.

    queries f[B,N,d], references f[B,N,2] (x,y in 0..1: points, offsets count in cells of each level) or f[B,N,4] (cx,cy,w,h: boxes, offsets
    count in half sides divided by the points per level), tokens f[B,S,d] of levels of the given (height, width), row by row -> f[B,N,d].
    """

    def __init__(self, dim: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.points = heads, (points,) * levels
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.start()

    def start(self) -> None:
        start_on_rays(self.sampling_offsets, self.attention_weights, self.heads, self.points)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, references: Tensor, tokens: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        batch, count, dim = queries.shape
        offsets = self.sampling_offsets(queries).mT.reshape(batch, self.heads, -1, 2, count)
        weights = self.attention_weights(queries).mT.reshape(batch, self.heads, -1, count).softmax(2)
        grid = torch.addcmul(2 * references.mT[:, None, None, :2] - 1, offsets, self._reach(references, shapes)).flatten(0, 1).mT
        parts = self.value_proj(tokens).split([height * width for height, width in shapes], 1)
        maps = [part.mT.reshape(batch, dim, *shape) for part, shape in zip(parts, shapes, strict=True)]
        mixed = sample(maps, grid, weights.flatten(0, 1)[:, None], self.points)
        return self.output_proj(mixed.view(batch, dim, count).mT)

    def _reach(self, references: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """What an offset of 1 means in -1..1: f[P,2,1] for points, f[B,1,1,2,N] for boxes."""
        if references.shape[-1] == 4:
            return references.mT[:, None, None, 2:] / self.points[0]
        cells = [[2 / width, 2 / height] for (height, width), points in zip(shapes, self.points, strict=True) for _ in range(points)]
        return references.new_tensor(cells)[..., None]


def start_on_rays(offsets: nn.Linear, weights: nn.Linear, heads: int, points: tuple[int, ...]) -> None:
    """Points start on rays, one direction per head, one step further for each point of a level; weights start equal."""
    angle = torch.arange(heads) * (2 * math.pi / heads)
    ray = torch.stack((angle.cos(), angle.sin()), -1)
    ray = ray / ray.abs().amax(-1, keepdim=True)
    step = torch.cat([torch.arange(1, n + 1) for n in points])
    with torch.no_grad():
        offsets.bias.copy_((ray[:, None] * step[:, None]).flatten())
    for parameter in (offsets.weight, weights.weight, weights.bias):
        nn.init.zeros_(parameter)


def sampling_grid(boxes: Tensor, offsets: Tensor, scale: Tensor) -> Tensor:
    """Positions f32[B*M,P,N,2] in -1..1 of points f32[B,M,P,2,N] that lie offsets * scale f32[P] half box sizes off the centres."""
    centre, size = boxes.float().mT[:, None, None].split(2, 3)
    return torch.addcmul(2 * centre - 1, offsets, size * scale[:, None, None]).flatten(0, 1).mT


def sample(maps: list[Tensor], grid: Tensor, weights: Tensor, points: tuple[int, ...]) -> Tensor:
    """Weighted sums f32[B*M,d/M,N] of the maps' bilinear values (zero outside) at grid f32[B*M,P,N,2], weights f32[B*M,1,P,N].

    Queries come last so that the sums over points run along whole rows.
    """
    parts = []
    for level, where, weight in zip(maps, grid.split(points, 1), weights.split(points, 2), strict=True):
        values = level.reshape(grid.shape[0], -1, *level.shape[2:])
        parts.append((F.grid_sample(values, where, align_corners=False) * weight).sum(2))
    return sum(parts[1:], parts[0])

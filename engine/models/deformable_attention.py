"""Deformable attention (Zhu et al., 2021, arXiv:2010.04159) over maps of several levels, without value and output projections."""

from __future__ import annotations

import math

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
        self._start()

    def _start(self) -> None:
        """Points start on rays, one direction per head, one step further for each point of a level; weights start equal."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ray = torch.stack((angle.cos(), angle.sin()), -1)
        ray = ray / ray.abs().amax(-1, keepdim=True)
        step = torch.cat([torch.arange(1, n + 1) for n in self.points])
        with torch.no_grad():
            self.sampling_offsets.bias.copy_((ray[:, None] * step[:, None]).flatten())
        for parameter in (self.sampling_offsets.weight, self.attention_weights.weight, self.attention_weights.bias):
            nn.init.zeros_(parameter)

    def forward(self, queries: Tensor, boxes: Tensor, maps: list[Tensor]) -> Tensor:
        batch, count, _ = queries.shape
        offsets = self.sampling_offsets(queries).float().transpose(1, 2).reshape(batch, self.heads, -1, 2, count)
        weights = self.attention_weights(queries).float().transpose(1, 2).reshape(batch, self.heads, -1, count).softmax(2)
        grid = sampling_grid(boxes, offsets, self.num_points_scale)
        return sample(maps, grid, weights.flatten(0, 1)[:, None], self.points).view(batch, -1, count).transpose(1, 2)


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
        values = level.reshape(len(grid), -1, *level.shape[2:])
        parts.append((F.grid_sample(values, where, align_corners=False) * weight).sum(2))
    return sum(parts[1:], parts[0])

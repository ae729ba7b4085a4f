"""Deformable attention (Zhu et al., 2021, arXiv:2010.04159) over maps of several levels, without value and output projections."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableAttention(nn.Module):
    """Every query reads a few points of every level around its reference box and mixes them by learned weights.

    queries f[B,N,d], boxes f32[B,N,4] (cx,cy,w,h in 0..1), maps f[B,d,h,w] per level, finest first -> f32[B,N,d].
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
        offsets = self.sampling_offsets(queries).float().view(batch, count, self.heads, -1, 2)
        weights = self.attention_weights(queries).float().view(batch, count, self.heads, -1).softmax(-1)
        grid = sampling_grid(boxes, offsets * self.num_points_scale[:, None])
        sampled = sample(maps, grid, self.points, self.heads)
        mixed = (sampled * weights.permute(0, 2, 1, 3).reshape(batch * self.heads, 1, count, -1)).sum(-1)
        return mixed.view(batch, -1, count).transpose(1, 2)


def sampling_grid(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Positions f32[B,N,M,P,2] in -1..1 of points that lie `offsets` half box sizes away from the box centres."""
    centre, size = boxes.float()[:, :, None, None].split(2, -1)
    return torch.addcmul(2 * centre - 1, offsets, size)


def sample(maps: list[Tensor], grid: Tensor, points: tuple[int, ...], heads: int) -> Tensor:
    """Bilinear values f32[B*M,d/M,N,P] of the maps at grid f32[B,N,M,P,2]; zero outside."""
    levels = grid.transpose(1, 2).flatten(0, 1).split(points, 2)
    values = (level.float().reshape(-1, level.shape[1] // heads, *level.shape[2:]) for level in maps)
    return torch.cat([F.grid_sample(v, g, align_corners=False) for v, g in zip(values, levels, strict=True)], -1)

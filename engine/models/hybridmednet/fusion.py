"""The levels of a pyramid as one map: each brought to the same channels and size, weighted by what the image shows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DynamicFusion(nn.Module):
    """Levels f32[B,C_i,H_i,W_i] -> f32[B,channels,H_0,W_0], a mean weighted per image by a softmax over the levels.

    Both 1x1 convolutions run before the enlargement, which they commute with: the same numbers for a fraction of the work.
    """

    def __init__(self, level_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.scale_convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(each, channels, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)) for each in level_channels
        )
        self.weight_generator = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(sum(level_channels), len(level_channels), 1), nn.Softmax(dim=1))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        size = levels[0].shape[-2:]
        means = torch.cat([_mean_when_resized(each, size) for each in levels], dim=1)
        weights = self.weight_generator(means)
        fused: Tensor | None = None
        for i, (level, (convolution, norm, activation)) in enumerate(zip(levels, self.scale_convs, strict=True)):
            seen = activation(norm(_resized(convolution(level), size))) * weights[:, i : i + 1]
            fused = seen if fused is None else fused + seen
        assert fused is not None
        return fused


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    return maps if maps.shape[-2:] == tuple(size) else F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def _mean_when_resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """f32[B,C,1,1]: the mean over the map resized to `size`, without resizing it: every place counts as often as it would be drawn from."""
    rows, columns = (_share(old, new, maps) for old, new in zip(maps.shape[-2:], size, strict=True))
    return torch.einsum("bchw,h,w->bc", maps, rows, columns)[..., None, None]


def _share(old: int, new: int, like: Tensor) -> Tensor:
    """f[old]: how much each of `old` places counts in the mean over `new` places drawn from them linearly. Sums to 1."""
    if old == new:
        return like.new_full((old,), 1 / old)
    places = torch.eye(old, device=like.device)[None]
    return F.interpolate(places, size=new, mode="linear", align_corners=False)[0].mean(-1).to(like.dtype)

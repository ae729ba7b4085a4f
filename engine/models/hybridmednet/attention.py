"""Attention on the levels of a pyramid: CBAM per level, or residual mixing per level with attention across levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.types import UserError

CHANNEL_RATIO = 16
SPATIAL_KERNEL = 7


class BatchNorm2d(nn.BatchNorm2d):
    """Takes the running statistics where a training batch has a single value per channel and so no variance."""

    def forward(self, maps: Tensor) -> Tensor:
        if self.training and maps.numel() == maps.shape[1]:
            return F.batch_norm(maps, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(maps)


class ChannelAttention(nn.Module):
    """A factor in 0..1 per channel, from the mean and the maximum of the map through one shared bottleneck."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // CHANNEL_RATIO)
        self.fc = nn.Sequential(nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False))

    def forward(self, maps: Tensor) -> Tensor:
        return torch.sigmoid(self.fc(F.adaptive_avg_pool2d(maps, 1)) + self.fc(F.adaptive_max_pool2d(maps, 1)))


class SpatialAttention(nn.Module):
    """A factor in 0..1 per place, from the mean and the maximum over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, SPATIAL_KERNEL, padding=SPATIAL_KERNEL // 2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(torch.cat((maps.mean(1, keepdim=True), maps.amax(1, keepdim=True)), dim=1)))


class CBAM(nn.Module):
    """Convolutional block attention (Woo et al. 2018, arXiv:1807.06521): channels first, then places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel_attention = ChannelAttention(channels)
        self.spatial_attention = SpatialAttention()

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps * self.channel_attention(maps)
        return maps * self.spatial_attention(maps)


class ClassicAttention(nn.Module):
    """CBAM on each level by itself."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.cbam_modules = nn.ModuleList(CBAM(each) for each in channels)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return [cbam(level) for cbam, level in zip(self.cbam_modules, levels, strict=True)]


class CrossAttention(nn.Module):
    """Multi-head attention of tokens f32[B,N,D] on a context f32[B,M,D]. Never holds the N x M scores (fused kernels)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        query = self._split(self.q(tokens))
        key, value = map(self._split, self.kv(context).chunk(2, dim=-1))
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        """[B,N,D] -> [B,heads,N,D/heads]."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class CrossScaleAttention(nn.Module):
    """Each place of a level looks at all places of the other levels, resized to its own grid: N queries, 3N keys.

    Works in the channels of the narrowest level. Raises UserError when the heads do not divide them.
    """

    def __init__(self, channels: Sequence[int], heads: int) -> None:
        super().__init__()
        dim = min(channels)
        if dim % heads:
            raise UserError("attention_heads", heads=heads, channels=dim, fitting=", ".join(str(n) for n in range(1, 33) if dim % n == 0))
        self.projections = nn.ModuleList(nn.Identity() if each == dim else nn.Conv2d(each, dim, 1) for each in channels)
        self.cross_attentions = nn.ModuleList(CrossAttention(dim, heads) for _ in channels)
        self.out_projections = nn.ModuleList(nn.Conv2d(dim, each, 1) for each in channels)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        narrow = [project(level) for project, level in zip(self.projections, levels, strict=True)]
        parts = zip(self.cross_attentions, self.out_projections, strict=True)
        return [project(self._look(i, narrow, attention)) for i, (attention, project) in enumerate(parts)]

    def _look(self, i: int, levels: Sequence[Tensor], attention: nn.Module) -> Tensor:
        own, size = levels[i], levels[i].shape[-2:]
        others = [F.interpolate(each, size=size, mode="bilinear", align_corners=False) for j, each in enumerate(levels) if j != i]
        context = torch.cat([_tokens(each) for each in others], dim=1)
        return attention(_tokens(own), context).mT.unflatten(2, size) + own


class ModernAttention(nn.Module):
    """A residual 1x1 convolution with batch norm on each level, then, if wanted, attention across the levels."""

    def __init__(self, channels: Sequence[int], heads: int, cross_scale: bool) -> None:
        super().__init__()
        self.self_attentions = nn.ModuleList(nn.Sequential(nn.Conv2d(each, each, 1), BatchNorm2d(each)) for each in channels)
        self.cross_scale_attn = CrossScaleAttention(channels, heads) if cross_scale else None

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        mixed = [mix(level) + level for mix, level in zip(self.self_attentions, levels, strict=True)]
        return self.cross_scale_attn(mixed) if self.cross_scale_attn else mixed


def _tokens(maps: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,H*W,C]."""
    return maps.flatten(2).mT

"""The necks of DEIMv2: maps of the backbone in, one map of `hidden` channels per decoder level out, finest first."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.deimv2.config import Config
from engine.models.deimv2.layers import Conv, ConvNorm, SelfAttention


class RepBlock(nn.Module):
    """A 3x3 and a 1x1 convolution side by side, their sum activated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, width, 3)
        self.conv2 = ConvNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.conv1(x) + self.conv2(x), inplace=True)


class CSP(nn.Module):
    """Two halves of one projection: one passes, the other goes through `blocks`; their sum leaves."""

    def __init__(self, into: int, width: int, blocks: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(into, 2 * width, activate=True)
        self.bottlenecks = nn.Sequential(*(RepBlock(width) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        passed, worked = self.conv1(x).chunk(2, 1)
        return passed + self.bottlenecks(worked)


class Fusion(nn.Module):
    """ELAN block of d channels: two halves and two ever deeper branches of `fusion_width`, joined by a 1x1 convolution."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, width = config.hidden, config.fusion_width
        self.cv1 = ConvNorm(dim, 2 * dim, activate=True)
        self.cv2 = self._branch(dim, config)
        self.cv3 = self._branch(width, config)
        self.cv4 = ConvNorm(2 * dim + 2 * width, dim, activate=True)

    @staticmethod
    def _branch(into: int, config: Config) -> nn.Sequential:
        width = config.fusion_width
        tail = [ConvNorm(width, width, 3, activate=True)] if config.tail else []
        return nn.Sequential(CSP(into, width, config.fusion_blocks), *tail)

    def forward(self, x: Tensor) -> Tensor:
        both = self.cv1(x)
        second = self.cv2(both.chunk(2, 1)[1])
        return self.cv4(torch.cat((both, second, self.cv3(second)), 1))


class GlobalContext(nn.Module):
    """Adds its mean over the map to every position and mixes channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.cv = ConvNorm(dim, dim, activate=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cv(x + x.mean((2, 3), keepdim=True))


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _projection(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=Conv(into, out), norm=nn.BatchNorm2d(out)))


class LiteEncoder(nn.Module):
    """Neck of the three small sizes: one map of stride 16 in, strides 16 and 32 out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.hidden
        self.input_proj = nn.ModuleList([_projection(config.channels[0], dim)])
        self.down_sample1 = self._down(dim)
        self.down_sample2 = self._down(dim)
        self.bi_fusion = GlobalContext(dim)
        self.fpn_block = Fusion(config)
        self.pan_block = Fusion(config)

    @staticmethod
    def _down(dim: int) -> nn.Sequential:
        return nn.Sequential(nn.AvgPool2d(3, 2, 1), Conv(dim, dim), nn.BatchNorm2d(dim), nn.SiLU(inplace=True))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        fine = self.input_proj[0](maps[0])
        coarse = self.bi_fusion(self.down_sample1(fine))
        fine = self.fpn_block(fine + _upsample(coarse))
        return [fine, self.pan_block(coarse + self.down_sample2(fine))]


class EncoderLayer(nn.Module):
    """Post-norm transformer layer; x f[B,N,d], position f[1,N,d]."""

    def __init__(self, dim: int, feedforward: int, heads: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(dim, heads)
        self.linear1 = nn.Linear(dim, feedforward)
        self.linear2 = nn.Linear(feedforward, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x, position))
        return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))


class MapAttention(nn.Module):
    """A transformer layer over the positions of one map f[B,d,h,w]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(config.hidden, config.encoder_feedforward, config.heads)])

    def forward(self, x: Tensor) -> Tensor:
        dim, height, width = (int(side) for side in x.shape[1:])
        tokens = x.flatten(2).transpose(1, 2)
        position = torch.from_numpy(position_table(height, width, dim)).to(x.device)
        for layer in self.layers:
            tokens = layer(tokens, position)
        return tokens.transpose(1, 2).unflatten(2, (height, width))


class HybridEncoder(nn.Module):
    """Neck of N and larger: attention on the coarsest map, then a top-down and a bottom-up path."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, steps = config.hidden, len(config.channels) - 1
        self.input_proj = nn.ModuleList(nn.Identity() if channels == dim else _projection(channels, dim) for channels in config.channels)
        self.encoder = nn.ModuleList([MapAttention(config)])
        self.lateral_convs = nn.ModuleList(ConvNorm(dim, dim) for _ in range(steps))
        self.fpn_blocks = nn.ModuleList(Fusion(config) for _ in range(steps))
        self.downsample_convs = nn.ModuleList(self._down(dim) for _ in range(steps))
        self.pan_blocks = nn.ModuleList(Fusion(config) for _ in range(steps))

    @staticmethod
    def _down(dim: int) -> nn.Sequential:
        return nn.Sequential(nn.Sequential(OrderedDict(cv1=ConvNorm(dim, dim), cv2=ConvNorm(dim, dim, 3, 2, groups=dim))))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [project(x) for project, x in zip(self.input_proj, maps, strict=True)]
        maps[-1] = self.encoder[0](maps[-1])
        inner = [maps[-1]]
        for lateral, fuse, finer in zip(self.lateral_convs, self.fpn_blocks, maps[-2::-1], strict=True):
            inner[0] = lateral(inner[0])
            inner.insert(0, fuse(_upsample(inner[0]) + finer))
        out = inner[:1]
        for down, fuse, coarser in zip(self.downsample_convs, self.pan_blocks, inner[1:], strict=True):
            out.append(fuse(down(out[-1]) + coarser))
        return out


@lru_cache(maxsize=16)
def position_table(height: int, width: int, dim: int) -> np.ndarray:
    """Sines and cosines f32[1,h*w,dim] of both coordinates.

    Rows run through the columns first although tokens run through the rows first: the published weights expect this order.
    """
    omega = 10000.0 ** (-np.arange(dim // 4) / (dim // 4))
    columns, rows = (index.ravel()[:, None] * omega for index in np.mgrid[:width, :height])
    return np.concatenate((np.sin(columns), np.cos(columns), np.sin(rows), np.cos(rows)), 1).astype(np.float32)[None]


ENCODERS: dict[str, type[nn.Module]] = {"lite": LiteEncoder, "hybrid": HybridEncoder}

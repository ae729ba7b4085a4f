"""The backbone of the larger sizes: a vision transformer for meaning, a few convolutions beside it for detail (the spatial tuning adapter)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.deimv2.config import Config, ViT
from engine.models.deimv2.layers import Conv
from engine.models.deimv2.vit import PATCH, NamedTransformer, VisionTransformer


class Detail(nn.Module):
    """images f[B,3,H,W] -> maps of strides 8, 16 and 32 with 2, 4 and 4 times `channels`, as they leave the batch norms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_halved(3, channels), nn.GELU(), nn.MaxPool2d(3, 2, 1))
        self.conv2 = nn.Sequential(*_halved(channels, 2 * channels))
        self.conv3 = nn.Sequential(nn.GELU(), *_halved(2 * channels, 4 * channels))
        self.conv4 = nn.Sequential(nn.GELU(), *_halved(4 * channels, 4 * channels))

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.conv2(self.stem(images))
        middle = self.conv3(fine)
        return [fine, middle, self.conv4(middle)]


def _halved(into: int, out: int) -> tuple[nn.Module, nn.Module]:
    return Conv(into, out, 3, 2), nn.BatchNorm2d(out)


class AdaptedViT(nn.Module):
    """images f[B,3,H,W] -> maps f[B,hidden,h,w] of the strides of the config, finest first; H and W are multiples of 32."""

    def __init__(self, config: Config, vit: ViT) -> None:
        super().__init__()
        self.dinov3 = (VisionTransformer if vit.dinov3 else NamedTransformer)(vit, config.taps)
        self.sta = Detail(vit.detail)
        widths = (vit.width + times * vit.detail for times in (2, 4, 4))
        self.convs = nn.ModuleList(Conv(width, config.hidden) for width in widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(config.hidden) for _ in config.taps)
        self.strides = config.strides

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [_resized(tokens, PATCH / stride) for tokens, stride in zip(self.dinov3(images), self.strides, strict=True)]
        joined = (torch.cat(pair, 1) for pair in zip(maps, self.sta(images), strict=True))
        return [norm(conv(both)) for both, conv, norm in zip(joined, self.convs, self.norms, strict=True)]


def _resized(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

"""Images to four maps: ResNet with a feature pyramid network, or the maps of any other backbone as they are."""

from __future__ import annotations

from collections.abc import Sequence

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.backbones import TimmPyramid, is_timm_model
from engine.models.hybridmednet.config import CLASSIC, LISTED, VIM, Config
from engine.models.hybridmednet.vim import VimPyramid
from engine.types import UserError


class ResNet(nn.Module):
    """The four stages of a ResNet, at 1/4 to 1/32 of the image."""

    def __init__(self, name: str) -> None:
        super().__init__()
        net = timm.create_model(name)
        self.conv1 = nn.Sequential(net.conv1, net.bn1, net.act1, net.maxpool)
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.channels: list[int] = [each["num_chs"] for each in net.feature_info[1:]]
        self.strides: list[int] = [each["reduction"] for each in net.feature_info[1:]]

    def forward(self, images: Tensor) -> list[Tensor]:
        first = self.layer1(self.conv1(images))
        second = self.layer2(first)
        third = self.layer3(second)
        return [first, second, third, self.layer4(third)]


class FeaturePyramid(nn.Module):
    """Lin et al. 2017, arXiv:1612.03144: coarse maps are added to the finer ones, all with the same channels."""

    def __init__(self, level_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(nn.Conv2d(each, channels, 1) for each in level_channels)
        self.output_convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in level_channels)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        sums = [convolution(level) for convolution, level in zip(self.lateral_convs, levels, strict=True)]
        for i in range(len(sums) - 2, -1, -1):
            sums[i] = sums[i] + F.interpolate(sums[i + 1], size=sums[i].shape[-2:], mode="nearest")
        return [convolution(each) for convolution, each in zip(self.output_convs, sums, strict=True)]


class FeatureExtractor(nn.Module):
    """images f32[B,3,H,W] -> four maps with `channels` at 1/`strides` of the image.

    Raises UserError for a backbone that cannot be built; no other one ever takes its place.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        name = config.backbone
        if name not in CLASSIC and name not in VIM and not is_timm_model(name):
            raise UserError("unknown_backbone", name=name, known=", ".join(LISTED))
        self.backbone: ResNet | VimPyramid | TimmPyramid = (
            ResNet(name) if name in CLASSIC else VimPyramid(name) if name in VIM else TimmPyramid(name)
        )
        self.channels, self.strides = self.backbone.channels, self.backbone.strides
        self.fpn: FeaturePyramid | None = None
        if config.classic:
            self.fpn = FeaturePyramid(self.channels, config.fpn_channels)
            self.channels = [config.fpn_channels] * len(self.channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        levels = self.backbone(images)
        return self.fpn(levels) if self.fpn else levels

"""The image encoder: a timm network with four levels, each normed where the network does not do so itself."""

from __future__ import annotations

from typing import Any

from timm.layers import LayerNorm2d
from torch import Tensor, nn

from engine.models.backbones import TimmPyramid, hub_file
from engine.models.di_maskdino.config import ConvNeXtSizes

UNNORMED = ("convnext", "swin")  # their levels leave before the norm that their classifiers begin with
EPS = 1e-6


class Backbone(TimmPyramid):
    """images f32[B,3,H,W] -> four maps f32[B,channels[i],H/s,W/s], s = 4, 8, 16, 32 (H, W multiples of 32).

    Raises UserError for a name that timm does not know.
    """

    def __init__(self, backbone: str | ConvNeXtSizes) -> None:
        if isinstance(backbone, ConvNeXtSizes):
            super().__init__("convnext_tiny", depths=backbone.depths, dims=backbone.dims)
        else:
            super().__init__(backbone)
        self.named = isinstance(backbone, str)
        for level, channels in enumerate(self.channels):
            self.add_module(f"norm{level}", LayerNorm2d(channels, eps=EPS) if self.name.startswith(UNNORMED) else nn.Identity())

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.get_submodule(f"norm{level}")(each) for level, each in enumerate(super().forward(images))]

    def published(self) -> tuple[nn.Module, str, str] | None:
        """The part that pretrained weights exist for, and the repository and file of the hub that hold them."""
        place = hub_file(self.name) if self.named else None
        return (self.model, *place) if place else None

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation that the pretrained network knows."""
        settings: dict[str, Any] = getattr(self.model, "pretrained_cfg", None) or {}
        return (tuple(settings["mean"]), tuple(settings["std"])) if self.named and "mean" in settings and "std" in settings else None

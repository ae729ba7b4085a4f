"""What HybridMedNet can be made of, as plain values. Does not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.models import tag_mode
from engine.types import UserError

CLASSIC = ("resnet18", "resnet34", "resnet50", "resnet101")
VIM = {"vim_tiny": 192, "vim_small": 384, "vim_base": 768}
VIM_HUB = {"vim_tiny": ("hustvl/Vim-tiny-midclstok", "vim_t_midclstok_76p1acc.pth"),
           "vim_small": ("hustvl/Vim-small-midclstok", "vim_s_midclstok_80p5acc.pth"),
           "vim_base": ("hustvl/Vim-base-midclstok", "vim_b_midclstok_81p9acc.pth")}
CONVNEXT = ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large")
SWIN = ("swin_tiny", "swin_small", "swin_base")
EFFICIENTNET = ("efficientnetv2_s", "efficientnetv2_m", "efficientnetv2_l")
DINO = ("convnext_tiny.dinov3_lvd1689m", "vit_small_patch16_dinov3", "vit_small_patch14_dinov2")
LISTED = (*CLASSIC, *CONVNEXT, *SWIN, *EFFICIENTNET, *VIM, *DINO)


@dataclass(frozen=True)
class Config:
    """The architecture. Names and defaults are the published ones, but for the smaller backbone.

    `fpn_channels` is read by the classic (ResNet) backbones only, `use_modern_attention` and what depends on it by the others.
    `num_heads` must divide the smallest channel count of the backbone's levels. `mode`: one sigmoid per class, or a softmax;
    "auto" where the labels decide.
    """

    num_classes: int
    backbone: str = "convnext_tiny"
    fpn_channels: int = 256
    fusion_channels: int = 512
    use_modern_attention: bool = True
    use_cross_scale_attention: bool = True
    num_heads: int = 8
    hierarchical: bool = False
    num_coarse_classes: int = 3
    dropout: float = 0.5
    mode: str = "auto"

    def __post_init__(self) -> None:
        for name, low, high in (("num_classes", 1, None), ("fpn_channels", 16, 4096), ("fusion_channels", 8, 8192), ("num_heads", 1, 64),
                                ("num_coarse_classes", 1, 1000), ("dropout", 0.0, 0.95)):
            value = getattr(self, name)
            if value < low or (high is not None and value > high):
                raise UserError("option_bounds", name=name, value=value, low=low, high=high)
        tag_mode(self.mode)

    @property
    def classic(self) -> bool:
        """ResNet with a feature pyramid network and CBAM, as in the first version; everything else is "modern"."""
        return self.backbone in CLASSIC

    @property
    def modern_attention(self) -> bool:
        return self.use_modern_attention and not self.classic

    @classmethod
    def of(cls, num_classes: int, options: dict[str, Any]) -> Config:
        """Raises UserError for an option that does not exist: a misspelt one is never ignored."""
        for name in options:
            if name not in cls.__dataclass_fields__:
                raise UserError("unknown_option", name=name, known=", ".join(cls.__dataclass_fields__))
        return cls(num_classes, **options)

"""Any timm backbone as a pyramid of four NCHW maps, finest first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from engine.types import UserError

LEVELS = 4
TIMM_NAMES = {
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "swin_small": "swin_small_patch4_window7_224",
    "swin_base": "swin_base_patch4_window7_224",
    "efficientnetv2_s": "tf_efficientnetv2_s",
    "efficientnetv2_m": "tf_efficientnetv2_m",
    "efficientnetv2_l": "tf_efficientnetv2_l",
}

CONVNEXT_PARTS = {"conv_dw": "dwconv", "norm": "norm", "mlp.fc1": "pwconv1", "mlp.fc2": "pwconv2"}
CONVNEXT = (
    (r"stem_(\d)\.(\w+)", "downsample_layers.0.{0}.{1}"), (r"stages_(\d)\.downsample\.(\d)\.(\w+)", "downsample_layers.{0}.{1}.{2}"),
    (r"stages_(\d)\.blocks\.(\d+)\.(gamma)", "stages.{0}.{1}.{2}"),
    (r"stages_(\d)\.blocks\.(\d+)\.(?P<part>conv_dw|norm|mlp\.fc\d)\.(\w+)", "stages.{0}.{1}.{part}.{3}"),
)


def timm_name(name: str) -> str:
    """The name that timm knows: the short names of the papers stand for one timm model each, all others are timm's own."""
    return TIMM_NAMES.get(name, name)


def is_timm_model(name: str) -> bool:
    """Whether timm can build it. A pretrained tag (`convnext_tiny.fb_in22k`) must be one that timm lists for the model."""
    architecture, _, tag = timm_name(name).partition(".")
    return timm.is_model(architecture) and (not tag or timm.is_model_pretrained(f"{architecture}.{tag}"))


def hub_file(name: str) -> tuple[str, str] | None:
    """Repository and file of the hub that hold the pretrained weights, None when timm lists none."""
    settings = timm.get_pretrained_cfg(timm_name(name), allow_unregistered=False)
    if settings is None or not settings.hf_hub_id:
        return None
    return settings.hf_hub_id, settings.hf_hub_filename or "model.safetensors"


def published_names(name: str) -> list[str]:
    """What a tensor of a backbone is called in the whole model, likeliest first: timm joins the first two parts of a name when it cuts a model."""
    whole = name.removeprefix("model.")
    first, _, rest = whole.partition(".")
    joints = [i for i, letter in enumerate(first) if letter == "_"]
    parted = [f"{first[:i]}.{first[i + 1:]}.{rest}" for i in reversed(joints)]
    stem = [whole.replace(old, new, 1) for old, new in (("conv1.0.", "conv1."), ("conv1.1.", "bn1.")) if whole.startswith(old)]
    official = [f"{prefix}{each}" for each in _official_convnext(whole) for prefix in ("backbone.", "")]
    return [name, whole, *official, *parted, *stem][::-1]


def _official_convnext(name: str) -> list[str]:
    """What the authors of ConvNeXt call a tensor of timm's `features_only` network; [] where it is none."""
    for pattern, template in CONVNEXT:
        if found := re.fullmatch(pattern, name):
            parts = found.groupdict()
            return [template.format(*found.groups(), part=CONVNEXT_PARTS.get(parts.get("part") or "", ""))]
    return []


class SimplePyramid(nn.Module):
    """Four maps of one stride -> a pyramid at 1/4, 1/2, 1 and 2 times that stride (the idea of Li et al. 2022, arXiv:2203.16527).

    Channels D/4, D/2, D, D. Each input map, f32[B,D,h,w], comes from another depth of a network that keeps its resolution.
    """

    def __init__(self, channels: Sequence[int], stride: int) -> None:
        super().__init__()
        first, second, third, fourth = channels
        self.channels = [first // 4, second // 2, third, fourth]
        self.strides = [max(1, stride // 4), max(1, stride // 2), stride, stride * 2]
        self.norms = nn.ModuleList(LayerNorm2d(each) for each in channels)
        self.levels = nn.ModuleList((
            nn.Sequential(nn.ConvTranspose2d(first, first // 2, 2, 2), LayerNorm2d(first // 2), nn.GELU(),
                          nn.ConvTranspose2d(first // 2, first // 4, 2, 2)),
            nn.ConvTranspose2d(second, second // 2, 2, 2),
            nn.Identity(),
            nn.MaxPool2d(2, 2, ceil_mode=True),
        ))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [level(norm(each)) for level, norm, each in zip(self.levels, self.norms, maps, strict=True)]


class TimmPyramid(nn.Module):
    """images f32[B,3,H,W] -> four maps f32[B,channels[i],~H/strides[i],~W/strides[i]].

    Networks with stages give their last four; those of one resolution (ViT, DINO) go through SimplePyramid. What needs whole patches
    is padded on the right and at the bottom; a network that takes one size only gets the images resized to it (`fixed_size`).
    `sizes` are those of the network (`depths`, `dims`) where they are not the ones of the name.
    Raises UserError for a name that timm does not know, and for a network with fewer than four levels.
    """

    def __init__(self, name: str, **sizes: Any) -> None:
        super().__init__()
        if not is_timm_model(name):
            raise UserError("unknown_backbone", name=name, known=", ".join(TIMM_NAMES))
        self.name = name
        self.model, self.fixed_size = _features(timm_name(name), name, sizes)
        self.channels: list[int] = self.model.feature_info.channels()
        self.strides: list[int] = self.model.feature_info.reduction()
        self.channels_last = str(getattr(self.model, "output_fmt", "NCHW")).endswith("NHWC")
        self.patch = _patch(self.model)
        self.pyramid: SimplePyramid | None = None
        if len(set(self.strides)) == 1:
            self.pyramid = SimplePyramid(self.channels, self.strides[0])
            self.channels, self.strides = self.pyramid.channels, self.pyramid.strides

    def forward(self, images: Tensor) -> list[Tensor]:
        if self.fixed_size and images.shape[-2:] != self.fixed_size:
            images = F.interpolate(images, size=self.fixed_size, mode="bilinear", align_corners=False, antialias=True)
        maps = self.model(padded(images, self.patch))
        if self.channels_last:
            maps = [each.permute(0, 3, 1, 2).contiguous() for each in maps]
        return self.pyramid(maps) if self.pyramid else list(maps)


def padded(images: Tensor, multiple: int) -> Tensor:
    """Zeros (the mean colour of normalised images) on the right and at the bottom until both sides are multiples."""
    bottom, right = (-side % multiple for side in images.shape[-2:])
    return F.pad(images, (0, right, 0, bottom)) if bottom or right else images


def _features(timm_model: str, name: str, sizes: dict[str, Any]) -> tuple[Any, tuple[int, int] | None]:
    """The timm network that gives the wanted maps, and the image size that it insists on, if any."""
    with torch.device("meta"):
        strides = _create(timm_model, sizes)[0].feature_info.reduction()
        depth = len(getattr(timm.create_model(timm_model), "blocks", ())) or LEVELS
    if len(set(strides)) == 1:
        wanted = tuple(depth * (i + 1) // LEVELS - 1 for i in range(LEVELS))
    elif len(strides) >= LEVELS:
        wanted = tuple(range(len(strides) - LEVELS, len(strides)))
    else:
        raise UserError("backbone_levels", name=name, levels=len(strides), wanted=LEVELS)
    found, flexible = _create(timm_model, {**sizes, "out_indices": wanted})
    settings = found.pretrained_cfg or {}
    fixed = bool(settings.get("fixed_input_size")) and not flexible
    return found, tuple(settings["input_size"][-2:]) if fixed else None


def _create(timm_model: str, options: dict[str, Any]) -> tuple[Any, bool]:
    """The network with the first of timm's ways to take images of any size, and whether it has one."""
    for extra in ({"strict_img_size": False}, {"dynamic_img_size": True}, {}):
        try:
            return timm.create_model(timm_model, features_only=True, **options, **extra), bool(extra)
        except TypeError as error:
            if not extra or next(iter(extra)) not in str(error):
                raise
        except (RuntimeError, AttributeError, AssertionError) as error:
            raise UserError("backbone_without_maps", name=timm_model, reason=str(error)[:200]) from error
    raise AssertionError("the last way has no option that could be refused")


def _patch(model: nn.Module) -> int:
    """Side in pixels of the patches that the network cuts images into; 1 where any size passes."""
    inner = getattr(model, "model", model)
    embed = getattr(inner, "patch_embed", None)
    size = getattr(embed, "patch_size", 1)
    return int(size[0] if isinstance(size, (tuple, list)) else size)

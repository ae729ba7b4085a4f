"""The parts of a network by the names of architecture and encoder, with errors that a person can act on."""

from __future__ import annotations

import difflib
import warnings
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

from engine.models.unet import ARCHITECTURES
from engine.types import UserError

REFUSALS = (ValueError, KeyError, TypeError, RuntimeError, NotImplementedError, AttributeError, AssertionError, IndexError)
ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


def known_architecture(name: str) -> str:
    """The lower-case name; "UnetPlusPlus" and "UNet++" are understood too."""
    plain = name.strip().lower().replace("+", "plus").replace("-", "").replace("_", "")
    if plain not in ARCHITECTURES:
        raise UserError("unet_architecture", name=name, known=", ".join(ARCHITECTURES))
    return plain


def known_encoder(name: str) -> str:
    """The name as segmentation-models-pytorch wants it. Names that would make timm look outside (`hf-hub:…`, folders) are unknown."""
    native = smp.encoders.encoders
    plain = name.strip()
    plain = plain.lower() if plain.lower() in native or plain.lower().startswith("tu-") else plain
    if plain in native or (plain.startswith("tu-") and timm.is_model(plain[3:])):
        return plain
    if timm.is_model(plain):
        raise UserError("unet_encoder", name=name, similar=f"tu-{plain}")
    candidates = [*native, *(f"tu-{each}" for each in timm.list_models())]
    raise UserError("unet_encoder", name=name, similar=", ".join(difflib.get_close_matches(plain, candidates, 5, 0.4)) or "resnet34")


def assemble(architecture: str, encoder: str, channels: int) -> nn.Module:
    """The model of segmentation-models-pytorch, random weights. Raises UserError when the two do not go together."""
    create: Any = getattr(smp, ARCHITECTURES[architecture])
    options = _any_size(encoder, architecture) if encoder.startswith("tu-") else {}
    try:
        with warnings.catch_warnings(action="ignore"):
            model = create(encoder_name=encoder, encoder_weights=None, in_channels=3, classes=channels, **options)
    except REFUSALS as error:
        raise UserError("unet_combination", architecture=architecture, encoder=encoder, reason=_first_line(error)) from error
    strides = getattr(model.encoder, "output_strides", [32])
    if strides[-1] & (strides[-1] - 1):
        reason = f"patches of {strides[-1]} pixels; 8, 16 or 32 are needed"
        raise UserError("unet_combination", architecture=architecture, encoder=encoder, reason=reason)
    return model


def side_multiple(model: nn.Module, encoder: str) -> int:
    """What both sides of the input must be multiples of: 32, twice the patch of a ViT, or the window layout of a fixed-size encoder."""
    last = getattr(model.encoder, "output_strides", [32])[-1]
    multiple = max(32, 2 * last if last < 32 else last)
    if not encoder.startswith("tu-") or _any_size(encoder, ""):
        return multiple
    settings = timm.get_pretrained_cfg(encoder[3:])
    return max(settings.input_size[-2:]) if settings and settings.fixed_input_size else multiple


def _any_size(encoder: str, architecture: str) -> dict[str, Any]:
    """The option by which this timm model takes images of any size, where it has one."""
    whole = architecture == "dpt"
    for options in ANY_SIZE:
        try:
            with torch.device("meta"):
                timm.create_model(encoder[3:], pretrained=False, **({} if whole else {"features_only": True}), **options)
        except REFUSALS:
            continue
        return options
    return {}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].strip("'\"") or type(error).__name__


def published_repository(encoder: str) -> str | None:
    """The hub repository with the ImageNet weights of a native encoder."""
    import segmentation_models_pytorch as smp

    settings = smp.encoders.encoders[encoder]["pretrained_settings"]
    return settings.get("imagenet", {}).get("repo_id") if settings else None

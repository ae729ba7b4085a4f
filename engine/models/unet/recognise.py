"""Which architecture and encoder a bare state dict belongs to: candidates are built without memory and compared by names and shapes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine.models import OtherModel
from engine.models.unet.assembly import assemble, known_architecture, known_encoder
from engine.models.unet.network import rename
from engine.types import UserError

SIGNS = {  # a piece of a tensor's name that only this architecture has; the longer ones first
    "unetplusplus": "decoder.blocks.x_0_0.", "manet": "decoder.center.top_conv.", "linknet": "decoder.blocks.0.block.0.",
    "unet": "decoder.blocks.0.conv1.", "fpn": "decoder.p5.", "pspnet": "decoder.psp.blocks.0.pool.1.0.", "deeplabv3plus": "decoder.aspp.0.convs.",
    "deeplabv3": "decoder.aspp.convs.", "pan": "decoder.fpa.", "upernet": "decoder.fpn_lateral_blocks.", "segformer": "decoder.mlp_stage.",
    "dpt": "decoder.reassemble_blocks.",
}
FIRST = ("resnet34", "resnet18", "resnet50", "resnet101", "efficientnet-b0", "mobilenet_v2", "mit_b0", "vgg16_bn", "densenet121")
TIMM = (
    "resnet18", "resnet34", "resnet50", "convnext_tiny", "convnext_small", "convnext_base", "convnextv2_tiny", "swin_tiny_patch4_window7_224",
    "swin_small_patch4_window7_224", "swin_base_patch4_window7_224", "efficientnet_b0", "tf_efficientnetv2_s", "tf_efficientnetv2_m",
    "mobilenetv3_large_100", "mobilenetv3_small_100", "tf_mobilenetv3_large_100", "tf_mobilenetv3_small_100", "regnety_004", "regnety_016",
    "maxvit_tiny_tf_224", "hrnet_w18", "resnest50d", "densenet121",
)
VIT = (
    "vit_base_patch16_224", "vit_small_patch16_224", "vit_tiny_patch16_224", "vit_large_patch16_224", "vit_base_patch32_224",
    "vit_small_patch16_dinov3", "vit_base_patch16_dinov3",
)
FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)

Shapes = dict[str, tuple[int, ...]]


class ShapesOnly(TorchFunctionMode):
    """Tensors made inside have a shape and no memory; torch.device("meta") goes too far for encoders that compute with small ones."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in FACTORIES and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def recognise(tensors: dict[str, Tensor], known: Mapping[str, Any]) -> dict[str, Any]:
    """{"num_classes", "architecture", "encoder"}; what is `known` of it is believed. Raises UserError when no known pair has these tensors."""
    given = {rename(name, set()): tuple(value.shape) for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    sign = next((name for name, sign in SIGNS.items() if any(key.startswith(sign) for key in given)), None)
    architecture = known_architecture(known["architecture"]) if "architecture" in known else sign
    biases = [shape[0] for name, shape in given.items() if name.startswith("segmentation_head.") and name.endswith(".bias")]
    encoder = {name: shape for name, shape in given.items() if name.startswith("encoder.")}
    if not biases or not encoder:
        raise OtherModel("unet_not_recognised", example=next(iter(tensors), "-"), found=architecture or "?")
    if architecture is None:
        raise UserError("unet_not_recognised", example=next(iter(tensors)), found="?")
    if "encoder" in known:
        return {"num_classes": biases[-1], "architecture": architecture, "encoder": known_encoder(known["encoder"])}
    for name in _candidates(architecture, encoder):
        difference = _differences(_shapes(_without_memory(architecture, name, biases[-1])), given)
        if difference is not None and not difference:
            return {"num_classes": biases[-1], "architecture": architecture, "encoder": name}
        if difference is not None and _only_channels(difference):
            raise UserError("unet_channels", channels=difference[0][1][1], encoder=name)
    raise UserError("unet_not_recognised", example=next(iter(encoder)), found=architecture)


@cache
def check_pair(architecture: str, encoder: str) -> None:
    """Raises UserError for names that are unknown or do not go together. The pair is built as shapes alone."""
    _without_memory(known_architecture(architecture), known_encoder(encoder), 1)


def _without_memory(architecture: str, encoder: str, channels: int) -> nn.Module:
    with ShapesOnly():
        return assemble(architecture, encoder, channels)


def _candidates(architecture: str, given: Shapes) -> Iterator[str]:
    """Names of encoders, common ones first; of a family only one is built when already its first parts are called otherwise."""
    if any(name.startswith("encoder.model.") for name in given):
        yield from (f"tu-{name}" for name in (VIT if architecture == "dpt" else TIMM) if _timm_fits(name, architecture == "dpt", given))
        return
    parts = {name.split(".")[1] for name in given}
    other: set[Any] = set()
    native = smp.encoders.encoders
    for name in (*FIRST, *(each for each in native if each not in FIRST)):
        family = native[name]["encoder"]
        if family in other:
            continue
        own = _encoder(name)
        if {key.split(".")[1] for key in own} != parts:
            other.add(family)
        elif own.keys() == given.keys() and _fits(own, given):
            yield name


@cache
def _encoder(name: str) -> Shapes:
    with ShapesOnly(), warnings.catch_warnings(action="ignore"):
        model = smp.encoders.get_encoder(name, weights=None)
    return {f"encoder.{key}": shape for key, shape in _shapes(model).items()}


def _timm_fits(name: str, whole: bool, given: Shapes) -> bool:
    """Whether all given tensors are the timm model's; architectures may leave out its last stages."""
    with ShapesOnly():
        model = timm.create_model(name, pretrained=False, **({} if whole else {"features_only": True}))
    own = {f"encoder.model.{key}": shape for key, shape in _shapes(model).items()}
    return given.keys() <= own.keys() and _fits(own, given)


def _fits(own: Shapes, given: Shapes) -> bool:
    """Agreement but for one tensor: the first convolution may be for another number of channels."""
    return sum(own[key] != shape for key, shape in given.items()) <= 1


def _shapes(model: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def _differences(own: Shapes, given: Shapes) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
    """Pairs of shapes (own, given) that differ; None when the names do."""
    if not own.keys() <= given.keys():
        return None
    extra = [name for name in given.keys() - own.keys() if name.startswith(("encoder.", "decoder."))]
    return None if extra else [(shape, given[name]) for name, shape in own.items() if shape != given[name]]


def _only_channels(difference: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> bool:
    """All that differs is the number of input channels of the first convolution."""
    (own, given), *more = difference
    return not more and len(own) == len(given) == 4 and own[1] == 3 != given[1] and (own[0], *own[2:]) == (given[0], *given[2:])

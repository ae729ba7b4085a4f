"""HybridMedNet: a pyramid of features, attention, fusion over scales, and tags per image. Listing it does not load torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from engine.models import TAG_MODES, ModelOption, ModelSpec, WeightsSource, tag_mode
from engine.models.hybridmednet.config import VIM, VIM_HUB, Config

if TYPE_CHECKING:
    from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VIM_PARAMETERS = {"vim_tiny": 6.956, "vim_small": 25.413, "vim_base": 96.833}


def build(num_classes: int, **options: Any) -> nn.Module:
    """The network with random weights; nothing is downloaded. Options: engine.models.hybridmednet.config.Config.

    Raises UserError for an unknown option or backbone, and for values that do not go together.
    """
    from engine.models.hybridmednet.network import HybridMedNet

    return HybridMedNet(Config.of(num_classes, options))


def check(options: Mapping[str, Any]) -> None:
    """Raises UserError for an unknown backbone, and for options that do not go together."""
    _check(tuple(sorted(options.items())))


@cache
def _check(options: tuple[tuple[str, Any], ...]) -> None:
    """The network is built as shapes alone."""
    import torch

    with torch.device("meta"):
        build(1, **dict(options))


def infer(tensors: dict[str, Tensor], known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The options of a checkpoint. Raises UserError when the tensors are not those of a HybridMedNet."""
    from engine.models.hybridmednet.keys import infer as read

    return read(tensors, known)


def _build_vim(name: str, num_classes: int, mode: str = "auto") -> nn.Module:
    from engine.models.hybridmednet.network import Vim

    return Vim(name, num_classes, tag_mode(mode))


def _infer_vim(name: str, tensors: dict[str, Tensor], known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    from engine.models.hybridmednet.keys import infer_vim

    return infer_vim(tensors, name)


_MODE = ModelOption("mode", "auto", TAG_MODES)


def _vim(name: str) -> ModelSpec:
    return ModelSpec(
        name=name, task="classify", build=partial(_build_vim, name), image_size=224, parameters=VIM_PARAMETERS[name], licence="Apache-2.0",
        mean=MEAN, std=STD, weights=(WeightsSource("imagenet", *VIM_HUB[name], "Apache-2.0"),), learning_rate=1e-4, scratch_learning_rate=5e-4,
        clip=1.0, schedule="cosine", backbone_lr_ratio=1.0, cpu_image_size=64, cpu_batch=8, options=(_MODE,), infer=partial(_infer_vim, name),
    )


MODELS = (
    ModelSpec(
        name="hybridmednet", task="classify", build=build, image_size=224, parameters=30.561, licence="Apache-2.0", mean=MEAN, std=STD,
        learning_rate=1e-4, scratch_learning_rate=5e-4, clip=1.0, schedule="cosine", backbone_lr_ratio=1.0,
        cpu_image_size=96, cpu_batch=8,
        options=(
            ModelOption("backbone", "convnext_tiny"), ModelOption("fpn_channels", 256, low=16, high=4096),
            ModelOption("fusion_channels", 512, low=8, high=8192), ModelOption("use_modern_attention", True),
            ModelOption("use_cross_scale_attention", True), ModelOption("num_heads", 8, low=1, high=64),
            ModelOption("hierarchical", False), ModelOption("num_coarse_classes", 3, low=1, high=1000),
            ModelOption("dropout", 0.5, low=0.0, high=0.95), _MODE,
        ),
        infer=infer, check=check,
    ),
    *map(_vim, VIM),
)

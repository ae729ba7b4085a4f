"""DEIMv2, real-time detection with few, dense queries (Huang et al., 2025, arXiv:2509.20787). Listing it does not load torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from engine.models import ModelSpec, Official, WeightsSource
from engine.models.deimv2.config import CONFIGS, Config

if TYPE_CHECKING:
    from torch import Tensor, nn

RAW = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


RECIPES = {
    "deimv2_atto": Official(mosaic=0.3, mixup=0, copy_blend=0, least_side=12),
    "deimv2_femto": Official(mixup=0, copy_blend=0, least_side=10),
    "deimv2_pico": Official(mixup=0, copy_blend=0, least_side=8),
    "deimv2_n": Official(copy_blend=0.4, blends_late=False, final_lr=1.0),
    "deimv2_s": Official(own_size=20),
    "deimv2_m": Official(own_size=6),
    "deimv2_l": Official(own_size=3),
    "deimv2_x": Official(own_size=3),
}


def _build(config: Config, num_classes: int) -> nn.Module:
    from engine.models.deimv2.network import DEIMv2

    return DEIMv2(config, num_classes)


def _recognises(config: Config, tensors: Mapping[str, Tensor]) -> bool:
    """By the decoder, which only this family has so, its width and depth, and the backbone: together they tell the sizes apart."""
    scores, backbone = tensors.get("decoder.enc_score_head.weight"), "backbone.dinov3." if config.vit else "backbone.stem."
    if scores is None or scores.ndim != 2 or "decoder.decoder.layers.0.swish_ffn.w12.weight" not in tensors:
        return False
    layers = {name.split(".")[2] for name in tensors if name.startswith("decoder.dec_score_head.")}
    return (scores.shape[1], len(layers)) == (config.hidden, config.layers) and any(name.startswith(backbone) for name in tensors)


def _spec(config: Config) -> ModelSpec:
    coco = WeightsSource("coco", f"Intellindust/{config.hub}", "model.safetensors", config.weights_licence)
    mean, std = IMAGENET if config.vit else RAW
    return ModelSpec(
        name=config.name, task="detect", build=partial(_build, config), image_size=config.image_size, parameters=config.parameters,
        licence="Apache-2.0", stride=max(config.strides), mean=mean, std=std, weights=(coco,), learning_rate=config.learning_rate,
        backbone_lr_ratio=config.backbone_lr_ratio, weight_decay=config.weight_decay, reference_batch=config.reference_batch,
        capacity=config.queries, official=RECIPES[config.name], recognises=partial(_recognises, config),
    )


MODELS = tuple(map(_spec, CONFIGS))

"""DEIMv2, real-time detection with few, dense queries (Huang et al., 2025, arXiv:2509.20787). Listing it does not load torch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from engine.models import ModelSpec, WeightsSource
from engine.models.deimv2.config import CONFIGS, Config

if TYPE_CHECKING:
    from torch import nn

RAW = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _build(config: Config, num_classes: int) -> nn.Module:
    from engine.models.deimv2.network import DEIMv2

    return DEIMv2(config, num_classes)


def _spec(config: Config) -> ModelSpec:
    coco = WeightsSource("coco", f"Intellindust/{config.hub}", "model.safetensors", config.weights_licence)
    mean, std = IMAGENET if config.vit else RAW
    return ModelSpec(
        name=config.name, task="detect", build=partial(_build, config), image_size=config.image_size, parameters=config.parameters,
        licence="Apache-2.0", stride=max(config.strides), mean=mean, std=std, weights=(coco,), learning_rate=config.learning_rate,
        backbone_lr_ratio=config.backbone_lr_ratio, weight_decay=config.weight_decay, reference_batch=config.reference_batch,
        capacity=config.queries,
    )


MODELS = tuple(map(_spec, CONFIGS))

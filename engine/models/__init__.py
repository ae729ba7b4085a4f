"""Networks by name. Importing this package, or listing its models, does not load torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.registry import Registry

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class WeightsSource:
    """Where pretrained weights of a model come from: a file of a hub repository."""

    name: str
    repository: str
    file: str
    licence: str


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a model without building it.

    `build(num_classes, **options)` returns an nn.Module that fulfils engine.models.network.Network.
    `image_size` is the side of the square input in pixels, always a multiple of `stride`.
    `mean`, `std` are per channel, for RGB in 0..1. `parameters` counts in millions (4 classes).
    `learning_rate` is the published one at `reference_batch` images; `backbone_lr_ratio` multiplies it for the backbone.
    `capacity` is the number of objects per image that the network can find.
    """

    name: str
    task: str
    build: Callable[..., nn.Module]
    image_size: int
    parameters: float
    licence: str
    stride: int = 32
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    weights: tuple[WeightsSource, ...] = ()
    learning_rate: float = 5e-4
    backbone_lr_ratio: float = 0.5
    weight_decay: float = 1e-4
    reference_batch: int = 32
    capacity: int = 300


SHARED = ("backbones", "deformable_attention", "matching", "network")  # parts of networks: they load torch and list nothing

models: Registry[ModelSpec] = Registry("engine.models", "MODELS", "model", skip=SHARED)


def create(name: str, num_classes: int, **options: Any) -> nn.Module:
    """The network called `name` with random weights. Raises UserError for an unknown name, listing the known ones."""
    return models.get(name).build(num_classes, **options)

"""The contract between a network and the training loop."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from engine.config import TrainConfig


@dataclass(frozen=True)
class LoadMap:
    """How the names in a checkpoint relate to those of a network. Patterns are matched against whole names.

    `rename` turns a checkpoint's name into the network's (several of the file's may lead to one of the network's); `recomputed` names tensors
    that nobody needs from the file; `per_class` names tensors whose shape depends on the number of classes; `class_bias` is one whose length
    is that number.
    """

    rename: Callable[[str], str] = str
    recomputed: tuple[str, ...] = ()
    per_class: tuple[str, ...] = ()
    class_bias: str = ""

    def by_class(self, name: str) -> bool:
        """Whether the shape of the network's tensor `name` depends on the number of classes."""
        return any(re.fullmatch(pattern, name) for pattern in self.per_class)


@dataclass(frozen=True)
class BackboneFile:
    """What a file that holds only a backbone is to a network.

    `tensors` by the names of the network; `wanted`: the network's names that a complete backbone fills; `unused`: the file's names without a
    place. `partly`: the layers that fit are of use without the others.
    """

    tensors: Mapping[str, Tensor]
    wanted: tuple[str, ...]
    unused: tuple[str, ...]
    partly: bool = False


@dataclass(frozen=True)
class Balance:
    """How often each class shows in the training part: f64[C] images (tags) or pixels (masks) with and without it.

    `groups` gives each class the coarse class that it belongs to, where there is a hierarchy.
    """

    positives: np.ndarray
    negatives: np.ndarray
    groups: tuple[int, ...] = ()


class Network(nn.Module):
    """Tensors in, tensors out. `forward(images f32[B,3,H,W]) -> outputs`; `loss` is for training."""

    def configure(self, config: TrainConfig, balance: Balance | None) -> None:
        """Told once before training: the settings of the loss and how often each class shows."""

    def loss(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Weighted terms; their sum is the loss. Each target is a dict of tensors, as `Task.encode` makes it."""
        raise TypeError(f"{type(self).__name__} does not define a loss")

    def share_counts(self, mean: Callable[[float], float]) -> bool:
        """Told before training: `mean` of a number over the processes that train together. True when the loss then divides by the mean count of
        what it sums over; False when it is a mean over the images that one process sees."""
        return False

    def load_map(self) -> LoadMap:
        """How published checkpoints name the tensors of this network."""
        return LoadMap()

    def set_progress(self, fraction: float) -> None:
        """Told before each epoch how much of the run is done (0..1); for losses that change on the way."""

    def published_backbone(self) -> tuple[nn.Module, str, str] | None:
        """The part that pretrained weights exist for, and the repository and file of the hub that hold them."""
        return None

    def backbone_file(self, state: Mapping[str, Tensor]) -> BackboneFile | None:
        """What the tensors of a file are to the backbone when the file holds nothing else; None for any other file."""
        return None

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation per channel that the pretrained backbone knows, None: those of the model's spec."""
        return None

    def is_backbone(self, name: str) -> bool:
        """Whether a parameter belongs to the part that may be pretrained."""
        return name.startswith("backbone.")

    def exempt(self, name: str) -> bool:
        """Whether a parameter is never decayed, whatever its shape."""
        return False

    def decays(self, name: str, parameter: Tensor) -> bool:
        """Whether weight decay takes a parameter: all but 1-d tensors (norms, biases) and what `exempt` names."""
        return parameter.ndim > 1 and not self.exempt(name)

    def parameter_groups(self, lr: float, backbone_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """AdamW groups: weight decay for what `decays` says, `backbone_lr` for what `is_backbone` names."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((self.is_backbone(name), self.decays(name, parameter)), []).append(parameter)
        return [
            {"params": members, "lr": backbone_lr if backbone else lr, "weight_decay": weight_decay if decays else 0.0,
             "name": f"{'backbone' if backbone else 'head'}{'' if decays else '_no_decay'}"}
            for (backbone, decays), members in sorted(groups.items(), reverse=True)
        ]


class Loss(nn.Module):
    """Makes the network's loss its forward, so that accelerate wraps precision and distribution around it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return self.network.loss(images, targets)


def tolerate_single_values(network: nn.Module) -> None:
    """Lets batch norms see one value per channel in training: it has no variance, so they then normalise as they do in prediction.

    That happens with one image where maps have shrunk to a single place, and behind poolings.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(_to_known_statistics)
            module.register_forward_hook(_back_to_training)


def _to_known_statistics(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
    if norm.training and given[0].numel() == given[0].shape[1]:
        norm.training = False
        norm._saw_single_values = True


def _back_to_training(norm: nn.Module, _given: tuple[Tensor, ...], _found: Tensor) -> None:
    if getattr(norm, "_saw_single_values", False):
        norm.training = True
        norm._saw_single_values = False


def count_parameters(network: nn.Module) -> int:
    """Number of trainable scalars, shared tensors counted once."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)

"""A timm model that fulfils the contract of a network. Its tensors keep timm's names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engine.config import TrainConfig
from engine.losses import classification
from engine.models.backbones import hub_file
from engine.models.network import Balance, LoadMap, Network
from engine.types import UserError


class TimmNetwork(Network):
    """Mixed into the class of a timm model: images f32[B,3,H,W] -> logits f32[B,C]. See `adopt`."""

    backbone_name: str
    mode: str
    fixed_size: bool
    criterion: Any  # no submodule: it has no weights, and the names of the tensors are timm's alone

    def forward(self, images: Tensor) -> Tensor:
        """Raises UserError for an image size that the architecture cannot take."""
        with self._size_checked(images):
            logits: Tensor = super().forward(images)
        return logits

    def configure(self, config: TrainConfig, balance: Balance | None) -> None:
        object.__setattr__(self, "criterion", classification.build(config, balance, self.mode))

    def loss(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {"loss_classes": self.criterion.to(images.device)(self(images), targets)}

    def explain(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits f32[B,C] and, in their graph, the spatial features f32[B,D,h,w] that a class activation map is made of.

        For tokens (ViT, Swin) these are the ones that enter the last block: behind it a class token has all there is to know, or attention has
        spread it over all places.
        """
        maps: list[Tensor] = []

        def unfold(_block: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
            tokens = given[0] if given else None
            return (self._via_map(tokens, images, maps), *given[1:]) if isinstance(tokens, Tensor) and self._is_tokens(tokens) else None

        block = self._last_block()
        hook = block.register_forward_pre_hook(unfold) if block is not None else None
        try:
            with self._size_checked(images):
                features = self.forward_features(images)
        finally:
            if hook is not None:
                hook.remove()
        if not maps:
            if not isinstance(features, Tensor) or features.ndim not in (3, 4):
                raise UserError("timm_no_map", name=self.backbone_name)
            features = self._via_map(features, images, maps)
        return self.forward_head(features), maps[-1]

    def load_map(self) -> LoadMap:
        heads = self._heads()
        per_class = tuple(rf"{re.escape(head)}\.(weight|bias)" for head in heads)
        return LoadMap(recomputed=(r".*\.relative_position_index", r".*\.attn_mask"), per_class=per_class, class_bias=f"{heads[0]}.bias")

    def is_backbone(self, name: str) -> bool:
        """All but the classifier."""
        return not name.startswith(tuple(f"{head}." for head in self._heads()))

    def exempt(self, name: str) -> bool:
        return hasattr(self, "no_weight_decay") and name in self.no_weight_decay()

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return tuple(self.pretrained_cfg["mean"]), tuple(self.pretrained_cfg["std"])

    def published_backbone(self) -> tuple[nn.Module, str, str] | None:
        place = hub_file(self.backbone_name)
        return (self, *place) if place else None

    def _heads(self) -> tuple[str, ...]:
        """Names of the layers whose size is the number of classes; distilled models have two."""
        names = self.pretrained_cfg["classifier"]
        return (names,) if isinstance(names, str) else tuple(names)

    def _last_block(self) -> nn.Module | None:
        """The last block of a plain stack, or of the last stage of a transformer."""
        stages = getattr(self, "layers", None)
        whole = stages[-1] if isinstance(stages, nn.Sequential | nn.ModuleList) and len(stages) else self
        blocks = getattr(whole, "blocks", None)
        last = blocks[-1] if isinstance(blocks, nn.Sequential | nn.ModuleList) and len(blocks) else None
        return last if whole is self or hasattr(last, "attn") else None

    def _is_tokens(self, features: Tensor) -> bool:
        """f32[B,N,D], or f32[B,h,w,D] as Swin has it."""
        return features.ndim == 3 or (features.ndim == 4 and features.shape[-1] == self.num_features != features.shape[1])

    def _via_map(self, features: Tensor, images: Tensor, maps: list[Tensor]) -> Tensor:
        """The same features, computed from the map NCHW that is added to `maps`: a gradient reaches it on the way to the logits."""
        if features.ndim == 4:
            last = features.shape[1] != self.num_features == features.shape[-1] or getattr(self, "output_fmt", "NCHW") == "NHWC"
            maps.append(features.permute(0, 3, 1, 2) if last else features)
            return maps[-1].permute(0, 2, 3, 1) if last else features
        prefix, sides = self._grid(features.shape[1], images)
        maps.append(features[:, prefix:].transpose(1, 2).unflatten(2, sides))
        return torch.cat([features[:, :prefix], maps[-1].flatten(2).transpose(1, 2)], 1)

    def _grid(self, count: int, images: Tensor) -> tuple[int, tuple[int, int]]:
        """How many of `count` tokens are no patches, and rows and columns of the others: sides that multiply to them, shaped like the image.

        Class and register tokens go with the patches in some architectures, and join them later in others.
        """
        height, width = images.shape[-2:]
        prefixes = {getattr(self, "num_prefix_tokens", 0), 0}
        grids = [(prefix, (rows, (count - prefix) // rows)) for prefix in prefixes for rows in range(1, count - prefix + 1)
                 if (count - prefix) % rows == 0]
        return min(grids, key=lambda grid: (abs(grid[1][0] * width - grid[1][1] * height) / sum(grid[1]), -grid[0]))

    @contextmanager
    def _size_checked(self, images: Tensor) -> Iterator[None]:
        """What timm and torch say of an image size that does not fit, as something a person can mend."""
        try:
            yield
        except (AssertionError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and (not self.fixed_size or isinstance(error, torch.OutOfMemoryError)):
                raise
            width, height, wanted = images.shape[-1], images.shape[-2], self.pretrained_cfg["input_size"][-1]
            raise UserError("timm_image_size", name=self.backbone_name, width=width, height=height, wanted=wanted) from error


def adopt(model: nn.Module, name: str, mode: str, *, fixed_size: bool) -> nn.Module:
    """The same model, with the methods of a network added to its class: a wrapper around it would change the names of its tensors."""
    model.__class__ = type(f"Timm{type(model).__name__}", (TimmNetwork, type(model)), {})
    told = {"backbone_name": name, "mode": mode, "fixed_size": fixed_size, "criterion": classification.build(None, None, mode)}
    for key, value in told.items():
        object.__setattr__(model, key, value)
    return model

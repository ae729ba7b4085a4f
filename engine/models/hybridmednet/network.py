"""HybridMedNet put together: pyramid, attention, fusion, heads and the loss; and Vision Mamba as a classifier by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from engine.config import TrainConfig
from engine.losses import classification
from engine.models import tag_mode
from engine.models.backbones import hub_file
from engine.models.hybridmednet.attention import ClassicAttention, ModernAttention
from engine.models.hybridmednet.classifier import HierarchicalClassifier, MultiLabelClassifier
from engine.models.hybridmednet.config import VIM, VIM_HUB, Config
from engine.models.hybridmednet.features import FeatureExtractor
from engine.models.hybridmednet.fusion import DynamicFusion
from engine.models.hybridmednet.hierarchy import Hierarchy
from engine.models.hybridmednet.keys import load_map, vim_load_map
from engine.models.hybridmednet.vim import VisionMamba
from engine.models.network import Balance, LoadMap, Network


class Classifier(Network):
    """images f32[B,3,H,W] -> logits f32[B,C]. The loss is that of engine.losses.classification for the mode."""

    mode: str

    def explain(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits f32[B,C] and, in their graph, the map f32[B,D,h,w] on which a class activation map is computed."""
        raise NotImplementedError

    def configure(self, config: TrainConfig, balance: Balance | None) -> None:
        self.criterion = classification.build(config, balance, self.mode).to(next(self.parameters()).device)

    def loss(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        logits = self(images)
        with torch.autocast(images.device.type, enabled=False):
            return {"loss_classes": self.criterion(logits.float(), targets)}

    def fresh_parts(self) -> list[nn.Module]:
        """The parts that no published weights exist for; all the rest learns at the backbone's rate."""
        raise NotImplementedError

    def parameter_groups(self, lr: float, backbone_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        view = Network()
        view.add_module("fresh", nn.ModuleList(self.fresh_parts()))
        view.add_module("backbone", self)
        return Network.parameter_groups(view, lr, backbone_lr, weight_decay)


class HybridMedNet(Classifier):
    """Any H, W of at least 32. With `hierarchical` the logits are those of the fine classes; the coarse head is trained by the loss."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.mode = config, tag_mode(config.mode)
        self.feature_extractor = FeatureExtractor(config)
        channels = self.feature_extractor.channels
        self.attention: nn.Module = (
            ModernAttention(channels, config.num_heads, config.use_cross_scale_attention) if config.modern_attention else ClassicAttention(channels)
        )
        self.fusion = DynamicFusion(channels, config.fusion_channels)
        width, dropout = config.fusion_channels, config.dropout
        self.classifier: nn.Module = (
            HierarchicalClassifier(width, config.num_coarse_classes, config.num_classes, dropout) if config.hierarchical
            else MultiLabelClassifier(width, config.num_classes, dropout)
        )
        self.criterion: nn.Module = classification.build(None, None, self.mode)
        self.hierarchy = Hierarchy(config) if config.hierarchical else None

    def fused(self, images: Tensor) -> Tensor:
        """f32[B,fusion_channels,H/s,W/s], s = the stride of the finest level: the map that everything is read off."""
        return self.fusion(self.attention(self.feature_extractor(images)))

    def forward(self, images: Tensor) -> Tensor:
        return self._heads(self.fused(images))[1]

    def forward_hierarchical(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse f32[B,num_coarse_classes] and fine f32[B,num_classes] logits."""
        if self.hierarchy is None:
            raise ValueError("the network was built without hierarchical=True and has no coarse classes")
        return self._heads(self.fused(images))

    def explain(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.fused(images)
        return self._heads(maps)[1], maps

    def configure(self, config: TrainConfig, balance: Balance | None) -> None:
        super().configure(config, balance)
        if self.hierarchy is not None:
            self.hierarchy.configure(config, balance)
            self.hierarchy.to(next(self.parameters()).device)

    def loss(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        coarse, fine = self._heads(self.fused(images))
        with torch.autocast(images.device.type, enabled=False):
            terms = {"loss_classes": self.criterion(fine.float(), targets)}
            if self.hierarchy is not None:
                terms.update(self.hierarchy(coarse.float(), fine.float(), targets))
        return terms

    def load_map(self) -> LoadMap:
        return load_map(self.config.hierarchical)

    def fresh_parts(self) -> list[nn.Module]:
        extractor: Any = self.feature_extractor
        pyramid = extractor.fpn if self.config.classic else extractor.backbone.pyramid
        return [self.attention, self.fusion, self.classifier, *([pyramid] if pyramid else [])]

    def published_backbone(self) -> tuple[nn.Module, str, str] | None:
        """The part that pretrained weights exist for, and the repository and file of the hub that hold them."""
        backbone: Any = self.feature_extractor.backbone
        name = self.config.backbone
        place = VIM_HUB[name] if name in VIM else hub_file(name)
        return (backbone if self.config.classic else backbone.model, *place) if place else None

    def _heads(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse and fine logits; coarse ones have no columns where there is no hierarchy."""
        logits = self.classifier(maps)
        return logits if self.hierarchy is not None else (logits[:, :0], logits)


class Vim(VisionMamba, Classifier):
    """Vision Mamba as published: a linear head on the class token."""

    def __init__(self, name: str, num_classes: int, mode: str) -> None:
        super().__init__(VIM[name], num_classes)
        self.name, self.mode = name, mode
        self.criterion: nn.Module = classification.build(None, None, mode)

    def load_map(self) -> LoadMap:
        return vim_load_map()

    def fresh_parts(self) -> list[nn.Module]:
        return [self.head]

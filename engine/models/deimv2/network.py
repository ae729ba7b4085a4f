"""DEIMv2 put together: backbone, encoder, decoder, and the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from engine.config import TrainConfig
from engine.models.deimv2 import keys
from engine.models.deimv2.adapter import AdaptedViT
from engine.models.deimv2.backbone import HGNetV2
from engine.models.deimv2.config import Config
from engine.models.deimv2.criterion import Criterion
from engine.models.deimv2.decoder import Decoder, Predictions
from engine.models.deimv2.denoising import Denoising, make_denoising
from engine.models.deimv2.encoder import ENCODERS
from engine.models.matching import Targets
from engine.models.network import BackboneFile, Balance, LoadMap, Network


class DEIMv2(Network):
    """images f32[B,3,H,W] -> {"logits": f32[B,Q,K], "boxes": f32[B,Q,4] cxcywh in 0..1}. H, W: multiples of 32.

    Images are in 0..1; those for a vision transformer are normalised with the mean and standard deviation of ImageNet.
    """

    def __init__(self, config: Config, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.backbone: nn.Module = HGNetV2(config) if config.vit is None else AdaptedViT(config, config.vit)
        self.encoder = ENCODERS[config.encoder](config)
        self.decoder = Decoder(config, num_classes)
        self.criterion = Criterion(config)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.decoder(self._maps(images))

    def forward_training(self, images: Tensor, targets: Targets) -> tuple[Predictions, Predictions | None, Denoising | None]:
        """Predictions of the selected queries and of the denoising queries, and what the latter were made of."""
        maps = self._maps(images)  # before the noise: some backbones draw random numbers too, in the published order
        noise = make_denoising(targets, self.num_classes, self.config)
        return *self.decoder.forward_training(maps, noise), noise

    def loss(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        truths = Targets.collate(targets)
        outputs = self.forward_training(images, truths)
        with torch.autocast(images.device.type, enabled=False):
            return self.criterion(*outputs, truths, self.decoder.up, self.decoder.reg_scale)

    def configure(self, config: TrainConfig, balance: Balance | None) -> None:
        self.config = replace(self.config, denoising_queries=config.denoising or self.config.denoising_queries)

    def share_counts(self, mean: Callable[[float], float]) -> bool:
        self.criterion.mean = mean
        return True

    def set_progress(self, fraction: float) -> None:
        self.criterion.late = fraction >= self.config.late_matching

    def backbone_file(self, state: Mapping[str, Tensor]) -> BackboneFile | None:
        vit = self.config.vit
        inner = "" if vit is None else "dinov3." if vit.dinov3 else "dinov3._model."
        return keys.backbone_file(state, self.state_dict(), inner)

    def load_map(self) -> LoadMap:
        return keys.LOAD_MAP

    def is_backbone(self, name: str) -> bool:
        """The pretrained part: convolutions beside a vision transformer are not."""
        return name.startswith("backbone." if self.config.vit is None else "backbone.dinov3.")

    def decays(self, name: str, parameter: Tensor) -> bool:
        """As published, by name: not what is called a norm or a bias; but around the vision transformer, and in HGNetV2, everything."""
        if name.startswith("backbone.") and not name.startswith(("backbone.dinov3.", "backbone.sta.")):
            return True
        return not any(part in name for part in ("norm", "bn", *(() if self.config.bias_decay else ("bias",))))

    def _maps(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        stride = max(self.config.strides)
        if height % stride or width % stride:
            raise ValueError(f"image size {width}x{height}: both sides must be multiples of {stride}")
        return self.encoder(self.backbone(images.contiguous(memory_format=torch.channels_last)))

"""A model of segmentation-models-pytorch as a network of the engine: any image size, its own loss, the original's names of tensors."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.config import TrainConfig
from engine.losses import segmentation
from engine.models.backbones import hub_file
from engine.models.network import Balance, LoadMap, Network
from engine.models.unet import MODES
from engine.models.unet.assembly import assemble, known_architecture, known_encoder, published_repository, side_multiple
from engine.types import UserError

SMALLEST = {"pan": 128}  # halves the maps of stride 16 three times
PREFIXES = ("", "encoder.", "encoder.model.")
OLD_ASPP = (("decoder.0.", "decoder.aspp."), ("decoder.1.", "decoder.conv."), ("decoder.2.", "decoder.bn."))


class Segmenter(Network):
    """images f32[B,3,H,W], normalised -> logits [B,K,H,W] for any H, W; K = 1 in binary mode, else the number of classes.

    `encoder`, `decoder` and `segmentation_head` are those of the original, so that its state dicts fit name by name.
    """

    def __init__(self, num_classes: int, architecture: str, encoder: str, mode: str) -> None:
        super().__init__()
        self.mode = _mode(mode, num_classes)
        self.architecture, encoder = known_architecture(architecture), known_encoder(encoder)
        self.encoder_name = encoder
        model: Any = assemble(self.architecture, encoder, 1 if self.mode == "binary" else num_classes)
        self.encoder, self.decoder, self.segmentation_head = model.encoder, model.decoder, model.segmentation_head
        self.multiple = side_multiple(model, encoder)
        self.smallest = SMALLEST.get(self.architecture, 0)
        self.criterion = segmentation.build(None, None, self.mode)
        self._pooled = pooled_norms(self)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = pad(images, self.multiple, self.smallest).contiguous(memory_format=torch.channels_last)
        lone = [norm for norm in self._pooled if norm.training and len(images) == 1]
        for norm in lone:
            norm.eval()  # one value per channel has no variance
        features = self.encoder(padded)
        logits = self.segmentation_head(self.decoder(*features) if self.architecture == "dpt" else self.decoder(features))
        for norm in lone:
            norm.train()
        if logits.shape[-2:] != padded.shape[-2:]:
            logits = F.interpolate(logits, padded.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    def configure(self, config: TrainConfig, balance: Balance | None) -> None:
        device = next(self.parameters()).device
        self.criterion = segmentation.build(config, balance, self.mode).to(device)

    def loss(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        logits = self(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.criterion(logits.float(), targets)

    def load_map(self) -> LoadMap:
        """Whole models, bare encoders as published for ImageNet (native and timm), and models inside a Lightning module."""
        own = set(self.state_dict())
        head = self._head()
        return LoadMap(rename=lambda name: rename(name, own), per_class=(rf"{head}\.(weight|bias)",), class_bias=f"{head}.bias")

    def is_backbone(self, name: str) -> bool:
        return name.startswith("encoder.")

    def published_backbone(self) -> tuple[nn.Module, str, str] | None:
        """ImageNet weights: of segmentation-models-pytorch for its own encoders, of timm for `tu-` ones."""
        timm_name = self.encoder_name.removeprefix("tu-")
        if timm_name != self.encoder_name:
            place = hub_file(timm_name)
            return (self.encoder.model, *place) if place else None
        repository = published_repository(self.encoder_name)
        return (self.encoder, repository, "model.safetensors") if repository else None

    def _head(self) -> str:
        """The name of the last convolution."""
        names = [name.removesuffix(".bias") for name in self.state_dict() if name.startswith("segmentation_head.") and name.endswith(".bias")]
        return names[-1]


def pad(images: Tensor, multiple: int, smallest: int = 0) -> Tensor:
    """Mirrored at the right and bottom edge to multiples of `multiple`; the edge is repeated where the image is too small to mirror.

    No side becomes smaller than `smallest`.
    """
    height, width = images.shape[-2:]
    below, right = (max(-side % multiple, smallest - side) for side in (height, width))
    if not below and not right:
        return images
    mode = "reflect" if below < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, below), mode=mode)


def pooled_norms(network: nn.Module) -> list[nn.Module]:
    """Batch norms that see one value per image and channel: beside a pooling to 1x1, and the smallest maps of PAN."""
    found: list[nn.Module] = []
    for name, module in network.named_modules():
        pooled = any(isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size in (1, (1, 1)) for child in module.children())
        if pooled or name == "decoder.fpa.down3":
            found += [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)]
    return found


def rename(name: str, own: set[str]) -> str:
    """A checkpoint's name as the network's: `conv1.weight` -> `encoder.conv1.weight`, timm's `stages.0.` -> `encoder.model.stages_0.`."""
    plain = name.removeprefix("model.") if name.startswith(("model.encoder.", "model.decoder.", "model.segmentation_head.")) else name
    for old, new in OLD_ASPP:
        if plain.startswith(old) and plain not in own:
            plain = new + plain.removeprefix(old)
    bare = plain.removeprefix("encoder.")
    flat = re.sub(r"\.(\d+)\.", r"_\1.", bare, count=1)
    candidates = [plain, *(prefix + form for form in (bare, flat) for prefix in PREFIXES)]
    return next((candidate for candidate in candidates if candidate in own), plain)


def _mode(mode: str, num_classes: int) -> str:
    if mode not in MODES:
        raise UserError("unet_mode", mode=mode, known=", ".join(MODES))
    if mode == "auto":
        return "binary" if num_classes == 1 else "multiclass"
    if (mode == "binary" and num_classes > 2) or (mode == "multiclass" and num_classes < 2):
        raise UserError("unet_mode_classes", mode=mode, classes=num_classes)
    return mode

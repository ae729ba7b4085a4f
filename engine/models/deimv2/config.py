"""The sizes of DEIMv2 as plain values: what is built, and the published training settings. Does not load torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Stage:
    """One stage of HGNetV2: channels in, inside a block and out. `light` blocks split each convolution in two."""

    into: int
    mid: int
    out: int
    blocks: int = 1
    downsample: bool = True
    light: bool = False
    kernel: int = 3


@dataclass(frozen=True)
class ViT:
    """A vision transformer as backbone: channels of its tokens (64 for each head) and first channels of the convolutions beside it.

    `dinov3`: the network of DINOv3, with registers, scaled residuals, keys without bias and a norm on what it hands out; without it the plain
    one that the authors distilled from it. `gated`: its feed-forward layers have a gate.
    """

    width: int
    detail: int
    dinov3: bool = False
    gated: bool = False
    blocks: int = 12


@dataclass(frozen=True)
class Config:
    """One size. Fields without a sentence here are explained where they are used.

    The backbone is HGNetV2 of the given stages or `vit`. `taps` are its stages or blocks that feed the encoder, `strides` those of the maps
    that the decoder reads.
    `tail` adds a 3x3 convolution to each branch of the fusion blocks. `points` are the sampling points per level.
    `feedforward` counts both halves of the gated layer. `local_loss` adds the two terms on box distributions;
    `union_matching` lets the box terms of all outputs share one assignment. `bias_decay`: weight decay also takes biases.
    """

    name: str
    image_size: int
    stages: tuple[Stage, ...]
    taps: tuple[int, ...]
    hidden: int
    queries: int
    feedforward: int
    learning_rate: float
    parameters: float
    hub: str
    encoder: Literal["lite", "hybrid"] = "lite"
    encoder_feedforward: int = 0
    strides: tuple[int, ...] = (16, 32)
    expansion: float = 0.34
    depth: float = 0.5
    tail: bool = True
    layers: int = 3
    points: tuple[int, ...] = (4, 2)
    gateway: bool = False
    shared_box_head: bool = True
    local_loss: bool = False
    union_matching: bool = False
    backbone_lr_ratio: float = 0.5
    weight_decay: float = 1e-4
    bias_decay: bool = False
    reference_batch: int = 128
    heads: int = 8
    bins: int = 32
    denoising_queries: int = 100
    label_noise: float = 0.5
    box_noise: float = 1.0
    late_matching: float = 0.9
    vit: ViT | None = None
    weights_licence: str = "Apache-2.0"

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the maps that the backbone hands to the encoder."""
        return (self.hidden,) * len(self.taps) if self.vit else tuple(self.stages[tap].out for tap in self.taps)

    @property
    def fusion_width(self) -> int:
        return int(self.expansion * self.hidden) // 2

    @property
    def fusion_blocks(self) -> int:
        return round(3 * self.depth)


FIRST = (Stage(16, 16, 64, downsample=False), Stage(64, 32, 256))

ATTO = Config(
    name="deimv2_atto", image_size=320, stages=(*FIRST, Stage(256, 64, 256, light=True)), taps=(2,), hidden=64, queries=100,
    feedforward=160, learning_rate=2e-3, parameters=0.484, hub="DEIMv2_HGNetv2_ATTO_COCO", bias_decay=True,
)
FEMTO = Config(
    name="deimv2_femto", image_size=416, stages=(*FIRST, Stage(256, 64, 512, light=True, kernel=5)), taps=(2,), hidden=96, queries=150,
    feedforward=256, learning_rate=1.6e-3, parameters=0.947, hub="DEIMv2_HGNetv2_FEMTO_COCO",
)
PICO = Config(
    name="deimv2_pico", image_size=640, stages=(*FIRST, Stage(256, 64, 512, blocks=2, light=True, kernel=5)), taps=(2,), hidden=112,
    queries=200, feedforward=320, learning_rate=1.6e-3, parameters=1.497, hub="DEIMv2_HGNetv2_PICO_COCO",
)
NANO = Config(
    name="deimv2_n", image_size=640, stages=(*PICO.stages, Stage(512, 128, 1024, light=True, kernel=5)), taps=(2, 3), hidden=128,
    queries=300, feedforward=512, learning_rate=8e-4, parameters=3.551, hub="DEIMv2_HGNetv2_N_COCO", encoder="hybrid",
    encoder_feedforward=512, points=(6, 6), gateway=True, shared_box_head=False, local_loss=True, union_matching=True, reference_batch=32,
)
SMALL = Config(
    name="deimv2_s", image_size=640, stages=(), vit=ViT(192, 16), taps=(3, 7, 11), hidden=192, queries=300, feedforward=512,
    learning_rate=5e-4, parameters=9.692, hub="DEIMv2_DINOv3_S_COCO", encoder="hybrid", encoder_feedforward=512, strides=(8, 16, 32),
    depth=0.67, tail=False, layers=4, points=(3, 6, 3), gateway=True, shared_box_head=False, local_loss=True, union_matching=True,
    backbone_lr_ratio=0.05, reference_batch=32,
)
MEDIUM = replace(
    SMALL, name="deimv2_m", vit=ViT(256, 16), hidden=256, expansion=0.67, depth=1.0, parameters=18.24, hub="DEIMv2_DINOv3_M_COCO",
)
LARGE = replace(
    SMALL, name="deimv2_l", vit=ViT(384, 32, dinov3=True), taps=(5, 8, 11), hidden=224, expansion=1.0, depth=1.0, encoder_feedforward=896,
    feedforward=1792, parameters=32.45, hub="DEIMv2_DINOv3_L_COCO", weights_licence="DINOv3", backbone_lr_ratio=0.025, weight_decay=1.25e-4,
)
EXTRA = replace(
    LARGE, name="deimv2_x", vit=ViT(384, 64, dinov3=True, gated=True), hidden=256, expansion=1.25, depth=1.37, layers=6,
    encoder_feedforward=1024, feedforward=2048, parameters=51.06, hub="DEIMv2_DINOv3_X_COCO", backbone_lr_ratio=0.02,
)

CONFIGS = (ATTO, FEMTO, PICO, NANO, SMALL, MEDIUM, LARGE, EXTRA)

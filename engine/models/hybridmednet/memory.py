"""What a combination of options needs in memory, before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.models.network import count_parameters

if TYPE_CHECKING:
    from engine.models.hybridmednet.network import HybridMedNet

BYTES = 4  # of one number in fp32


@dataclass(frozen=True)
class Memory:
    """Bytes in fp32. `weights` with gradients and both moments of AdamW; `attention` and `fusion`: what a training step keeps for its backward.

    `scores`: the largest score matrix of the attention across scales. Fused kernels never hold it, it is not in `total`; a device without them would.
    The backbone's own maps are not counted: they depend on its inside.
    """

    weights: int
    attention: int
    fusion: int
    scores: int

    @property
    def total(self) -> int:
        return self.weights + self.attention + self.fusion


def memory_of(network: HybridMedNet, image_size: int, batch: int = 1) -> Memory:
    """For square images of `image_size` pixels. The network may be on the meta device, where building costs nothing."""
    config, extractor = network.config, network.feature_extractor
    levels = [(channels, math.ceil(image_size / stride) ** 2) for channels, stride in zip(extractor.channels, extractor.strides, strict=True)]
    places, narrow = levels[0][1], min(extractor.channels)
    kept = sum(channels * size for channels, size in levels)
    crossing = config.modern_attention and config.use_cross_scale_attention
    attention = 3 * kept
    if crossing:
        attention += sum(size * (channels + 15 * narrow) for channels, size in levels)
    fusion = kept + 4 * len(levels) * config.fusion_channels * places
    scores = config.num_heads * places * (len(levels) - 1) * places if crossing else 0
    scale = BYTES * batch
    return Memory(4 * BYTES * count_parameters(network), scale * attention, scale * fusion, scale * scores)

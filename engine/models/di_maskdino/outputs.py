"""What the network hands to its criterion: sets of predictions, with masks as products that are never written out whole."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class MaskProduct:
    """Masks as the dot products of queries f32[B,Q,C] and features f32[B,C,h,w] (stride 4): logits f32[B,Q,h,w] that need not be formed.

    Interpolation and dot product are both linear, so sampling the features first gives exactly the sampled masks.
    """

    embedding: Tensor
    features: Tensor

    def at(self, points: Tensor) -> Tensor:
        """Logits f32[B,Q,P] of all queries at points f32[B,P,2] (x, y in 0..1 of the padded image), bilinear, pixels as areas, zero outside."""
        sampled = F.grid_sample(self.features, 2 * points[:, :, None].to(self.features) - 1, align_corners=False)
        return torch.einsum("bqc,bcp->bqp", self.embedding, sampled[..., 0])

    def of(self, image: int, queries: Tensor) -> Tensor:
        """Logits f32[n,h,w] of the chosen queries i64[n] of one image."""
        return torch.einsum("qc,chw->qhw", self.embedding[image, queries], self.features[image])

    def full(self) -> Tensor:
        """All logits f32[B,Q,h,w]."""
        return torch.einsum("bqc,bchw->bqhw", self.embedding, self.features)


@dataclass(frozen=True)
class Predictions:
    """One set of predictions: logits f32[B,Q,K], boxes f32[B,Q,4] cxcywh in 0..1 of the padded image, masks f32[B,Q,h,w] as a product.

    `masks` is None where a set has no masks.
    """

    logits: Tensor
    boxes: Tensor
    masks: MaskProduct | None


@dataclass(frozen=True)
class Outputs:
    """Everything that is compared with the truth in training.

    `auxiliary`: before the first decoder layer, then behind each layer but the last. `selected`: the tokens of the first selection.
    `balanced`: one set for each layer of the balancing module, without masks. `noisy`: the same list as [*auxiliary, final] for the
    denoising queries, [] when there are none.
    """

    final: Predictions
    auxiliary: list[Predictions]
    selected: Predictions
    balanced: list[Predictions]
    noisy: list[Predictions]

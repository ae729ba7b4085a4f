"""Losses for masks, in three modes. Pixels that nobody may judge take no part; sums run over the batch, not over each image.

A class that no pixel of the batch shows leaves overlap losses undefined. It costs its mean cross-entropy against "not there" instead
(segmentation_overlap.average), so that false positives always have a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.config import TrainConfig
from engine.losses import segmentation_overlap as overlap
from engine.losses import segmentation_pixels as pixels
from engine.models.network import Balance
from engine.types import UserError

BINARY, MULTICLASS, MULTILABEL = "binary", "multiclass", "multilabel"
LOSSES = ("dice_bce", "focal", "tversky", "focal_tversky", "lovasz", "jaccard", "cross_entropy")
VOID = 255
WEIGHT_CAP = 20.0


@dataclass(frozen=True)
class Pixels:
    """logits f32[C,N], truth f32[C,N] 1/0 and index i64[N] of the N pixels of a batch that somebody may judge.

    `weight` f32[C] or None: of the classes (multiclass), or of their positive pixels (binary, multilabel). `exclusive`: one class per pixel.
    """

    logits: Tensor
    truth: Tensor
    index: Tensor
    weight: Tensor | None
    exclusive: bool


class SegmentationLoss(nn.Module):
    """logits [B,C,H,W] and targets (see `collect`) -> {"loss_<term>": f32[]}, terms ready to be summed. Computes in fp32."""

    weight: Tensor | None

    def __init__(self, terms: dict[str, Callable[[Pixels], Tensor]], mode: str, weight: Tensor | None) -> None:
        super().__init__()
        self.terms, self.mode = terms, mode
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, logits: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        with torch.autocast(logits.device.type, enabled=False):
            seen = collect(logits.float(), targets, self.mode, self.weight)
            if not seen.index.numel():
                return {f"loss_{name}": logits.float().sum() * 0 for name in self.terms}
            return {f"loss_{name}": term(seen) for name, term in self.terms.items()}


def build(config: TrainConfig | None, balance: Balance | None, mode: str) -> nn.Module:
    """The loss that `config` asks for ("auto": Dice and cross-entropy). Raises UserError for one that is not for masks.

    Tversky index TI = TP / (TP + fp_weight FP + fn_weight FN) (Salehi et al. 2017, arXiv:1706.05721); focal_tversky = (1 - TI)^(1 / exponent)
    per class (Abraham & Khan 2019, arXiv:1810.07842). With fn_weight above fp_weight a missed lesion costs more than a false alarm.
    Class weights act on the terms that count pixels: cross-entropy and focal.
    """
    settings = config or TrainConfig()
    name = LOSSES[0] if settings.loss == "auto" else settings.loss
    if name not in LOSSES:
        raise UserError("loss_for_mode", loss=name, mode=mode, choices=", ".join(LOSSES))
    fp, fn = settings.fp_weight, settings.fn_weight
    entropy = "ce" if mode == MULTICLASS else "bce"
    terms: dict[str, dict[str, Callable[[Pixels], Tensor]]] = {
        "dice_bce": {"dice": partial(overlap.tversky, fp=0.5, fn=0.5), entropy: pixels.cross_entropy},
        "focal": {"focal": partial(pixels.focal, gamma=settings.focal_gamma)},
        "tversky": {"tversky": partial(overlap.tversky, fp=fp, fn=fn)},
        "focal_tversky": {"focal_tversky": partial(overlap.tversky, fp=fp, fn=fn, power=1 / settings.exponent)},
        "lovasz": {"lovasz": overlap.lovasz},
        "jaccard": {"jaccard": partial(overlap.tversky, fp=1.0, fn=1.0)},
        "cross_entropy": {entropy: pixels.cross_entropy},
    }
    weight = class_weights(balance, mode) if balance is not None and settings.class_weights == "balanced" else None
    return SegmentationLoss(terms[name], mode, weight)


def class_weights(balance: Balance, mode: str) -> Tensor:
    """f32[C]. multiclass: inverse frequency, 1 for a class of average frequency; binary and multilabel: negatives per positive, for positive pixels.

    All within 1/20..20; a class that never shows gets 1. Binary: the last class is the foreground.
    """
    positives, negatives = np.asarray(balance.positives, np.float64), np.asarray(balance.negatives, np.float64)
    wanted = (positives.sum() / len(positives) if mode == MULTICLASS else negatives) / np.maximum(positives, 1)
    weights = np.where(positives > 0, np.clip(wanted, 1 / WEIGHT_CAP, WEIGHT_CAP), 1.0)
    return torch.from_numpy(weights[-1:] if mode == BINARY else weights).float()


def collect(logits: Tensor, targets: list[dict[str, Tensor]], mode: str, weight: Tensor | None = None) -> Pixels:
    """The pixels that count. Targets: {"mask": u8[H,W]} with VOID for those that do not, or {"layers": u8[C,H,W], "known": u8[H,W]}."""
    scores = logits.movedim(1, 0).flatten(1)
    if mode == MULTILABEL:
        layers = torch.stack([target["layers"] for target in targets]).to(logits.device)
        _same_size(logits, layers)
        known = torch.stack([target["known"] for target in targets]).to(logits.device).flatten() > 0
        truth = layers.movedim(1, 0).flatten(1)[:, known].float()
        return Pixels(scores[:, known], truth, torch.zeros_like(truth[0], dtype=torch.int64), weight, False)
    mask = torch.stack([target["mask"] for target in targets]).to(logits.device)
    _same_size(logits, mask)
    index = mask.flatten().long()
    known = index != VOID
    index = index[known]
    if mode == BINARY:
        return Pixels(scores[:, known], (index > 0).float()[None], index, weight, False)
    return Pixels(scores[:, known], F.one_hot(index, len(scores)).T.float(), index, weight, True)


def _same_size(logits: Tensor, masks: Tensor) -> None:
    if logits.shape[-2:] != masks.shape[-2:]:
        raise ValueError(f"logits of {tuple(logits.shape[-2:])} for masks of {tuple(masks.shape[-2:])} pixels")

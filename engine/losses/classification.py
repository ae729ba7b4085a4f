"""Losses for image-level labels. Labels that nobody gave take no part: their logits get a gradient of exactly 0."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import TrainConfig
from engine.models.network import Balance
from engine.types import UNCERTAIN, UserError

MULTILABEL, MULTICLASS = "multilabel", "multiclass"
NAMES = {MULTILABEL: ("bce", "asymmetric", "focal"), MULTICLASS: ("cross_entropy", "focal")}
UNCERTAIN_VALUES = {"ignore": float("nan"), "zeros": 0.0, "ones": 1.0, "soft": UNCERTAIN}
WEIGHT_CAP = 20.0
NO_LABEL = -1
Terms = Callable[[Tensor], tuple[Tensor, Tensor]]


def build(config: TrainConfig | None, balance: Balance | None, mode: str) -> nn.Module:
    """The loss that `config` asks for ("auto": binary cross entropy, or cross entropy when classes exclude each other).

    `loss(logits f32[B,C], targets) -> f32[]`. mode "multilabel": each target has "values" f32[C], 1/0, 0.5 = uncertain, NaN = not mentioned;
    "multiclass": "label" i64[], -1 = not known. Raises UserError for a loss that does not go with the mode.
    """
    chosen = "auto" if config is None else config.loss
    name = NAMES[mode][0] if chosen == "auto" else chosen
    if name not in NAMES[mode]:
        raise UserError("loss_for_mode", loss=name, mode=mode, choices=", ".join(NAMES[mode]))
    balanced = config is not None and config.class_weights == "balanced"
    weight = _weight(balance, mode) if balanced and balance is not None else None
    smoothing, gamma = (0.0, 2.0) if config is None else (config.label_smoothing, config.focal_gamma)
    if mode == MULTICLASS:
        return ClassLoss(weight, smoothing, gamma if name == "focal" else 0.0)
    return TagLoss(name, weight, smoothing, gamma, "ignore" if config is None else config.uncertain)


class TagLoss(nn.Module):
    """One yes-or-no question a class; mean over the known labels. `pos_weight` f32[C] multiplies what a missed positive costs."""

    def __init__(self, name: str, pos_weight: Tensor | None, smoothing: float, gamma: float, uncertain: str) -> None:
        super().__init__()
        self.smoothing, self.uncertain = smoothing, UNCERTAIN_VALUES[uncertain]
        terms: dict[str, Terms] = {"bce": binary_terms, "asymmetric": asymmetric_terms, "focal": partial(focal_terms, gamma=gamma)}
        self.terms = terms[name]
        self.pos_weight: Tensor | None
        self.register_buffer("pos_weight", pos_weight, persistent=False)

    def forward(self, logits: Tensor, targets: list[dict[str, Tensor]]) -> Tensor:
        values = torch.stack([each["values"] for each in targets]).to(logits.device, torch.float32)
        values = torch.where(values == UNCERTAIN, self.uncertain, values)
        known = torch.isfinite(values)
        with torch.autocast(logits.device.type, enabled=False):
            positive, negative = self.terms(torch.where(known, logits.float(), 0.0))
            if self.pos_weight is not None:
                positive = positive * self.pos_weight.to(positive.device)
            truth = torch.where(known, values, 0.0) * (1 - self.smoothing) + self.smoothing / 2
            costs = truth * positive + (1 - truth) * negative
            return torch.where(known, costs, 0.0).sum() / known.sum().clamp(min=1)


class ClassLoss(nn.Module):
    """One class an image: cross entropy, times (1 - p)**gamma of the true class. Mean over the images with a label.

    Class weights f32[C] multiply an image's cost; they do not change what the sum is divided by, so that they work with small batches too.
    """

    def __init__(self, weight: Tensor | None, smoothing: float, gamma: float) -> None:
        super().__init__()
        self.smoothing, self.gamma = smoothing, gamma
        self.weight: Tensor | None
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, logits: Tensor, targets: list[dict[str, Tensor]]) -> Tensor:
        labels = torch.stack([each["label"] for each in targets]).to(logits.device).reshape(-1)
        known = labels != NO_LABEL
        with torch.autocast(logits.device.type, enabled=False):
            logits = torch.where(known[:, None], logits.float(), 0.0)
            weight = None if self.weight is None else self.weight.to(logits.device)
            costs = F.cross_entropy(logits, labels, weight, ignore_index=NO_LABEL, reduction="none", label_smoothing=self.smoothing)
            if self.gamma:
                true = logits.softmax(1).gather(1, labels.clamp(min=0)[:, None])[:, 0]
                costs = costs * (1 - true).clamp(min=0) ** self.gamma
            return torch.where(known, costs, 0.0).sum() / known.sum().clamp(min=1)


def binary_terms(logits: Tensor) -> tuple[Tensor, Tensor]:
    """What each logit costs if the class is there, and if it is not: cross entropy."""
    return -F.logsigmoid(logits), -F.logsigmoid(-logits)


def focal_terms(logits: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Cross entropy that counts less where the answer is right already (Lin et al., 2017, arXiv:1708.02002, without alpha)."""
    positive, negative = binary_terms(logits)
    return positive * torch.sigmoid(-logits) ** gamma, negative * torch.sigmoid(logits) ** gamma


def asymmetric_terms(logits: Tensor, gamma_negative: float = 4.0, gamma_positive: float = 1.0, margin: float = 0.05) -> tuple[Tensor, Tensor]:
    """Easy negatives count much less than easy positives, those below `margin` nothing (Ridnik et al., 2021, arXiv:2009.14119)."""
    positive = -F.logsigmoid(logits) * torch.sigmoid(-logits) ** gamma_positive
    absent = (torch.sigmoid(-logits) + margin).clamp(max=1)
    return positive, -torch.log(absent) * (1 - absent) ** gamma_negative


def _weight(balance: Balance, mode: str) -> Tensor:
    """negatives / positives of each class; for classes that exclude each other images / (classes x positives). Within 1/20..20, 1 if never seen."""
    positives, negatives = np.asarray(balance.positives, np.float64), np.asarray(balance.negatives, np.float64)
    above = negatives if mode == MULTILABEL else np.full_like(positives, positives.sum() / max(1, np.count_nonzero(positives)))
    ratio = np.divide(above, positives, out=np.ones_like(positives), where=positives > 0)
    return torch.from_numpy(ratio.clip(1 / WEIGHT_CAP, WEIGHT_CAP)).float()

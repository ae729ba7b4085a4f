"""From the fused map to logits: pooled, mixed, and one small head per class, or coarse classes first and fine ones after them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm1d(nn.BatchNorm1d):
    """Takes the running statistics for a training batch of one image, which has no variance."""

    def forward(self, values: Tensor) -> Tensor:
        if self.training and len(values) == 1:
            return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(values)


class MultiLabelClassifier(nn.Module):
    """f32[B,C,H,W] -> f32[B,num_classes], every class with a head of its own."""

    def __init__(self, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.feature_fusion = _stage(2 * channels, channels, dropout)
        self.classifiers = nn.ModuleList(
            nn.Sequential(nn.Linear(channels, channels // 4), nn.ReLU(inplace=True), nn.Dropout(dropout / 2), nn.Linear(channels // 4, 1))
            for _ in range(num_classes)
        )

    def forward(self, maps: Tensor) -> Tensor:
        features = self.feature_fusion(pooled(maps))
        return torch.cat([head(features) for head in self.classifiers], dim=1)


class HierarchicalClassifier(nn.Module):
    """f32[B,C,H,W] -> coarse f32[B,num_coarse] and fine f32[B,num_classes]; the fine head sees the coarse logits."""

    def __init__(self, channels: int, num_coarse: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        half = channels // 2
        self.feature_fusion = _stage(2 * channels, channels, dropout)
        self.coarse_classifier = nn.Sequential(*_stage(channels, half, dropout), nn.Linear(half, num_coarse))
        self.fine_classifier = nn.Sequential(*_stage(channels + num_coarse, half, dropout), nn.Linear(half, num_classes))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        features = self.feature_fusion(pooled(maps))
        coarse = self.coarse_classifier(features)
        return coarse, self.fine_classifier(torch.cat((features, coarse), dim=1))


def pooled(maps: Tensor) -> Tensor:
    """f32[B,C,H,W] -> f32[B,2C]: mean and maximum of each channel."""
    return torch.cat((maps.mean((2, 3)), maps.amax((2, 3))), dim=1)


def _stage(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), BatchNorm1d(outputs), nn.ReLU(inplace=True), nn.Dropout(dropout))

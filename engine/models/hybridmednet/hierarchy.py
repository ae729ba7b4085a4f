"""What teaches the coarse head: coarse labels made of the fine ones, and agreement between both heads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from engine.config import TrainConfig
from engine.losses import classification
from engine.models import tag_mode
from engine.models.hybridmednet.config import Config
from engine.models.network import Balance
from engine.types import UserError

CONSISTENCY = 0.2
DEFAULT_WEIGHT = 0.5


class Hierarchy(nn.Module):
    """`groups` gives each fine class its coarse one; unless `configure` says otherwise, the classes fall in their order into equal parts."""

    groups: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.mode, self.count, self.weight = tag_mode(config.mode), config.num_coarse_classes, DEFAULT_WEIGHT
        groups = [i * self.count // config.num_classes for i in range(config.num_classes)]
        self.register_buffer("groups", torch.tensor(groups), persistent=False)
        self.criterion: nn.Module = classification.build(None, None, self.mode)

    def configure(self, config: TrainConfig, balance: Balance | None) -> None:
        """Raises UserError when the groups do not fit the classes."""
        self.weight = config.coarse_weight
        if balance is not None and balance.groups:
            groups = balance.groups
            if len(groups) != len(self.groups) or not all(0 <= each < self.count for each in groups):
                raise UserError("coarse_groups", groups=", ".join(map(str, groups)), classes=len(self.groups), coarse=self.count)
            self.groups = torch.tensor(groups, device=self.groups.device)
        self.criterion = classification.build(config, self._coarse_balance(balance), self.mode)

    def forward(self, coarse: Tensor, fine: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Weighted terms from f32 logits [B,G] and [B,C]."""
        truth = [self._coarse_target(each) for each in targets]
        return {"loss_coarse": self.weight * self.criterion(coarse, truth),
                "loss_consistency": self.weight * CONSISTENCY * self._disagreement(coarse, fine)}

    def _coarse_target(self, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """A coarse class is there when one of its fine classes is, uncertain when one may be, unknown when nothing is known of them."""
        if self.mode == classification.MULTICLASS:
            label = target["label"]
            return {"label": torch.where(label < 0, label, self.groups.to(label.device)[label.clamp(min=0)])}
        values = target["values"]
        found = values.new_full((self.count,), -1.0)
        found = found.scatter_reduce(0, self.groups.to(values.device), values.nan_to_num(-1.0), "amax")
        return {"values": torch.where(found < 0, torch.nan, found)}

    def _disagreement(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Mean square of what the fine classes claim beyond their coarse class (multilabel), or of any difference (multiclass)."""
        members = self.groups.expand(len(fine), -1)
        if self.mode == classification.MULTICLASS:
            claimed = torch.zeros_like(coarse).scatter_add(1, members, fine.softmax(1))
            return (claimed - coarse.softmax(1)).square().mean()
        claimed = torch.zeros_like(coarse).scatter_reduce(1, members, fine.sigmoid(), "amax")
        return (claimed - coarse.sigmoid()).clamp(min=0).square().mean()

    def _coarse_balance(self, balance: Balance | None) -> Balance | None:
        """Images with a coarse class: at least those of its most frequent fine class, and at most their sum, which is taken."""
        if balance is None:
            return None
        groups = self.groups.cpu().numpy()
        totals = np.asarray(balance.positives) + np.asarray(balance.negatives)
        positives = np.bincount(groups, np.asarray(balance.positives, float), self.count)
        total = np.zeros(self.count)
        np.maximum.at(total, groups, totals)
        positives = np.minimum(positives, total)
        return Balance(positives, total - positives)

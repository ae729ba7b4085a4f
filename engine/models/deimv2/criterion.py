"""The loss of DEIMv2: matchability-aware scores (MAL), boxes and, for the larger sizes, box distributions (FGL, DDF).

MAL: DEIM, arXiv:2412.04234. FGL and DDF: D-FINE, arXiv:2410.13842. All sets of predictions are treated at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.deimv2.config import Config
from engine.models.deimv2.decoder import Predictions
from engine.models.deimv2.denoising import Denoising
from engine.models.matching import Pairs, Targets, cxcywh_to_xyxy, match, overlaps, unite

WEIGHTS = {"mal": 1.0, "bbox": 5.0, "giou": 2.0, "fgl": 0.15, "ddf": 1.5}
GAMMA = 1.5
TEMPERATURE = 5.0


@dataclass(frozen=True)
class Assignment:
    """Which pairs the scores (`own`) and the boxes (`boxes`) of some predictions learn from, and what their sums are divided by."""

    own: Pairs
    boxes: Pairs
    own_count: float
    box_count: float


class Criterion:
    """Weighted terms by their published names. `late` switches the matcher to its cost for the end of a run."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.late = False

    def __call__(
        self, selected: Predictions, noisy: Predictions | None, noise: Denoising | None, targets: Targets, table: Tensor, reg_scale: Tensor,
    ) -> dict[str, Tensor]:
        """`table` f32[bins+1] holds the distances of the bins. Must run outside of autocast."""
        layers = len(selected.corners)
        assignment = self._assign(selected, targets)
        shares = self._shares(assignment.boxes, selected)
        local = (table, reg_scale, shares) if self.config.local_loss else None
        names = [*(f"_aux_{i}" for i in range(layers - 1)), "", "_pre", "_enc_0"]
        terms = [_terms(selected, assignment, targets, names, local)]
        if noisy is not None and noise is not None:
            count = float(max(1, targets.total) * noise.groups)
            fixed = Assignment(noise.pairs, noise.pairs, count, count)
            terms.append(_terms(noisy, fixed, targets, [*(f"_dn_{i}" for i in range(layers)), "_dn_pre"], local))
        return dict(chain.from_iterable(part.items() for part in terms))

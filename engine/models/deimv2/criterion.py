"""The loss of DEIMv2: matchability-aware scores (MAL), boxes and, for the larger sizes, box distributions (FGL, DDF).

MAL: DEIM, arXiv:2412.04234. FGL and DDF: D-FINE, arXiv:2410.13842. All sets of predictions are treated at once: S sets,
of which the first L carry distributions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.deimv2.config import Config
from engine.models.deimv2.decoder import Predictions, bin_distances
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


@dataclass(frozen=True)
class Local:
    """For the terms on distributions: distances of the bins f32[bins+1], the scale of the references' sides, and the weights
    of matched and unmatched queries in the distillation."""

    table: Tensor
    reg_scale: Tensor
    matched: float
    unmatched: float


class Criterion:
    """Weighted terms by their published names. `late` switches the matcher to its cost for the end of a run.

    `mean` of a number over the processes that train together: sums are divided by the mean count of what they sum over.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.late = False
        self.mean: Callable[[float], float] = float

    def __call__(
        self, selected: Predictions, noisy: Predictions | None, noise: Denoising | None, targets: Targets, up: Tensor, reg_scale: Tensor,
    ) -> dict[str, Tensor]:
        layers = len(selected.corners)
        assignment = self._assign(selected, targets)
        local = None
        if self.config.local_loss:
            local = Local(bin_distances(up, reg_scale, self.config.bins), reg_scale, *_shares(assignment.boxes, selected))
        terms = _terms(selected, assignment, targets, local, [*(f"_aux_{i}" for i in range(layers - 1)), "", "_pre", "_enc_0"])
        if noisy is not None and noise is not None:
            count = assignment.own_count * noise.groups
            fixed = Assignment(noise.pairs, noise.pairs, count, count)
            terms |= _terms(noisy, fixed, targets, local, [*(f"_dn_{i}" for i in range(layers)), "_dn_pre"])
        return terms

    def _assign(self, selected: Predictions, targets: Targets) -> Assignment:
        own = match(selected.logits.detach(), selected.boxes.detach(), targets, late=self.late)
        count = max(1.0, self.mean(targets.total))
        if not self.config.union_matching:
            return Assignment(own, own, count, count)
        shared = unite(own)
        return Assignment(own, shared, count, max(1.0, self.mean(len(shared))))


def _shares(pairs: Pairs, selected: Predictions) -> tuple[float, float]:
    """Weights of the matched and the unmatched queries in the distillation: square roots of their numbers."""
    batch, queries = selected.boxes.shape[1:3]
    return math.sqrt(len(pairs)), math.sqrt(batch * queries - len(pairs))


def _terms(predicted: Predictions, assignment: Assignment, targets: Targets, local: Local | None, names: list[str]) -> dict[str, Tensor]:
    """One number per term and set, named `loss_<term><suffix>`; a term without distributions covers the first sets only."""
    distance, iou, giou = _box_errors(predicted.boxes, assignment.boxes, targets)
    quality = iou.detach()
    own_quality = quality if assignment.own is assignment.boxes else _box_errors(predicted.boxes.detach(), assignment.own, targets)[1]
    terms = {
        "mal": score_loss(predicted.logits, assignment.own, targets, own_quality) / assignment.own_count,
        "bbox": distance.sum(1) / assignment.box_count,
        "giou": (1 - giou).sum(1) / assignment.box_count,
    }
    if local is not None:
        terms["fgl"] = edge_loss(predicted, assignment.boxes, targets, quality, local) / assignment.box_count
        terms["ddf"] = distillation_loss(predicted, assignment.boxes, quality, local)
    return {
        f"loss_{term}{name}": value
        for term, values in terms.items()
        for name, value in zip(names, (WEIGHTS[term] * values).nan_to_num(0.0).unbind(), strict=False)
    }


def _box_errors(boxes: Tensor, pairs: Pairs, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """L1 distance, IoU and GIoU f32[S,P] of the assigned boxes f32[S,B,N,4]."""
    found, wanted = pairs.of(boxes), pairs.of_truth(targets.boxes)
    iou, giou = overlaps(cxcywh_to_xyxy(found), cxcywh_to_xyxy(wanted))
    return (found - wanted).abs().sum(-1), iou, giou


def score_loss(logits: Tensor, pairs: Pairs, targets: Targets, quality: Tensor) -> Tensor:
    """MAL f32[S]: an assigned score learns the IoU^1.5 of its box, all others learn 0, the less the lower they are."""
    labels = pairs.of_truth(targets.labels)
    sets = torch.arange(len(logits), device=logits.device)[:, None]
    place = (sets, pairs.image, pairs.query, labels)
    wanted = torch.zeros_like(logits).index_put(place, quality.pow(GAMMA))
    weight = logits.detach().sigmoid().pow(GAMMA).index_put(place, torch.ones_like(quality))
    return F.binary_cross_entropy_with_logits(logits, wanted, weight, reduction="none").sum((1, 2, 3))


def edge_loss(predicted: Predictions, pairs: Pairs, targets: Targets, quality: Tensor, local: Local) -> Tensor:
    """FGL f32[L]: cross entropy with the two bins around the true distance of each edge, weighted by the box quality."""
    layers = len(predicted.corners)
    references = predicted.references[pairs.image, pairs.query[:1]]
    lower, share = _true_bins(references, pairs.of_truth(targets.boxes), local)
    log_likelihood = pairs.of(predicted.corners).unflatten(-1, (4, -1)).log_softmax(-1)
    around = log_likelihood.gather(-1, torch.stack((lower, lower + 1), -1).expand(layers, -1, -1, -1))
    return -(around * torch.stack((1 - share, share), -1) * quality[:layers, :, None, None]).sum((1, 2, 3))


def _true_bins(references: Tensor, truths: Tensor, local: Local) -> tuple[Tensor, Tensor]:
    """The lower of the two bins around each edge's true distance i64[1,P,4], and the share of the upper one f32[1,P,4]."""
    size = references[..., 2:] / local.reg_scale.abs() + 1e-16
    corners, centre = cxcywh_to_xyxy(truths), references[..., :2]
    distance = torch.cat((centre - corners[..., :2], corners[..., 2:] - centre), -1) / size.repeat(1, 1, 2) - 0.5 * local.reg_scale.abs()
    last = len(local.table) - 2
    lower = torch.searchsorted(local.table, distance.contiguous(), right=True) - 1
    inside = lower.clamp(0, last)
    below, above = (distance - local.table[inside]).abs(), (local.table[inside + 1] - distance).abs()
    share = torch.where(lower < 0, 0.0, torch.where(lower > last, 1.0, below / (below + above)))
    return inside, share


def distillation_loss(predicted: Predictions, pairs: Pairs, quality: Tensor, local: Local) -> Tensor:
    """DDF f32[L-1]: the distributions of all layers but the last learn those of the last, at every query."""
    corners = predicted.corners.unflatten(-1, (4, -1)) / TEMPERATURE
    layers = len(corners) - 1
    teacher = corners[layers].detach().log_softmax(-1)
    divergence = F.kl_div(corners[:layers].log_softmax(-1), teacher.expand(layers, *teacher.shape), reduction="none", log_target=True)
    score = predicted.logits[layers].detach().sigmoid().amax(-1).expand(layers, -1, -1)
    sets = torch.arange(layers, device=score.device)[:, None]
    weight = score.index_put((sets, pairs.image, pairs.query), quality[:layers])
    loss = TEMPERATURE**2 * weight * divergence.sum((-1, -2))
    matched = torch.zeros_like(score[0], dtype=torch.bool).index_put((pairs.image, pairs.query[0]), torch.ones_like(pairs.image, dtype=torch.bool))
    means = _mean(loss, matched, len(pairs)), _mean(loss, ~matched, matched.numel() - len(pairs))
    return (means[0] * local.matched + means[1] * local.unmatched) / (local.matched + local.unmatched)


def _mean(loss: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Mean over the four sides of the `count` chosen queries, per layer; 0 for none."""
    return (loss * chosen).sum((1, 2)) / max(1, 4 * count)

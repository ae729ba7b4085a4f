"""Which query answers for which truth: one cheapest assignment for each set of predictions and image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.models.di_maskdino.outputs import MaskProduct
from engine.models.di_maskdino.points import Sampler, TruthMasks, softplus
from engine.models.matching import Pairs, Targets, cxcywh_to_xyxy
from engine.types import UserError

COSTS = {"class": 4.0, "box": 5.0, "giou": 2.0, "mask": 5.0, "dice": 5.0}
EPS = 1e-6
WORST = 1e9  # stands for a cost that is not a number: taken only when nothing else is left


@dataclass(frozen=True)
class Sets:
    """S sets of one shape: logits f32[S,B,Q,K], boxes f32[S,B,Q,4] cxcywh, and the masks of the first sets, or of none."""

    logits: Tensor
    boxes: Tensor
    masks: tuple[MaskProduct, ...] = ()


@dataclass(frozen=True)
class Assignment:
    """Assigned pairs of S sets, image by image: image i64[P], query and truth i64[S,P] (truth: its number in the image)."""

    image: np.ndarray
    query: np.ndarray
    truth: np.ndarray

    def pairs(self, device: torch.device) -> Pairs:
        return Pairs.from_numpy(self.image, self.query, self.truth, device)


@torch.no_grad()
def match(blocks: list[Sets], truths: Targets, masks: TruthMasks, points: int, sampler: Sampler) -> list[Assignment]:
    """The assignment of every block: min(n, Q) pairs for an image with n truths. All costs leave the device in one go.

    Masks are compared at `points` points, which all masks of an image share; sets without masks are matched by class and box.
    Costs that are not numbers lose against all others; raises UserError when there is no other at all.
    """
    costs = [_box_costs(block, truths) for block in blocks]
    if truths.total:
        _add_mask_costs(costs, blocks, truths, masks, sampler(len(truths.counts), points, truths.boxes.device))
    flat = torch.cat([cost.flatten() for cost in costs]).cpu().double().numpy()
    if flat.size and not np.isfinite(flat).any():
        raise UserError("predictions_not_finite")
    sizes = np.cumsum([cost.numel() for cost in costs])[:-1]
    numbers = np.nan_to_num(flat, nan=WORST, posinf=WORST, neginf=WORST)
    return [_solved(part.reshape(tuple(cost.shape)), truths.counts) for part, cost in zip(np.split(numbers, sizes), costs, strict=True)]


def _solved(costs: np.ndarray, counts: tuple[int, ...]) -> Assignment:
    """Hungarian assignment of costs f64[S,T,Q], T truths of all images."""
    from scipy.optimize import linear_sum_assignment  # takes a second, and only training matches
    ends = np.cumsum(counts)[:-1]
    solved = [[linear_sum_assignment(block) for block in np.split(each, ends)] for each in costs]
    truth, query = (np.stack([np.concatenate([pair[part] for pair in row]) for row in solved]) for part in (0, 1))
    return Assignment(np.repeat(np.arange(len(counts)), [min(count, costs.shape[2]) for count in counts]), query, truth)


def _box_costs(block: Sets, truths: Targets) -> Tensor:
    """Class and box costs f32[S,T,Q] of every truth."""
    image, slot = truths.places
    score = block.logits.mT[:, image, truths.labels[image, slot]].sigmoid()
    missed = 0.25 * (1 - score).square() * -(score + 1e-8).log()
    alarm = 0.75 * score.square() * -(1 - score + 1e-8).log()
    boxes, wanted = block.boxes[:, image], truths.boxes[image, slot][:, None]
    distance = (boxes - wanted).abs().sum(-1)
    return COSTS["class"] * (missed - alarm) + COSTS["box"] * distance - COSTS["giou"] * generalised_iou(boxes, wanted)


def _add_mask_costs(costs: list[Tensor], blocks: list[Sets], truths: Targets, masks: TruthMasks, points: Tensor) -> None:
    """Adds the costs of masks at points f32[B,P,2] to those of the sets that have masks."""
    image, slot = truths.places
    wanted = points.new_zeros(*truths.labels.shape, points.shape[1])
    for index, count in enumerate(truths.counts):
        if count:
            wanted[index, :count] = masks.shared(index, points[index])
    for product, members in together([product for block in blocks for product in block.masks]):
        found = iter(product.at(points).split([member.queries for member in members], 1))
        places = [(b, s) for b, block in enumerate(blocks) for s in range(len(block.masks))]
        for member in members:
            b, s = places[member.index]
            costs[b][s] += mask_cost(next(found), wanted)[image, :, slot]


def mask_cost(logits: Tensor, truths: Tensor) -> Tensor:
    """Weighted cross entropy and dice cost f32[B,Q,T] of logits f32[B,Q,P] against truths f32[B,T,P] in 0..1."""
    shared = logits @ truths.mT
    entropy = (softplus(logits).sum(-1, keepdim=True) - shared) / logits.shape[-1]
    inside = logits.sigmoid()
    sums = inside.sum(-1, keepdim=True) + truths.sum(-1)[:, None]
    return COSTS["mask"] * entropy + COSTS["dice"] * (1 - (2 * (inside @ truths.mT) + 1) / (sums + 1))


@dataclass(frozen=True)
class Member:
    """Where the queries of mask product `index` lie in a united one: `queries` of them from `start` on."""

    index: int
    start: int
    queries: int


def together(products: list[MaskProduct]) -> list[tuple[MaskProduct, list[Member]]]:
    """Products over the same features united into one, in fp32."""
    groups: dict[int, list[int]] = {}
    for index, product in enumerate(products):
        groups.setdefault(id(product.features), []).append(index)
    united = []
    for indices in groups.values():
        embeddings = [products[index].embedding.float() for index in indices]
        sizes = [each.shape[1] for each in embeddings]
        starts = np.cumsum([0, *sizes]).tolist()
        members = [Member(*each) for each in zip(indices, starts, sizes, strict=False)]
        united.append((MaskProduct(torch.cat(embeddings, 1), products[indices[0]].features.float()), members))
    return united


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU (arXiv:1902.09630) of cxcywh boxes [...,4], shapes broadcast; areas below 1e-6 hardly count."""
    first, second = cxcywh_to_xyxy(first), cxcywh_to_xyxy(second)
    low1, high1, low2, high2 = first[..., :2], first[..., 2:], second[..., :2], second[..., 2:]
    shared = (torch.minimum(high1, high2) - torch.maximum(low1, low2)).clamp(min=0).prod(-1)
    union = (high1 - low1).prod(-1) + (high2 - low2).prod(-1) - shared
    hull = (torch.maximum(high1, high2) - torch.minimum(low1, low2)).prod(-1)
    return shared / (union + EPS) - (hull - union) / (hull + EPS)

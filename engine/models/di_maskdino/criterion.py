"""The loss of DI-MaskDINO (arXiv:2410.16707): classes, boxes and masks of every set of predictions.

Class: focal loss (arXiv:1708.02002). Boxes: L1 distance and generalised IoU. Masks: cross entropy and dice at points that favour what the
network is unsure of. Sets of one shape are treated at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.config import TrainConfig
from engine.models.di_maskdino.config import Config
from engine.models.di_maskdino.denoising import Denoising
from engine.models.di_maskdino.matcher import Assignment, Sets, generalised_iou, match, together
from engine.models.di_maskdino.outputs import MaskProduct, Outputs, Predictions
from engine.models.di_maskdino.points import Sampler, TruthMasks, sampled, softplus, uncertain_points, uniform
from engine.models.matching import Pairs, Targets

WEIGHTS = {"class": 4.0, "box": 5.0, "giou": 2.0, "mask": 5.0, "dice": 5.0}
SHOWN = {"class": "class", "box": "bbox", "giou": "giou", "mask": "mask", "dice": "dice"}
OFFICIAL = {"class": "ce", "box": "bbox", "giou": "giou", "mask": "mask", "dice": "dice"}
LIMIT = 30.0  # a class logit that is not a number counts as -LIMIT
Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Family:
    """Sets of one shape, what they are assigned to, and the number that their sums are divided by."""

    sets: Sets
    assigned: Assignment
    count: float


class Criterion:
    """Weighted terms of a batch; their sum is the loss.

    `sampler(n, points, device) -> f32[n,points,2]` gives all random points (x, y in 0..1): `network.criterion.sampler = f` fixes them. It is
    asked for a row an image by the matcher, then, image by image, for candidates (three times `points`) and for the quarter that stays random.
    `points` is the number of points a mask, `weights` multiply the terms "class", "box", "giou", "mask" and "dice"; both may be set any time.

    Targets, per image: labels i64[n], boxes f32[n,4] cxcywh in 0..1 of the padded image, masks u8[n,S,S/8] with bits packed along x (or
    bool[n,S,S]), which cover the upper left of the padded image of `size` (H, W). Predictions that are not numbers take no part.
    """

    def __init__(self, config: Config, num_classes: int) -> None:
        self.num_classes = num_classes
        self.points, self.points_in_boxes = config.points, config.points_in_boxes
        self.weights = dict(WEIGHTS)
        self.sampler: Sampler = uniform
        self.mean: Callable[[float], float] = float  # of a number over the processes that train together

    def configure(self, config: TrainConfig) -> None:
        """Takes the weights of the terms from the settings of a run."""
        self.weights = {"class": config.class_loss, "box": config.box_loss, "giou": config.giou_loss,
                        "mask": config.mask_loss, "dice": config.dice_loss}

    def __call__(self, outputs: Outputs, targets: list[dict[str, Tensor]], noise: Denoising | None, size: tuple[int, int]) -> dict[str, Tensor]:
        """Terms by family, `loss_<class|bbox|giou|mask|dice><suffix>`.

        Suffixes: "" last layer, "_aux" those before, "_selected" first selection, "_di" balancing layers, "_noise" denoising queries.
        Raises UserError when no prediction is a number.
        """
        decoded, selected, *noisy = self._measured(outputs, targets, noise, size)
        parts = [("", decoded, slice(-1, None)), ("_aux", decoded, slice(-1)), ("_selected", selected, slice(1)), ("_di", selected, slice(1, None))]
        parts += [("_noise", terms, slice(None)) for terms in noisy]
        return {f"loss_{SHOWN[term]}{suffix}": self.weights[term] * values[some].sum()
                for suffix, terms, some in parts for term, values in terms.items() if len(values[some])}

    def raw(
        self, outputs: Outputs, targets: list[dict[str, Tensor]], size: tuple[int, int], noise: Denoising | None = None,
    ) -> dict[str, Tensor]:
        """Terms of every set without weights, by their published names `loss_<ce|bbox|giou|mask|dice><suffix>`.

        Suffixes: "" last layer, "_i" the i-th set before, "_interm" first selection, "_oldm_i" the i-th balancing layer; "_dn" and
        "_dn_i" denoising queries.
        """
        layers = [f"_{index}" for index in range(len(outputs.auxiliary))] + [""]
        balanced = [f"_oldm_{index}" for index in range(len(outputs.balanced))]
        names = [layers, ["_interm", *balanced], [f"_dn{layer}" for layer in layers]]
        measured = self._measured(outputs, targets, noise, size)
        return {f"loss_{OFFICIAL[term]}{suffix}": value
                for suffixes, terms in zip(names, measured, strict=False) for term, values in terms.items()
                for suffix, value in zip(suffixes, values.unbind(), strict=False)}

    def _measured(self, outputs: Outputs, targets: list[dict[str, Tensor]], noise: Denoising | None, size: tuple[int, int]) -> list[Terms]:
        """Unweighted terms f32[S] of the decoder's, the selections' and, if there are any, the noisy sets."""
        device, classes = outputs.final.logits.device, outputs.final.logits.shape[-1]
        if classes != self.num_classes:
            raise ValueError(f"logits of {classes} classes, a criterion for {self.num_classes}")
        with torch.autocast(device.type, enabled=False):
            targets = [{name: value.to(device) for name, value in each.items()} for each in targets]
            boxes = [each["boxes"].float() for each in targets] if self.points_in_boxes else None
            truths, masks = Targets.collate(targets), TruthMasks([each["masks"] for each in targets], size, boxes)
            blocks = [_stacked([*outputs.auxiliary, outputs.final]), _stacked([outputs.selected, *outputs.balanced])]
            assigned = match(blocks, truths, masks, self.points, self.sampler)
            count = max(1.0, self.mean(truths.total))
            families = [Family(sets, pairs, count) for sets, pairs in zip(blocks, assigned, strict=True)]
            if noise is not None and outputs.noisy:
                families.append(Family(_stacked(outputs.noisy), _fixed(noise, len(outputs.noisy)), count * noise.groups))
            of_masks = mask_losses(families, masks, self.points, self.sampler)
            return [{**_query_losses(family, truths), **terms} for family, terms in zip(families, of_masks, strict=True)]


def _stacked(sets: list[Predictions]) -> Sets:
    return Sets(torch.stack([each.logits for each in sets]).float(), torch.stack([each.boxes for each in sets]).float(),
                tuple(each.masks for each in sets if each.masks is not None))


def _fixed(noise: Denoising, sets: int) -> Assignment:
    image, slot, truth = noise.places()
    return Assignment(image, np.tile(slot, (sets, 1)), np.tile(truth, (sets, 1)))


def _query_losses(family: Family, truths: Targets) -> Terms:
    """Class and box terms f32[S]."""
    pairs = family.assigned.pairs(family.sets.logits.device)
    found, wanted = pairs.of(family.sets.boxes).nan_to_num(0, 0, 0), pairs.of_truth(truths.boxes)
    terms = {
        "class": class_loss(family.sets.logits.nan_to_num(-LIMIT, LIMIT, -LIMIT), pairs, truths),
        "box": (found - wanted).abs().sum((1, 2)),
        "giou": (1 - generalised_iou(found, wanted)).sum(1),
    }
    return {name: value / family.count for name, value in terms.items()}


def class_loss(logits: Tensor, pairs: Pairs, truths: Targets) -> Tensor:
    """Focal loss (alpha 0.25, gamma 2) f32[S] of logits f32[S,B,Q,K], summed over queries and classes: what is assigned learns 1, all else 0."""
    sets = torch.arange(len(logits), device=logits.device)[:, None]
    own = logits[sets, pairs.image, pairs.query, pairs.of_truth(truths.labels)]
    present = 0.25 * (-own).sigmoid().square() * softplus(-own)
    return _absent(logits).sum((1, 2, 3)) + (present - _absent(own)).sum(1)


def _absent(logits: Tensor) -> Tensor:
    """Focal loss of logits that should be low."""
    return 0.75 * logits.sigmoid().square() * softplus(logits)


@dataclass(frozen=True)
class Rows:
    """Compared masks of one image, R rows: those of one united product behind those of another.

    `products` holds each product and the numbers i64 of its queries, `set` i64[R] the set of each row. The rows fill a table of
    `shape` (G, n), a column for each truth: cell c holds row `cells[c]`, row r lies in cell `places[r]`; both are None where row = cell.
    """

    image: int
    products: list[tuple[MaskProduct, Tensor]]
    set: Tensor
    shape: tuple[int, int]
    cells: Tensor | None
    places: Tensor | None


def mask_losses(families: list[Family], masks: TruthMasks, points: int, sampler: Sampler) -> list[Terms]:
    """Cross entropy and dice f32[M] of the M sets of each family that have masks."""
    products = [product for family in families for product in family.sets.masks]
    totals = families[0].sets.logits.new_zeros(2, len(products))
    for rows in _rows_by_image(families, products):
        totals = totals.index_add(1, rows.set, _compared(rows, masks, points, sampler))
    parts = totals.split([len(family.sets.masks) for family in families], 1)
    return [dict(zip(("mask", "dice"), part / family.count, strict=True)) for part, family in zip(parts, families, strict=True)]


def _compared(rows: Rows, masks: TruthMasks, points: int, sampler: Sampler) -> Tensor:
    """Cross entropy and dice loss f32[2,R]."""
    maps = torch.cat([product.of(rows.image, query) for product, query in rows.products])
    maps = (maps if rows.cells is None else maps[rows.cells]).unflatten(0, rows.shape)
    where = uncertain_points(maps.detach(), points, sampler, masks.around(rows.image))
    found = sampled(maps.flatten(0, 1)[:, None], where.flatten(0, 1)[:, None])[:, 0, 0].nan_to_num(0, 0, 0)
    wanted = masks.own(rows.image, where).flatten(0, 1)
    entropy = (softplus(found) - found * wanted).mean(1)
    inside = found.sigmoid()
    dice = 1 - (2 * (inside * wanted).sum(1) + 1) / (inside.sum(1) + wanted.sum(1) + 1)
    losses = torch.stack((entropy, dice))
    return losses if rows.places is None else losses[:, rows.places]


def _rows_by_image(families: list[Family], products: list[MaskProduct]) -> Iterator[Rows]:
    """The rows of every image with any; their numbers go to the device in one go."""
    united, device = together(products), families[0].sets.logits.device
    sets = [(family.assigned, index) for family in families for index in range(len(family.sets.masks))]
    images = np.unique(np.concatenate([family.assigned.image for family in families])).tolist() if sets else []
    pieces = [[np.concatenate([_piece(*sets[member.index], image, member.index, member.start) for member in members], 1)
               for _, members in united] for image in images]
    if not pieces:
        return
    numbers = torch.from_numpy(np.concatenate([piece for group in pieces for piece in group], 1)).to(device, non_blocking=True)
    lengths = [sum(piece.shape[1] for piece in group) for group in pieces]
    for image, group, (query, _, number) in zip(images, pieces, numbers.split(lengths, 1), strict=True):
        chosen = [(product, part) for (product, _), part in zip(united, query.split([piece.shape[1] for piece in group]), strict=True)]
        yield Rows(image, chosen, number, *_table(np.concatenate(group, 1)[1], device))


def _table(truth: np.ndarray, device: torch.device) -> tuple[tuple[int, int], Tensor | None, Tensor | None]:
    """Shape, cells and places (see `Rows`) for the truths i64[R] of rows. Cells that no row takes hold row 0."""
    count, ranks = int(truth.max()) + 1, _ranks(truth)
    shape, places = (int(ranks.max()) + 1, count), ranks * count + truth
    if len(truth) == shape[0] * count and (places == np.arange(len(truth))).all():
        return shape, None, None
    cells = np.zeros(shape[0] * count, np.int64)
    cells[places] = np.arange(len(truth))
    return shape, torch.from_numpy(cells).to(device), torch.from_numpy(places).to(device)


def _piece(assigned: Assignment, index: int, image: int, number: int, start: int) -> np.ndarray:
    """Query in the united product, truth and set number, i64[3,n], of the pairs of one image in set `index` of a family."""
    here = slice(*np.searchsorted(assigned.image, (image, image + 1)))
    query, truth = assigned.query[index, here], assigned.truth[index, here]
    return np.stack((query + start, truth, np.full_like(query, number)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """How many earlier values equal each one."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ranks = np.empty_like(values)
    ranks[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return ranks

"""What a network says of objects, in pixels of the original image. Masks are brought to full size one by one, and only where there is something."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from pycocotools import mask as coco_mask
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from engine.datasets.mask_crops import rle_of_crop
from engine.types import RLE, Instances

CANDIDATES = 100
STRIP = 256  # columns that are computed at a time
Size = tuple[int, int]


@dataclass(frozen=True)
class Frame:
    """Sizes (width, height): of the network's input, of the part of it (from the upper left corner) that is the image, and of the original."""

    padded: Size
    inside: Size
    wanted: Size

    @classmethod
    def stretched(cls, side: Size, wanted: Size) -> Frame:
        """The whole input is the image."""
        return cls(side, side, wanted)


@dataclass(frozen=True)
class Axis:
    """One direction of bilinear interpolation: `weights` f32[out,in]; output i draws on the inputs `low[i]` to `high[i]`."""

    weights: np.ndarray
    low: np.ndarray
    high: np.ndarray


@lru_cache(maxsize=64)
def _axis(cells: int, padded: int, inside: int, wanted: int) -> Axis:
    """From the cells of a mask to the padded input, cut to the image, to the original: two interpolations in one."""
    weights = functional.interpolate(torch.eye(cells)[None, None], (padded, cells), mode="bilinear", align_corners=False)
    weights = functional.interpolate(weights[:, :, :inside], (wanted, cells), mode="bilinear", align_corners=False)[0, 0]
    used = weights > 0
    low, high = used.int().argmax(1), cells - 1 - used.flip(1).int().argmax(1)
    return Axis(weights.numpy(), low.numpy(), high.numpy())


def decoded(outputs: dict[str, Tensor], frame: Frame, *, limit: int = CANDIDATES, every_class: bool = False) -> Instances:
    """The objects of one image: logits f32[Q,K], boxes f32[Q,4] cxcywh in 0..1 of the padded input, masks f32[Q,h,w] logits at any scale of it.

    The `limit` best, best first; a query has its best class, or with `every_class` each of its classes as an object of its own. Scores are
    those of the class times the mean certainty inside the mask; an empty mask scores 0. Boxes are as the network gave them, not clipped.
    """
    scores, classes, queries = _best(outputs["logits"].float().sigmoid(), limit, every_class)
    masks = outputs["masks"].float()
    across = _axis(masks.shape[-1], frame.padded[0], frame.inside[0], frame.wanted[0])
    down = _axis(masks.shape[-2], frame.padded[1], frame.inside[1], frame.wanted[1])
    unique, again = np.unique(queries, return_inverse=True)
    grids = np.nan_to_num(masks[torch.from_numpy(unique).to(masks.device)].cpu().numpy())
    full = [_full_size(each, down, across, frame.wanted) for each in grids]
    certain = np.array([full[i][1] for i in again], np.float32)
    found = Instances(_corners(outputs["boxes"], frame)[queries], classes, np.nan_to_num(scores) * certain, tuple(full[i][0] for i in again))
    return found.above(-1.0)


def _best(chances: Tensor, limit: int, every_class: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, classes and queries of the surest."""
    count = chances.shape[1]
    chances = torch.nan_to_num(chances)
    if every_class:
        scores, index = chances.flatten().topk(min(limit, chances.numel()))
        return scores.cpu().numpy(), (index % count).cpu().numpy(), torch.div(index, count, rounding_mode="floor").cpu().numpy()
    best, classes = chances.max(1)
    scores, queries = best.topk(min(limit, len(best)))
    return scores.cpu().numpy(), classes[queries].cpu().numpy(), queries.cpu().numpy()


def _corners(boxes: Tensor, frame: Frame) -> np.ndarray:
    """f32[Q,4] x1, y1, x2, y2 in pixels of the original."""
    scale = [frame.wanted[axis] * frame.padded[axis] / frame.inside[axis] for axis in (0, 1, 0, 1)]
    centre, extent = boxes.float().cpu().numpy()[:, :2], boxes.float().cpu().numpy()[:, 2:]
    return np.nan_to_num(np.concatenate([centre - extent / 2, centre + extent / 2], 1) * np.array(scale, np.float32), posinf=0, neginf=0)


def _full_size(grid: np.ndarray, down: Axis, across: Axis, wanted: Size) -> tuple[RLE, float]:
    """The mask of logits f32[h,w] at the size of the original, and the mean certainty inside. An interpolated logit is above zero only
    where one that it draws on is: the rest is never computed."""
    positive = grid > 0
    rows, columns = np.flatnonzero(positive.any(1)), np.flatnonzero(positive.any(0))
    if not len(rows):
        return rle_of_crop(np.zeros((0, 0), bool), 0, 0, wanted), 0.0
    (top, bottom), (left, right) = _reach(down, rows), _reach(across, columns)
    if top >= bottom or left >= right:
        return rle_of_crop(np.zeros((0, 0), bool), 0, 0, wanted), 0.0
    rows_used = slice(down.low[top], down.high[bottom - 1] + 1)
    half = down.weights[top:bottom, rows_used] @ grid[rows_used]
    mask, certain = np.empty((bottom - top, right - left), bool), 0.0
    for first in range(left, right, STRIP):
        last = min(first + STRIP, right)
        used = slice(across.low[first], across.high[last - 1] + 1)
        fine = half[:, used] @ across.weights[first:last, used].T
        inside = fine > 0
        mask[:, first - left : last - left] = inside
        certain += float(expit(fine[inside]).sum(dtype=np.float64))
    return rle_of_crop(mask, left, top, wanted), certain / max(1, int(mask.sum()))


def _reach(axis: Axis, cells: np.ndarray) -> tuple[int, int]:
    """The outputs, from first to behind the last, that draw on any of the cells between the first and the last of `cells`."""
    return int(np.searchsorted(axis.high, cells[0])), int(np.searchsorted(axis.low, cells[-1], side="right"))


def clipped(found: Instances, size: Size) -> Instances:
    """Boxes inside the image, and without objects that have no pixel."""
    seen = np.flatnonzero(coco_mask.area([as_coco(each) for each in found.shapes or ()])) if len(found) else np.zeros(0, np.int64)
    chosen = found[seen]
    return Instances(np.clip(chosen.boxes, 0, np.array([*size, *size])), chosen.classes, chosen.scores, chosen.shapes)


def as_coco(shape: object) -> dict[str, object]:
    """Run lengths as pycocotools takes them."""
    if not isinstance(shape, RLE):
        raise TypeError(f"run lengths are wanted, not {type(shape).__name__}")
    return {"size": list(shape.size), "counts": shape.counts}

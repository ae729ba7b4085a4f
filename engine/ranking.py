"""Active learning: which unlabeled images a model would learn most from, by how unsure it is of them and how different they are.

Uncertainty u lies in 0..1:

- tags: one class an image: 1 - (p1 - p2), the margin between the two likeliest (Scheffer et al. 2001); otherwise the mean over classes of the
  binary entropy H2(p) = -p log2 p - (1 - p) log2(1 - p).
- boxes and outlines: (spread + disagreement) / 2. Spread: of each class that is seen, the mean of 1 - |2s - 1| over its scores s >= 0.1, weighted
  by s; the mean over these classes. Disagreement: of each class that is seen in the image or its mirror image, |n - n'| / max(n, n'), where n
  and n' count its objects with s >= the model's threshold; the mean over these classes, 0 when there is none.
- masks: the mean over pixels of the entropy of the class probabilities divided by log2 of their number; where classes may overlap, or there is
  one, of H2 of each class.

Diversity: farthest-point selection (Gonzalez 1985; core sets, Sener and Savarese 2018) on embeddings, the mean-pooled last maps of the backbone,
scaled to length 1: the first image is the most uncertain one, each further one has the largest (u / max u) * d, where d is the distance to the
nearest image that was chosen before or is labeled already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.datasets import labeling_lists
from engine.datasets.images import open_image
from engine.datasets.labeling_lists import Ranked
from engine.datasets.store import Dataset
from engine.types import Instances, Labels, SemanticMask, Tags, UserError

if TYPE_CHECKING:
    from engine.predict import Predictor

__all__ = ["Ranked", "chosen", "rank", "uncertainty"]
FAINT = 0.1
MOST_PICKS = 1000
MOST_KNOWN = 200
SIDE = 512  # probabilities of larger images are looked at in steps
BACKBONES = ("backbone", "encoder", "feature_extractor")
Progress = Callable[[int, int], None]


def rank(dataset: Dataset, predictor: Predictor, ids: Sequence[int], *, count: int = 20, known: Sequence[int] = (), source: str = "",
         progress: Progress | None = None, cancelled: Callable[[], bool] = lambda: False, keep: bool = True) -> list[Ranked]:
    """The `count` most useful of these images, the most useful first; see above for the formulas.

    `known` are labeled images that they should differ from; MOST_KNOWN of them, evenly spread, are looked at. With `keep` the order of all images
    is kept as the queue's order "uncertain": first the chosen ones, then the others by uncertainty. Images that cannot be read are left out; when
    it is `cancelled` nothing is kept, and [] returned. Raises UserError for a count that is none.
    """
    if type(count) is not int or count < 1:
        raise UserError("option_bounds", name="count", value=count, low=1, high=100_000)
    labeled = list(known)[::max(1, -(-len(known) // MOST_KNOWN))]
    numbers, unsure, embedded, old = [], [], [], []
    with _pooled_maps(predictor.network) as maps:
        for done, image_id in enumerate([*labeled, *ids]):
            if cancelled():
                return []
            try:
                pixels = open_image(dataset.path(image_id))
            except UserError:
                continue
            maps.clear()
            plain = predictor.batch([pixels])[0]
            if done < len(labeled):
                old.append(_embedding(maps, pixels))
                continue
            numbers.append(image_id)
            embedded.append(_embedding(maps, pixels))
            mirrored = predictor.batch([np.ascontiguousarray(pixels[:, ::-1])])[0] if isinstance(plain, Instances) else None
            unsure.append(uncertainty(plain, mirrored, threshold=predictor.threshold, exclusive=predictor.exclusive))
            if progress is not None:
                progress(done + 1 - len(labeled), len(ids))
    values = np.array(unsure, np.float64)
    order = chosen(values, np.array(embedded, np.float64), count, np.array(old, np.float64))
    middle = float(np.median(values)) if len(values) else 0.0
    first = [Ranked(numbers[i], round(unsure[i], 6), "uncertain" if unsure[i] >= middle else "different") for i in order]
    picked = set(order)
    rest = [i for i in np.argsort(-values, kind="stable").tolist() if i not in picked]
    if keep:
        labeling_lists.put_ranks(dataset, [*first, *(Ranked(numbers[i], round(unsure[i], 6), "uncertain") for i in rest)], source or predictor.name)
    return first


def chosen(unsure: np.ndarray, embedded: np.ndarray, count: int, known: np.ndarray | None = None) -> list[int]:
    """The places of `count` images by farthest-point selection weighted by uncertainty.

    `unsure` f64[N]; `embedded` f64[N,D] and `known` f64[K,D] of any length.
    """
    total = min(count, len(unsure), MOST_PICKS)
    if not total:
        return []
    points = _unit(embedded)
    weight = unsure / unsure.max() if unsure.max() > 0 else np.ones(len(unsure))
    nearest = np.full(len(unsure), np.inf)
    if known is not None and len(known):
        nearest = np.min([np.linalg.norm(points - each, axis=1) for each in _unit(known)], axis=0)
    picks: list[int] = []
    free = np.ones(len(unsure), bool)
    for _ in range(total):
        value = weight if np.isinf(nearest).all() else weight * nearest
        best = int(np.argmax(np.where(free, value, -1.0)))
        picks.append(best)
        free[best] = False
        nearest = np.minimum(nearest, np.linalg.norm(points - points[best], axis=1))
    return picks


def _unit(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64).reshape(len(points), -1)
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)


# ---- uncertainty

def uncertainty(labels: Labels, mirrored: Labels | None = None, *, threshold: float = 0.45, exclusive: bool = False) -> float:
    """u of a prediction, and of that of the mirror image for boxes and outlines; see above."""
    if isinstance(labels, Tags):
        return _of_tags(labels.values, exclusive)
    if isinstance(labels, Instances):
        return (_spread(labels) + (_disagreement(labels, mirrored, threshold) if isinstance(mirrored, Instances) else 0.0)) / 2
    return _of_mask(labels)


def _of_tags(values: np.ndarray, exclusive: bool) -> float:
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        return 0.0
    if exclusive and len(known) > 1:
        second, first = np.sort(known)[-2:]
        return float(1 - (first - second))
    return float(_binary_entropy(known).mean())


def _spread(found: Instances) -> float:
    scores = (found.scores if found.scores is not None else np.ones(len(found))).astype(np.float64)
    means = []
    for number in np.unique(found.classes[scores >= FAINT]):
        own = scores[(found.classes == number) & (scores >= FAINT)]
        means.append(float((own * (1 - np.abs(2 * own - 1))).sum() / own.sum()))
    return float(np.mean(means)) if means else 0.0


def _disagreement(plain: Instances, mirrored: Instances, threshold: float) -> float:
    counts = []
    for found in (plain, mirrored):
        sure = found.classes if found.scores is None else found.classes[found.scores >= threshold]
        counts.append(np.bincount(sure, minlength=1 + max([*plain.classes.tolist(), *mirrored.classes.tolist(), 0])))
    most = np.maximum(*counts)
    return float((np.abs(counts[0] - counts[1])[most > 0] / most[most > 0]).mean()) if most.any() else 0.0


def _of_mask(found: SemanticMask) -> float:
    if found.probabilities is None:
        return 0.0
    step = max(1, -(-max(found.probabilities.shape[1:]) // SIDE))
    chances = found.probabilities[:, ::step, ::step].astype(np.float64)
    if found.layers is not None or len(chances) == 1:
        return float(_binary_entropy(chances).mean())
    chances = chances / np.maximum(chances.sum(0), 1e-12)
    return float(-(chances * np.log2(np.maximum(chances, 1e-12))).sum(0).mean() / np.log2(len(chances)))


def _binary_entropy(chances: np.ndarray) -> np.ndarray:
    inside = np.clip(chances, 1e-12, 1 - 1e-12)
    return -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))


# ---- looking

@contextmanager
def _pooled_maps(network: nn.Module) -> Iterator[list[Tensor]]:
    """The list that every forward pass adds the mean-pooled last maps of the backbone to, f32[B,D]."""
    maps: list[Tensor] = []

    def keep(_module: nn.Module, _given: Any, found: Any) -> None:
        if (last := _last_map(found)) is not None:
            maps.append(last.detach().float().mean((-2, -1)).cpu())

    own = next((part for name in BACKBONES if isinstance(part := getattr(network, name, None), nn.Module)), None)
    hooks = [own.register_forward_hook(keep)] if own is not None else [
        module.register_forward_hook(keep) for module in network.modules() if isinstance(module, nn.Conv2d)]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def _last_map(found: Any) -> Tensor | None:
    """The deepest map [B,D,h,w] of what a backbone gave."""
    if isinstance(found, Tensor):
        return found if found.ndim == 4 else None
    if isinstance(found, dict):
        found = list(found.values())
    maps = [each for each in found if isinstance(each, Tensor) and each.ndim == 4] if isinstance(found, list | tuple) else []
    return maps[-1] if maps else None


def _embedding(maps: list[Tensor], pixels: np.ndarray) -> np.ndarray:
    """The embedding of one image: the mean over its windows, or its colours on a grid where the network shows no maps."""
    if maps:
        last = [each for each in maps if each.shape[1:] == maps[-1].shape[1:]]
        return torch.cat(last).mean(0).numpy()
    rows = np.array_split(pixels.astype(np.float32), 4)
    return np.concatenate([part.mean((0, 1)) for row in rows for part in np.array_split(row, 4, axis=1)])

"""How well scores rank: area under the ROC curve and average precision, as scikit-learn defines them, for many weightings at once.

Both follow from the scores in descending order, ties taken together. Weights count how often an image was drawn (bootstrap).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

POINTS = 200


@dataclass(frozen=True)
class Ranking:
    """The judged images of one class, best score first. `order` i64[K] are their numbers, `positive` f64[K] is 1 or 0, `starts` i64[G] where
    each group of equal scores begins, `scores` f64[G] what it is.
    """

    order: np.ndarray
    positive: np.ndarray
    starts: np.ndarray
    scores: np.ndarray

    @property
    def defined(self) -> bool:
        """Both label values are there."""
        return 0 < self.positive.sum() < len(self.positive)

    def sums(self, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Positives and negatives of each group of equal scores, f64[R,G] twice; `weights` is [R,N] over all images."""
        chosen = np.ones((1, len(self.order))) if weights is None else np.asarray(weights[:, self.order], np.float64)
        positives, total = chosen * self.positive, chosen
        if len(self.starts) < len(self.order):
            positives, total = (np.add.reduceat(each, self.starts, axis=1) for each in (positives, total))
        return positives, total - positives


def ranking(truth: np.ndarray, scores: np.ndarray) -> Ranking:
    """truth [N]: 1 or 0, any other value (NaN, 0.5) is not judged. A score that is not a number leaves nothing to judge."""
    judged = np.flatnonzero((truth == 0) | (truth == 1))
    chosen = np.asarray(scores, np.float64)[judged]
    if not np.isfinite(chosen).all():
        judged, chosen = judged[:0], chosen[:0]
    descending = np.argsort(-chosen, kind="stable")
    chosen, judged = chosen[descending], judged[descending]
    starts = np.flatnonzero(np.diff(chosen, prepend=np.inf))
    return Ranking(judged, np.asarray(truth, np.float64)[judged], starts, chosen[starts])


def auroc(ranked: Ranking, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve, f64[R] (R = 1 without weights [R,N]): the chance that a positive scores above a negative, ties half.

    NaN where one of the two label values does not occur.
    """
    if not ranked.defined:
        return _undefined(weights)
    positives, negatives = ranked.sums(weights)
    below = negatives.sum(1, keepdims=True) - np.cumsum(negatives, 1)
    wins = (positives * (below + negatives / 2)).sum(1)
    pairs = positives.sum(1) * negatives.sum(1)
    return np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0)


def average_precision(ranked: Ranking, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean precision at each positive, f64[R]: the sum of (gain in recall) x precision over the distinct scores.

    NaN where one of the two label values does not occur.
    """
    if not ranked.defined:
        return _undefined(weights)
    positives, negatives = ranked.sums(weights)
    found, given = np.cumsum(positives, 1), np.cumsum(positives + negatives, 1)
    precision = np.divide(found, given, out=np.zeros_like(found), where=given > 0)
    wanted, others = positives.sum(1), negatives.sum(1)
    return np.divide((positives * precision).sum(1), wanted, out=np.full(len(wanted), np.nan), where=(wanted > 0) & (others > 0))


def value(statistic: np.ndarray) -> float | None:
    """The only entry of f64[1], None for NaN."""
    return float(statistic[0]) if np.isfinite(statistic[0]) else None


def mean(values: list[float | None]) -> float | None:
    """Over those that are defined; None when none is."""
    defined = [each for each in values if each is not None]
    return float(np.mean(defined)) if defined else None


def roc_points(ranked: Ranking, limit: int = POINTS) -> dict[str, list[Any]] | None:
    """{"fpr", "tpr", "threshold"} from (0,0) to (1,1), at most `limit` points spread evenly along the curve; the first threshold is None."""
    if not ranked.defined:
        return None
    fpr, tpr = _rates(ranked)
    corners = _corners(fpr, tpr)
    kept = corners[_spread(fpr[corners], tpr[corners], limit)]
    return {"fpr": fpr[kept].tolist(), "tpr": tpr[kept].tolist(), "threshold": [None, *ranked.scores[kept[1:] - 1].tolist()]}


def pr_points(ranked: Ranking, limit: int = POINTS) -> dict[str, list[Any]] | None:
    """{"recall", "precision", "threshold"} from recall 0 (precision 1 by convention) to recall 1, at most `limit` points."""
    if not ranked.defined:
        return None
    positives, negatives = (each[0] for each in ranked.sums(None))
    found, given = np.cumsum(positives), np.cumsum(positives + negatives)
    last = int(np.argmax(found >= found[-1])) + 1
    recall, precision = np.append(0.0, found / found[-1])[: last + 1], np.append(1.0, found / given)[: last + 1]
    kept = _spread(recall, precision, limit)
    return {"recall": recall[kept].tolist(), "precision": precision[kept].tolist(), "threshold": [None, *ranked.scores[kept[1:] - 1].tolist()]}


def _rates(ranked: Ranking) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate at each distinct score, f64[G+1] from 0 to 1."""
    positives, negatives = (np.append(0.0, np.cumsum(each[0])) for each in ranked.sums(None))
    return negatives / negatives[-1], positives / positives[-1]


def _corners(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the curve turns, and its ends: the points in between lie on straight lines."""
    turns = np.abs(np.diff(x)[:-1] * np.diff(y)[1:] - np.diff(x)[1:] * np.diff(y)[:-1]) > 1e-12
    return np.flatnonzero(np.concatenate([[True], turns, [True]]))


def _spread(x: np.ndarray, y: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` of the points, evenly along the way; the first and the last are always there."""
    if len(x) <= limit:
        return np.arange(len(x))
    way = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    kept = np.searchsorted(way, np.linspace(0, way[-1], limit))
    return np.unique(np.append(np.clip(kept, 0, len(x) - 1)[:-1], len(x) - 1))


def _undefined(weights: np.ndarray | None) -> np.ndarray:
    return np.full(1 if weights is None else len(weights), np.nan)

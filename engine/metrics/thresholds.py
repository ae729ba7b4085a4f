"""From probabilities to decisions: a threshold per class, and what follows from it."""

from __future__ import annotations

import numpy as np

from engine.metrics.roc import Ranking, ranking
from engine.types import UserError

RULES = ("f1", "youden", "sensitivity")
FEW = 5
DEFAULT = 0.5


def best_threshold(ranked: Ranking, rule: str = "f1", *, sensitivity: float = 0.9) -> float | None:
    """The threshold t (positive = score >= t) that is best by `rule`, half way between two neighbouring scores. None when undefined.

    "f1": highest F1; "youden": highest sensitivity + specificity; "sensitivity": the highest threshold that finds at least this share
    of the positives. Among equals, the one with the widest gap between scores. Raises UserError for an unknown rule.
    """
    if rule not in RULES:
        raise UserError("threshold_rule", value=rule, choices=", ".join(RULES))
    if not ranked.defined:
        return None
    positives, negatives = (each[0] for each in ranked.sums(None))
    hits, alarms = np.cumsum(positives), np.cumsum(negatives)
    wanted, others = hits[-1], alarms[-1]
    goodness = {
        "f1": lambda: 2 * hits / (hits + alarms + wanted), "youden": lambda: hits / wanted - alarms / others,
        "sensitivity": lambda: np.where(hits >= sensitivity * wanted - 1e-9, -alarms, -np.inf),
    }[rule]()
    following = np.append(ranked.scores[1:], min(0.0, ranked.scores[-1]))
    gap = np.where(goodness >= goodness.max() - 1e-12, ranked.scores - following, -1)
    chosen = int(gap.argmax())
    return float((ranked.scores[chosen] + following[chosen]) / 2)


def per_class(truth: np.ndarray, probability: np.ndarray, rule: str = "f1", *, sensitivity: float = 0.9) -> list[float]:
    """A threshold for each class from truth and probability [N,C].

    A class with fewer than 5 positives or negatives says too little: it gets the threshold that is best for the labels of all classes
    together, and 0.5 when these are too few as well.
    """
    together = ranking(truth.reshape(-1), probability.reshape(-1))
    shared = best_threshold(together, rule, sensitivity=sensitivity) if _enough(together) else None
    thresholds = []
    for column, scores in zip(truth.T, probability.T, strict=True):
        ranked = ranking(column, scores)
        own = best_threshold(ranked, rule, sensitivity=sensitivity) if _enough(ranked) else shared
        thresholds.append(DEFAULT if own is None else own)
    return thresholds


def rates(truth: np.ndarray, found: np.ndarray) -> dict[str, float | None]:
    """f1, sensitivity, specificity, precision of decisions found bool[N]; truth [N] is 1 or 0, other values are not judged. None = undefined.

    F1 is undefined where nothing is there to be found, as in the metrics of masks.
    """
    hits, missed, alarms, rejected = (int(np.count_nonzero((truth == there) & (found == given))) for there, given in
                                      ((1, True), (1, False), (0, True), (0, False)))
    return {"f1": 2 * hits / (2 * hits + alarms + missed) if hits + missed else None, "sensitivity": _share(hits, hits + missed),
            "specificity": _share(rejected, rejected + alarms), "precision": _share(hits, hits + alarms)}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _enough(ranked: Ranking) -> bool:
    positives = ranked.positive.sum()
    return bool(min(positives, len(ranked.positive) - positives) >= FEW)

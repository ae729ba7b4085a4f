"""Whether a probability of 0.8 comes true in 8 of 10 cases: reliability, expected calibration error, temperature."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, log_softmax, logit, softmax

BINS = 10
HOTTEST, COLDEST = 20.0, 0.05
TINY = 1e-7
FEW = 10


def reliability(truth: np.ndarray, probability: np.ndarray, bins: int = BINS) -> dict[str, list[Any]]:
    """{"predicted", "observed", "count"} of the equally wide bins that hold something: mean probability, share of positives, labels.

    truth [N]: 1 or 0, other values are not judged, nor are probabilities that are not numbers. Bins are open below, closed above.
    """
    judged = ((truth == 0) | (truth == 1)) & np.isfinite(probability)
    right, stated = truth[judged].astype(np.float64), probability[judged].astype(np.float64)
    which = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], stated)
    counts = np.bincount(which, minlength=bins)
    held = counts > 0
    predicted, observed = (np.bincount(which, each, bins)[held] / counts[held] for each in (stated, right))
    return {"predicted": predicted.tolist(), "observed": observed.tolist(), "count": counts[held].tolist()}


def expected_error(curve: dict[str, list[Any]]) -> float | None:
    """Expected calibration error of a reliability curve: the gap between stated and observed, weighted by count (Naeini et al., 2015)."""
    counts = np.asarray(curve["count"], np.float64)
    if not counts.sum():
        return None
    return float(np.abs(np.subtract(curve["predicted"], curve["observed"])) @ counts / counts.sum())


def top_label(label: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For classes that exclude each other: whether the most probable of [N,C] is `label` [N], and how probable it is (Guo et al., 2017)."""
    best = probability.argmax(1)
    return (best == label).astype(np.float64), probability[np.arange(len(best)), best]


def temperature(truth: np.ndarray, probability: np.ndarray, *, exclusive: bool) -> float:
    """The T that makes the labels most likely when all logits are divided by it (Guo et al., 2017). truth, probability [N,C].

    1 when there are too few labels to tell (10 of each value, or 10 images), and when no finite T is best because nothing is wrong.
    Not above 20.
    """
    energy = _softmax_energy(truth, probability) if exclusive else _sigmoid_energy(truth, probability)
    if energy is None:
        return 1.0
    from scipy.optimize import minimize_scalar  # takes a second, and who predicts does without
    best = minimize_scalar(energy, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-5})
    found = float(np.exp(best.x))
    return 1.0 if found < COLDEST * 1.01 else found


def tempered(probability: np.ndarray, value: float, *, exclusive: bool) -> np.ndarray:
    """Probabilities [...,C] whose logits are divided by the temperature `value`. Without `exclusive` their order stays."""
    if exclusive:
        return softmax(np.log(np.clip(probability, TINY, 1)) / value, axis=-1)
    return expit(_logits(probability) / value)


def _sigmoid_energy(truth: np.ndarray, probability: np.ndarray) -> Any:
    judged = ((truth == 0) | (truth == 1)) & np.isfinite(probability)
    signs, logits = 2.0 * truth[judged] - 1, _logits(probability[judged])
    if min((signs > 0).sum(), (signs < 0).sum()) < FEW:
        return None
    return lambda log_t: np.logaddexp(0, -signs * logits * np.exp(-log_t)).mean()


def _softmax_energy(truth: np.ndarray, probability: np.ndarray) -> Any:
    judged = (truth == 1).any(1) & np.isfinite(probability).all(1)
    labels, logits = (truth[judged] == 1).argmax(1), np.log(np.clip(probability[judged].astype(np.float64), TINY, 1))
    if len(labels) < FEW:
        return None
    return lambda log_t: -log_softmax(logits * np.exp(-log_t), axis=1)[np.arange(len(labels)), labels].mean()


def _logits(probability: np.ndarray) -> np.ndarray:
    return logit(np.clip(np.asarray(probability, np.float64), TINY, 1 - TINY))

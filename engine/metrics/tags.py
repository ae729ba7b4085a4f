"""Image-level labels: everything that is told about probabilities against truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.metrics import calibration, confusion, thresholds
from engine.metrics.bootstrap import class_bounds, draws, group_numbers, independent
from engine.metrics.roc import POINTS, Ranking, auroc, average_precision, mean, pr_points, ranking, roc_points, value
from engine.types import UNCERTAIN

CURVE_POINTS = 6000
STATISTICS = {"auroc": auroc, "average_precision": average_precision}


class TagMeter:
    """Probabilities in, metrics out. `exclusive`: one class an image, the most probable is the answer; else each class for itself.

    `decide` are thresholds that were found elsewhere (one a class); without them they are found on these images, which flatters F1.
    `uncertain` says what 0.5 in truth means: not judged ("ignore", "soft"), absent ("zeros") or there ("ones").
    """

    def __init__(self, classes: Sequence[str], *, exclusive: bool, decide: Sequence[float] | None = None, rule: str = "f1",
                 uncertain: str = "ignore") -> None:
        self.classes, self.exclusive, self.rule = tuple(classes), exclusive, rule
        self.decide = None if decide is None or exclusive else list(decide)
        self._left_open = {"zeros": 0.0, "ones": 1.0}.get(uncertain, np.nan)
        self._truth: list[np.ndarray] = []
        self._probability: list[np.ndarray] = []
        self._groups: list[str | None] = []

    def add(self, truth: np.ndarray, probability: np.ndarray, group: str | None = None) -> None:
        """One image: f32[C] of 1, 0, 0.5 (looked at, left open), NaN (not mentioned), and f32[C] in 0..1. `group` is a patient."""
        self._truth.append(np.asarray(truth, np.float32))
        self._probability.append(np.asarray(probability, np.float32))
        self._groups.append(group)

    def result(self, bootstrap: int = 0, seed: int = 0) -> dict[str, Any]:
        """{"metrics", "per_class", "thresholds", "curves"} of plain values; None = undefined, and never part of a mean.

        `bootstrap` resamples of whole patients give `auroc_low`, `auroc_high` and the like: 95 % intervals.
        """
        truth, probability = self._arrays()
        ranked = [ranking(column, scores) for column, scores in zip(truth.T, probability.T, strict=True)]
        limits = self._thresholds(truth, probability)
        per_class = self._per_class(truth, probability, ranked, self._found(probability, limits), limits)
        means = {name: mean([row[name] for row in per_class]) for name in
                 ("auroc", "average_precision", "f1", "sensitivity", "specificity", "precision")}
        spread = self._intervals(truth, ranked, bootstrap, seed)
        for row, low_high in zip([*per_class, means], spread, strict=True):
            row |= low_high
        heat = calibration.temperature(truth, probability, exclusive=self.exclusive)
        curves = self._curves(truth, probability, ranked, limits)
        means |= self._calibration(truth, probability, heat, per_class)
        if self.exclusive:
            means |= {"accuracy": confusion.accuracy(np.array(curves["confusion"]))}
        means |= {"images": len(truth), "classes_defined": sum(row["auroc"] is not None for row in per_class)}
        chosen = None if self.exclusive else limits
        return {"metrics": means, "per_class": per_class, "thresholds": {"classes": chosen, "temperature": heat}, "curves": curves}

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """truth, probability f32[N,C]."""
        shape = (-1, len(self.classes))
        truth = np.array(self._truth, np.float32).reshape(shape)
        return np.where(truth == np.float32(UNCERTAIN), np.float32(self._left_open), truth), np.array(self._probability, np.float32).reshape(shape)

    def _thresholds(self, truth: np.ndarray, probability: np.ndarray) -> list[float]:
        if self.exclusive:
            return []
        return self.decide if self.decide is not None else thresholds.per_class(truth, probability, self.rule)

    def _found(self, probability: np.ndarray, limits: list[float]) -> np.ndarray:
        """bool[N,C]: what is answered."""
        if self.exclusive:
            return probability.argmax(1)[:, None] == np.arange(len(self.classes))
        return probability >= np.asarray(limits)

    def _per_class(self, truth: np.ndarray, probability: np.ndarray, ranked: list[Ranking], found: np.ndarray,
                   limits: list[float]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for i, name in enumerate(self.classes):
            curve = calibration.reliability(truth[:, i], probability[:, i])
            rows.append({
                "name": name, **{key: value(statistic(ranked[i])) for key, statistic in STATISTICS.items()},
                **thresholds.rates(truth[:, i], found[:, i]), "threshold": None if self.exclusive else float(limits[i]),
                "ece": calibration.expected_error(curve),
                "positives": int(np.count_nonzero(truth[:, i] == 1)), "negatives": int(np.count_nonzero(truth[:, i] == 0)),
            })
        return rows

    def _intervals(self, truth: np.ndarray, ranked: list[Ranking], resamples: int, seed: int) -> list[dict[str, Any]]:
        """`<metric>_low`, `<metric>_high` for each class and, last, for the mean over the classes that a resample defines."""
        rows: list[dict[str, Any]] = [{f"{name}_{end}": None for name in STATISTICS for end in ("low", "high")} for _ in range(len(ranked) + 1)]
        numbers = group_numbers(self._groups)
        chunks = [[[statistic(each, weights) for each in ranked] for statistic in STATISTICS.values()] for weights in draws(numbers, resamples, seed)]
        if not chunks or not len(truth):
            return rows
        drawn = np.concatenate([np.array(chunk) for chunk in chunks], axis=2)  # statistic, class, resample
        trials = [independent(column, numbers) for column in truth.T]
        for (name, statistic), table in zip(STATISTICS.items(), drawn, strict=True):
            values = np.array([statistic(each)[0] for each in ranked])
            for row, (low, high) in zip(rows, class_bounds(values, table, trials), strict=True):
                row |= {f"{name}_low": low, f"{name}_high": high}
        for row, resampled in zip(rows, drawn[0], strict=False):
            row["degenerate_resamples"] = int(np.count_nonzero(~np.isfinite(resampled)))
        return rows

    def _calibration(self, truth: np.ndarray, probability: np.ndarray, heat: float, per_class: list[dict[str, Any]]) -> dict[str, float | None]:
        """`ece` of the probabilities as given, `ece_calibrated` of the tempered ones; the latter is on the images that chose the temperature."""
        cooled = calibration.tempered(probability, heat, exclusive=self.exclusive)
        if self.exclusive:
            errors = [calibration.expected_error(self._top_label(truth, each)) for each in (probability, cooled)]
            return {"ece": errors[0], "ece_calibrated": errors[1]}
        after = [calibration.expected_error(calibration.reliability(*pair)) for pair in zip(truth.T, cooled.T, strict=True)]
        return {"ece": mean([row["ece"] for row in per_class]), "ece_calibrated": mean(after)}

    def _top_label(self, truth: np.ndarray, probability: np.ndarray) -> dict[str, list[Any]]:
        labelled = (truth == 1).any(1)
        return calibration.reliability(*calibration.top_label((truth == 1).argmax(1)[labelled], probability[labelled]))

    def _curves(self, truth: np.ndarray, probability: np.ndarray, ranked: list[Ranking], limits: list[float]) -> dict[str, Any]:
        """Curves by class name; `confusion` is [C][C] (rows = truth) when classes exclude each other, else [C][2][2] ([[TN, FP], [FN, TP]])."""
        points = min(POINTS, max(20, CURVE_POINTS // max(1, len(ranked))))
        named = list(zip(self.classes, ranked, strict=True))
        labelled, found = (truth == 1).any(1), self._found(probability, limits)
        if self.exclusive:
            table = confusion.confusion_matrix((truth == 1).argmax(1)[labelled], found.argmax(1)[labelled], len(self.classes))
            curve = self._top_label(truth, probability)
        else:
            table = confusion.confusion_per_class(truth, found)
            curve = calibration.reliability(truth.reshape(-1), probability.reshape(-1))
        return {"roc": {name: roc_points(each, points) for name, each in named}, "pr": {name: pr_points(each, points) for name, each in named},
                "reliability": curve, "confusion": table.tolist()}

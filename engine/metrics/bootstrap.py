"""How sure a metric is: intervals by drawing patients (or images) again, with replacement (Efron, percentile interval)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

LEVEL = 0.95
CHUNK_ENTRIES = 1_000_000
Statistic = Callable[[np.ndarray], np.ndarray]


def group_numbers(groups: Sequence[str | None]) -> np.ndarray:
    """i64[N] 0..G-1: images of one group share a number, those without a group have one each."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault((i,) if group is None else group, len(numbers)) for i, group in enumerate(groups)], np.int64)


def draws(numbers: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image was drawn, f32[r,N] in chunks, `resamples` rows in all. Whole groups are drawn."""
    rng = np.random.default_rng(seed)
    groups = int(numbers.max()) + 1 if len(numbers) else 0
    chunk = max(1, CHUNK_ENTRIES // max(1, len(numbers)))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(0, groups, (rows, groups)) + np.arange(rows)[:, None] * groups
        counts = np.bincount(drawn.reshape(-1), minlength=rows * groups).reshape(rows, groups)
        yield counts.astype(np.float32)[:, numbers]


def interval(statistic: Statistic, truth: np.ndarray, groups: Sequence[str | None], *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """{"value", "low", "high", "positives", "degenerate"}: a statistic of weights [R,N] -> f64[R] with its 95 % interval.

    `truth` [N] is 1, 0 or anything else (not judged). `degenerate` counts the resamples in which the statistic was undefined.
    """
    numbers = group_numbers(groups)
    drawn = np.concatenate([np.zeros(0), *(statistic(weights) for weights in draws(numbers, resamples, seed))])
    value = float(statistic(np.ones((1, len(numbers)), np.float32))[0])
    low, high = bounds(value, drawn, independent(truth, numbers))
    return {"value": value if np.isfinite(value) else None, "low": low, "high": high, "positives": int(np.count_nonzero(truth == 1)),
            "degenerate": int(np.count_nonzero(~np.isfinite(drawn)))}


def bounds(value: float, drawn: np.ndarray, trials: int) -> tuple[float | None, float | None]:
    """The percentile interval of the defined resamples; None when there is nothing to draw from, or when all come out the same.

    But where they are all perfect, the exact binomial bound (Clopper and Pearson, 1934) for `trials` successes in `trials` trials is
    told, so that 3 right answers out of 3 do not look like certainty.
    """
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not defined.size or trials < 1:
        return None, None
    tail = (1 - LEVEL) / 2
    low, high = (float(each) for each in np.quantile(defined, [tail, 1 - tail]))
    if low < high:
        return low, high
    if low == 1:
        return tail ** (1 / trials), high
    return (low, 1 - tail ** (1 / trials)) if low == 0 else (None, None)


def class_bounds(values: np.ndarray, drawn: np.ndarray, trials: Sequence[int]) -> list[tuple[float | None, float | None]]:
    """`bounds` of each class and, last, of their mean: values f64[C], drawn f64[C,R], trials [C].

    In each resample the mean goes over the classes that it defines. Where all of these means are perfect, the mean of the classes' bounds is told.
    """
    rows = [bounds(*each) for each in zip(values, drawn, trials, strict=True)]
    defined = np.isfinite(drawn).sum(0)
    means = np.divide(np.nansum(drawn, 0), defined, out=np.full(drawn.shape[1], np.nan), where=defined > 0)
    known = values[np.isfinite(values)]
    low, high = bounds(float(known.mean()) if known.size else np.nan, means, max(trials, default=0))
    lows = [each for each, _ in rows if each is not None]
    if low is not None and known.min() == 1 and lows:
        low = float(np.mean(lows))
    return [*rows, (low, high)]


def independent(truth: np.ndarray, numbers: np.ndarray) -> int:
    """The number of groups that show the rarer of the two label values."""
    return min(len(np.unique(numbers[truth == wanted])) for wanted in (0, 1))

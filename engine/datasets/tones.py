"""Samples of any depth become 8 bits: a window of their values is spread over 0..255, what lies outside is cut off."""

from __future__ import annotations

import math

import numpy as np

LOW, HIGH = 0.5, 99.5  # percentiles
MAX_LOOKED_AT = 1_000_000  # samples that the percentiles are taken from; every n-th row and column of larger pictures
TINY = float(np.finfo(np.float64).tiny)


def to_8_bits(values: np.ndarray, *, keep: bool = True, looked_at: np.ndarray | None = None) -> np.ndarray:
    """uint8, same shape: the 0.5th..99.5th percentile of the finite values over 0..255; one window for all channels.

    With `keep`, pictures whose values already fit 8 bits (0..255 and more than 0 and 1) stay as they are. Where the two percentiles are the
    same, minimum and maximum take their place; a picture of a single value keeps it, cut to 0..255. NaN is shown black.
    `looked_at` bool[H,W]: the pixels that count, where some are mere filling.
    """
    sample = _sample(values, looked_at)
    if not sample.size:
        return np.zeros(values.shape, np.uint8)
    ends = _ends(values, looked_at)
    if keep and ends[0] >= 0 and 1 < ends[1] <= 255:
        return _spread(values, 0.0, 255.0)
    low, high = (4.0 * float(end) for end in np.percentile(sample / 4.0, (LOW, HIGH)))  # a quarter: differences may overflow
    if not low < high:
        low, high = ends
    if not low < high:
        return np.full(values.shape, round(min(max(low, 0.0), 255.0)), np.uint8)
    return _spread(values, low, high)


def window(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """uint8: the window of DICOM PS3.3 C.11.2.1.2 (linear), C.11.2.1.3.1 (SIGMOID) or C.11.2.1.3.2 (LINEAR_EXACT)."""
    if function == "SIGMOID":
        exponent = np.clip(-4.0 * (values.astype(np.float64) - centre) / width, -700.0, 700.0)
        return np.round(255.0 / (1.0 + np.exp(exponent))).astype(np.uint8)
    if function == "LINEAR_EXACT":
        return _spread(values, centre - width / 2, centre + width / 2)
    if width <= 1:
        return np.where(values <= centre - 0.5, 0, 255).astype(np.uint8)
    return _spread(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 [H,W,C] laid over white, `alpha` f32[H,W] in 0..1."""
    share = alpha[:, :, None].astype(np.float32)
    return np.round(colours * share + 255.0 * (1.0 - share)).astype(np.uint8)


def _sample(values: np.ndarray, looked_at: np.ndarray | None) -> np.ndarray:
    step = max(1, math.ceil(math.sqrt(values.size / MAX_LOOKED_AT)))
    taken = values[::step, ::step]
    if looked_at is not None:
        taken = taken[looked_at[::step, ::step]]
    return taken[np.isfinite(taken)]


def _ends(values: np.ndarray, looked_at: np.ndarray | None) -> tuple[float, float]:
    """The smallest and the largest finite value."""
    counted = values if looked_at is None else values[looked_at]
    if counted.dtype.kind == "f":
        counted = counted[np.isfinite(counted)]
    return (float(counted.min()), float(counted.max())) if counted.size else (0.0, 0.0)


def _spread(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """low..high over 0..255; 16-bit integers by a table, the rest a stretch of rows at a time, so that memory stays small."""
    if values.dtype.kind in "ui" and values.dtype.itemsize <= 2:
        kind = np.iinfo(values.dtype)
        table = _scaled(np.arange(kind.min, kind.max + 1, dtype=np.float64), low, high)
        return table[values.astype(np.int32) - kind.min if kind.min else values]
    out = np.empty(values.shape, np.uint8)
    rows = max(1, MAX_LOOKED_AT // max(1, values[:1].size))
    for row in range(0, len(values), rows):
        out[row:row + rows] = _scaled(values[row:row + rows].astype(np.float64), low, high)
    return out


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    shares = np.clip(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)
    return np.round((shares / 2 - low / 2) / max(high / 2 - low / 2, TINY) * 255.0).astype(np.uint8)  # halves: the range itself may overflow

"""Which values of a set of masks are classes, and which are only the soft edge between two of them, or noise."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engine.datasets.formats.mask_values import TRANSPARENT, Levels
from engine.types import UserError

FEW = 32  # levels that are believed to be classes without a closer look
MAX_CLASSES = 256  # without a legend
SOLID = 0.3  # share of a class's pixels that have their own kind all around
LOOSE = 0.2  # edges have less
SOME_SOLID = 0.1  # what is left of that in small objects
MAX_SMALL = 64
MANY_COLOURS = 16
MIN_SHARE = 0.002
MAX_EDGES = 0.3  # share of pixels that may be edges
MIN_LOOSE = 3  # levels between two classes; fewer may well be classes of their own
MIN_GAP = 32
MIN_SPAN = 64


def soft_gray(levels: Levels, *, lossy: bool = False) -> list[int] | None:
    """The values that soft edges lie between, to each of which the nearest others belong; None when every value is a class."""
    values = sorted(levels)
    if len(values) < 3 or values[-1] - values[0] < MIN_SPAN:
        return None
    if len(values) < 2 + MIN_LOOSE and not lossy:
        return None
    peaks = _peaks(levels)
    rest = [value for value in values if value not in peaks]
    if len(peaks) >= 2 and min(np.diff(peaks)) >= MIN_GAP and (len(rest) >= MIN_LOOSE or lossy) and _are_edges(levels, rest):
        return peaks
    return [values[0], values[-1]] if _two_ends(levels, lossy=lossy) else None


def _peaks(levels: Levels) -> list[int]:
    """Values that fill areas."""
    total = sum(tally.count for tally in levels.values())
    return sorted(value for value, tally in levels.items() if tally.solid >= SOLID * tally.count and tally.count >= MIN_SHARE * total)


def _are_edges(levels: Levels, values: Iterable[int]) -> bool:
    total = sum(tally.count for tally in levels.values())
    count, solid = (sum(getattr(levels[value], part) for value in values) for part in ("count", "solid"))
    return count <= MAX_EDGES * total and solid <= LOOSE * count


def _two_ends(levels: Levels, *, lossy: bool) -> bool:
    """Nearly all pixels are dark or bright, and what lies between fills no area."""
    low, high = min(levels), max(levels)
    span = high - low
    between = [value for value in levels if low + span * 0.1 < value < high - span * 0.1]
    bright = [value for value in levels if value >= high - 16]
    total = sum(tally.count for tally in levels.values())
    middle = sum(tally.count for value, tally in levels.items() if low + span / 4 < value < high - span / 4)
    if len(between) < MIN_LOOSE and not lossy and len(bright) < 2:
        return False
    return middle <= LOOSE * total and _are_edges(levels, between)


def soft_colours(levels: Levels, named: Iterable[int] = ()) -> list[int] | None:
    """The colours that soft edges lie between; None when every colour is a class. `named` colours are classes in any case."""
    if len(levels) < 2 + MIN_LOOSE:
        return None
    peaks = _with_small_ones(levels, {*_peaks(levels), *(set(named) & set(levels))})
    rest = [value for value in levels if value not in set(peaks)]
    if not 2 <= len(peaks) <= MAX_CLASSES or len(rest) < MIN_LOOSE or not _are_edges(levels, rest):
        return None
    mixed = _on_lines(channels(rest), channels([peak for peak in peaks if peak != TRANSPARENT]))
    weight = np.array([levels[value].count for value in rest])
    return peaks if weight[mixed].sum() >= 0.8 * weight.sum() else None


def _with_small_ones(levels: Levels, peaks: set[int]) -> list[int]:
    """The colours of objects so small that much of them is edge: they fill some area, and no blend of others gives them."""
    total = sum(tally.count for tally in levels.values())
    small = [value for value, tally in levels.items() if value not in peaks and value != TRANSPARENT
             and tally.solid >= SOME_SOLID * tally.count and tally.count >= MIN_SHARE * total]
    for value in sorted(small, key=lambda value: -levels[value].count)[:MAX_SMALL]:
        ends = channels(peak for peak in peaks if peak != TRANSPARENT)
        if not _on_lines(channels([value]), ends)[0] and not (np.abs(ends - channels([value])).max(1) < MIN_GAP).any():
            peaks.add(value)
    return sorted(peaks)


def check_colours(levels: Levels, name: str) -> None:
    """Raises UserError when most colours fill no area, so that nobody can tell which of them are classes."""
    thin = [value for value, tally in levels.items() if tally.solid <= LOOSE * tally.count]
    if len(levels) >= MANY_COLOURS and len(thin) * 4 >= len(levels) * 3:
        raise UserError("masks_blended_colours", name=name, count=len(levels))


def _on_lines(points: np.ndarray, ends: np.ndarray, tolerance: float = 24.0) -> np.ndarray:
    """bool[N]: colours that lie between two `ends`, which is what blending them gives."""
    found = np.zeros(len(points), bool)
    for place, start in enumerate(ends):
        for end in ends[place + 1:]:
            way = end - start
            length = float(way @ way)
            if length >= MIN_SPAN**2:
                along = np.clip((points - start) @ way / length, 0, 1)
                found |= np.square(points - start - along[:, None] * way).sum(1) <= tolerance**2
    return found


def channels(colours: Iterable[int]) -> np.ndarray:
    """f64[N,3] of 0xRRGGBB."""
    packed = np.array(list(colours), np.int64)
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], -1).astype(np.float64)


def nearest(values: list[int], peaks: list[int], *, colours: bool) -> dict[int, int]:
    """value -> the peak that it belongs to; of two at the same distance the higher."""
    if colours:
        seen = [peak for peak in peaks if peak != TRANSPARENT]
        gaps = np.square(channels(values)[:, None] - channels(seen)[None]).sum(2)
        found = dict(zip(values, (seen[place] for place in gaps.argmin(1).tolist()), strict=True))
        return {value: peak if value != TRANSPARENT else TRANSPARENT for value, peak in found.items()}
    high_first = np.array(peaks[::-1])
    places = np.abs(np.array(values)[:, None] - high_first[None]).argmin(1)
    return dict(zip(values, high_first[places].tolist(), strict=True))


def are_rough(levels: Levels) -> bool:
    """Whether these are the values of a picture (or of a very soft mask): many, and most pixels differ from their neighbours."""
    total = sum(tally.count for tally in levels.values())
    return len(levels) > FEW and sum(levels[value].count for value in _peaks(levels)) < (1 - MAX_EDGES) * total


def check_masks(levels: Levels, name: str) -> None:
    """Raises UserError when the values are those of a picture and not of a mask."""
    if are_rough(levels):
        raise UserError("masks_not_masks", name=name, levels=len(levels))
    if len(levels) > MAX_CLASSES:
        raise UserError("masks_too_many_classes", name=name, count=len(levels), limit=MAX_CLASSES)

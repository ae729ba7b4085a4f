"""Instruments as flat parts with a relief.

Local coordinates: x forward to the tip, y to the right, in millimetres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.datasets.sample_strokes import circle, turned

Points = np.ndarray  # f64[K,2]
Pair = tuple[float, float]


@dataclass(frozen=True)
class Groove:
    """A line cut `depth` deep (millimetres) into a part; raised where negative."""

    points: Points
    width: float
    depth: float = 0.5


@dataclass(frozen=True)
class Part:
    """What `fills` cover together, without the `holes`. `bevel`: from its edge the surface rises over so many millimetres, `steep` times as high."""

    fills: tuple[Points, ...]
    material: str
    bevel: float
    holes: tuple[Points, ...] = ()
    grooves: tuple[Groove, ...] = ()
    steep: float = 1.0

    def mapped(self, place: Callable[[Points], Points]) -> Part:
        grooves = tuple(replace(groove, points=place(groove.points)) for groove in self.grooves)
        return replace(self, fills=tuple(map(place, self.fills)), holes=tuple(map(place, self.holes)), grooves=grooves)


@dataclass(frozen=True)
class Instrument:
    """Parts in painting order; `height` above the tray in millimetres: how far the shadow reaches."""

    parts: tuple[Part, ...]
    height: float = 4.0

    def mapped(self, place: Callable[[Points], Points]) -> Instrument:
        return replace(self, parts=tuple(part.mapped(place) for part in self.parts))

    def middled(self) -> Instrument:
        """The same, with the middle of its extent at (0, 0)."""
        points = np.concatenate([fill for part in self.parts for fill in part.fills])
        middle = (points.min(0) + points.max(0)) / 2
        return self.mapped(lambda points: points - middle)


# -- outlines -------------------------------------------------------------------------------------------------------------------------


def curve(knots: Sequence[Pair], steps: int = 6) -> Points:
    """A smooth line through the knots (Catmull-Rom)."""
    points = np.array(knots, float)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    at = np.linspace(0, 1, steps, endpoint=False)[:, None]
    before, start, end, after = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    spans = 0.5 * (2 * start + (end - before) * at + (2 * before - 5 * start + 4 * end - after) * at**2
                   + (3 * start - before - 3 * end + after) * at**3)
    return np.concatenate([spans.reshape(-1, 2), points[-1:]])


def stroke(line: Points, widths: Sequence[float]) -> Points:
    """Outline of a line whose width changes evenly from one of the `widths` to the next, with rounded ends."""
    pace = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(pace)])
    half = np.interp(along / along[-1], np.linspace(0, 1, len(widths)), widths)[:, None] / 2
    tangent = np.gradient(line, axis=0)
    tangent = tangent / np.maximum(np.hypot(*tangent.T), 1e-9)[:, None]
    normal = tangent[:, ::-1] * (-1, 1)
    back, front = line[:1] - tangent[:1] * half[:1] * 0.6, line[-1:] + tangent[-1:] * half[-1:] * 0.6
    return np.concatenate([back, line + normal * half, front, (line - normal * half)[::-1]])


def loft(profile: Sequence[Pair], steps: int = 5) -> Points:
    """A shape that is the same on both sides of the x axis: (x, full width) from back to front, never wider than told."""
    x, width = np.array(profile, float).T
    at = np.linspace(0, len(x) - 1, (len(x) - 1) * steps + 1)
    share = at - np.floor(at)
    eased = np.floor(at) + share * share * (3 - 2 * share)
    knots = np.arange(len(x))
    edge = np.stack([np.interp(at, knots, x), np.interp(eased, knots, width) / 2], 1)
    return np.concatenate([edge, edge[::-1] * (1, -1)])


def oval(x: float, y: float, long: float, wide: float, heading: float = 0.0, corners: int = 32) -> Points:
    """An ellipse with half axes `long` along the heading and `wide` across."""
    return np.array([x, y]) + turned(circle(corners)[1] * (long, wide), heading)


def bars(start: float, end: float, count: int, reach: float, width: float = 0.7, depth: float = 0.5) -> tuple[Groove, ...]:
    """Grooves across the x axis."""
    return tuple(Groove(np.array([[x, -reach], [x, reach]]), width, depth) for x in np.linspace(start, end, count))


def screw(x: float, y: float, radius: float, material: str, heading: float) -> Part:
    slot = np.array([[x, y], [x, y]]) + turned(np.array([[-radius, 0.0], [radius, 0.0]]) * 0.7, heading)
    return Part((oval(x, y, radius, radius, 0.0, 20),), material, 0.45 * radius, grooves=(Groove(slot, 0.7, 0.8),))

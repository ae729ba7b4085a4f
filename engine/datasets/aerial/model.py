"""Things seen from above as flat coloured polygons.

Local coordinates: x forward, y to the right, the middle at 0, in pixels of the finished picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
Points = np.ndarray  # f64[K,2]
WHITE, GLASS, BLACK = (236.0, 238.0, 240.0), (38.0, 50.0, 62.0), (34.0, 35.0, 38.0)


@dataclass(frozen=True)
class Part:
    points: Points
    colour: Colour


@dataclass(frozen=True)
class Model:
    """Parts in painting order; `height` is how far the shadow reaches, in pixels."""

    parts: tuple[Part, ...]
    height: float


def shade(colour: Sequence[float], factor: float) -> Colour:
    red, green, blue = (float(min(255.0, c * factor)) for c in colour[:3])
    return red, green, blue


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours, a little off."""
    base = np.array(colours[int(rng.integers(len(colours)))])
    red, green, blue = np.clip(base + rng.normal(0, 8) + rng.normal(0, 3, 3), 8, 250)
    return float(red), float(green), float(blue)


def rectangle(x: float, y: float, length: float, width: float) -> Points:
    return np.array([x, y]) + np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2


def rounded(x: float, y: float, length: float, width: float, power: float = 4.0) -> Points:
    """A superellipse: 2 is an ellipse, more is boxier."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    unit = np.stack([np.sign(cos) * np.abs(cos) ** (2 / power), np.sign(sin) * np.abs(sin) ** (2 / power)], axis=1)
    return np.array([x, y]) + unit * (length / 2, width / 2)


def mirrored(points: Sequence[tuple[float, float]]) -> tuple[Points, Points]:
    right = np.array(points, float)
    return right, right * (1, -1)


def pair(points: Sequence[tuple[float, float]], colour: Colour, light: float) -> list[Part]:
    """The same part on both sides; the one away from the sun is darker."""
    right, left = mirrored(points)
    return [Part(right, shade(colour, 1 - 0.09 * light)), Part(left, shade(colour, 1 + 0.09 * light))]

"""Buildings from above: roofs lit by the sun."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.datasets.aerial.model import BLACK, Colour, Model, Part, pick, rectangle, rounded, shade

ROOFS: tuple[Colour, ...] = ((176, 86, 60), (150, 70, 52), (112, 104, 100), (92, 98, 108), (140, 104, 78), (196, 190, 180), (96, 124, 110))


def building(rng: np.random.Generator, sun: np.ndarray) -> Model:
    """`sun` is the unit vector towards the sun in the building's own coordinates."""
    kind = rng.choice(4, p=(0.34, 0.22, 0.26, 0.18))
    length = float(rng.uniform(44, 84))
    width = length * float(rng.uniform(0.5, 0.85))
    roof = pick(rng, ROOFS)
    parts = (_gable, _hip, _flat, _wings)[kind](rng, length, width, roof, sun)
    return Model(tuple(parts), float(rng.uniform(7, 14)))


def hangar(rng: np.random.Generator, sun: np.ndarray) -> Model:
    """A barrel roof in strips, brightest where it faces the sun."""
    length, width = float(rng.uniform(58, 78)), float(rng.uniform(44, 58))
    roof = pick(rng, ((176, 182, 186), (150, 166, 176), (188, 180, 164)))
    angles = np.linspace(-1, 1, 12)
    parts = [Part(rectangle(0, a * width * 0.458, length, width / 11.5), shade(roof, 0.9 + 0.22 * sun[1] * a)) for a in angles]
    parts += [Part(rectangle(x * length, 0, 0.9, width), shade(roof, 0.74)) for x in (-0.25, 0.0, 0.25)]
    return Model((*parts, Part(rectangle(length * 0.485, 0, length * 0.03, width), shade(roof, 0.6))), float(rng.uniform(8, 12)))


def _faces(roof: Colour, sun: np.ndarray, faces: Sequence[tuple[tuple[float, float], Sequence[tuple[float, float]]]]) -> list[Part]:
    """Roof faces (which way it slopes, outline), lit by how far they look towards the sun."""
    return [Part(np.array(outline, float), shade(roof, 1 + 0.24 * float(sun @ np.array(normal)))) for normal, outline in faces]


def _gable(rng: np.random.Generator, length: float, width: float, roof: Colour, sun: np.ndarray) -> list[Part]:
    x, y = length / 2, width / 2
    parts = _faces(roof, sun, [((0, -1), [(-x, -y), (x, -y), (x, 0), (-x, 0)]), ((0, 1), [(-x, 0), (x, 0), (x, y), (-x, y)])])
    for row in np.arange(-y + 4, y - 1, 4.5):
        parts.append(Part(rectangle(0, row, length, 0.6), shade(parts[0 if row < 0 else 1].colour, 0.9)))
    parts.append(Part(rectangle(0, 0, length, 1.8), shade(roof, 1.28)))
    return [*parts, *_chimney(rng, x * 0.6, y * 0.45, roof)]


def _hip(rng: np.random.Generator, length: float, width: float, roof: Colour, sun: np.ndarray) -> list[Part]:
    x, y = length / 2, width / 2
    ridge = max(x - y, 2.0)
    parts = _faces(roof, sun, [
        ((0, -1), [(-x, -y), (x, -y), (ridge, 0), (-ridge, 0)]), ((0, 1), [(-ridge, 0), (ridge, 0), (x, y), (-x, y)]),
        ((1, 0), [(x, -y), (x, y), (ridge, 0)]), ((-1, 0), [(-x, -y), (-ridge, 0), (-x, y)])])
    parts.append(Part(rectangle(0, 0, 2 * ridge, 1.6), shade(roof, 1.3)))
    return [*parts, *_chimney(rng, x * 0.4, y * 0.4, roof)]


def _chimney(rng: np.random.Generator, x: float, y: float, roof: Colour) -> list[Part]:
    if rng.random() < 0.4:
        return []
    x, y = x * float(rng.choice((-1, 1))), y * float(rng.choice((-1, 1)))
    return [Part(rectangle(x, y, 6, 5), shade(roof, 0.55)), Part(rectangle(x, y, 3, 2.4), BLACK)]


def _flat(rng: np.random.Generator, length: float, width: float, roof: Colour, sun: np.ndarray) -> list[Part]:
    felt = pick(rng, ((150, 150, 148), (188, 184, 176), (118, 122, 126), (206, 204, 198)))
    parts = [Part(rectangle(0, 0, length, width), shade(felt, 1.22)), Part(rectangle(0, 0, length - 6, width - 6), shade(felt, 0.7)),
             Part(rectangle(-1.6 * sun[0], -1.6 * sun[1], length - 8, width - 8), felt)]
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.uniform(-0.34, 0.34, 2) * (length, width)
        size = rng.uniform(5, 12, 2)
        parts += [Part(rectangle(x - 2.5 * sun[0], y - 2.5 * sun[1], *size), shade(felt, 0.55)), Part(rectangle(x, y, *size), shade(felt, 1.18)),
                  Part(rounded(x, y, size[0] * 0.5, size[0] * 0.5, 2), shade(felt, 0.62))]
    return parts


def _wings(rng: np.random.Generator, length: float, width: float, roof: Colour, sun: np.ndarray) -> list[Part]:
    """An L of two gabled wings."""
    depth, side = min(length, width) * float(rng.uniform(0.4, 0.48)), float(rng.choice((-1, 1)))
    x, y, h = length / 2, width / 2, depth / 2
    long = _faces(roof, sun, [((0, -side), [(-x, -side * y), (x, -side * y), (x, side * (h - y)), (-x, side * (h - y))]),
                              ((0, side), [(-x, side * (h - y)), (x, side * (h - y)), (x, side * (depth - y)), (-x, side * (depth - y))])])
    far = side * y
    cross = _faces(roof, sun, [((-1, 0), [(-x, far), (-x, side * (depth - y)), (h - x, side * (h - y)), (h - x, far)]),
                               ((1, 0), [(h - x, far), (h - x, side * (h - y)), (depth - x, side * (depth - y)), (depth - x, far)])])
    ridges = [rectangle(h / 2, side * (h - y), length - h, 1.6), rectangle(h - x, side * h / 2, 1.6, width - h)]
    return [*long, *cross, *(Part(ridge, shade(roof, 1.28)) for ridge in ridges), *_chimney(rng, x * 0.5, 0.0, roof)]

"""Drawn tissue under the microscope, stained pink and purple: glands and clusters of immune cells, with a class for every pixel.

Light passes through the tissue, so that stains are painted as amounts and turned into colours at the end (Beer-Lambert law).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from engine.datasets.sample_strokes import SHIFT, circle, ellipse, fixed, hexagonal, hills, turned, wobble

CLASSES = ("background", "gland", "immune cells")
GLAND, IMMUNE = 1, 2
SIZE, SCALE = 256, 2  # pixels of the finished picture; how much finer it is painted
FINE = SIZE * SCALE
KINDS = ((0, 0), (2, 0), (3, 1), (1, 1), (4, 0), (0, 2), (2, 1), (3, 0))  # glands, clusters of immune cells
STAINS = np.array([[0.80, 0.94, 0.46], [0.13, 0.80, 0.40], [0.10, 0.95, 0.90]])  # how much red, green and blue each takes away
NUCLEAR, PINK, BLOOD = range(3)
Point = np.ndarray


@dataclass(frozen=True)
class Slide:
    """image u8[SIZE,SIZE,3] RGB; mask u8[SIZE,SIZE] of CLASSES."""

    image: np.ndarray
    mask: np.ndarray


@dataclass
class _Canvas:
    """Amounts of the stains f32[3,FINE,FINE], the classes so far, and the circles that are taken: x, y, radius."""

    rng: np.random.Generator
    stains: np.ndarray
    mask: np.ndarray
    taken: list[tuple[float, float, float]] = field(default_factory=list)

    def fill(self, outline: np.ndarray, nuclear: float, pink: float, blood: float = 0.0) -> None:
        for layer, amount in zip(self.stains, (nuclear, pink, blood), strict=True):
            cv2.fillPoly(layer, [fixed(outline)], amount, shift=SHIFT)

    def line(self, outline: np.ndarray, width: int, nuclear: float, pink: float, *, closed: bool = True) -> None:
        for layer, amount in zip(self.stains, (nuclear, pink, 0.0), strict=True):
            cv2.polylines(layer, [fixed(outline)], closed, amount, width, shift=SHIFT)

    def nucleus(self, at: Point, size: tuple[float, float], heading: float, amount: float) -> None:
        """An ellipse with half axes `size`, the first along `heading`, a little darker at its rim."""
        outline = ellipse(at, size, heading)
        self.fill(outline, amount, 0.22)
        self.line(outline, 1, amount * 1.22, 0.22)

    def places(self, radius: float, count: int, margin: float) -> Iterator[Point]:
        """Up to `count` centres whose circles are free; each counts as taken from then on."""
        for _ in range(60 * count):
            at = self.rng.uniform(margin, FINE - margin, 2)
            if count and all(np.hypot(at[0] - x, at[1] - y) > radius + other for x, y, other in self.taken):
                self.taken.append((float(at[0]), float(at[1]), radius))
                count -= 1
                yield at


def generate(rng: np.random.Generator, kind: int) -> Slide:
    """A slide of one of the KINDS."""
    glands, clusters = KINDS[kind % len(KINDS)]
    fibres, heading = _fibres(rng)
    canvas = _Canvas(rng, _stroma(rng, fibres), np.zeros((FINE, FINE), np.uint8))
    sizes = sorted(rng.uniform(56, 96 if glands > 2 else 118, glands), reverse=True)
    gland_places = [(at, size) for size in sizes for at in canvas.places(size * 1.1 + 14, 1, 20)]
    cluster_places = [(at, size) for size in rng.uniform(44, 74, clusters) for at in canvas.places(size * 1.1 + 4, 1, 40)]
    vessels = [(at, size) for size in rng.uniform(20, 46, int(rng.integers(0, 3))) for at in canvas.places(size + 8, 1, 10)]
    fat = [(at, size) for size in rng.uniform(60, 120, int(rng.random() < 0.35)) for at in canvas.places(size * 0.8, 1, 0)]
    for at, size in fat:
        _fat(canvas, at, size)
    _scattered(canvas, heading)
    for at, size in vessels:
        _vessel(canvas, at, size)
    for at, size in cluster_places:
        _cluster(canvas, at, size)
    style = _GlandStyle.pick(rng)
    for at, size in gland_places:
        _gland(canvas, at, size, style)
    return Slide(_photograph(canvas), _reduced(canvas.mask))


# -- connective tissue ----------------------------------------------------------------------------------------------------------------


def _fibres(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Wavy strands f32[FINE,FINE], about -1..1, and the angle in which they run at each pixel."""
    angle = rng.uniform(0, np.pi)
    rows, columns = np.mgrid[:FINE, :FINE].astype(np.float32) - FINE / 2
    along = np.float32(np.cos(angle)) * columns + np.float32(np.sin(angle)) * rows
    across = np.float32(np.cos(angle)) * rows - np.float32(np.sin(angle)) * columns + 85 * hills(rng, FINE, 3, 2)
    strands = np.zeros((FINE, FINE), np.float32)
    for width, share in ((22, 0.5), (9, 0.35), (4, 0.25)):
        grid = rng.normal(0, 1, (FINE * 2 // width, FINE * 2 // (14 * width) + 2)).astype(np.float32)
        texture = cv2.resize(grid, (FINE * 2, FINE * 2), interpolation=cv2.INTER_CUBIC)
        strands += share * cv2.remap(texture, along + FINE, across + FINE, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    down, right = np.gradient(across)
    return strands, np.arctan2(-right, down)


def _stroma(rng: np.random.Generator, fibres: np.ndarray) -> np.ndarray:
    dense = hills(rng, FINE, 3)
    pink = 0.46 + 0.17 * fibres + 0.10 * dense
    torn = np.clip((-fibres - 0.55 + 0.35 * hills(rng, FINE, 4)) * 4, 0, 1)
    pink = pink * (1 - 0.9 * torn) + 0.04
    nuclear = 0.07 + 0.05 * dense + 0.03 * fibres
    return np.stack([np.clip(nuclear, 0.02, None) * (1 - 0.8 * torn), np.clip(pink, 0.03, None), np.zeros_like(pink)]).astype(np.float32)


def _scattered(canvas: _Canvas, heading: np.ndarray) -> None:
    """Slender nuclei along the fibres, and single immune cells."""
    rng = canvas.rng
    for at in rng.uniform(0, FINE, (int(rng.integers(110, 230)), 2)):
        direction = float(heading[int(at[1]), int(at[0])] + rng.normal(0, 0.15))
        canvas.nucleus(at, (float(rng.uniform(8, 14)), float(rng.uniform(2.2, 3.8))), direction, float(rng.uniform(0.55, 0.95)))
    for at in rng.uniform(0, FINE, (int(rng.integers(10, 60)), 2)):
        _immune_cell(canvas, at)


def _immune_cell(canvas: _Canvas, at: Point) -> None:
    size = float(canvas.rng.uniform(5.0, 6.6))
    canvas.nucleus(at, (size, size * float(canvas.rng.uniform(0.85, 1))), float(canvas.rng.uniform(0, np.pi)), float(canvas.rng.uniform(0.9, 1.25)))


def _cluster(canvas: _Canvas, at: Point, radius: float) -> None:
    """Round dark nuclei, close together, none beyond the outline."""
    rng = canvas.rng
    angles, rays = circle(80)
    outline = at + rays * (radius * wobble(rng, angles, 0.13))[:, None]
    area = np.zeros_like(canvas.mask)
    cv2.fillPoly(area, [fixed(outline)], 1, shift=SHIFT)
    canvas.stains[NUCLEAR][area > 0] = canvas.stains[NUCLEAR][area > 0] * 0.5 + 0.13
    for spot in at + hexagonal(14, 1.4 * radius):
        spot = spot + rng.uniform(-3.4, 3.4, 2)
        if rng.random() < 0.93 and cv2.pointPolygonTest(outline.astype(np.float32), (float(spot[0]), float(spot[1])), True) > 3:
            _immune_cell(canvas, spot)
    canvas.mask[area > 0] = IMMUNE


# -- what is no class -----------------------------------------------------------------------------------------------------------------


def _vessel(canvas: _Canvas, at: Point, radius: float) -> None:
    """A wall of muscle around an opening with some red cells."""
    rng = canvas.rng
    angles, rays = circle(60)
    ring = turned(rays * (1.0, float(rng.uniform(0.6, 1))) * wobble(rng, angles, 0.06)[:, None], float(rng.uniform(0, np.pi)))
    wall = float(rng.uniform(0.45, 0.75))
    canvas.fill(at + ring * radius, 0.1, 0.62)
    for share in np.arange(0.95, wall, -5 / radius):
        canvas.line(at + ring * radius * share, 1, 0.12, float(rng.uniform(0.5, 0.85)))
    for place in rng.choice(60, int(radius * 0.3), replace=False):
        step = ring[(place + 1) % 60] - ring[place - 1]
        canvas.nucleus(at + ring[place] * radius * rng.uniform(wall, 0.95), (8.5, 2.4), float(np.arctan2(step[1], step[0])), 0.75)
    canvas.fill(at + ring * radius * wall, 0.02, 0.05)
    inside = (at + ring * (radius * wall - 5)).astype(np.float32)
    for _ in range(int(rng.uniform(0, 0.035) * (radius * wall)**2)):
        spot = at + rng.uniform(-1, 1, 2) * radius * wall
        if cv2.pointPolygonTest(inside, (float(spot[0]), float(spot[1])), False) > 0:
            canvas.fill(ellipse(spot, (5.2, 4.6), float(rng.uniform(0, np.pi))), 0.0, 0.3, 0.42)


def _fat(canvas: _Canvas, at: Point, radius: float) -> None:
    """Large empty cells with thin walls."""
    rng = canvas.rng
    angles, rays = circle(40)
    for spot in hexagonal(46, radius):
        if np.hypot(*spot) < radius:
            middle = at + spot + rng.uniform(-5, 5, 2)
            cell = rays * (25 * wobble(rng, angles, 0.05))[:, None]
            canvas.fill(middle + cell, 0.1, 0.5)
            canvas.fill(middle + cell * 0.91, 0.01, 0.015)
            if rng.random() < 0.4:
                side = float(rng.uniform(0, 2 * np.pi))
                canvas.nucleus(middle + 24 * np.array([np.cos(side), np.sin(side)]), (7, 2.5), side + np.pi / 2, 0.8)


# -- glands ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _GlandStyle:
    """What the glands of one slide have in common."""

    thickness: float  # of the wall, in fine pixels
    goblets: float  # share of the cells that hold mucus
    crowded: float  # share of second nuclei
    irregular: float
    pink: float

    @staticmethod
    def pick(rng: np.random.Generator) -> _GlandStyle:
        sick = rng.random() < 0.4
        return _GlandStyle(float(rng.uniform(32, 44)), 0.0 if sick else float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.5, 0.9)) if sick else 0.1,
                           float(rng.uniform(0.1, 0.15)) if sick else float(rng.uniform(0.05, 0.1)), float(rng.uniform(0.3, 0.42)))


def _gland(canvas: _Canvas, at: Point, radius: float, style: _GlandStyle) -> None:
    """A ring of tall cells, their nuclei outside, around an opening."""
    rng = canvas.rng
    angles, rays = circle(4 * int(radius * 2 * np.pi / 13))
    long = float(rng.uniform(1, 1.3))
    rays = turned(rays * (long, 1 / long), float(rng.uniform(0, 2 * np.pi)))
    reach = radius * 0.9 * wobble(rng, angles, style.irregular)
    inner = np.maximum(reach - style.thickness * wobble(rng, angles, 0.1), 0.1 * radius)
    outline, opening = at + rays * reach[:, None], at + rays * inner[:, None]
    canvas.line(outline, 11, 0.03, 0.12)
    canvas.fill(outline, 0.17, style.pink)
    canvas.line(outline, 3, 0.2, 0.7)
    _cells(canvas, outline, opening, style)
    canvas.fill(opening, 0.02, 0.04)
    canvas.line(opening, 2, 0.18, 0.6)
    _mucus(canvas, opening)
    _lining(canvas, outline, opening, style)
    cv2.fillPoly(canvas.mask, [fixed(outline)], GLAND, shift=SHIFT)


def _cells(canvas: _Canvas, outline: np.ndarray, opening: np.ndarray, style: _GlandStyle) -> None:
    rng = canvas.rng
    for start, end in zip(outline[::4], opening[::4], strict=True):
        canvas.line(np.stack([start, end]), 1, 0.26, style.pink + 0.12, closed=False)
    for outside, inside in zip(outline[2::4], opening[2::4], strict=True):
        if rng.random() < style.goblets:
            way = inside - outside
            length = float(np.hypot(*way))
            canvas.fill(ellipse(outside + way * 0.68, (length * 0.27, 5.2), float(np.arctan2(way[1], way[0]))), 0.1, 0.04)


def _mucus(canvas: _Canvas, opening: np.ndarray) -> None:
    """Faint threads in the opening."""
    area = np.zeros_like(canvas.mask)
    cv2.fillPoly(area, [fixed(opening)], 1, shift=SHIFT)
    threads = np.clip(0.16 - np.abs(hills(canvas.rng, FINE, 7)), 0, None) * float(canvas.rng.uniform(0, 1.6))
    canvas.stains[NUCLEAR] += area * threads * 0.5
    canvas.stains[PINK] += area * threads


def _lining(canvas: _Canvas, outline: np.ndarray, opening: np.ndarray, style: _GlandStyle) -> None:
    """A row of nuclei along the outline, in sick glands a second one."""
    rng = canvas.rng
    for outside, inside in zip(outline[1::4], opening[1::4], strict=True):
        way = inside - outside
        length = max(float(np.hypot(*way)), 1.0)
        for depth in (0.26, 0.5):
            if depth < 0.4 or rng.random() < style.crowded:
                at = outside + way * (depth + rng.normal(0, 0.035))
                size = (min(float(rng.uniform(7.0, 9.5)), length * 0.24), float(rng.uniform(4.4, 5.8)))
                canvas.nucleus(at, size, float(np.arctan2(way[1], way[0]) + rng.normal(0, 0.15)), float(rng.uniform(0.62, 0.95)))


# -- the picture ----------------------------------------------------------------------------------------------------------------------


def _photograph(canvas: _Canvas) -> np.ndarray:
    """u8[SIZE,SIZE,3]: light that is left after the stains; how strong these are and their tints differ from slide to slide."""
    rng = canvas.rng
    amounts = canvas.stains * (1 + 0.16 * hills(rng, FINE, 60, 2))
    amounts = amounts * (rng.uniform(0.8, 1.25, 3) * (1.0, 1.05, 1.0))[:, None, None].astype(np.float32)
    tints = STAINS * rng.uniform(0.9, 1.1, STAINS.shape)
    light = np.exp(-np.tensordot(amounts.astype(np.float32), tints.astype(np.float32), ([0], [0])))
    light = cv2.GaussianBlur(light, (0, 0), float(rng.uniform(0.9, 1.4)))
    small = cv2.resize(light, (SIZE, SIZE), interpolation=cv2.INTER_AREA) * rng.uniform((0.94, 0.93, 0.95), (0.98, 0.97, 0.99)).astype(np.float32)
    return np.clip(small * 255 + rng.normal(0, 1.6, small.shape), 0, 255).astype(np.uint8)


def _reduced(mask: np.ndarray) -> np.ndarray:
    """u8[SIZE,SIZE]: the class that most of the fine pixels show, the first of those that tie."""
    shares = [cv2.resize((mask == number).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA) for number in range(len(CLASSES))]
    return np.argmax(shares, axis=0).astype(np.uint8)

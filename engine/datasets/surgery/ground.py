"""What instruments lie on: a drape, a mat with bumps, a tray of steel, with holes or without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from engine.datasets.sample_strokes import SHIFT, circle, fixed, hills
from engine.datasets.surgery.model import Points

WIDTH, HEIGHT, FINE = 512, 384, 3  # pixels of the finished picture; how much finer it is painted
CLOTHS = ((52, 112, 150), (38, 92, 136), (62, 132, 126), (44, 104, 96), (88, 128, 152), (120, 150, 160), (172, 178, 178), (70, 92, 118))
MATS = ((32, 74, 128), (36, 116, 108), (92, 98, 104), (46, 48, 54), (128, 150, 170))
RIM = 26.0  # pixels from the border of the picture to the floor of a tray
Placing = Callable[[Points], Points]


@dataclass(frozen=True)
class Ground:
    """image u8[HEIGHT*FINE,WIDTH*FINE,3]; the colour that metal mirrors; how far from the border of the picture things may lie."""

    image: np.ndarray
    colour: np.ndarray
    margin: float


def drape(rng: np.random.Generator, place: Placing, way: np.ndarray) -> Ground:
    cloth, colour = _cloth(rng, way)
    return Ground(_fine(cloth), colour, 4.0)


def mat(rng: np.random.Generator, place: Placing, way: np.ndarray) -> Ground:
    """Silicone with rows of bumps, in a tray."""
    colour = np.array(MATS[int(rng.integers(len(MATS)))]) * rng.uniform(0.9, 1.1)
    image = _fine(colour * (1 + 0.05 * _wide(rng, 3) + 0.012 * rng.normal(0, 1, (HEIGHT, WIDTH, 1))))
    step, radius = float(rng.uniform(15, 21)), float(rng.uniform(2.4, 3.6))
    spots = place(_grid(step, stagger=rng.random() < 0.5))
    for offset, size, factor in ((-way * 0.9, 1.25, 0.72), (way * 0.0, 1.0, 1.1), (way * 0.8, 0.5, 1.55)):
        _dots(image, spots + offset, radius * size, np.clip(colour * factor + (14 if factor > 1.5 else 0), 0, 255))
    return _in_tray(rng, Ground(image, colour, RIM + 2), place, way)


def steel(rng: np.random.Generator, place: Placing, way: np.ndarray) -> Ground:
    """Brushed, with dull reflections of the lamps."""
    image, colour = _steel(rng, way)
    return _in_tray(rng, Ground(_fine(image), colour, RIM + 2), place, way)


def sieve(rng: np.random.Generator, place: Placing, way: np.ndarray) -> Ground:
    """A tray of steel with rows of holes."""
    flat, colour = _steel(rng, way)
    image, step = _fine(flat), float(rng.uniform(16, 22))
    spots, radius = place(_grid(step, stagger=rng.random() < 0.6)), step * float(rng.uniform(0.2, 0.27))
    _dots(image, spots - way * 0.7, radius * 1.12, colour * 1.3)
    _dots(image, spots, radius, colour * float(rng.uniform(0.2, 0.42)))
    return _in_tray(rng, Ground(image, colour * 0.85, RIM + 2), place, way)


KINDS = (drape, steel, mat, sieve)


# -- surfaces -------------------------------------------------------------------------------------------------------------------------


def _wide(rng: np.random.Generator, cells: int, octaves: int = 3) -> np.ndarray:
    """Hills f32[HEIGHT,WIDTH,1]."""
    return hills(rng, WIDTH, cells, octaves)[:HEIGHT, :, None]


def _fine(image: np.ndarray) -> np.ndarray:
    return cv2.resize(np.clip(image, 0, 255).astype(np.uint8), (WIDTH * FINE, HEIGHT * FINE), interpolation=cv2.INTER_CUBIC)


def _cloth(rng: np.random.Generator, way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Woven, with folds lit from `way`: f32[HEIGHT,WIDTH,3] and its colour."""
    colour = np.array(CLOTHS[int(rng.integers(len(CLOTHS)))]) * rng.uniform(0.85, 1.1)
    folds = 16 * hills(rng, WIDTH, 2, 2) + 5 * np.abs(hills(rng, WIDTH, 3, 1)) ** 0.7 + 2.0 * hills(rng, WIDTH, 9, 2)
    down, right = np.gradient(folds[:HEIGHT])
    lit = 1 - 0.55 * (right * way[0] + down * way[1])
    weave = rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    weave = cv2.blur(weave, (1, 5)) + cv2.blur(weave[:, ::-1], (5, 1))
    return (lit * (1 + 0.035 * weave))[..., None] * colour, colour


def _steel(rng: np.random.Generator, way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    grey = np.array([0.97, 1.0, 1.02]) * rng.uniform(70, 118)
    streaks = cv2.resize(rng.normal(0, 1, (HEIGHT, 12)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    sheen = _wide(rng, 2, 2) + 0.4 * np.linspace(-1, 1, WIDTH)[:, None] * way[0] + 0.4 * np.linspace(-1, 1, HEIGHT)[:, None, None] * way[1]
    return grey * (1 + 0.2 * sheen + 0.03 * streaks[..., None]), grey


def _grid(step: float, *, stagger: bool) -> Points:
    """Points all over the picture and a little beyond."""
    rows, columns = np.arange(-2, HEIGHT / step + 2), np.arange(-2, WIDTH / step + 2)
    x, y = np.meshgrid(columns * step, rows * step)
    return np.stack([x + (rows[:, None] % 2) * (step / 2 if stagger else 0), y], -1).reshape(-1, 2)


def _dots(image: np.ndarray, spots: Points, radius: float, colour: np.ndarray) -> None:
    size = max(1, round(radius * FINE * 2**SHIFT))
    for x, y in fixed(spots * FINE).tolist():
        cv2.circle(image, (x, y), size, tuple(colour.tolist()), -1, cv2.LINE_AA, SHIFT)


# -- the tray -------------------------------------------------------------------------------------------------------------------------


def _in_tray(rng: np.random.Generator, floor: Ground, place: Placing, way: np.ndarray) -> Ground:
    """The floor within walls with a rounded lip; a cloth all around."""
    cloth, _ = _cloth(rng, way)
    inside = np.zeros(floor.image.shape[:2], np.uint8)
    cv2.fillPoly(inside, [fixed(place(_rounded(RIM * 0.5)) * FINE)], 255, cv2.LINE_AA, SHIFT)
    image, grey = _fine(cloth), float(rng.uniform(120, 190))
    shadow = cv2.GaussianBlur(cv2.resize(inside, (WIDTH // 2, HEIGHT // 2)), (0, 0), 4)
    dark = cv2.resize(255 - (0.55 * shadow).astype(np.uint8), image.shape[1::-1])
    cv2.multiply(image, cv2.cvtColor(dark, cv2.COLOR_GRAY2RGB), image, 1 / 255)
    cv2.copyTo(floor.image, inside, image)
    for inset in np.linspace(RIM, RIM * 0.45, 12):
        share = (inset - RIM * 0.45) / (RIM * 0.55)
        _ring(image, place, float(inset), grey * (0.62 + 0.5 * (1 - share) + 0.55 * float(np.exp(-((share - 0.12) / 0.1) ** 2))), way, share)
    return Ground(image, floor.colour, floor.margin)


def _ring(image: np.ndarray, place: Placing, inset: float, grey: float, way: np.ndarray, share: float) -> None:
    """A line around the tray, lighter on the wall that faces the light."""
    line = _rounded(inset)
    middle = (line - (WIDTH / 2, HEIGHT / 2)) / (WIDTH / 2, HEIGHT / 2)
    facing = -(middle @ way) / max(float(np.hypot(*way)), 0.1)
    points = fixed(place(line) * FINE)
    for start, end, light in zip(points, np.roll(points, -1, 0), facing, strict=True):
        tone = float(np.clip(grey * (1 + 0.3 * share * light), 0, 255))
        cv2.line(image, start.tolist(), end.tolist(), (tone * 0.97, tone, tone * 1.02), round(RIM * 0.09 * FINE), cv2.LINE_AA, SHIFT)


def _rounded(inset: float) -> Points:
    """A rectangle with rounded corners, so many pixels within the picture, in short steps."""
    radius = 34.0
    _, rays = circle(32)
    corners = np.array([WIDTH / 2 - inset - radius, HEIGHT / 2 - inset - radius])
    bent = rays * radius + np.sign(np.round(rays, 6) + 1e-9) * corners
    pieces = [start + (end - start) * np.linspace(0, 1, 1 + int(np.hypot(*(end - start)) / 24), endpoint=False)[:, None]
              for start, end in zip(bent, np.roll(bent, -1, 0), strict=True)]
    return np.concatenate(pieces) + (WIDTH / 2, HEIGHT / 2)

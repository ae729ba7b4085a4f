"""What lies under the objects: textures, and the few strokes to pave, line and plant a piece of land."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from engine.datasets.aerial.model import Colour, Points, shade

SIZE, SCALE = 320, 2  # pixels of the finished picture; how much finer it is painted
MEADOWS = (((84, 108, 58), (122, 136, 78)), ((104, 122, 66), (146, 150, 92)), ((72, 96, 60), (104, 122, 74)))
DRY = (((148, 136, 96), (178, 164, 122)), ((132, 120, 84), (160, 150, 104)))
CROPS = (*MEADOWS, *DRY, ((126, 96, 70), (148, 118, 88)), ((170, 160, 84), (196, 184, 108)), ((92, 124, 52), (110, 146, 66)))
SAND = ((204, 186, 148), (222, 208, 174))
CONCRETE = (((160, 160, 156), (178, 176, 170)), ((146, 148, 150), (166, 166, 164)))
ASPHALT = (((82, 84, 88), (98, 99, 102)), ((104, 104, 104), (122, 121, 119)))
SEAS = (((24, 62, 92), (38, 88, 116)), ((30, 82, 98), (52, 116, 126)), ((44, 74, 84), (70, 98, 100)), ((18, 48, 78), (30, 66, 100)))
Pair = tuple[Colour, Colour]


def noise(rng: np.random.Generator, cells: int, octaves: int = 4) -> np.ndarray:
    """Smooth random hills f32[SIZE,SIZE], about -1..1."""
    total = np.zeros((SIZE, SIZE), np.float32)
    for octave in range(octaves):
        count = min(cells * 2**octave, SIZE) + 1
        grid = rng.uniform(-1, 1, (count, count)).astype(np.float32)
        total += cv2.resize(grid, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    return total * 0.62


def mottled(rng: np.random.Generator, colours: Pair, cells: int = 4, grain: float = 5.0) -> np.ndarray:
    """A texture f32[SIZE,SIZE,3] between two colours."""
    mix = np.clip(noise(rng, cells) * 0.5 + 0.5, 0, 1)[..., None]
    speckle = (rng.integers(0, 256, (SIZE, SIZE, 1), np.uint8) - np.float32(127.5)) * np.float32(grain / 74)  # even spread, deviation `grain`
    start, end = np.array(colours, np.float32)
    return start + (end - start) * mix + speckle


def choose(rng: np.random.Generator, options: tuple[Pair, ...]) -> Pair:
    return options[int(rng.integers(len(options)))]


def direction(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def distance(angle: float, offset: float) -> np.ndarray:
    """How far f32[SIZE,SIZE] every pixel lies beyond a line: normal at `angle`, `offset` from the middle."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32) + 0.5 - SIZE / 2
    normal = direction(angle)
    return np.float32(normal[0]) * columns + np.float32(normal[1]) * rows - np.float32(offset)


def sea(rng: np.random.Generator) -> np.ndarray:
    water = mottled(rng, choose(rng, SEAS), 3, 2.0)
    heading = float(rng.uniform(0, np.pi))
    bend = noise(rng, 5, 3)
    swell = 0.6 + 0.4 * np.sin(distance(heading + 0.4, 0) * 0.13 + 5 * bend)
    ripple = np.sin(distance(heading, 0) * float(rng.uniform(0.5, 0.8)) + 4 * bend) * swell
    crest = np.clip(ripple - 0.72, 0, 1) * (rng.random((SIZE, SIZE), np.float32) < 0.5)
    return water + (ripple * float(rng.uniform(2.5, 5.0)) + crest * float(rng.uniform(20, 90)))[..., None]


def fields(rng: np.random.Generator) -> np.ndarray:
    """A patchwork of crops in rows, parted by hedges."""
    angle = float(rng.uniform(0, np.pi))
    cuts = [distance(angle + turn + float(rng.normal(0, 0.08)), float(rng.uniform(-100, 100))) for turn in (0, np.pi / 2)]
    region = (cuts[0] > 0).astype(np.int32) + 2 * (cuts[1] > 0)
    picture = np.zeros((SIZE, SIZE, 3), np.float32)
    for patch in range(4):
        rows = np.sin(distance(angle + float(rng.choice((0, np.pi / 2))), 0) * float(rng.uniform(0.6, 1.3))) * float(rng.uniform(2, 12))
        texture = mottled(rng, choose(rng, CROPS), 4, 4.0) + rows[..., None]
        np.copyto(picture, texture, where=(region == patch)[..., None])
    hedge = np.exp(-((np.min(np.abs(cuts), axis=0) / 2.5) ** 2))[..., None]
    return picture * (1 - 0.6 * hedge) + hedge * 0.6 * np.array((52, 70, 42), np.float32)


class Land:
    """A picture in the making, painted at SCALE. Coordinates are pixels of the finished picture."""

    def __init__(self, texture: np.ndarray, sun: np.ndarray) -> None:
        self.sun = sun
        self.image = _fine(texture)

    def pave(self, outlines: Iterable[Points], texture: np.ndarray) -> np.ndarray:
        """Lays a texture on polygons; returns where, bool[SIZE,SIZE]."""
        mask = fill(outlines)
        np.copyto(self.image, _fine(texture), where=mask[..., None].astype(bool))
        return coarse(mask)

    def polygon(self, points: Points, colour: Colour) -> None:
        cv2.fillPoly(self.image, [_subpixels(points)], colour, cv2.LINE_AA, shift=4)

    def line(self, start: Points, end: Points, width: float, colour: Colour, dash: tuple[float, float] | None = None) -> None:
        """A straight stripe, or dashes of the given length and gap."""
        length = float(np.hypot(*(end - start)))
        ahead = (end - start) / max(length, 1e-6)
        side = ahead[::-1] * (-1, 1) * width / 2
        on, off = dash or (length, 0.0)
        for begin in np.arange(0, length, on + off + 1e-6):
            a, b = start + ahead * begin, start + ahead * min(begin + on, length)
            self.polygon(np.array([a - side, b - side, b + side, a + side]), colour)

    def shadow(self, mask: np.ndarray, strength: float) -> None:
        """Darkens where the u8 mask is set, with a soft edge."""
        soft = cv2.GaussianBlur(mask * 255, (0, 0), 1.2)
        dark = soft > 0
        cool = np.array([1.0, 0.94, 0.84], np.float32) * np.float32(strength / 255)  # the sky still lights it
        self.image[dark] = (self.image[dark] * (1 - soft[dark][:, None] * cool)).astype(np.uint8)

    def trees(self, rng: np.random.Generator, count: int, allowed: np.ndarray, clusters: int = 4) -> None:
        """Round crowns in loose groups, with shadows, where `allowed`."""
        centres = rng.uniform(0, SIZE, (clusters, 2))
        spots = [s for s in centres[rng.integers(clusters, size=count)] + rng.normal(0, 26, (count, 2)) if _free(allowed, s)]
        radii = rng.uniform(4, 9, len(spots))
        shadow = np.zeros(self.image.shape[:2], np.uint8)
        for (x, y), radius in zip(spots, radii, strict=True):
            for step in (0.4, 0.8):
                _disc(shadow, np.array([x, y]) - self.sun * radius * step, radius, (1,))
        self.shadow(shadow, 0.45)
        for spot, radius in zip(spots, radii, strict=True):
            crown = shade((58, 84, 44), float(rng.uniform(0.75, 1.3)))
            _disc(self.image, np.asarray(spot), radius, shade(crown, 0.8))
            for _ in range(7):
                offset = rng.normal(0, 0.36, 2) * radius
                lit = 1 + 0.32 * float(offset @ self.sun) / radius
                leaf = radius * float(rng.uniform(0.3, 0.55))
                _disc(self.image, np.asarray(spot) + offset, leaf, shade(crown, lit * float(rng.uniform(0.9, 1.15))))


def _free(allowed: np.ndarray, spot: np.ndarray) -> bool:
    column, row = (int(v) for v in spot)
    return 0 <= column < SIZE and 0 <= row < SIZE and bool(allowed[row, column])


def _disc(image: np.ndarray, centre: np.ndarray, radius: float, colour: tuple[float, ...]) -> None:
    where = tuple(int(v) for v in np.round(centre * SCALE * 16))
    cv2.circle(image, where, round(radius * SCALE * 16), colour, -1, cv2.LINE_AA if image.ndim == 3 else cv2.LINE_8, 4)


def _fine(texture: np.ndarray) -> np.ndarray:
    return cv2.resize(np.clip(texture, 0, 255).astype(np.uint8), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LINEAR)


def _subpixels(points: Points) -> np.ndarray:
    return np.round((np.asarray(points) * SCALE - 0.5) * 16).astype(np.int32)


def fill(outlines: Iterable[Points]) -> np.ndarray:
    """The union of polygons as u8 of 0 and 1 at the painting scale."""
    mask = np.zeros((SIZE * SCALE, SIZE * SCALE), np.uint8)
    for points in outlines:
        cv2.fillPoly(mask, [_subpixels(points)], 1, shift=4)
    return mask


def coarse(mask: np.ndarray) -> np.ndarray:
    """Pixels of the finished picture that the mask covers at least by half, bool[SIZE,SIZE]."""
    covered = np.zeros((SIZE, SIZE), np.uint8)
    for row in range(SCALE):
        for column in range(SCALE):
            covered += mask[row::SCALE, column::SCALE]
    return covered * 2 >= SCALE * SCALE

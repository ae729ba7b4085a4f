"""Strokes that the drawn samples share: hills of noise, grown shapes, coordinates as OpenCV takes them."""

from __future__ import annotations

import cv2
import numpy as np

SHIFT = 4  # binary places of the coordinates given to OpenCV


def fixed(points: np.ndarray) -> np.ndarray:
    """Points (x, y) in pixels as whole numbers with SHIFT binary places."""
    return np.round(points * 2**SHIFT).astype(np.int32)


def circle(corners: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles f64[corners] all the way round, and the points [corners, 2] at distance 1."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return angles, np.stack([np.cos(angles), np.sin(angles)], 1)


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def ellipse(at: np.ndarray, size: tuple[float, float], heading: float, corners: int = 14) -> np.ndarray:
    """Outline [corners, 2] with half axes `size`, the first along `heading`."""
    return at + turned(circle(corners)[1] * size, heading)


def hills(rng: np.random.Generator, side: int, cells: int, octaves: int = 3) -> np.ndarray:
    """Smooth random hills f32[side,side], about -1..1."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        count = min(cells * 2**octave, side) + 1
        grid = rng.uniform(-1, 1, (count, count)).astype(np.float32)
        total += cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return total * 0.65


def wobble(rng: np.random.Generator, angles: np.ndarray, strength: float) -> np.ndarray:
    """Factors about 1 that turn a circle into something grown."""
    total = np.ones_like(angles)
    for waves, share in ((2, 1.0), (3, 0.6), (4, 0.35), (6, 0.22), (9, 0.12)):
        total += strength * share * rng.uniform(0.5, 1.0) * np.cos(waves * angles + rng.uniform(0, 2 * np.pi))
    return total


def hexagonal(step: float, reach: float) -> np.ndarray:
    """Points [N,2] about (0, 0), each `step` from its six neighbours, at least as far as `reach` in every direction."""
    count = int(reach * 1.2 / step) + 2
    return step * np.array([(column + row % 2 / 2, row * 0.87) for row in range(-count, count + 1) for column in range(-count, count + 1)])

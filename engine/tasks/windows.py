"""Large images piece by piece: random pieces to learn from, overlapping windows to predict."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

OVERLAP = 0.25
AT_ONCE = 4
TRIES = 4


def random_piece(image: np.ndarray, planes: np.ndarray, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """u8[side,side,3] and its planes u8[..,side,side] from a random place; smaller images are mirrored at their borders.

    Half of the pieces are looked for where something is marked: a large image is mostly background.
    """
    random = np.random.default_rng([seed, 7])
    image, planes = _padded(image, side), _padded_planes(planes, side)
    height, width = image.shape[:2]
    wanted = random.random() < 0.5
    for _ in range(TRIES):
        y, x = int(random.integers(0, height - side + 1)), int(random.integers(0, width - side + 1))
        piece = planes[..., y : y + side, x : x + side]
        shows = piece if piece.ndim == 2 else piece[:-1]
        if not wanted or ((shows > 0) & (shows < 255)).any():
            break
    return image[y : y + side, x : x + side], planes[..., y : y + side, x : x + side]


def slide(chances: Callable[[np.ndarray], Tensor], image: np.ndarray, side: int) -> np.ndarray:
    """f32[C,H,W]: the mean of what `chances` (u8[B,side,side,3] -> [B,C,side,side]) says of the windows over u8[H,W,3].

    A window counts most in its middle, where it sees what is around.
    """
    height, width = image.shape[:2]
    padded = _padded(image, side)
    corners = [(y, x) for y in _steps(padded.shape[0], side) for x in _steps(padded.shape[1], side)]
    ramp = np.minimum(np.arange(side) + 1, side - np.arange(side)).astype(np.float32)
    importance = np.minimum.outer(ramp, ramp) / ramp.max()
    total: np.ndarray | None = None
    weight = np.zeros(padded.shape[:2], np.float32)
    for first in range(0, len(corners), AT_ONCE):
        part = corners[first : first + AT_ONCE]
        found = chances(np.stack([padded[y : y + side, x : x + side] for y, x in part])).float().cpu().numpy()
        if total is None:
            total = np.zeros((found.shape[1], *padded.shape[:2]), np.float32)
        for (y, x), each in zip(part, found, strict=True):
            total[:, y : y + side, x : x + side] += each * importance
            weight[y : y + side, x : x + side] += importance
    if total is None:
        raise ValueError("an image without pixels")
    return (total / weight)[:, :height, :width]


def _steps(length: int, side: int) -> list[int]:
    """Where windows begin, evenly spread, overlapping by OVERLAP at least."""
    count = 1 + int(np.ceil(max(0, length - side) / (side * (1 - OVERLAP))))
    return [round(i * (length - side) / max(1, count - 1)) for i in range(count)]


def _padded(image: np.ndarray, side: int) -> np.ndarray:
    """At least `side` pixels each way, mirrored at the right and lower border."""
    missing = [(0, max(0, side - length)) for length in image.shape[:2]]
    return np.pad(image, (*missing, (0, 0)), mode="symmetric") if any(after for _, after in missing) else image


def _padded_planes(planes: np.ndarray, side: int) -> np.ndarray:
    missing = [(0, max(0, side - length)) for length in planes.shape[-2:]]
    ahead = [(0, 0)] * (planes.ndim - 2)
    return np.pad(planes, (*ahead, *missing), mode="symmetric") if any(after for _, after in missing) else planes

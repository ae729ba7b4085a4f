"""An object pointed at: its pixels from a few points or a box, without a network (GrabCut: Rother, Kolmogorov, Blake 2004, as in OpenCV)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engine.types import UserError

SIDE = 288  # the window is worked on at this size, so that the answer takes a few hundred ms whatever the image
ROUNDS = 3
SMALLEST = 8  # pixels of a window's side
REACH = 0.09  # of the window's shorter side: what lies so near to a point probably belongs to it
MOST_POINTS = 64
Point = tuple[float, float]
Box = tuple[float, float, float, float]


def pointed(image: np.ndarray, inside: Sequence[Point], outside: Sequence[Point] = (), *, box: Box | None = None,
            window: Box | None = None) -> np.ndarray:
    """bool[H,W]: the object that the points `inside` lie on, without those `outside`.

    `box` says where the object ends; `window` (what a person sees) bounds the search when there is none. uint8 image[H,W,3]; points and boxes in its
    pixels. All False when nothing sets the points apart. Raises UserError without a point or box in the image.
    """
    height, width = image.shape[:2]
    area = _whole(_around(box) if box else window or (0, 0, width, height), width, height)
    near, far = _within(inside, area), _within(outside, area)
    if (not near and box is None) or len(near) + len(far) > MOST_POINTS or min(area[2] - area[0], area[3] - area[1]) < SMALLEST:
        raise UserError("labels_unreadable", what="points")
    found = np.zeros((height, width), bool)
    crop = image[area[1]:area[3], area[0]:area[2]]
    own = None if box is None else (box[0] - area[0], box[1] - area[1], box[2] - area[0], box[3] - area[1])
    found[area[1]:area[3], area[0]:area[2]] = _cut(crop, near, far, own)
    return found


def _cut(crop: np.ndarray, inside: list[Point], outside: list[Point], box: Box | None) -> np.ndarray:
    """bool of the crop; points and box in its pixels."""
    scale = min(1.0, SIDE / max(crop.shape[:2]))
    size = (max(2, round(crop.shape[1] * scale)), max(2, round(crop.shape[0] * scale)))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA) if scale < 1 else crop
    own = None if box is None else (box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale)
    seeds = _seeds(size, [(x * scale, y * scale) for x, y in inside], [(x * scale, y * scale) for x, y in outside], own)
    cv2.setRNGSeed(0)  # the same points give the same object
    if not (np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD)).any() and np.isin(seeds, (cv2.GC_BGD, cv2.GC_PR_BGD)).any()):
        return np.zeros(crop.shape[:2], bool)
    cv2.grabCut(np.ascontiguousarray(small), seeds, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    mask = _whole_object(np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD)), [(x * scale, y * scale) for x, y in inside])
    if scale < 1:
        return cv2.resize(mask.astype(np.float32), crop.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    return mask


def _seeds(size: tuple[int, int], inside: list[Point], outside: list[Point], box: Box | None) -> np.ndarray:
    """What is sure and what is likely, before the colours are looked at."""
    width, height = size
    seeds = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    if box is not None:
        x1, y1, x2, y2 = (round(each) for each in box)
        seeds[:] = cv2.GC_BGD
        seeds[max(0, y1):max(y1 + 1, y2), max(0, x1):max(x1 + 1, x2)] = cv2.GC_PR_FGD
    else:
        seeds[[0, -1], :] = seeds[:, [0, -1]] = cv2.GC_BGD
    reach = max(3, round(REACH * min(size)))
    for points, likely, sure in ((inside, cv2.GC_PR_FGD, cv2.GC_FGD), (outside, cv2.GC_PR_BGD, cv2.GC_BGD)):
        for x, y in points:
            cv2.circle(seeds, (int(x), int(y)), reach, likely, -1)
        for x, y in points:
            cv2.circle(seeds, (int(x), int(y)), max(1, reach // 4), sure, -1)
    return seeds


def _whole_object(mask: np.ndarray, points: list[Point]) -> np.ndarray:
    """The parts that hold a point (without points: the largest part), with small holes closed."""
    count, parts, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    height, width = mask.shape
    wanted = {int(parts[min(int(y), height - 1), min(int(x), width - 1)]) for x, y in points} - {0}
    if not points and count > 1:
        wanted = {1 + int(np.argmax(facts[1:, cv2.CC_STAT_AREA]))}
    kept = np.isin(parts, list(wanted)) if wanted else np.zeros_like(mask)
    holes, inner, sizes, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    small = [number for number in range(1, holes) if sizes[number, cv2.CC_STAT_AREA] < 0.02 * max(kept.sum(), 1)]
    return kept | np.isin(inner, small)


def _around(box: Box) -> Box:
    """A box with enough of what lies around it."""
    dx, dy = 0.35 * (box[2] - box[0]), 0.35 * (box[3] - box[1])
    return box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy


def _whole(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    return (min(max(0, int(np.floor(x1))), width), min(max(0, int(np.floor(y1))), height), max(0, min(width, int(np.ceil(x2)))),
            max(0, min(height, int(np.ceil(y2)))))


def _within(points: Sequence[Point], area: tuple[int, int, int, int]) -> list[Point]:
    """The points that lie in the area, in its pixels."""
    return [(x - area[0], y - area[1]) for x, y in points if area[0] <= x < area[2] and area[1] <= y < area[3]]

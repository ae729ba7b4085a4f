"""Which part of an image is seen: zoom out, a crop that keeps enough of some object, a stretch to the square. One resampling for all of it.

A frame is a rectangle in the pixels of the image and may reach beyond it. The crop is that of Liu et al. 2016 (SSD, section 2.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from engine.augment.boxed import Boxed
from engine.datasets.images import resize

FILL = 0
FARTHEST = 4.0  # zooming out, sides of the canvas over those of the image
SMALLEST = 0.3  # a crop has at least this share of either side
LEAN = 2.0  # and sides that differ by this factor at most, over those of the frame that it is cut from
OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # IoU of crop and some object that is asked for; 1: no crop
TRIALS = 40


@dataclass(frozen=True)
class Frame:
    """What is seen: whole pixels of the image, from (`left`, `top`) on."""

    left: int
    top: int
    width: int
    height: int


def whole(size: tuple[int, int]) -> Frame:
    return Frame(0, 0, *size)


def zoomed_out(size: tuple[int, int], random: np.random.Generator) -> Frame:
    """The image of `size` = (width, height) somewhere on a canvas that is up to FARTHEST times as large."""
    ratio, across, down = float(random.uniform(1, FARTHEST)), float(random.random()), float(random.random())
    width, height = int(size[0] * ratio), int(size[1] * ratio)
    return Frame(-int(across * (width - size[0])), -int(down * (height - size[1])), width, height)


def cropped(frame: Frame, boxes: np.ndarray, random: np.random.Generator) -> Frame:
    """A part of `frame` that overlaps some box as much as was drawn, or `frame` itself."""
    while len(boxes):
        wanted = float(random.choice(OVERLAPS))
        if wanted >= 1:
            break
        shares, places = random.uniform(SMALLEST, 1, (TRIALS, 2)), random.random((TRIALS, 2))
        size = np.array([frame.width, frame.height])
        sides = (shares * size).astype(int)
        corners = ((size - sides) * places).astype(int) + np.array([frame.left, frame.top])
        lean = shares[:, 0] / shares[:, 1]
        usable = np.flatnonzero((sides > 0).all(1) & (lean >= 1 / LEAN) & (lean <= LEAN))
        found = usable[_overlaps(corners[usable], sides[usable], boxes) >= wanted]
        if len(found):
            return Frame(*corners[found[0]].tolist(), *sides[found[0]].tolist())
    return frame


def _overlaps(corners: np.ndarray, sides: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """f64[T]: of rectangles given by their first corners and sides [T,2], the largest IoU with a box whose centre lies inside; -1 without any."""
    low, high = corners[:, None], (corners + sides)[:, None]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middle > low) & (middle < high)).all(2)
    width, height = np.moveaxis((np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low)).clip(0), 2, 0)
    common = width * height
    return np.where(inside, common / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + sides.prod(1)[:, None] - common), -1.0).max(1)


def centred(boxes: np.ndarray, frame: Frame) -> np.ndarray:
    """bool[N]: the centre of the box lies in the frame."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([frame.left, frame.top])
    return ((middle > 0) & (middle < np.array([frame.width, frame.height]))).all(1)


def framed(picture: Boxed, frame: Frame, side: int, *, relit: Callable[[np.ndarray], np.ndarray] = lambda image: image) -> Boxed:
    """The square of `side` that shows `frame`; `relit` changes the pixels of the image, not what lies beside it.

    Boxes whose centre was cut away are gone, the others are cut off at the border.
    """
    scale = np.array([side / frame.width, side / frame.height])
    corner = np.array([frame.left, frame.top])
    seen = None
    (x0, x1), (y0, y1) = ((max(0, start), min(most, start + length)) for start, length, most in
                          zip((frame.left, frame.top), (frame.width, frame.height), picture.size, strict=True))
    if x1 > x0 and y1 > y0:
        (left, top), (right, bottom) = (np.rint((np.array(each) - corner) * scale).astype(int).tolist() for each in ((x0, y0), (x1, y1)))
        right, bottom = min(side, max(right, left + 1)), min(side, max(bottom, top + 1))
        if right > left and bottom > top:
            part = relit(resize(picture.image[y0:y1, x0:x1], (right - left, bottom - top)))
            seen = cv2.copyMakeBorder(part, top, side - bottom, left, side - right, cv2.BORDER_CONSTANT, value=(FILL,) * 3)
    seen = np.full((side, side, 3), FILL, np.uint8) if seen is None else seen
    inside = picture.clipped()
    stays = inside.kept(centred(inside.boxes, frame))
    boxes = (stays.boxes - np.tile(corner, 2)) * np.tile(scale, 2)
    return Boxed(seen, boxes.astype(np.float32), stays.classes).clipped()

"""Which part of an image is seen: zoom out, a crop that keeps enough of some object, a stretch to the square. One resampling for all of it.

A frame is a rectangle in the pixels of the image and may reach beyond it. The crop is that of Liu et al. 2016 (SSD, section 2.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
        for _ in range(TRIALS):
            share, place = random.uniform(SMALLEST, 1, 2), random.random(2)
            width, height = int(frame.width * share[0]), int(frame.height * share[1])
            part = Frame(frame.left + int((frame.width - width) * place[0]), frame.top + int((frame.height - height) * place[1]), width, height)
            if width and height and 1 / LEAN <= share[0] / share[1] <= LEAN and _overlap(part, boxes) >= wanted:
                return part
    return frame


def _overlap(frame: Frame, boxes: np.ndarray) -> float:
    """The largest IoU of the frame with a box whose centre lies in it; -1 when none does."""
    near = boxes[centred(boxes, frame)]
    if not len(near):
        return -1.0
    low, high = np.array([frame.left, frame.top]), np.array([frame.left + frame.width, frame.top + frame.height])
    common = (np.minimum(near[:, 2:], high) - np.maximum(near[:, :2], low)).clip(0).prod(1)
    return float((common / ((near[:, 2:] - near[:, :2]).prod(1) + frame.width * frame.height - common)).max())


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
    seen = np.full((side, side, 3), FILL, np.uint8)
    (x0, x1), (y0, y1) = ((max(0, start), min(most, start + length)) for start, length, most in
                          zip((frame.left, frame.top), (frame.width, frame.height), picture.size, strict=True))
    if x1 > x0 and y1 > y0:
        (left, top), (right, bottom) = (np.rint((np.array(each) - corner) * scale).astype(int).tolist() for each in ((x0, y0), (x1, y1)))
        right, bottom = min(side, max(right, left + 1)), min(side, max(bottom, top + 1))
        if right > left and bottom > top:
            seen[top:bottom, left:right] = relit(resize(picture.image[y0:y1, x0:x1], (right - left, bottom - top)))
    inside = picture.clipped()
    stays = inside.kept(centred(inside.boxes, frame))
    boxes = (stays.boxes - np.tile(corner, 2)) * np.tile(scale, 2)
    return Boxed(seen, boxes.astype(np.float32), stays.classes).clipped()

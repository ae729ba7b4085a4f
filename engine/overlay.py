"""Labels drawn on a picture: the one overlay of pages, command line and previews. Truth (no scores) and prediction look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from engine import text
from engine.types import IGNORE, NOTHING, RLE, Instances, Polygons, SemanticMask

# Okabe & Ito (2008), then five that stay apart from them, and from each other, under simulated protan, deutan and tritan vision
# (Machado et al. 2009) and that keep 3:1 against the near-black image well.
PALETTE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
    "#7A2BF0", "#EDEDED", "#75602B", "#4CE98A", "#B870FF",
)  # fmt: skip
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 3), (1, 2.5), (6, 2, 1, 2))  # on, off, ... in line widths; a step every 12 classes
DARK, LIGHT = (10, 14, 18), (255, 255, 255)
LONGEST_NAME = 32
FAR = 1e6

Colour = tuple[int, int, int]


def color_of(class_id: int) -> str:
    """The class's colour as "#rrggbb", the same everywhere in the app."""
    return PALETTE[class_id % len(PALETTE)]


def dash_of(class_id: int) -> tuple[float, ...]:
    """Lengths on, off, ... in line widths; empty for a solid line."""
    return DASHES[class_id // len(PALETTE) % len(DASHES)]


def dashed(class_id: int) -> bool:
    return bool(dash_of(class_id))


def draw(image: np.ndarray, labels: Instances, classes: Sequence[str], *, scores: bool = True, names: bool = True,
         opacity: float = 0.35, highlight: int | None = None, pen: Pen | None = None) -> np.ndarray:
    """A new u8[H,W,3] RGB picture with boxes, shapes and, unless `names` is off, names. `highlight` is the index of the object that stands out.

    Without a `pen` lines suit the size of the picture.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype}{list(image.shape)}, wanted uint8[H, W, 3]")
    canvas = np.array(image, order="C")
    if not len(labels) or not canvas.size:
        return canvas
    pen = pen or Pen.for_image(canvas.shape[1], canvas.shape[0])
    boxes = _inside_reach(labels.boxes)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    order = [int(i) for i in np.argsort(-area, kind="stable") if i != highlight]
    chosen = [highlight] if highlight is not None and 0 <= highlight < len(labels) else []
    for i in order + chosen:
        strength = opacity * (0.4 if chosen and i not in chosen else 1.0)
        shape = labels.shapes[i] if labels.shapes is not None else None
        _draw_object(canvas, boxes[i], shape, int(labels.classes[i]), pen.bold() if i in chosen else pen, strength)
    if names:
        _draw_chips(canvas, labels, boxes, classes, scores, chosen, pen)
    return canvas


def draw_mask(image: np.ndarray, mask: SemanticMask, classes: Sequence[str], *, opacity: float = 0.45, edge: int = 1) -> np.ndarray:
    """A new u8[H,W,3] RGB picture with the classes' areas tinted, and edged by lines of `edge` pixels. The mask may have another size.

    A class named "background" is what is left and stays clear; pixels that nobody may judge get gray stripes.
    """
    canvas = np.array(image, order="C")
    areas = [(class_id, area) for class_id, area in _areas(mask, canvas.shape[1], canvas.shape[0])
             if class_id == IGNORE or class_id >= len(classes) or classes[class_id].strip().casefold() != "background"]
    edges = [_edge(area, class_id, edge) for class_id, area in areas]
    for class_id, area in areas:
        where = area & _stripes(canvas.shape) if class_id == IGNORE else area
        tint = np.array((128, 128, 128) if class_id == IGNORE else _rgb(class_id), np.float32)
        canvas[where] = (canvas[where] * (1 - opacity) + tint * opacity).round().astype(np.uint8)
    for (class_id, _), rim in zip(areas, edges, strict=True):
        if class_id != IGNORE:
            canvas[rim.astype(bool)] = _rgb(class_id)
    return canvas


def _edge(area: np.ndarray, class_id: int, width: int) -> np.ndarray:
    """u8[H,W] of 0 and 1: the inner rim of a bool[H,W], with gaps where the class has dashes."""
    if class_id == IGNORE or not dashed(class_id):
        return cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((2 * width + 1,) * 2, np.uint8)) & area
    edge = np.zeros(area.shape, np.uint8)
    for contour in cv2.findContours(area.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]:
        cv2.polylines(edge, list(_dashes(contour[:, 0], dash_of(class_id), 2 * width)), False, 1, 2 * width - 1)
    return edge & area


def _areas(mask: SemanticMask, width: int, height: int) -> list[tuple[int, np.ndarray]]:
    """(class id, bool[height,width]) of every class that shows, nearest neighbour."""
    if mask.layers is not None:
        layers = [cv2.resize(layer.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0 for layer in mask.layers]
        return [(class_id, layer) for class_id, layer in enumerate(layers) if layer.any()]
    if mask.classes is None:
        return []
    values = cv2.resize(mask.classes, (width, height), interpolation=cv2.INTER_NEAREST)
    return [(int(class_id), values == class_id) for class_id in np.flatnonzero(np.bincount(values.ravel())) if class_id != NOTHING]


def _stripes(shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = np.indices(shape[:2], sparse=True)
    period = max(4, max(shape[:2]) // 100)
    return (rows + columns) // period % 2 == 0


@dataclass(frozen=True)
class Pen:
    """Sizes in pixels that suit an image: line width, width of the halo on each side of it, font size."""

    width: int
    halo: int
    font: int

    @classmethod
    def for_image(cls, width: int, height: int) -> Pen:
        scale = float(np.sqrt(width * height))
        line = 2 * round(scale / 1100) + 1  # odd, so that the halo is as wide on both sides
        return cls(line, max(1, round(line / 3)), max(12, round(scale / 72)))

    def bold(self) -> Pen:
        return Pen(self.width + 2, self.halo + 1, self.font)


FINE = Pen(2, 1, 12)  # for small pictures, drawn at twice their size: the colour outweighs the line beside it, and both show


# -- lines and fills ------------------------------------------------------------------------------------------------------------------


def _rgb(class_id: int) -> Colour:
    code = color_of(class_id)
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def _ink(colour: Colour) -> Colour:
    """Dark or light, whichever reads better on the colour (WCAG relative luminance)."""
    channels = np.array(colour) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return DARK if float(linear @ (0.2126, 0.7152, 0.0722)) > 0.18 else LIGHT


def _inside_reach(boxes: np.ndarray) -> np.ndarray:
    """Boxes f64[N,4] with ordered corners, kept where OpenCV's integers reach."""
    reached = np.clip(boxes.astype(np.float64), -FAR, FAR)
    return np.hstack([np.minimum(reached[:, :2], reached[:, 2:]), np.maximum(reached[:, :2], reached[:, 2:])])


def _draw_object(canvas: np.ndarray, box: np.ndarray, shape: Polygons | RLE | None, class_id: int, pen: Pen, opacity: float) -> None:
    left, top, right, bottom = (int(v) for v in np.round(box))
    corners = np.array([[left, top], [max(right - 1, left), top], [max(right - 1, left), max(bottom - 1, top)], [left, max(bottom - 1, top)]])
    if shape is None:
        _stroke(canvas, [corners], class_id, pen)
        return
    cv2.polylines(canvas, [corners.astype(np.int32)], True, _rgb(class_id), max(1, pen.width // 2))
    mask, x, y = shape_mask(shape, canvas.shape[1], canvas.shape[0])
    if mask.any():
        area = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
        tint = cv2.addWeighted(area, 1 - opacity, np.full_like(area, _rgb(class_id)), opacity, 0)
        np.copyto(area, tint, where=mask[..., None].astype(bool))
        contours = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
        _stroke(canvas, [contour[:, 0] + (x, y) for contour in contours], class_id, pen)


def _stroke(canvas: np.ndarray, outlines: list[np.ndarray], class_id: int, pen: Pen) -> None:
    """Closed lines: a continuous halo, and the colour on it, with the class's dashes."""
    colour, points = _rgb(class_id), [outline.astype(np.int32) for outline in outlines]
    cv2.polylines(canvas, points, True, _ink(colour), pen.width + 2 * pen.halo)
    if not dashed(class_id):
        cv2.polylines(canvas, points, True, colour, pen.width)
        return
    for outline in outlines:
        cv2.polylines(canvas, list(_dashes(outline, dash_of(class_id), pen.width)), False, colour, pen.width)


def _dashes(outline: np.ndarray, pattern: tuple[float, ...], width: int) -> np.ndarray:
    """The inked pieces i32[M,2,2] of a closed line, cut by arc length."""
    closed = np.vstack([outline, outline[:1]]).astype(np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    lengths = np.array(pattern) * max(width, 2)
    period = lengths.sum()
    begins = np.arange(0, max(along[-1], 1e-6), period)[:200_000]
    offsets = np.concatenate([[0.0], np.cumsum(lengths)])
    starts = (begins[:, None] + offsets[:-1:2]).ravel()
    ends = np.minimum(starts + np.tile(lengths[::2], len(begins)), along[-1])
    inked = starts < along[-1]
    ts = np.stack([starts[inked], np.maximum(ends[inked] - 1, starts[inked])], axis=1)
    return np.stack([np.interp(ts, along, closed[:, 0]), np.interp(ts, along, closed[:, 1])], axis=2).round().astype(np.int32)


def shape_mask(shape: Polygons | RLE, width: int, height: int) -> tuple[np.ndarray, int, int]:
    """The shape's pixels inside the image as u8[h,w] of 0 and 1, and the mask's left and top."""
    if isinstance(shape, RLE):
        if tuple(shape.size) != (height, width):
            raise ValueError(f"mask is for an image of {shape.size[1]}x{shape.size[0]} pixels, this one has {width}x{height}")
        code = {"size": list(shape.size), "counts": shape.counts}
        x, y, w, h = (int(v) for v in coco_mask.toBbox(code))
        return np.ascontiguousarray(coco_mask.decode(code)[y : y + h, x : x + w]), x, y
    rings = [np.clip(ring, -FAR, FAR) for ring in shape.rings if len(ring)]
    if not rings:
        return np.zeros((0, 0), np.uint8), 0, 0
    points = np.vstack(rings)
    x, y = np.clip(np.floor(points.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, (width, height)).astype(int)
    mask = np.zeros((bottom - y, right - x), np.uint8)
    if mask.size:
        for value, group in ((1, rings), (0, [np.clip(hole, -FAR, FAR) for hole in shape.holes if len(hole)])):
            for ring in group:
                cv2.fillPoly(mask, [np.round((ring - (x + 0.5, y + 0.5)) * 8).astype(np.int32)], value, shift=3)
    return mask, int(x), int(y)


# -- label chips ----------------------------------------------------------------------------------------------------------------------


def _draw_chips(canvas: np.ndarray, labels: Instances, boxes: np.ndarray, classes: Sequence[str], scores: bool, chosen: list[int],
                pen: Pen) -> None:
    """Best objects choose their place first; nothing is written for a box outside the picture."""
    height, width = canvas.shape[:2]
    rank = np.arange(len(labels)) if labels.scores is None else np.argsort(-labels.scores, kind="stable")
    taken = np.zeros((0, 4))
    for i in chosen + [int(i) for i in rank if i not in chosen]:
        left, top, right, bottom = boxes[i]
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            continue
        class_id = int(labels.classes[i])
        name = classes[class_id] if class_id < len(classes) else ""
        score = f"{labels.scores[i]:.2f}" if scores and labels.scores is not None else ""
        chip = _chip(name, class_id, score, pen.font, width)
        if chip is None or chip.shape[0] > height:
            continue
        x, y = _place(boxes[i], chip.shape[1], chip.shape[0], (width, height), taken, pen)
        canvas[y : y + chip.shape[0], x : x + chip.shape[1]] = chip
        taken = np.vstack([taken, [x, y, x + chip.shape[1], y + chip.shape[0]]])


def _place(box: np.ndarray, w: int, h: int, size: tuple[int, int], taken: np.ndarray, pen: Pen) -> tuple[int, int]:
    """Left and top of a chip: above the box, else inside it, else beside or below, wherever it hides the least of other chips."""
    left, top, right, bottom = np.clip(np.round(box), 0, (*size, *size))
    edge = pen.halo + pen.width // 2
    above, left = top - h, left - edge
    places = [(left, above), (right - w + edge, above), (left, top), (right - w + edge, top), (left, bottom), (left, bottom - h),
              (right, top), (left - w, top), (right - w + edge, bottom)]
    if above < 0:
        places = [place for place in places if place[1] >= 0]
    spots = np.clip(np.array(places), 0, (size[0] - w, size[1] - h)).astype(int)
    corners = np.minimum(spots[:, None] + (w, h), taken[None, :, 2:]) - np.maximum(spots[:, None], taken[None, :, :2])
    hidden = np.prod(np.maximum(corners, 0), axis=2).sum(axis=1)
    best = spots[int(hidden.argmin())]
    return int(best[0]), int(best[1])


@lru_cache(maxsize=4096)
def _chip(name: str, class_id: int, score: str, font: int, room: int) -> np.ndarray | None:
    """Name and score on the class's colour, u8[h,w,3], at most `room` wide; None when not even the number fits."""
    number = text.render(score, font) if score else None
    for label in _labels(name, class_id):
        words = text.render(label, font) if label else None
        if label and words is None:
            continue
        parts = [part for part in (words, number) if part is not None]
        chip = _compose(parts, class_id, font) if parts else None
        if chip is not None and chip.shape[1] <= room:
            chip.flags.writeable = False
            return chip
    return None


def tag_chip(name: str, class_id: int, score: str, font: int, room: int) -> np.ndarray | None:
    """A chip for a tag of the whole image, u8[h,w,3]; None when there is no room."""
    return _chip(name, class_id, score, font, room)


def _labels(name: str, class_id: int) -> list[str]:
    """What a chip may say, the most telling first: the name, shorter forms of it, the class id, nothing."""
    cleaned = text.clean(name)
    lengths = [n for n in (LONGEST_NAME, 24, 16, 12, 8, 5, 3) if n == LONGEST_NAME or n < len(cleaned)]
    return ([text.shorten(cleaned, n) for n in lengths] if cleaned else []) + [f"#{class_id}", ""]


def _compose(parts: list[np.ndarray], class_id: int, font: int) -> np.ndarray:
    pad, gap = max(2, font // 4), max(3, font // 3)
    strip = np.hstack([np.pad(part, ((0, 0), (gap if i else 0, 0))) for i, part in enumerate(parts)])
    alpha = np.pad(strip, ((max(1, pad // 2),) * 2, (pad,) * 2))[..., None].astype(np.float32) / 255
    colour = np.array(_rgb(class_id), np.float32)
    body = colour + (np.array(_ink(_rgb(class_id)), np.float32) - colour) * alpha
    body[[0, -1]] = body[:, [0, -1]] = _ink(_rgb(class_id))
    return body.round().astype(np.uint8)

"""Any labels on a picture: the overlay of boxes and outlines, of areas, and of tags, behind one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import cv2
import numpy as np

from engine.datasets.images import resize
from engine.datasets.outlines import as_polygons
from engine.overlay import Pen, draw, draw_mask, tag_chip
from engine.types import UNCERTAIN, Instances, Labels, Polygons, SemanticMask, Tags

MOST_TAGS = 8
# From cold to warm: as light as it is strong, in gray and to colour-blind eyes too (viridis: Smith & van der Walt 2015, in nine steps).
HEAT = ("#440154", "#472D7B", "#3B528B", "#2C728E", "#21918C", "#28AE80", "#5EC962", "#ADDC30", "#FDE725")


def draw_labels(image: np.ndarray, labels: Labels, classes: Sequence[str], *, opacity: float = 0.4, contours: bool = False,
                thresholds: Sequence[float] | None = None, names: bool = True) -> np.ndarray:
    """A new u8[H,W,3]. `contours`: areas and masks are edged, not filled. `thresholds` (per class) decide which tags are told; without them 0.5."""
    if isinstance(labels, Instances):
        return draw(image, labels, classes, opacity=0.0 if contours else opacity, names=names)
    if isinstance(labels, SemanticMask):
        pen = Pen.for_image(image.shape[1], image.shape[0])
        return draw_mask(image, labels, classes, opacity=0.0 if contours else opacity, edge=pen.width if contours else 1)
    return draw_tags(image, labels, classes, thresholds) if names else np.array(image, order="C")


def draw_tags(image: np.ndarray, tags: Tags, classes: Sequence[str], thresholds: Sequence[float] | None = None) -> np.ndarray:
    """A new u8[H,W,3] with a chip for each tag that is there, the surest at the top, as far as there is room."""
    canvas = np.array(image, order="C")
    height, width = canvas.shape[:2]
    pen = Pen.for_image(width, height)
    limits = np.full(len(classes), UNCERTAIN) if thresholds is None else np.asarray(thresholds)
    values = np.nan_to_num(tags.values[: len(classes)], nan=-1)
    top = 0
    for class_id in np.argsort(-values, kind="stable")[:MOST_TAGS]:
        if values[class_id] < limits[class_id] or values[class_id] <= 0:
            continue
        chip = tag_chip(classes[class_id], int(class_id), f"{values[class_id]:.2f}" if values[class_id] < 1 else "", pen.font, width)
        if chip is None or top + chip.shape[0] > height:
            break
        canvas[top : top + chip.shape[0], : chip.shape[1]] = chip
        top += chip.shape[0]
    return canvas


def draw_heat(image: np.ndarray, heat: np.ndarray, *, opacity: float = 0.6) -> np.ndarray:
    """A new u8[H,W,3] with a map f32[h,w] of 0..1, of any size, laid over it; the colder, the clearer the picture stays."""
    warm = np.clip(cv2.resize(np.asarray(heat, np.float32), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC), 0, 1)
    strength = (opacity * np.sqrt(warm))[..., None]
    return (image * (1 - strength) + heat_table()[(warm * 255).round().astype(np.uint8)] * strength).round().astype(np.uint8)


@cache
def heat_table() -> np.ndarray:
    """u8[256,3]: the colours of a heat map."""
    steps = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in HEAT], float)
    at = np.linspace(0, len(HEAT) - 1, 256)
    return np.stack([np.interp(at, np.arange(len(HEAT)), steps[:, i]) for i in range(3)], axis=1).round().astype(np.uint8)


def enlarged(image: np.ndarray, labels: Labels, side: int) -> tuple[np.ndarray, Labels]:
    """Image and labels such that the longer side has at least `side` pixels. Masks fit any size."""
    scale = side / max(image.shape[:2])
    if scale <= 1:
        return image, labels
    picture = resize(image, (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))))
    return picture, scaled(labels, scale, scale)


def scaled(labels: Labels, x: float, y: float) -> Labels:
    """Labels of an image that was stretched by `x` and `y`; masks stay as they are, for they fit any size. Run lengths become outlines."""
    if not isinstance(labels, Instances):
        return labels
    factor = np.array([x, y])
    shapes = None
    if labels.shapes is not None:
        shapes = tuple(None if shape is None else _stretched(as_polygons(shape, box), factor)
                       for shape, box in zip(labels.shapes, labels.boxes.tolist(), strict=True))
    return replace(labels, boxes=labels.boxes * np.tile(factor, 2).astype(np.float32), shapes=shapes)


def _stretched(shape: Polygons, factor: np.ndarray) -> Polygons:
    return Polygons(tuple(ring * factor for ring in shape.rings), tuple(hole * factor for hole in shape.holes))

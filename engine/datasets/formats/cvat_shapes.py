"""The shapes of CVAT's XML, to objects and back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

import numpy as np

from engine.datasets.formats.boxed_objects import BoxedObjects
from engine.datasets.formats.voc_xml import digits, one_ring, without_controls
from engine.datasets.objects import number, shown
from engine.datasets.outlines import box_of, mask_of
from engine.types import RLE, Instances, Polygons

DRAWN = frozenset(("box", "polygon", "ellipse", "mask"))
LEFT_OUT = frozenset(("polyline", "points", "cuboid", "skeleton"))
BOX = ("xtl", "ytl", "xbr", "ybr")
ELLIPSE = ("cx", "cy", "rx", "ry")
ELLIPSE_POINTS = 64
MAX_LARGER = 4  # times the image: a mask that claims more is none
SAME = 5e-4  # pixels; boxes nearer to their outline than this need no mention


@dataclass(frozen=True)
class Drawn:
    """A shape as it stands: `points` f64[K,2] are the corners of a box, the vertices of a polygon, or centre and radii of an ellipse.

    `points` is None for a mask, and where a coordinate is no number; `rotation` in degrees, clockwise.
    """

    kind: str
    points: np.ndarray | None
    element: Element
    rotation: float = 0.0


# ---- reading

def drawn(element: Element) -> Drawn | None:
    """None for what has no area."""
    if element.tag not in DRAWN:
        return None
    if element.tag == "mask":
        return Drawn("mask", None, element)
    texts = [element.get(key, "") for key in (BOX if element.tag == "box" else ELLIPSE)]
    if element.tag == "polygon":
        pairs = [pair.split(",") for pair in element.get("points", "").split(";") if pair.strip()]
        texts = [text for pair in pairs for text in (pair if len(pair) == 2 else ("", ""))]
    numbers = [number(text) for text in texts]
    points = None if any(value is None for value in numbers) else np.array(numbers, np.float64).reshape(-1, 2)
    return Drawn(element.tag, points, element, number(element.get("rotation", 0)) or 0.0)


def add(shape: Drawn, class_id: int, objects: BoxedObjects, ref: str, counts: Counter[str]) -> bool:
    """Adds a shape to the objects of an image. False when it could not be kept."""
    if shape.kind == "mask":
        kept = _add_mask(shape.element, class_id, objects, ref)
    elif shape.points is None:
        objects.fault("object_not_finite", ref, box=shown(list(shape.element.attrib.values())))
        return False
    elif shape.kind == "box":
        counts["boxes_rotated"] += shape.rotation % 360 != 0
        return objects.add_box(class_id, _upright(shape.points, shape.rotation), ref)
    else:
        ring = _ellipse(shape.points, shape.rotation) if shape.kind == "ellipse" else shape.points
        kept = objects.add_polygons(class_id, [ring.tolist()], ref=ref)
    if kept and BOX[0] in shape.element.attrib:
        objects.keep_box([shape.element.get(key, "") for key in BOX])
    return kept


def _upright(corners: np.ndarray, degrees: float) -> tuple[float, float, float, float]:
    """The box around a box that is turned about its centre."""
    (x1, y1), (x2, y2) = corners.tolist()
    if degrees % 360 == 0:
        return x1, y1, x2, y2
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    half_w = (abs(x2 - x1) * cos + abs(y2 - y1) * sin) / 2
    half_h = (abs(x2 - x1) * sin + abs(y2 - y1) * cos) / 2
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    return cx - half_w, cy - half_h, cx + half_w, cy + half_h


def _ellipse(points: np.ndarray, degrees: float) -> np.ndarray:
    """f64[64,2] on the border of an ellipse of centre and radii."""
    centre, (rx, ry) = points[0], np.abs(points[1])
    turn = math.radians(degrees)
    around = np.arange(ELLIPSE_POINTS) * (2 * math.pi / ELLIPSE_POINTS)
    x, y = rx * np.cos(around), ry * np.sin(around)
    return centre + np.stack([x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)], 1)


def _add_mask(element: Element, class_id: int, objects: BoxedObjects, ref: str) -> bool:
    """`rle` runs row by row through a window of `width` x `height` at `left`, `top`, and begins with what is not the object."""
    image_width, image_height = objects.size
    try:
        left, top, width, height = (_whole(element.get(key, "")) for key in ("left", "top", "width", "height"))
        runs = np.array([_whole(text) for text in element.get("rle", "").split(",")], np.int64)
        if min(width, height) < 1 or width * height > MAX_LARGER * image_width * image_height:
            raise ValueError(f"{width}x{height}")
        if runs.min() < 0 or int(runs.sum()) != width * height:
            raise ValueError(f"the runs do not add up to {width}x{height}")
    except ValueError as error:
        objects.fault("runs_damaged", ref, reason=str(error)[:120])
        return False
    window = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    inside = window[max(0, -top):max(0, image_height - top), max(0, -left):max(0, image_width - left)]
    text = f"{left},{top},{left + width},{top + height}"
    if not window.any():
        objects.fault("object_without_area", ref, box=text)
    elif inside.sum() < window.sum():
        objects.fault("object_clipped" if inside.any() else "object_outside", ref, "warning" if inside.any() else "error",
                      box=text, width=image_width, height=image_height)
    if not inside.any():
        return False
    return objects.add_rle(class_id, _columns(inside, max(0, left), max(0, top), objects.size), [image_height, image_width], ref)


def _whole(text: str) -> int:
    value = number(text)
    if value is None or not value.is_integer():
        raise ValueError(f"{shown(text)!r} is no whole number")
    return int(value)


def _columns(window: np.ndarray, left: int, top: int, size: tuple[int, int]) -> list[int]:
    """The run lengths, column by column, of an image of `size` that shows `window` at `left`, `top`."""
    width, height = size
    strip = np.zeros((height, window.shape[1]), bool)
    strip[top:top + len(window)] = window
    runs = _runs(strip.T)
    after = (width - left - window.shape[1]) * height
    runs[0] += left * height
    if len(runs) % 2:
        runs[-1] += after
    elif after:
        runs.append(after)
    return runs


def _runs(mask: np.ndarray) -> list[int]:
    """Lengths of equal pixels row by row, of what is not the object first."""
    flat = mask.ravel()
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], borders, [flat.size]])).tolist()
    return [0, *runs] if flat.size and flat[0] else runs


# ---- between two keyframes

def between(one: Drawn, other: Drawn, part: float) -> Drawn:
    """The shape at `part` (0..1) of the way from one keyframe to the next: corners and angles move evenly, as in CVAT.

    Vertices of polygons are paired by how far along the outline they lie; none is dropped afterwards. Masks stay until the next keyframe.
    """
    if one.kind != other.kind or one.points is None or other.points is None:
        return one
    turn = (other.rotation - one.rotation + 180) % 360 - 180
    points = _polygon_between(one.points, other.points, part) if one.kind == "polygon" else one.points + (other.points - one.points) * part
    return replace(one, points=points, rotation=one.rotation + turn * part)


def _polygon_between(one: np.ndarray, other: np.ndarray, part: float) -> np.ndarray:
    if min(len(one), len(other)) < 3 or len(one) * len(other) > 1_000_000:
        return one
    one, other = (np.concatenate([ring, ring[:1]]) for ring in (one, other))
    gaps = np.abs(_along(one)[:, None] - _along(other)[None])
    pairs = {(index, int(near)) for index, near in enumerate(gaps.argmin(1))}
    taken = {near for _, near in pairs}
    pairs |= {(int(near), index) for index, near in enumerate(gaps.argmin(0)) if index not in taken}
    mine, theirs = np.array(sorted(pairs)).T
    return (one[mine] + (other[theirs] - one[mine]) * part)[:-1]


def _along(closed: np.ndarray) -> np.ndarray:
    """For each vertex of a closed outline the share 0..1 of its length that lies before it."""
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    return lengths / lengths[-1] if lengths[-1] > 0 else np.linspace(0, 1, len(closed))


# ---- writing

def texts_for(labels: Instances, classes: Sequence[str], said: Counter[str]) -> Iterator[str]:
    """One element for each object. `said` counts what it cannot hold as it is: "crowd", "joined"."""
    for index, (box, class_id) in enumerate(zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True)):
        if labels.crowd is not None and labels.crowd[index]:
            said["crowd"] += 1
            continue
        shape = labels.shapes[index] if labels.shapes is not None else None
        common = f"label={attribute(classes[class_id])} source=\"manual\" occluded=\"0\""
        yield f"    <{_shape_text(shape, box, common, said)} z_order=\"0\"/>\n"


def _shape_text(shape: Polygons | RLE | None, box: list[float], common: str, said: Counter[str]) -> str:
    if shape is None:
        return f"box {common} {_corners(box)}"
    own = _corners(box) if np.abs(np.subtract(box_of(shape), box)).max() > SAME else ""
    if isinstance(shape, RLE):
        mask = mask_of(shape, (shape.size[1], shape.size[0]))
        if mask.any():
            left, top, right, bottom = (int(value) for value in box_of(shape))
            runs = ", ".join(map(str, _runs(mask[top:bottom, left:right])))
            return f"mask {common} rle=\"{runs}\" left=\"{left}\" top=\"{top}\" width=\"{right - left}\" height=\"{bottom - top}\" {own}".rstrip()
        return f"box {common} {_corners(box)}"
    ring = one_ring(shape, box, said)
    points = ";".join(f"{digits(x)},{digits(y)}" for x, y in ring.tolist())
    return f"polygon {common} points=\"{points}\" {own}".rstrip()


def _corners(box: Sequence[float]) -> str:
    return " ".join(f'{key}="{digits(value)}"' for key, value in zip(BOX, box, strict=True))


def attribute(text: Any) -> str:
    """`text` in quotes; line breaks and characters that XML cannot hold are replaced."""
    return quoteattr(without_controls(str(text)))

"""The shapes of one labelme file, to objects and back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.datasets.formats import mask_pixels
from engine.datasets.objects import Classes, Objects, clean_name, number
from engine.datasets.outlines import box_of, joined, mask_of, rle_of_mask
from engine.types import RLE, Instances, Polygons, Shape, UserError

CIRCLE_POINTS = 64
WITHOUT_AREA = frozenset(("line", "linestrip", "point", "points"))
KEYS = frozenset(("version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth", "lineColor", "fillColor"))
CROWD = "crowd"  # a flag of a shape
DECIMALS = 6
TOLERATED = 1.0  # pixels by which a box may differ from its outline without a word


# ---- reading

@dataclass
class _Object:
    """What becomes one object: a shape, or all shapes of one group and label."""

    label: str
    ref: str
    shapes: list[dict[str, Any]] = field(default_factory=list)


def kind_of(shape: dict[str, Any]) -> str:
    """"rectangle", "circle", "mask", "polygon" (also for kinds that other tools add), or "" for what has no area."""
    kind = str(shape.get("shape_type") or "polygon")
    if kind in ("rectangle", "circle", "mask"):
        return kind
    points = shape.get("points")
    few = isinstance(points, list) and len(points) < 3 and kind != "polygon"
    return "" if kind in WITHOUT_AREA or few else "polygon"


def label_of(shape: dict[str, Any]) -> str:
    """The class name, "" where there is none."""
    label = shape.get("label")
    return clean_name(label) if isinstance(label, str | int | float) else ""


def drawn(content: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, shape) of those that have an area."""
    for position, shape in enumerate(content.get("shapes") or (), 1):
        if isinstance(shape, dict) and kind_of(shape):
            yield position, shape


def add_shapes(content: dict[str, Any], objects: Objects, classes: Classes, left_out: Counter[str]) -> int:
    """Adds the shapes of a file to `objects` and counts what has to stay behind; returns how many objects the file names."""
    merged = _merged(content, left_out)
    for each in merged:
        left_out["objects_without_class"] += not each.label
        class_id = classes.id_of(each.label)
        crowd = any((shape.get("flags") or {}).get(CROWD) is True for shape in each.shapes if isinstance(shape.get("flags"), dict))
        if len(each.shapes) == 1 and kind_of(each.shapes[0]) == "rectangle":
            objects.add_box(class_id, _corners(each.shapes[0]), each.ref, crowd=crowd)
        elif any(kind_of(shape) == "mask" for shape in each.shapes):
            _add_mask(each, objects, class_id, crowd)
        else:
            objects.add_polygons(class_id, [_ring(shape) for shape in each.shapes], ref=each.ref, crowd=crowd)
    return len(merged)


def _merged(content: dict[str, Any], left_out: Counter[str]) -> list[_Object]:
    """Shapes that share a group and a label are parts of one object."""
    merged: dict[Any, _Object] = {}
    shapes = content.get("shapes") or ()
    kept = dict(drawn(content))
    left_out["labelme_shapes_left_out"] += len(shapes) - len(kept)
    for position, shape in kept.items():
        label, group = label_of(shape), shape.get("group_id")
        key = (label, str(group)[:40]) if group is not None else position
        merged.setdefault(key, _Object(label, f"{label[:40]} #{position}")).shapes.append(shape)
    return list(merged.values())


def _points(shape: dict[str, Any]) -> list[Any]:
    points = shape.get("points")
    return [point for point in points if isinstance(point, list | tuple) and len(point) >= 2] if isinstance(points, list) else []


def _corners(shape: dict[str, Any]) -> list[Any]:
    """x1,y1,x2,y2 around two opposite corners, or around four."""
    points = _points(shape)
    xs, ys = [number(point[0]) for point in points], [number(point[1]) for point in points]
    if len(points) < 2 or any(value is None for value in xs + ys):
        return [point[:2] for point in points]
    return [min(xs), min(ys), max(xs), max(ys)]  # type: ignore[type-var]


def _ring(shape: dict[str, Any]) -> list[Any]:
    """The outline of a shape as points."""
    kind, points = kind_of(shape), [point[:2] for point in _points(shape)]
    if kind == "rectangle":
        corners = _corners(shape)
        if len(corners) != 4 or any(isinstance(value, list | tuple) for value in corners):
            return []
        x1, y1, x2, y2 = corners
        return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
    if kind == "circle":
        numbers = [number(value) for point in points[:2] for value in point]
        if len(numbers) != 4 or any(value is None for value in numbers):
            return []
        x, y, rim_x, rim_y = (float(value) for value in numbers if value is not None)
        return circle(x, y, math.hypot(rim_x - x, rim_y - y)).tolist()
    return points


def circle(x: float, y: float, radius_x: float, radius_y: float | None = None, degrees: float = 0.0) -> np.ndarray:
    """f64[64,2]: points on a circle or ellipse, turned clockwise as seen."""
    angles = np.linspace(0, 2 * math.pi, CIRCLE_POINTS, endpoint=False)
    along, across = radius_x * np.cos(angles), (radius_x if radius_y is None else radius_y) * np.sin(angles)
    turn = math.radians(degrees)
    return np.stack([x + along * math.cos(turn) - across * math.sin(turn), y + along * math.sin(turn) + across * math.cos(turn)], 1)


def _add_mask(each: _Object, objects: Objects, class_id: int, crowd: bool) -> None:
    """The union of masks and of the outlines grouped with them."""
    width, height = objects.size
    whole = np.zeros((height, width), bool)
    for shape in each.shapes:
        if kind_of(shape) != "mask":
            ring = np.array([[number(x) or 0.0, number(y) or 0.0] for x, y in _ring(shape)], np.float64).reshape(-1, 2)
            whole |= mask_of(Polygons((ring,) if len(ring) >= 3 else ()), objects.size)
            continue
        corner = [number(value) for point in _points(shape)[:1] for value in point[:2]]
        if len(corner) != 2 or None in corner:
            objects.fault("object_not_finite", each.ref, box="")
            continue
        try:
            mask = mask_pixels.decode_text(shape.get("mask"), objects.where, objects.size)
        except UserError as error:
            objects.fault("mask_damaged", each.ref, reason=str(error.values.get("reason", error.key)))
            continue
        left, top = (int(value) for value in corner if value is not None)
        paste(whole, mask, left, top)
    if whole.any():
        rle = rle_of_mask(whole)
        objects.add_rle(class_id, rle.counts, rle.size, each.ref, crowd=crowd)


def paste(whole: np.ndarray, mask: np.ndarray, left: int, top: int) -> None:
    """Paints bool `mask` into bool `whole` with its corner at `left`, `top`; what reaches outside is cut off."""
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + mask.shape[1], whole.shape[1]), min(top + mask.shape[0], whole.shape[0])
    if x1 < x2 and y1 < y2:
        whole[y1:y2, x1:x2] |= mask[y1 - top:y2 - top, x1 - left:x2 - left]


# ---- writing

def shapes_of(labels: Instances, names: tuple[str, ...], lost: Counter[str]) -> list[dict[str, Any]]:
    """Shapes as labelme writes them; what they cannot say is counted in `lost` under the problem's code."""
    found, group = [], 0
    lost["scores_left_out"] += len(labels) if labels.scores is not None else 0
    for index, (box, class_id) in enumerate(zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True)):
        shape = labels.shapes[index] if labels.shapes is not None else None
        flags = {CROWD: True} if labels.crowd is not None and labels.crowd[index] else {}
        parts = list(_parts(shape, box))
        lost["outline_joined"] += isinstance(shape, Polygons) and bool(shape.holes)
        lost["box_from_outline"] += differs(shape, box)
        group += len(parts) > 1
        for kind, points, mask in parts:
            found.append({"label": names[class_id], "points": points, "group_id": group if len(parts) > 1 else None, "description": "",
                          "shape_type": kind, "flags": flags, "mask": mask})
    return found


def differs(shape: Shape, box: list[float]) -> bool:
    """Whether the box around an outline or mask is clearly another than the object's own."""
    return shape is not None and max(abs(mine - theirs) for mine, theirs in zip(box_of(shape), box, strict=True)) > TOLERATED


def _parts(shape: Shape, box: list[float]) -> Iterator[tuple[str, list[list[float]], str | None]]:
    if isinstance(shape, Polygons):
        rings = (joined(shape),) if shape.holes else shape.rings
        yield from (("polygon", np.round(ring, DECIMALS).tolist(), None) for ring in rings)
        return
    if isinstance(shape, RLE):
        x1, y1, x2, y2 = (int(value) for value in box_of(shape))
        if x2 > x1 and y2 > y1:
            mask = mask_of(shape, (shape.size[1], shape.size[0]))[y1:y2, x1:x2]
            yield "mask", [[float(x1), float(y1)], [float(x2 - 1), float(y2 - 1)]], mask_pixels.encode_text(mask)
            return
    left, top, right, bottom = (round(value, DECIMALS) for value in box)
    yield "rectangle", [[left, top], [right, bottom]], None

"""One COCO annotation: box, outline and run lengths, checked before anything trusts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.datasets.outlines import box_of, rle_of_runs, runs_of
from engine.types import RLE, Instances, Polygons, Problem, Severity, Shape

MIN_SIDE = 0.01  # pixels
SLACK = 1.0  # pixels by which rounding may carry a box over the border without a word
MAX_COORDINATE = 1e7
Box = tuple[float, float, float, float]


@dataclass
class Tally:
    """What the boxes of a document have in common: do they look like x1,y1,x2,y2?"""

    boxes: int = 0
    outside: int = 0
    corners: int = 0

    @property
    def looks_like_corners(self) -> bool:
        return self.boxes >= 4 and self.outside * 2 >= self.boxes and self.corners == self.boxes


@dataclass
class Objects:
    """The objects of one image, collected from annotations; `where` is the image's name."""

    where: str
    size: tuple[int, int]
    ids: dict[Any, int]
    tally: Tally
    boxes: list[Box] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def instances(self) -> Instances:
        return Instances(
            np.array(self.boxes, np.float32), np.array(self.classes, np.int64),
            shapes=tuple(self.shapes) if any(shape is not None for shape in self.shapes) else None,
            crowd=np.array(self.crowd, bool) if any(self.crowd) else None,
        )

    def add(self, annotation: dict[str, Any], class_id: int) -> None:
        """Reads box and shape; what cannot be kept becomes a problem."""
        name = _short(annotation.get("id", "?"))
        shape = self._shape(annotation.get("segmentation"), name)
        box = self._box(annotation.get("bbox"), shape, name)
        if box is not None:
            self.boxes.append(box)
            self.classes.append(class_id)
            self.shapes.append(shape)
            self.crowd.append(annotation.get("iscrowd") in (1, True, "1"))

    def _fault(self, code: str, severity: Severity, name: str, **values: Any) -> None:
        self.problems.append(Problem(code, severity, self.where, {"annotation": name, **values}))

    def _box(self, bbox: Any, shape: Shape, name: str) -> Box | None:
        """x1,y1,x2,y2 inside the image; taken from the shape where the annotation has no usable box."""
        width, height = self.size
        if type(bbox) is list and len(bbox) == 4 and all(_is_number(value) for value in bbox) and bbox[2] > 0 and bbox[3] > 0:
            x, y, w, h = bbox
            left, top, right, bottom = float(x), float(y), float(x + w), float(y + h)
            self.tally.boxes += 1
            self.tally.corners += w > x and h > y
        elif shape is not None:
            if bbox not in (None, []):
                self._fault("coco_box_from_shape", "warning", name, box=_short(bbox))
            left, top, right, bottom = box_of(shape)
        else:
            self._fault("coco_bad_box" if _finite(bbox) else "coco_box_not_finite", "error", name, box=_short(bbox))
            return None
        if left < -SLACK or top < -SLACK or right > width + SLACK or bottom > height + SLACK:
            self.tally.outside += 1
            gone = left >= width or top >= height or right <= 0 or bottom <= 0
            shown = f"{left:g},{top:g},{right:g},{bottom:g}"
            self._fault("coco_box_outside" if gone else "coco_box_clipped", "error" if gone else "warning", name,
                        box=shown, width=width, height=height)
        box = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        if box[2] - box[0] < MIN_SIDE or box[3] - box[1] < MIN_SIDE:
            if left < width and top < height and right > 0 and bottom > 0:
                self._fault("coco_bad_box", "error", name, box=_short(bbox))
            return None
        return box

    def _shape(self, segmentation: Any, name: str) -> Shape:
        if segmentation is None or segmentation == []:
            return None
        try:
            if isinstance(segmentation, dict):
                return self._rle(segmentation)
            if isinstance(segmentation, list):
                return self._polygons(segmentation)
            raise ValueError(type(segmentation).__name__)
        except (ValueError, TypeError, OverflowError) as error:
            code = "coco_bad_rle" if isinstance(segmentation, dict) else "coco_bad_polygon"
            self._fault(code, "warning", name, reason=str(error)[:120])
            return None

    def _rle(self, value: dict[str, Any]) -> RLE:
        width, height = self.size
        if value.get("size") != [height, width]:
            raise ValueError(f"size {_short(value.get('size'))} != {height},{width}")
        counts = value.get("counts")
        if isinstance(counts, str):
            counts = runs_of(counts)
        if not isinstance(counts, list):
            raise ValueError("counts")
        return rle_of_runs(counts, (height, width))

    def _polygons(self, value: list[Any]) -> Polygons:
        width, height = self.size
        flat = value if all(_is_number(number) for number in value) else None
        rings = []
        for part in [flat] if flat is not None else value:
            if not isinstance(part, list) or len(part) < 6 or len(part) % 2 or not all(_is_number(number) for number in part):
                raise ValueError(f"{len(part) if isinstance(part, list) else _short(part)}")
            rings.append(np.clip(np.array(part, np.float64).reshape(-1, 2), 0, (width, height)))
        return Polygons(tuple(rings))


def _is_number(value: Any) -> bool:
    """Neither NaN, infinity, text nor an integer of a thousand digits."""
    return type(value) in (int, float) and -MAX_COORDINATE < value < MAX_COORDINATE


def _finite(bbox: Any) -> bool:
    numbers = [value for value in bbox if type(value) in (int, float)] if isinstance(bbox, list) else []
    return all(_is_number(value) for value in numbers)


def _short(value: Any) -> str:
    """The start of any JSON value as people may see it, without writing out a huge one."""
    if isinstance(value, list):
        shown = ("[...]" if isinstance(item, list) else _short(item) for item in value[:4])
        return "[" + ", ".join(shown) + (", ..." if len(value) > 4 else "") + "]"
    if isinstance(value, dict):
        return "{...}"
    if isinstance(value, int) and abs(value) > 10**18:
        return "1e18+"
    return "".join(char if char.isprintable() else "?" for char in str(value)[:60])

"""One COCO annotation: box, outline and run lengths, checked before anything trusts them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.datasets.formats.coco_documents import Annotation, key_of
from engine.datasets.objects import number as number_in
from engine.datasets.outlines import area_of, box_of, rle_of_runs, runs_of
from engine.types import RLE, Instances, Polygons, Problem, Severity, Shape

MIN_SIDE = 0.01  # pixels
SLACK = 1.0  # pixels by which rounding may carry a box or outline over the border without a word
MAX_COORDINATE = 1e7
LEAST_SIDE = 5  # pixels; in a smaller image boxes of one pixel are nothing strange
Box = tuple[float, float, float, float]


@dataclass
class Tally:
    """What the boxes of a document have in common: do they look like x1,y1,x2,y2, or like shares of the image's sides?

    `all_crowd`: nothing in the whole set is no crowd, so that the mark says nothing. `texts`: numbers that stood in quotes.
    """

    all_crowd: bool = False
    boxes: int = 0
    outside: int = 0
    corners: int = 0
    texts: int = 0
    within_one: int = 0

    @property
    def looks_like_corners(self) -> bool:
        return self.boxes >= 4 and self.outside * 2 >= self.boxes and self.corners == self.boxes

    @property
    def looks_normalized(self) -> bool:
        return 0 < self.boxes == self.within_one


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
    scores: list[Any] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    outlined: bool = False

    def instances(self, *, suggested: bool = False) -> Instances:
        """`suggested`: scores are kept, where every object has one."""
        scored = suggested and all(is_number(score) and 0 <= score <= 1 for score in self.scores)
        return Instances(
            np.array(self.boxes, np.float32), np.array(self.classes, np.int64), np.array(self.scores, np.float32) if scored else None,
            tuple(self.shapes) if self.outlined else None, np.array(self.crowd, bool) if any(self.crowd) else None,
        )

    def add_all(self, annotations: list[Annotation]) -> None:
        """Those of unknown categories are named and left out."""
        for annotation in annotations:
            key = key_of(annotation.category_id)
            own = self.ids.get(key) if key is not None else None
            if own is None:
                allowed = ", ".join(map(str, list(self.ids)[:20])) or "-"
                self.fault("coco_unknown_category", "error", key_of(annotation.id), id=short(key), allowed=allowed)
            else:
                self.add(annotation, own)

    def add(self, annotation: Annotation, class_id: int) -> None:
        """Reads box and shape; what cannot be kept becomes a problem."""
        shape = self._shape(annotation) if annotation.segmentation is not None and annotation.segmentation != [] else None
        box = self._box(annotation, shape)
        if box is not None:
            self.keep(class_id, box, shape, crowd=is_crowd(annotation) and not self.tally.all_crowd, score=annotation.score)

    def keep(self, class_id: int, box: Box, shape: Shape, *, crowd: bool, score: Any = None) -> None:
        self.boxes.append(box)
        self.classes.append(class_id)
        self.shapes.append(shape)
        self.crowd.append(crowd)
        self.scores.append(score)
        self.outlined |= shape is not None

    def fault(self, code: str, severity: Severity, number: Any, **values: Any) -> None:
        self.problems.append(Problem(code, severity, self.where, {"annotation": short(number), **values}))

    def _box(self, annotation: Annotation, shape: Shape) -> Box | None:
        """x1,y1,x2,y2 inside the image; taken from the shape where the annotation has no usable box."""
        bbox = annotation.bbox if type(annotation.bbox) is array else self._numbers(annotation.bbox)
        if type(bbox) is array and len(bbox) == 4 and 0 < bbox[2] < MAX_COORDINATE and 0 < bbox[3] < MAX_COORDINATE \
                and -MAX_COORDINATE < bbox[0] < MAX_COORDINATE and -MAX_COORDINATE < bbox[1] < MAX_COORDINATE:
            left, top, w, h = bbox
            right, bottom = left + w, top + h
            self.tally.boxes += 1
            self.tally.corners += w > left and h > top
            self.tally.within_one += right <= 1 and bottom <= 1 and min(self.size) >= LEAST_SIDE
        elif shape is not None:
            if bbox is not None and bbox != []:
                self.fault("coco_box_from_shape", "warning", annotation.id, box=short(bbox))
            left, top, right, bottom = box_of(shape)
        else:
            self.fault("coco_bad_box" if _finite(bbox) else "coco_box_not_finite", "error", annotation.id, box=short(bbox))
            return None
        width, height = self.size
        if left >= 0 and top >= 0 and right <= width and bottom <= height and right - left >= MIN_SIDE and bottom - top >= MIN_SIDE:
            return left, top, right, bottom
        return self._cut(annotation, (left, top, right, bottom))

    def _cut(self, annotation: Annotation, whole: Box) -> Box | None:
        """A box that is not wholly inside the image, or very thin: what of it is inside."""
        (left, top, right, bottom), (width, height) = whole, self.size
        box = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        shown = f"{left:g},{top:g},{right:g},{bottom:g}"
        inside = left < width and top < height and right > 0 and bottom > 0
        if left < -SLACK or top < -SLACK or right > width + SLACK or bottom > height + SLACK:
            self.tally.outside += 1
            if inside:
                self.fault("coco_box_clipped", "warning", annotation.id, box=shown, width=width, height=height)
        if not inside:
            self.fault("coco_box_outside", "error", annotation.id, box=shown, width=width, height=height)
            return None
        if box[2] - box[0] < MIN_SIDE or box[3] - box[1] < MIN_SIDE:
            self.fault("coco_bad_box", "error", annotation.id, box=short(annotation.bbox))
            return None
        return box

    def _shape(self, annotation: Annotation) -> Shape:
        segmentation = annotation.segmentation
        try:
            if isinstance(segmentation, dict):
                return self._filled(self.rle(segmentation))
            if isinstance(segmentation, list | array):
                return self._polygons(segmentation, annotation.id)
            raise ValueError(type(segmentation).__name__)
        except (ValueError, TypeError, OverflowError) as error:
            code = "coco_bad_rle" if isinstance(segmentation, dict) else "coco_bad_polygon"
            self.fault(code, "warning", annotation.id, reason=str(error)[:120])
            return None

    def rle(self, value: dict[str, Any]) -> RLE:
        """Raises ValueError unless the run lengths fill the image."""
        width, height = self.size
        if value.get("size") != [height, width]:
            raise ValueError(f"size {short(value.get('size'))} != {height},{width}")
        counts = value.get("counts")
        if isinstance(counts, str):
            counts = runs_of(counts)
        if not isinstance(counts, list):
            raise ValueError("counts")
        return rle_of_runs(counts, (height, width))

    @staticmethod
    def _filled(mask: RLE) -> RLE:
        """Raises ValueError for a mask that covers nothing."""
        if area_of(mask, ()) == 0:
            raise ValueError("no pixel is set")
        return mask

    def _numbers(self, values: Any) -> Any:
        """A list of numbers of which some stand in quotes, as an array; anything else as it is."""
        if type(values) is not list or str not in map(type, values):
            return values
        numbers = [number for number in map(number_in, values) if number is not None]
        if len(numbers) < len(values):
            return values
        self.tally.texts += 1
        return array("d", numbers)

    def _polygons(self, value: list[Any] | array[float], number: Any) -> Polygons:
        """All rings with all their vertices; those outside the image are moved to its border."""
        width, height = self.size
        rings, beyond = [], False
        value = self._numbers(value)
        for part in [value] if isinstance(value, array) else map(self._numbers, value):
            if not isinstance(part, array) or len(part) < 6 or len(part) % 2 or not _all_finite(part):
                raise ValueError(f"{len(part) if isinstance(part, list | array) else short(part)}")
            ring = np.array(part).reshape(-1, 2)
            right, bottom = max(part[::2]), max(part[1::2])
            if min(part) < 0 or right > width or bottom > height:
                beyond |= min(part) < -SLACK or right > width + SLACK or bottom > height + SLACK
                ring = np.clip(ring, 0, (width, height))
            rings.append(ring)
        if beyond:
            self.fault("coco_polygon_clipped", "warning", number, width=width, height=height)
        return Polygons(tuple(rings))


def is_crowd(annotation: Annotation) -> bool:
    return annotation.iscrowd in (1, True, "1")


def is_number(value: Any) -> bool:
    """Neither NaN, infinity, text nor an integer of a thousand digits."""
    return type(value) in (int, float) and -MAX_COORDINATE < value < MAX_COORDINATE


def _all_finite(part: array[float]) -> bool:
    """The sum is NaN or infinite as soon as one number is."""
    return abs(sum(part)) < float("inf") and min(part) > -MAX_COORDINATE and max(part) < MAX_COORDINATE


def _finite(bbox: Any) -> bool:
    numbers = [value for value in bbox if type(value) in (int, float)] if isinstance(bbox, list | array) else []
    return all(is_number(value) for value in numbers)


def short(value: Any) -> str:
    """The start of any JSON value as people may see it, without writing out a huge one."""
    if isinstance(value, list | array):
        shown = ("[...]" if isinstance(item, list | array) else short(item) for item in value[:4])
        return "[" + ", ".join(shown) + (", ..." if len(value) > 4 else "") + "]"
    if isinstance(value, dict):
        return "{...}"
    if isinstance(value, int) and abs(value) > 10**18:
        return "1e18+"
    if isinstance(value, float):
        return f"{value:g}"
    return "".join(char if char.isprintable() else "?" for char in str(value)[:60])

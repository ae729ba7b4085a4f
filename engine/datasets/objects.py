"""The objects of one image as a reader meets them, checked before anything trusts them. Coordinates are pixels of the upright image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.datasets.outlines import box_of, rle_of_runs, runs_of
from engine.types import Instances, Polygons, Problem, Severity, Shape

MIN_SIDE = 0.01  # pixels; anything thinner has no area
SLACK = 1.0  # pixels by which rounding may carry an object over the border without a word
MAX_COORDINATE = 1e7
MAX_OBJECTS = 100_000
Box = tuple[float, float, float, float]


@dataclass
class Objects:
    """Collects boxes and outlines; what cannot be kept, or was changed, becomes a Problem at `where`.

    `where` is the label file (or the image's name where one file holds many), `size` the image's (width, height). Every `add_…` takes the
    class id and `ref`, by which people find the entry: a line, a number, a name.
    """

    where: str
    size: tuple[int, int]
    problems: list[Problem] = field(default_factory=list)
    _boxes: list[Box] = field(default_factory=list)
    _classes: list[int] = field(default_factory=list)
    _shapes: list[Shape] = field(default_factory=list)
    _crowd: list[bool] = field(default_factory=list)
    _seen: set[Any] = field(default_factory=set)
    _over: int = 0

    def __len__(self) -> int:
        return len(self._boxes)

    def fault(self, code: str, ref: Any = "", severity: Severity = "error", **values: Any) -> None:
        """A problem with this file: `ref` is the line when it is a number."""
        place = f"{self.where}:{ref}" if isinstance(ref, int) else self.where
        self.problems.append(Problem(code, severity, place, {"object": shown(ref), **values}))

    def add_box(self, class_id: int, box: Sequence[Any], ref: Any = "", *, crowd: bool = False) -> bool:
        """x1,y1,x2,y2 in any order of corners, numbers or texts. False when it could not be kept."""
        numbers = [number(value) for value in box]
        if len(numbers) != 4 or any(value is None for value in numbers):
            self.fault("object_not_finite", ref, box=shown(list(box)))
            return False
        x1, y1, x2, y2 = (float(value) for value in numbers if value is not None)
        return self._keep(class_id, (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), None, ref, crowd)

    def add_polygons(self, class_id: int, rings: Sequence[Any], holes: Sequence[Any] = (), ref: Any = "", *, crowd: bool = False) -> bool:
        """Rings of (x, y) pairs, each of three points or more; every vertex is kept. A shorter ring is left out with a problem."""
        kept = [[ring for ring in map(self._ring, part) if ring is not None] for part in (rings, holes)]
        lost = len(rings) + len(holes) - len(kept[0]) - len(kept[1])
        if lost:
            self.fault("outline_too_short", ref, "error" if not kept[0] else "warning", count=lost)
        if not kept[0]:
            return False
        shape = Polygons(tuple(kept[0]), tuple(kept[1]))
        whole = box_of(shape)
        clipped = Polygons(*(tuple(np.clip(ring, 0, self.size) for ring in part) for part in kept))
        return self._keep(class_id, whole, clipped, ref, crowd)

    def add_rle(self, class_id: int, counts: Any, size: Any, ref: Any = "", *, crowd: bool = False) -> bool:
        """COCO run lengths (list, or compressed text) of `size` = [height, width]."""
        width, height = self.size
        try:
            if list(size) != [height, width]:
                raise ValueError(f"{shown(size)} != {height},{width}")
            runs = runs_of(counts) if isinstance(counts, str | bytes) else counts
            if not isinstance(runs, list):
                raise TypeError("counts")
            shape = rle_of_runs(runs, (height, width))
        except (ValueError, TypeError, OverflowError) as error:
            self.fault("runs_damaged", ref, reason=str(error)[:120])
            return False
        return self._keep(class_id, box_of(shape), shape, ref, crowd)

    def instances(self) -> Instances:
        shapes = tuple(self._shapes) if any(shape is not None for shape in self._shapes) else None
        return Instances(np.array(self._boxes, np.float32), np.array(self._classes, np.int64), shapes=shapes,
                         crowd=np.array(self._crowd, bool) if any(self._crowd) else None)

    def _ring(self, points: Any) -> np.ndarray | None:
        """f64[K,2] of finite numbers, at least three without a closing point that repeats the first; or None. Every point is kept."""
        ring = pairs_of(points)
        if ring is None:
            return None
        closed = len(ring) > 1 and bool((ring[0] == ring[-1]).all())
        return ring if len(ring) - closed >= 3 else None

    def _keep(self, class_id: int, box: Box, shape: Shape, ref: Any, crowd: bool) -> bool:
        width, height = self.size
        left, top, right, bottom = box
        text = ",".join(f"{value:g}" for value in box)
        if right - left < MIN_SIDE or bottom - top < MIN_SIDE:
            self.fault("object_without_area", ref, box=text)
            return False
        if left >= width or top >= height or right <= 0 or bottom <= 0:
            self.fault("object_outside", ref, box=text, width=width, height=height)
            return False
        if left < -SLACK or top < -SLACK or right > width + SLACK or bottom > height + SLACK:
            self.fault("object_clipped", ref, "warning", box=text, width=width, height=height)
        key = (class_id, box, shape and shape.__class__, _content(shape))
        if key in self._seen:
            self.fault("object_twice", ref, "warning", box=text)
            return False
        if len(self._boxes) >= MAX_OBJECTS:
            self._over += 1
            if self._over == 1:
                self.fault("objects_too_many", ref, limit=MAX_OBJECTS)
            return False
        self._seen.add(key)
        self._boxes.append((max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))))
        self._classes.append(class_id)
        self._shapes.append(shape)
        self._crowd.append(crowd)
        return True


def _content(shape: Shape) -> Any:
    """What tells a shape from another one of the same box."""
    if isinstance(shape, Polygons):
        return tuple(ring.tobytes() for part in (shape.rings, shape.holes) for ring in part)
    return None if shape is None else shape.counts


@dataclass
class Classes:
    """Class names in the order in which they come; cleaned of what no page or terminal should show."""

    names: dict[str, int] = field(default_factory=dict)

    def id_of(self, name: Any) -> int:
        """The id of `name`, which is added when it is new. An empty name becomes "unnamed"."""
        return self.names.setdefault(clean_name(name) or "unnamed", len(self.names))

    @property
    def tuple(self) -> tuple[str, ...]:
        return tuple(self.names)


def clean_name(name: Any) -> str:
    return "".join(char if char.isprintable() else " " for char in str(name)[:500]).strip()


def number(value: Any) -> float | None:
    """A finite number of a sensible size from a number or a text; None for everything else, True and "1_000" included."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) and abs(result) < MAX_COORDINATE else None


def pairs_of(points: Any) -> np.ndarray | None:
    """f64[K,2] from pairs of finite numbers or texts; None for anything else."""
    try:
        plain = np.array(points)
        if plain.dtype.kind not in "fi":
            plain = np.array([(number(x), number(y)) for x, y in points], np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if plain.ndim != 2 or plain.shape[1] != 2 or not (np.abs(plain) < MAX_COORDINATE).all():
        return None
    return plain.astype(np.float64)


def shown(value: Any) -> str:
    """The start of any value as people may see it."""
    text = ", ".join(shown(item) for item in value[:4]) + (", ..." if len(value) > 4 else "") if isinstance(value, list | tuple) else str(value)[:60]
    return "".join(char if char.isprintable() else "?" for char in text)[:80]

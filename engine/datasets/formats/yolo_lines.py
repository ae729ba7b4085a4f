"""One YOLO label file: lines of `class x y w h` or `class x1 y1 x2 y2 ...`, relative to the image, to pixels.

Boxes and outlines may share a file. Other readers take every line of such a file for an outline, so a box among outlines is written as its
corners with the first one doubled: an outline to them, and here a box again.
"""

from __future__ import annotations

import codecs
import math
from dataclasses import dataclass, field

import numpy as np

from engine.types import Instances, Polygons, Problem, Shape

MAX_LABEL_BYTES = 16 << 20
MAX_OBJECTS = 100_000
MAX_PROBLEMS_PER_FILE = 20
MIN_SIDE = 0.01  # pixels; anything thinner has no area
EPSILON = 1e-3  # pixels
SLACK = 1.0  # pixels by which rounding may carry a box over the border without a word
BOX, BOX_AND_SCORE, ORIENTED, CORNERED = 5, 6, 9, 11  # fields of a line


@dataclass(frozen=True)
class LabelRule:
    """How to understand the files of one data set: `ids` maps the ids in the files to our own 0..C-1.

    `keypoints`: what follows a box are points. `oriented`: four points are a turned box, of which the upright box is kept.
    """

    ids: dict[int, int]
    keypoints: bool = False
    oriented: bool = False

    @property
    def allowed(self) -> str:
        known = sorted(self.ids)
        whole = known == list(range(len(known)))
        return "-" if not known else f"{known[0]}..{known[-1]}" if whole else ", ".join(map(str, known[:20]))


@dataclass
class _Lines:
    """What one file has given so far."""

    where: str
    size: tuple[int, int]
    rule: LabelRule
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    outlined: bool = False

    def fault(self, code: str, line: int, severity: str = "error", **values: object) -> None:
        self.problems.append(Problem(code, severity, f"{self.where}:{line}", values))  # type: ignore[arg-type]


def parse(data: bytes, where: str, size: tuple[int, int], rule: LabelRule) -> tuple[Instances | None, list[Problem]]:
    """The objects of one label file; faulty lines become problems and the rest is kept.

    An empty file means: looked at, nothing there. A file of which every line is faulty says nothing: labels None.
    """
    problems: list[Problem] = []
    if not data.isascii():
        text = _decoded(data, where, problems)
        if text is None:
            return None, problems
        data = text.encode("utf-8")
    lines = data.splitlines()
    plain = _plain(lines, size, rule.ids) if b"_" not in data and not problems else None
    if plain is not None:
        return plain, []
    found = _Lines(where, size, rule, problems=problems)
    seen: set[bytes] = set()
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        key = b" ".join(fields)
        if key in seen:
            found.fault("label_duplicate", number, "warning")
        elif len(seen) < MAX_OBJECTS:
            seen.add(key)
            _read_line(found, number, fields)
        else:
            found.fault("label_too_many_objects", number, limit=MAX_OBJECTS)
            break
    labels = _instances(found) if found.boxes or not seen else None
    return labels, _capped(found.problems, where)


def _plain(lines: list[bytes], size: tuple[int, int], ids: dict[int, int]) -> Instances | None:
    """The usual file: different lines of five good numbers, read without ceremony. None as soon as one needs a closer look."""
    width, height = float(size[0]), float(size[1])
    boxes, classes = [], []
    try:
        for line in lines:
            number, x, y, w, h = map(float, line.split())
            w, h = w * width, h * height
            left, top = x * width - w / 2, y * height - h / 2
            right, bottom = left + w, top + h
            if left < 0 or top < 0 or right > width or bottom > height:
                if left < -EPSILON or top < -EPSILON or right > width + EPSILON or bottom > height + EPSILON:
                    return None
                left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
            if not (left < right - MIN_SIDE and top < bottom - MIN_SIDE):
                return None
            boxes.append((left, top, right, bottom))
            classes.append(ids[number])  # type: ignore[index]  # a whole float finds the integer
    except (ValueError, KeyError):
        return None
    if not boxes or len(set(lines)) < len(lines) or len(lines) > MAX_OBJECTS:
        return None
    return Instances(np.array(boxes, np.float32), np.array(classes, np.int64))


def _decoded(data: bytes, where: str, problems: list[Problem]) -> str | None:
    """Text in UTF-8 or, with a mark at the start, UTF-16; None and a problem for anything else."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        problems.append(Problem("label_not_text", "error", where))
        return None
    if wide:
        problems.append(Problem("label_encoding", "note", where, {"encoding": "UTF-16"}))
    return text


def _read_line(found: _Lines, number: int, fields: list[bytes]) -> None:
    try:
        values = [float(value) for value in fields]
    except ValueError:
        values = []
    if not values or any(b"_" in value for value in fields):
        found.fault("label_not_a_number", number, text=_shown(fields))
        return
    count = len(values)
    own = found.rule.ids.get(int(values[0])) if math.isfinite(values[0]) and values[0] == int(values[0]) else None
    if own is None:
        _explain_class(found, number, fields[0], values[0])
    elif count in (BOX, BOX_AND_SCORE) or (found.rule.keypoints and count > BOX):
        if count == BOX_AND_SCORE and not found.rule.keypoints:
            found.fault("label_six_columns", number, "warning", text=_shown(fields))
        _read_box(found, number, own, values[1], values[2], values[3], values[4])
    elif count >= 7 and count % 2:
        _read_polygon(found, number, own, values[1:])
    else:
        found.fault("label_columns", number, count=count, text=_shown(fields))


def _explain_class(found: _Lines, number: int, text: bytes, value: float) -> None:
    if not math.isfinite(value):
        found.fault("label_not_finite", number, text=_shown([text]))
    elif value != int(value):
        found.fault("label_class_not_whole", number, text=_shown([text]))
    elif value < 0:
        found.fault("label_class_negative", number, class_id=int(value), allowed=found.rule.allowed)
    else:
        found.fault("label_class_range", number, class_id=f"{value:.0f}"[:20], allowed=found.rule.allowed)


def _read_box(found: _Lines, number: int, own: int, x: float, y: float, w: float, h: float) -> None:
    width, height = found.size
    if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < w <= 1 and 0 < h <= 1) and not _explain_box(found, number, (x, y, w, h)):
        return
    w, h = w * width, h * height
    left, top = x * width - w / 2, y * height - h / 2
    right, bottom = left + w, top + h
    if left < -SLACK or top < -SLACK or right > width + SLACK or bottom > height + SLACK:
        found.fault("box_clipped", number, "warning", box=_box_text(left, top, right, bottom), width=width, height=height)
    box = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    _add(found, number, own, box, None)


def _explain_box(found: _Lines, number: int, values: tuple[float, float, float, float]) -> bool:
    """Says what is wrong with a box; True when it is a rounding matter and the box can stay."""
    shown = " ".join(f"{value:g}" for value in values)
    if not all(map(math.isfinite, values)):
        found.fault("label_not_finite", number, text=shown)
    elif values[2] < 0 or values[3] < 0:
        found.fault("label_negative_size", number, text=shown)
    elif values[2] == 0 or values[3] == 0:
        found.fault("label_zero_area", number, text=shown)
    elif max(values) > 2:
        found.fault("label_pixels", number, text=shown)
    elif min(values) < -0.01 or max(values) > 1.01:
        found.fault("label_range", number, text=shown)
    else:
        return True
    return False


def _read_polygon(found: _Lines, number: int, own: int, values: list[float]) -> None:
    width, height = found.size
    points = np.array(values, np.float64).reshape(-1, 2)
    low, high = float(points.min()), float(points.max())
    if not np.isfinite(points).all():
        found.fault("label_not_finite", number, text=_shown([b"%g" % value for value in values]))
        return
    if high > 2:
        found.fault("label_pixels", number, text=_shown([b"%g" % value for value in values]))
        return
    if low < -0.01 or high > 1.01:
        found.fault("polygon_clipped", number, "warning")
    ring = np.clip(points, 0, 1) * (width, height)
    left, top = ring.min(0).tolist()
    right, bottom = ring.max(0).tolist()
    is_box = (found.rule.oriented and len(values) == ORIENTED - 1) or (len(values) == CORNERED - 1 and _is_doubled(values))
    found.outlined |= not is_box
    _add(found, number, own, (left, top, right, bottom), None if is_box else Polygons((ring,)))


def _is_doubled(values: list[float]) -> bool:
    """Whether five points are an upright rectangle whose first corner stands twice."""
    left, top, left2, top2, right, top3, right2, bottom, left3, bottom2 = values
    return left == left2 == left3 and top == top2 == top3 and right == right2 and bottom == bottom2


def _add(found: _Lines, number: int, own: int, box: tuple[float, float, float, float], shape: Shape) -> None:
    if box[2] - box[0] < MIN_SIDE or box[3] - box[1] < MIN_SIDE:
        found.fault("label_zero_area", number, text=_box_text(*box))
        return
    found.boxes.append(box)
    found.classes.append(own)
    found.shapes.append(shape)


def _instances(found: _Lines) -> Instances:
    shapes = tuple(found.shapes) if found.outlined else None
    return Instances(np.array(found.boxes, np.float32), np.array(found.classes, np.int64), shapes=shapes)


def _capped(problems: list[Problem], where: str) -> list[Problem]:
    if len(problems) <= MAX_PROBLEMS_PER_FILE:
        return problems
    rest = len(problems) - MAX_PROBLEMS_PER_FILE
    worst = "error" if any(problem.severity == "error" for problem in problems) else "warning"
    return [*problems[:MAX_PROBLEMS_PER_FILE], Problem("label_more_problems", worst, where, {"count": rest})]  # type: ignore[arg-type]


def _shown(fields: list[bytes]) -> str:
    """The start of a line as people may see it."""
    text = b" ".join(fields[:8])[:60].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)


def _box_text(left: float, top: float, right: float, bottom: float) -> str:
    return f"{left:.1f},{top:.1f},{right:.1f},{bottom:.1f}"

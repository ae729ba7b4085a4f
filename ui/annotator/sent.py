"""What a canvas sent, checked: numbers, points and boxes of an image."""

from __future__ import annotations

from typing import Any

from engine.types import UserError

MOST_POINTS = 64
FURTHEST = 1e6  # pixels
MOST_NUMBER = 2**53  # what a browser can count to
Point = tuple[float, float]
Box = tuple[float, float, float, float]


def whole(sent: dict[str, Any], name: str, default: int | None = None) -> int:
    """A whole number from 0 on."""
    value = sent.get(name, default)
    if type(value) is not int or not 0 <= value < MOST_NUMBER:
        raise UserError("labels_unreadable", what=name)
    return value


def share(sent: dict[str, Any], name: str, default: float) -> float:
    """A number in 0..1."""
    value = sent.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise UserError("labels_unreadable", what=name)
    return float(value)


def points(sent: dict[str, Any], name: str) -> list[Point]:
    """Points in pixels; none when there is no such entry."""
    value = sent.get(name) or []
    if not isinstance(value, list) or len(value) > MOST_POINTS:
        raise UserError("labels_unreadable", what=name)
    return [(x, y) for x, y in (_numbers(each, 2) for each in value)]


def box(sent: dict[str, Any], name: str) -> Box | None:
    """x1, y1, x2, y2 in pixels, in this order; None when there is no such entry."""
    if sent.get(name) is None:
        return None
    x1, y1, x2, y2 = _numbers(sent[name], 4)
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _numbers(value: Any, count: int) -> list[float]:
    if not isinstance(value, list) or len(value) != count or not all(isinstance(each, int | float) and abs(each) < FURTHEST for each in value):
        raise UserError("labels_unreadable", what="points")
    return [float(each) for each in value]

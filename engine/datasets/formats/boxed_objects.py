"""Objects whose files give a box beside the outline: the box is kept as it stands, so that nothing is lost when it is written again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.datasets.objects import MIN_SIDE, Box, Objects, number
from engine.types import Instances


@dataclass
class BoxedObjects(Objects):
    """`Objects` that can tell an object's own box from the one around its outline."""

    _own: dict[int, Box] = field(default_factory=dict)

    def keep_box(self, box: Sequence[Any]) -> None:
        """Gives the object added last this box, x1,y1,x2,y2 in any order of corners; the one around its outline stays where this is none."""
        numbers = [value for value in map(number, box) if value is not None]
        if len(numbers) != 4:
            return
        width, height = self.size
        (left, right), (top, bottom) = sorted(numbers[0::2]), sorted(numbers[1::2])
        left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
        if right - left >= MIN_SIDE and bottom - top >= MIN_SIDE:
            self._own[len(self) - 1] = (left, top, right, bottom)

    def instances(self) -> Instances:
        found = super().instances()
        if not self._own:
            return found
        boxes = found.boxes.copy()
        for index, box in self._own.items():
            boxes[index] = box
        return replace(found, boxes=boxes)

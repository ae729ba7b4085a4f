"""What the four numbers of boxes without headings are: two corners, or a corner with width and height. All rows are asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.types import Problem

SLACK = 1.0  # pixels
CORNERS, WIDE = "x1, y1, x2, y2", "x, y, width, height"


@dataclass
class Evidence:
    """How many of the `rows` cannot be corners, and how many cannot be width and height."""

    rows: int = 0
    no_corners: int = 0
    no_sides: int = 0

    @property
    def clear(self) -> bool:
        return self.no_corners != self.no_sides


Row = tuple[float, float, float, float]


def gathered(rows: Iterable[tuple[Row, tuple[int, int] | None]]) -> Evidence:
    """From the numbers of each row and (width, height) of its image where that is known; fractions are of an image of 1 x 1."""
    known = list(rows)
    scaled = all(max(numbers) <= 1 for numbers, _ in known)
    slack = 0.01 if scaled else SLACK
    found = Evidence(len(known))
    for (a, b, c, d), size in known:
        width, height = (1, 1) if scaled else size or (float("inf"), float("inf"))
        found.no_corners += not (a < c <= width + slack and b < d <= height + slack)
        found.no_sides += not (c > 0 and d > 0 and a + c <= width + slack and b + d <= height + slack)
    return found


def decided(found: Evidence, usual: bool, path: str) -> tuple[bool, Problem]:
    """(whether the numbers end with width and height, what to tell people); `usual` counts where the rows fit both."""
    wide = found.no_sides < found.no_corners if found.clear else usual
    against = found.no_corners if wide else found.no_sides
    values = {"order": WIDE if wide else CORNERS, "other": CORNERS if wide else WIDE, "count": against, "rows": found.rows}
    return wide, Problem("box_order_told" if found.clear else "box_order_assumed", "note" if found.clear else "warning", path, values)

"""What the lines of a YOLO data set mean. One line cannot tell: nine fields are an outline of four points or an oriented box."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from engine.datasets.formats.yolo_layout import Layout
from engine.datasets.formats.yolo_lines import BOX, BOX_AND_SCORE, MAX_LABEL_BYTES, ORIENTED
from engine.datasets.images import size_of
from engine.types import UserError

Kind = Literal["boxes", "outlines", "oriented", "keypoints"]
Pair = tuple[str, str]  # image, label file
MAX_PEEKED = 50
MOST = 0.95  # of the quadrangles must be rectangles; the rest may be cut by the border of the image
_HINT = re.compile(r"(?<![a-z])(obb|oriented)(?![a-z])", re.IGNORECASE)
TASKS: dict[str, Kind] = {"detect": "boxes", "segment": "outlines", "obb": "oriented", "pose": "keypoints"}


@dataclass
class _Counts:
    boxes: int = 0
    outlines: int = 0
    quadrangles: int = 0
    rectangles: int = 0
    turned: int = 0

    @property
    def oriented(self) -> bool:
        """Rectangles throughout, and not all of them upright: upright ones are as well outlines that somebody drew."""
        return 0 < self.outlines == self.quadrangles and self.rectangles >= MOST * self.quadrangles and self.turned > 0


def kind_of(layout: Layout, pairs: Callable[[], Iterable[Pair]]) -> Kind:
    """What data.yaml says, else what the first label files show. Only where these look like oriented boxes are all of them read."""
    if layout.keypoints:
        return "keypoints"
    if layout.task in TASKS:
        return TASKS[layout.task]
    first = list(islice(pairs(), MAX_PEEKED))
    if _are_keypoints(line for _, label in first for line in _lines(layout, label)):
        return "keypoints"
    counts = _count(layout, first)
    if counts.quadrangles and counts.outlines == counts.quadrangles and (_hinted(layout) or (counts.oriented and _count(layout, pairs()).oriented)):
        return "oriented"
    return "outlines" if counts.outlines > counts.boxes else "boxes"


def _hinted(layout: Layout) -> bool:
    return bool(_HINT.search(layout.config) or _HINT.search(layout.tree.root.rpartition("/")[2]))


def _lines(layout: Layout, label: str) -> Iterator[list[bytes]]:
    return (line.split() for line in layout.tree.head(label, MAX_LABEL_BYTES).splitlines())


def _are_keypoints(lines: Iterable[list[bytes]]) -> bool:
    """All lines of one even length: a box and then x, y, visibility (0, 1, 2) for each point. Outlines have an odd number of fields."""
    lengths = set()
    for fields in lines:
        if fields:
            lengths.add(len(fields))
            if len(fields) <= BOX_AND_SCORE or len(fields) % 2 or (len(fields) - BOX) % 3 or not set(fields[BOX + 2::3]) <= _VISIBILITY:
                return False
    return len(lengths) == 1


_VISIBILITY = {text for number in (b"0", b"1", b"2") for text in (number, number + b".0", number + b".000000")}


def _count(layout: Layout, pairs: Iterable[Pair]) -> _Counts:
    counts = _Counts()
    for image, label in pairs:
        quadrangles = []
        for fields in _lines(layout, label):
            if len(fields) in (BOX, BOX_AND_SCORE):
                counts.boxes += 1
            elif len(fields) > BOX_AND_SCORE and len(fields) % 2:
                counts.outlines += 1
                quadrangles += [fields] if len(fields) == ORIENTED else []
        if quadrangles:
            counts.quadrangles += len(quadrangles)
            _measure(counts, f"{layout.tree.root}/{image}", quadrangles)
    return counts


def _measure(counts: _Counts, image: str, quadrangles: list[list[bytes]]) -> None:
    """Right angles can only be seen in pixels; but some tools turn boxes in the relative units, in which an image is square."""
    try:
        width, height = size_of(image)
        points = [[float(value) for value in fields[1:]] for fields in quadrangles]
    except (UserError, ValueError):
        return
    side = max(width, height)
    for values in points:
        pairs = list(zip(values[::2], values[1::2], strict=True))
        seen = [_angles([complex(x * w, y * h) for x, y in pairs]) for w, h in ((width, height), (side, side))]
        counts.rectangles += seen != ["none", "none"]
        counts.turned += "turned" in seen


def _angles(corners: list[complex]) -> Literal["none", "upright", "turned"]:
    """Whether four corners are a rectangle. A pixel and a hundredth of the diagonal may be lost to rounding."""
    diagonals = abs(corners[2] - corners[0]), abs(corners[3] - corners[1])
    slack = 1 + max(diagonals) / 100
    if abs(diagonals[0] - diagonals[1]) > slack or abs(corners[0] + corners[2] - corners[1] - corners[3]) > 2 * slack:
        return "none"
    edge = corners[1] - corners[0]
    return "turned" if min(abs(edge.real), abs(edge.imag)) > slack else "upright"

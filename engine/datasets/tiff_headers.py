"""The directory at the start of a TIFF or BigTIFF: sizes, sample types, and how many pages follow."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUBFILE, WIDTH, HEIGHT, BITS, PHOTOMETRIC, TURN, SAMPLES, PLANAR, EXTRA, SAMPLE_FORMAT = 254, 256, 257, 258, 262, 274, 277, 284, 338, 339
WANTED = frozenset((SUBFILE, WIDTH, HEIGHT, BITS, PHOTOMETRIC, TURN, SAMPLES, PLANAR, EXTRA, SAMPLE_FORMAT))
KINDS = {1: "B", 3: "H", 4: "I", 16: "Q"}
NO_PAGE = 1 | 4  # a smaller copy, a mask
MAX_ENTRIES = 4096
MAX_DIRECTORIES = 64


@dataclass(frozen=True)
class Tags:
    """The first value of each tag of interest in the first directory; `pages` is 2 when another full picture follows."""

    values: dict[int, int]
    pages: int = 1

    def first(self, tag: int, default: int | None = None) -> int:
        """Raises ValueError when the tag is missing and has no default."""
        value = self.values.get(tag, default)
        if value is None:
            raise ValueError(f"TIFF tag {tag} is missing")
        return value


def read(file: BinaryIO, start: bytes) -> Tags:
    """Raises ValueError or struct.error for a damaged directory."""
    order = "<" if start.startswith(b"II") else ">"
    big = struct.unpack_from(order + "H", start, 2)[0] == 43
    offset = struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)[0]
    values, after = _directory(file, offset, order, big)
    return Tags(values, 2 if _page_follows(file, after, order, big) else 1)


def _page_follows(file: BinaryIO, offset: int, order: str, big: bool) -> bool:
    """Smaller copies of the first picture, as maps carry them, are no pages. A damaged rest counts as none."""
    try:
        for _ in range(MAX_DIRECTORIES):
            if not offset:
                return False
            values, offset = _directory(file, offset, order, big)
            if not values.get(SUBFILE, 0) & NO_PAGE:
                return True
    except (ValueError, struct.error):
        pass
    return False


def _directory(file: BinaryIO, offset: int, order: str, big: bool) -> tuple[dict[int, int], int]:
    head, size, place = ("Q", 20, "Q") if big else ("H", 12, "I")
    width = struct.calcsize(order + head)
    if not 8 <= offset < 1 << 62:
        raise ValueError("no TIFF directory")
    file.seek(offset)
    start = file.read(width)
    if len(start) < width:
        raise ValueError("the TIFF directory lies behind the end of the file")
    count = struct.unpack(order + head, start)[0]
    if not 0 < count <= MAX_ENTRIES:
        raise ValueError(f"a TIFF directory of {count} entries")
    table = file.read(count * size + struct.calcsize(order + place))
    values: dict[int, int] = {}
    for at in range(0, min(count * size, len(table) - size + 1), size):
        tag, kind = struct.unpack_from(order + "HH", table, at)
        if tag in WANTED and kind in KINDS and tag not in values:
            number = struct.unpack_from(order + place, table, at + 4)[0]
            values[tag] = _first(file, table, at + size - struct.calcsize(place), KINDS[kind], number, order + place)
    after = struct.unpack_from(order + place, table, count * size)[0] if len(table) >= count * size + struct.calcsize(order + place) else 0
    return values, after


def _first(file: BinaryIO, table: bytes, at: int, kind: str, number: int, place: str) -> int:
    """The first of `number` values, which stand in the entry itself when they fit, elsewhere when they do not."""
    if number * struct.calcsize(kind) <= struct.calcsize(place):
        return struct.unpack_from(place[0] + kind, table, at)[0]
    file.seek(struct.unpack_from(place, table, at)[0])
    return struct.unpack(place[0] + kind, file.read(struct.calcsize(kind)))[0]

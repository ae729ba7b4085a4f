"""A TIFF that keeps each channel in a plane of its own becomes gray pictures, one a channel, which every decoder reads right."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from engine.datasets import tiff_headers as tiff

STRIP_TAGS = (273, 279, 324, 325)  # where strips or tiles lie and how long they are: one plane after the other
LEFT_OUT = (tiff.EXTRA, 330, 34665)  # what belongs to other channels or other directories
KINDS = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q"}


@dataclass(frozen=True)
class _Layout:
    """How directories of this file are written: classic or big, in which byte order."""

    order: str
    big: bool

    @property
    def place(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def count(self) -> str:
        return self.order + ("Q" if self.big else "H")


def plane(data: bytes, index: int, channels: int) -> bytes:
    """The file with a new first directory that shows channel `index` of `channels` as gray. Raises ValueError or struct.error when it is damaged."""
    layout = _Layout("<" if data.startswith(b"II") else ">", data[2:4] in (b"+\0", b"\0+"))
    pointer = 8 if layout.big else 4
    entries = _entries(data, struct.unpack_from(layout.place, data, pointer)[0], layout)
    kept = []
    for tag, kind, values in entries:
        if tag in STRIP_TAGS:
            share = len(values) // channels
            values = values[index * share:(index + 1) * share]
        elif tag in (tiff.BITS, tiff.SAMPLE_FORMAT):
            values = values[index:index + 1] or values[:1]
        elif tag in (tiff.SAMPLES, tiff.PHOTOMETRIC, tiff.PLANAR):
            values = (1,)
        if tag not in LEFT_OUT:
            kept.append((tag, kind, values))
    start = len(data) + len(data) % 2
    whole = data.ljust(start, b"\0") + _directory(kept, start, layout)
    return whole[:pointer] + struct.pack(layout.place, start) + whole[pointer + struct.calcsize(layout.place):]


def _entries(data: bytes, offset: int, layout: _Layout) -> list[tuple[int, int, tuple[int, ...]]]:
    """(tag, kind, values) of one directory; kinds that hold no plain numbers are left out."""
    entries = []
    place = struct.calcsize(layout.place)
    count = struct.unpack_from(layout.count, data, offset)[0]
    first = offset + struct.calcsize(layout.count)
    for at in range(first, first + min(count, tiff.MAX_ENTRIES) * (4 + 2 * place), 4 + 2 * place):
        tag, kind = struct.unpack_from(layout.order + "HH", data, at)
        number = struct.unpack_from(layout.place, data, at + 4)[0]
        if kind not in KINDS or KINDS[kind] == "s":
            continue
        size = number * struct.calcsize(KINDS[kind])
        if size > len(data):
            raise ValueError(f"TIFF tag {tag} of {number} values")
        here = at + 4 + place if size <= place else struct.unpack_from(layout.place, data, at + 4 + place)[0]
        entries.append((tag, kind, struct.unpack_from(f"{layout.order}{number}{KINDS[kind]}", data, here)))
    return entries


def _directory(entries: list[tuple[int, int, tuple[int, ...]]], start: int, layout: _Layout) -> bytes:
    """The entries as they stand in a file at `start`, followed by the values that do not fit into them; no further directory."""
    place = struct.calcsize(layout.place)
    table = struct.pack(layout.count, len(entries))
    after = start + len(table) + len(entries) * (4 + 2 * place) + place
    rest = b""
    for tag, kind, values in sorted(entries):
        body = struct.pack(f"{layout.order}{len(values)}{KINDS[kind]}", *values)
        field = body.ljust(place, b"\0") if len(body) <= place else struct.pack(layout.place, after + len(rest))
        table += struct.pack(layout.order + "HH", tag, kind) + struct.pack(layout.place, len(values)) + field
        rest += body if len(body) > place else b""
    return table + struct.pack(layout.place, 0) + rest

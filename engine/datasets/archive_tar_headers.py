"""The headers of a tar, in one pass over their bytes: old, ustar, GNU and PAX (POSIX.1-2017, `pax`). Whatever is not in order is damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

BLOCK = 512
CHUNK = 1 << 20
MAX_EXTENSION_BYTES = 64 << 10  # of all headers that stand before one member; long names fit, bombs do not
LONG_NAME, LONG_LINK, PAX, PAX_OF_ALL, SPARSE = b"L", b"K", (b"x", b"X"), b"g", b"S"
WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
SPARSE_KEYS = (b"GNU.sparse.", b"SCHILY.realsize")


class Damaged(Exception):
    """The bytes are no tar from here on."""


@dataclass(frozen=True)
class Member:
    """One entry: its name (bytes that are no UTF-8 as surrogates), the bytes of data that follow, its type flag."""

    name: str
    size: int
    kind: bytes
    sparse: bool = False


class Stream:
    """The unpacked bytes, forward only; `read` gives those of the current member. `check` is told how far it is, and may end it."""

    def __init__(self, file: IO[bytes], check: Callable[[int], None]) -> None:
        self.file, self.check, self.at, self.left = file, check, 0, 0

    def take(self, count: int) -> bytes:
        data = self.file.read(count)
        self.at += len(data)
        self.check(self.at)
        return data

    def read(self, count: int = CHUNK) -> bytes:
        data = self.take(min(count, self.left))
        self.left -= len(data)
        return data

    def skip(self, count: int) -> None:
        while count and (data := self.take(min(count, CHUNK))):
            count -= len(data)
        if count:
            raise Damaged("it ends in the middle of a file")

    def body(self, size: int, limit: int) -> bytes:
        """The data of a header that explains the next one."""
        if size > limit:
            raise Damaged(f"a header of {size} bytes")
        data = self.take(size)
        self.skip(size - len(data) + -size % BLOCK)
        return data


def is_header(block: bytes) -> bool:
    """Whether the checksum holds; some old programs summed signed bytes."""
    if len(block) < BLOCK or not any(block):
        return False
    try:
        wanted = int(block[148:156].split(b"\0")[0].strip() or b"x", 8)
    except ValueError:
        return False
    rest = block[:148] + block[156:]
    unsigned = sum(rest) + 8 * 32
    return wanted == unsigned or wanted == unsigned - 256 * sum(byte > 127 for byte in rest)


def members(stream: Stream, first: bytes, tell: Callable[[str], None]) -> Iterator[Member]:
    """The entries from the block `first` on; what the caller does not read of each is skipped. Raises Damaged.

    A tar may follow the end of another; then both are read. `tell` gets the code of a problem: "archive_no_end", "archive_tail".
    """
    of_all: dict[bytes, bytes] = {}
    block, ended = first, False
    while len(block) == BLOCK:
        if not any(block):
            ended, block = True, stream.take(BLOCK)
            continue
        if not is_header(block):
            if ended:
                return tell("archive_tail")
            raise Damaged("a header with a wrong checksum")
        member, ended = _member(stream, block, of_all), False
        stream.left, padding = member.size, -member.size % BLOCK
        yield member
        stream.skip(stream.left + padding)
        block = stream.take(BLOCK)
    if any(block) and not ended:
        raise Damaged("it ends in the middle of a header")
    if not ended:
        tell("archive_no_end")
    return None


def _member(stream: Stream, block: bytes, of_all: dict[bytes, bytes]) -> Member:
    """One entry with all headers that stand before it; `of_all` holds those that count for every one."""
    own: dict[bytes, bytes] = {}
    room = MAX_EXTENSION_BYTES
    while True:
        if not is_header(block):
            raise Damaged("a header with a wrong checksum")
        kind, size = block[156:157], _number(block[124:136])
        if kind not in (LONG_NAME, LONG_LINK, PAX_OF_ALL, *PAX):
            break
        body = stream.body(size, room)
        room -= size + BLOCK
        if kind == LONG_NAME:
            own[b"path"] = body.split(b"\0")[0]
        elif kind != LONG_LINK:
            (of_all if kind == PAX_OF_ALL else own).update(_records(body))
        block = stream.take(BLOCK)
    said = {**of_all, **own}
    sparse = kind == SPARSE or any(key.startswith(SPARSE_KEYS) for key in said)
    more = kind == SPARSE and block[482]
    while more:
        more = (stream.take(BLOCK) or bytes(BLOCK)).ljust(BLOCK, b"\0")[504]
    size = _digits(said[b"size"], 10) if b"size" in said else size
    name = said.get(b"GNU.sparse.name") or said.get(b"path") or _name(block)
    return Member(name.decode("utf-8", "surrogateescape"), 0 if kind in WITHOUT_DATA else size, kind, sparse)


def _records(body: bytes) -> dict[bytes, bytes]:
    """The `length key=value` lines of a PAX header."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(body) and body[at]:
        space = body.find(b" ", at, at + 8)
        end = at + _digits(body[at:space], 10) if space > at else 0
        key, equals, value = body[space + 1:end - 1].partition(b"=")
        if not equals or body[end - 1:end] != b"\n":
            raise Damaged("a PAX header that is not in order")
        found[key] = value
        at = end
    return found


def _number(data: bytes) -> int:
    """A size: octal digits, or 256-based where the first bit is set."""
    if data[0] & 0x80:
        if data[0] != 0x80:
            raise Damaged("a negative size")
        return int.from_bytes(data[1:], "big")
    return _digits(data.split(b"\0")[0].strip() or b"0", 8)


def _digits(text: bytes, base: int) -> int:
    try:
        if len(text) <= 24 and text.isdigit():
            return int(text, base)
    except ValueError:
        pass
    raise Damaged("a size that is no number")


def _name(block: bytes) -> bytes:
    name, prefix = block[:100].split(b"\0")[0], block[345:500].split(b"\0")[0]
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name

"""Bytes of a file that are looked at only when they are needed."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

CHUNK = 4 * 2**20
LONGEST_LINE = 2**20


class DamagedError(Exception):
    """The file ends too early or contradicts itself."""


class TooMuchError(Exception):
    """Following the file would take more memory or time than any real checkpoint needs."""


@dataclass(frozen=True)
class Blob:
    """`length` bytes of `file` from `start`. `coded`: they stand there as UTF-8 text of one character per byte (pickles of protocol 2)."""

    file: BinaryIO
    start: int
    length: int
    coded: bool = False

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """Multiples of 64 bytes each, but for the last; uncoded. Raises DamagedError when the file ends before."""
        decoder, rest = codecs.getincrementaldecoder("utf-8")(), b""
        for offset in range(0, self.length, size):
            self.file.seek(self.start + offset)
            wanted = min(size, self.length - offset)
            data = self.file.read(wanted)
            if len(data) < wanted:
                raise DamagedError
            if self.coded:
                data = rest + _uncoded(decoder, data)
                rest = data[len(data) // 64 * 64:]
                data = data[:len(data) // 64 * 64]
            yield data
        if rest:
            yield rest


def _uncoded(decoder: codecs.IncrementalDecoder, data: bytes) -> bytes:
    try:
        return decoder.decode(data).encode("latin-1")
    except UnicodeError as error:
        raise DamagedError from error


def blob_of(value: object) -> Blob | None:
    """Bytes in any of the forms in which pickles hold them; None for anything else."""
    if isinstance(value, str):
        try:
            value = value.encode("latin-1")
        except UnicodeEncodeError:
            return None
    if isinstance(value, bytes):
        return Blob(io.BytesIO(value), 0, len(value))
    return value if isinstance(value, Blob) else None


class Stream:
    """Reads a part of a file from front to end. Raises DamagedError where it ends too early."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self.file, self.position, self.end = file, start, end
        file.seek(start)

    def take(self, count: int) -> bytes:
        if count > self.end - self.position:
            raise DamagedError
        data = self.file.read(count)
        if len(data) < count:
            raise DamagedError
        self.position += count
        return data

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def skip(self, count: int, *, coded: bool = False) -> Blob:
        """The next bytes, not read."""
        if not 0 <= count <= self.end - self.position:
            raise DamagedError
        blob = Blob(self.file, self.position, count, coded)
        self.position += count
        self.file.seek(self.position)
        return blob

    def line(self) -> bytes:
        data = self.file.readline(min(LONGEST_LINE, self.end - self.position))
        if not data.endswith(b"\n"):
            raise DamagedError
        self.position += len(data)
        return data[:-1]

    def resume(self) -> None:
        """After others have read from the same file."""
        self.file.seek(self.position)

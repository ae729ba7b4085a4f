"""The end record of a zip, read before anything else is: whether all of it is there, and how large its table of contents is."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

from engine.types import UserError

MAX_DIRECTORY_BYTES = 128 << 20
END, END64_LOCATOR, END64 = b"PK\5\6", b"PK\6\7", b"PK\6\6"
END_BYTES, LOCATOR_BYTES = 22, 20
MAX_COMMENT = 65_535
SPANNED = b"PK\7\x08"  # how the first of several parts starts
_PART = re.compile(r"\.(z\d\d|\d{3})$", re.IGNORECASE)


def is_part(archive: Path) -> bool:
    """Whether this is one of the parts of a split zip: by its name, or by an end record that counts further parts."""
    if _PART.search(archive.name):
        return True
    with archive.open("rb") as file:
        if file.read(4) == SPANNED:
            return True
        tail, at, _ = _end(file)
    return at >= 0 and _is_last_of_many(tail, at)


def _end(file: BinaryIO) -> tuple[bytes, int, int]:
    """The last bytes of the file, where the end record starts in them (-1: there is none), and the size of the file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_BYTES - MAX_COMMENT - LOCATOR_BYTES))
    tail = file.read()
    found = [match.start() for match in re.finditer(re.escape(END), tail) if len(tail) - match.start() >= END_BYTES]
    exact = [at for at in found if at + END_BYTES + struct.unpack_from("<H", tail, at + 20)[0] == len(tail)]
    return tail, exact[0] if exact else found[-1] if found else -1, size  # a comment may hold the mark, too


def _is_last_of_many(tail: bytes, at: int) -> bool:
    return struct.unpack_from("<H", tail, at + 4)[0] not in (0, 0xFFFF)


def check_directory(archive: Path) -> None:
    """Raises UserError when the table of contents is missing (a part, a truncated file) or too large to be loaded."""
    with archive.open("rb") as file:
        tail, at, size = _end(file)
        if is_part(archive) and (at < 0 or _is_last_of_many(tail, at)):
            raise UserError("archive_split", name=archive.name)
        if at < 0:
            raise UserError("archive_truncated", name=archive.name)
        directory = struct.unpack_from("<I", tail, at + 12)[0]
        locator = at - LOCATOR_BYTES
        if locator >= 0 and tail[locator:locator + 4] == END64_LOCATOR:
            file.seek(min(struct.unpack_from("<Q", tail, locator + 8)[0], size))
            record = file.read(56)
            if record[:4] == END64 and len(record) == 56:
                directory = struct.unpack_from("<Q", record, 40)[0]
    if directory > min(size, MAX_DIRECTORY_BYTES):
        raise UserError("archive_damaged", name=archive.name, reason=f"directory of {directory >> 20} MB")

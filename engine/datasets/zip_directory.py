"""The end record of a zip, read before anything else is: how large a table of contents the standard library would load."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from engine.types import UserError

MAX_DIRECTORY_BYTES = 128 << 20
END, END64_LOCATOR, END64 = b"PK\5\6", b"PK\6\7", b"PK\6\6"
END_BYTES, LOCATOR_BYTES = 22, 20
MAX_COMMENT = 65_535


def check_directory(archive: Path) -> None:
    """Raises UserError when the table of contents is missing (a truncated file) or too large to be loaded."""
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END_BYTES - MAX_COMMENT - LOCATOR_BYTES))
        tail = file.read()
        at = tail.rfind(END)
        if at < 0 or len(tail) - at < END_BYTES:
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

"""The tar side of unpacking: read forward only, one member at a time, whatever packs it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.datasets import archive_names
from engine.types import UserError

if TYPE_CHECKING:
    from engine.datasets.archive import Writer

CHUNK = 1 << 20
MAX_HEADER_BYTES = 1 << 20  # of one header; long names fit, bombs do not
PACKERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


class _Bounded:
    """A forward reader that refuses to hold much at once and to come out much larger than it went in."""

    def __init__(self, file: Any, writer: Writer) -> None:
        self.file, self.writer = file, writer

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > max(CHUNK, MAX_HEADER_BYTES):
            raise tarfile.ReadError(f"a header of {count} bytes")
        return self.file.read(count)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        self.writer.check(position, 0, 0)
        return self.file.seek(position, whence)

    def tell(self) -> int:
        return self.file.tell()

    def close(self) -> None:
        self.file.close()


def is_old_tar(head: bytes) -> bool:
    """A tar from before the magic: its header carries a checksum."""
    try:
        return bool(head[0]) and int(head[148:156].strip(b" \0") or b"x", 8) == sum(head[:148]) + 256 + sum(head[156:])
    except ValueError:
        return False


def unpack_tar(archive: Path, writer: Writer) -> None:
    with archive.open("rb") as file:
        head = file.read(8)
    opener = next((opener for magic, opener in PACKERS.items() if head.startswith(magic)), None)
    writer.check(writer.packed, 0, 0)  # it holds no table of contents; this much is certain
    with (opener(archive) if opener else archive.open("rb")) as packed:
        bounded: Any = _Bounded(packed, writer)
        try:
            source = tarfile.open(fileobj=bounded, mode="r:", errors="surrogateescape")  # noqa: SIM115 - entered below
        except tarfile.ReadError as error:
            if opener is None:
                raise
            with opener(archive) as again:
                again.read(CHUNK)  # says so when it is damaged rather than something else
            raise UserError("archive_unsupported", name=archive.name, kind=f"{opener.__module__} without tar") from error
        with source:
            for number, member in enumerate(_members(source)):
                _unpack_member(source, member, writer, number)
        while opener and packed.read(CHUNK):  # the checksum stands at the end, behind what a tar needs
            writer.check(packed.tell(), 0, 0)


def _unpack_member(source: tarfile.TarFile, member: tarfile.TarInfo, writer: Writer, number: int) -> None:
    writer.check(writer.total + member.size, member.size, max(writer.files, number))
    link = member.issym() or member.islnk()
    mode = stat.S_IFREG if member.isreg() else stat.S_IFDIR if member.isdir() else stat.S_IFLNK if link else stat.S_IFIFO
    path = writer.admit(_tar_name(member.name), mode)
    data = source.extractfile(member) if path and member.isreg() else None
    if path and data is not None:
        written = writer.write(path, data, path)
        if written is not None and written != member.size:
            raise tarfile.ReadError(f"{path}: {written} of {member.size} bytes")
    writer.entries = writer.files
    writer.tell()


def _members(source: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """One after the other, forgetting each, so that a million of them need no memory."""
    while (member := source.next()) is not None:
        yield member
        source.members = []  # type: ignore[attr-defined]


def _tar_name(name: str) -> str:
    raw = name.encode("utf-8", "surrogateescape")
    return raw.decode(archive_names.guess_encoding([raw]), "replace")

"""The tar side of unpacking: read forward only, one member at a time, whatever packs it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from engine.datasets import archive_names
from engine.datasets.archive_tar_headers import BLOCK, CHUNK, Damaged, Member, Stream, is_header, members
from engine.types import UserError

if TYPE_CHECKING:
    from engine.datasets.archive import Writer

PACKERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
MODES = {b"0": stat.S_IFREG, b"\0": stat.S_IFREG, b"7": stat.S_IFREG, b"5": stat.S_IFDIR, b"D": stat.S_IFDIR, b"1": stat.S_IFLNK, b"2": stat.S_IFLNK}
VOLUME_LABEL = b"V"


def unpack_tar(archive: Path, writer: Writer) -> None:
    """Raises UserError, Damaged, or what the packer says of a torn file."""
    with archive.open("rb") as file:
        head = file.read(8)
    opener = next((opener for magic, opener in PACKERS.items() if head.startswith(magic)), None)
    writer.check(writer.packed, 0, 0)  # it holds no table of contents; this much is certain
    with (opener(archive) if opener else archive.open("rb")) as packed:
        stream = Stream(packed, lambda position: writer.check(position, 0, 0))
        first = stream.take(BLOCK)
        if opener and not is_header(first) and (any(first) or len(first) < BLOCK):
            stream.take(CHUNK)  # says so when it is damaged rather than something else
            raise UserError("archive_unsupported", name=archive.name, kind=f"{opener.__module__} without tar")
        for number, member in enumerate(members(stream, first, lambda code: writer.note(code, "warning", archive.name))):
            _unpack_member(stream, member, writer, number)
        while opener and stream.take(CHUNK):  # the checksum stands at the end, behind what a tar needs
            pass


def _unpack_member(stream: Stream, member: Member, writer: Writer, number: int) -> None:
    writer.check(writer.total + member.size, member.size, max(writer.files, number))
    mode = stat.S_IFDIR if member.name.endswith("/") else MODES.get(member.kind, stat.S_IFREG if member.sparse else stat.S_IFIFO)
    path = writer.admit(_tar_name(member.name), mode) if member.kind != VOLUME_LABEL else None
    if path and mode == stat.S_IFREG and member.sparse:
        writer.note("archive_sparse", "error", path)
    elif path and mode == stat.S_IFREG:
        written = writer.write(path, cast("IO[bytes]", stream), path)
        if written is not None and written != member.size:
            raise Damaged(f"{path}: {written} of {member.size} bytes")
    writer.entries = writer.files
    writer.tell()


def _tar_name(name: str) -> str:
    raw = name.encode("utf-8", "surrogateescape")
    return raw.decode(archive_names.guess_encoding([raw]), "replace")

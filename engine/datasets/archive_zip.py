"""The zip side of unpacking: what the table of contents claims is checked before a byte is written."""

from __future__ import annotations

import errno
import lzma
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from engine.datasets import archive_names
from engine.datasets.faults import printable
from engine.datasets.zip_directory import check_directory
from engine.types import UserError

if TYPE_CHECKING:
    from engine.datasets.archive import Writer

READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 96: "JPEG", 97: "WavPack", 98: "PPMd"}
MAX_EMPTY = 100_000  # empty files, when nearly all are: no data set has that many and nothing to learn from
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, OverflowError, struct.error, NotImplementedError)


def unpack_zip(archive: Path, writer: Writer) -> None:
    """Raises UserError, or what the standard library says of a damaged table of contents."""
    check_directory(archive)
    try:
        source = zipfile.ZipFile(archive)
    except UnicodeDecodeError as error:
        raise UserError("archive_names_unreadable", name=archive.name) from error
    with source:
        entries = source.infolist()
        writer.check(sum(entry.file_size for entry in entries), max((entry.file_size for entry in entries), default=0), len(entries))
        _check_entries(entries, archive)
        encoding = archive_names.guess_encoding(raw for raw in map(archive_names.raw_zip_name, entries) if raw)
        if encoding not in ("ascii", "utf-8"):
            writer.note("archive_names_decoded", "note", archive.name, encoding=encoding)
        writer.expected = sum(not _is_folder(entry) for entry in entries)
        for entry in entries:
            raw = archive_names.raw_zip_name(entry)
            name = archive_names.unicode_path(entry) or (raw.decode(encoding, "replace") if raw else entry.orig_filename)
            mode = entry.external_attr >> 16
            path = writer.admit(name, mode if entry.create_system == 3 or stat.S_ISLNK(mode) else 0)
            if path and not _is_folder(entry) and not name.endswith(("/", "\\")):
                _unpack_entry(source, entry, writer, path)
            writer.entries += not _is_folder(entry)
            writer.tell()


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    """Unlike `ZipInfo.is_dir`, for a name without letters too."""
    return entry.filename.endswith("/")


def _unpack_entry(source: zipfile.ZipFile, entry: zipfile.ZipInfo, writer: Writer, path: str) -> None:
    """A damaged entry costs itself, not the archive."""
    before = writer.files
    try:
        with source.open(entry) as file:
            writer.write(path, file, path)
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: a place before the start
            raise
        if writer.files == before:
            writer.files += 1
        writer.discard(path)
        writer.note("archive_entry_damaged", "error", path, reason=printable(str(error)[:120]))


def _check_entries(entries: list[zipfile.ZipInfo], archive: Path) -> None:
    """Raises UserError for encryption, unknown compression, entries that share bytes, sizes that cannot be true and too many empty files."""
    end = empty = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.flag_bits & 1:
            raise UserError("archive_encrypted", name=archive.name)
        if entry.compress_type not in READABLE and archive_names.clean(entry.orig_filename) and not _is_folder(entry):
            method = METHODS.get(entry.compress_type, f"#{entry.compress_type}")
            raise UserError("archive_method", name=archive.name, entry=printable(entry.orig_filename[:200]), method=method)
        if entry.header_offset < end:
            raise UserError("archive_overlap", name=archive.name, entry=printable(entry.filename[:200]))
        end = entry.header_offset + 30 + entry.compress_size
        if entry.compress_size > entry.file_size + entry.file_size // 100 + 4096:
            values = {"entry": printable(entry.filename[:200]), "packed": entry.compress_size, "size": entry.file_size}
            raise UserError("archive_lying_size", name=archive.name, **values)
        empty += not entry.file_size and not _is_folder(entry)
    if empty > MAX_EMPTY and empty > len(entries) * 3 // 4:
        raise UserError("archive_all_empty", name=archive.name, count=empty, total=len(entries))

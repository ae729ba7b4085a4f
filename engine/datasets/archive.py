"""An untrusted zip or tar becomes a folder. Sizes are counted as they come out, never believed; names never leave the target."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from engine.datasets import archive_names
from engine.datasets.faults import printable
from engine.datasets.zip_directory import check_directory
from engine.types import Problem, UserError

Progress = Callable[[float], None]
MAX_TOTAL_BYTES = 1 << 40
MAX_FILE_BYTES = 8 << 30
MAX_FILES = 500_000
MAX_RATIO = 100  # unpacked : packed, asked for once RATIO_FLOOR is reached; labels shrink about 10 times, images hardly
RATIO_FLOOR = 100 << 20
MAX_HEADER_BYTES = 1 << 20  # of one tar header; long names fit, bombs do not
SPARE_BYTES = 64 << 20  # disk space left to others
CHUNK = 1 << 20
FOREIGN = {b"Rar!": "RAR", b"7z\xbc\xaf\x27\x1c": "7-Zip", b"MSCF": "CAB", b"\x28\xb5\x2f\xfd": "Zstandard", b"LZIP": "lzip"}
PACKERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


def kind_of(path: Path) -> str | None:
    """"zip", "tar", the name of an archive kind that is not supported, or None. Told by content."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")):
        return "zip"
    if head.startswith(tuple(PACKERS)) or head[257:262] == b"ustar" or (len(head) == 512 and _is_old_tar(head)):
        return "tar"
    return next((name for magic, name in FOREIGN.items() if head.startswith(magic)), None)


def unpack(archive: Path, target: Path, progress: Progress | None = None) -> list[Problem]:
    """Unpacks into `target` (absent or empty) and says what was left out. Raises UserError; then nothing remains."""
    if archive.stat().st_size == 0:
        raise UserError("archive_empty_file", name=archive.name)
    kind = kind_of(archive)
    if kind not in ("zip", "tar"):
        raise UserError("archive_unsupported" if kind else "not_an_archive", name=archive.name, kind=kind or "?")
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", dir=target.parent))
    writer = _Writer(stage, archive, progress or (lambda share: None))
    try:
        (_unpack_zip if kind == "zip" else _unpack_tar)(archive, writer)
        if not writer.files:
            raise UserError("archive_empty", name=archive.name)
        if target.exists():
            target.rmdir()
        stage.rename(target)
        return writer.problems
    except DAMAGE as error:
        raise UserError("archive_damaged", name=archive.name, reason=str(error)[:200] or type(error).__name__) from error
    except NotImplementedError as error:
        raise UserError("archive_unsupported", name=archive.name, kind=str(error)[:80]) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError("no_space_to_unpack", need=writer.total >> 20, free=shutil.disk_usage(target.parent).free >> 20) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@dataclass
class _Writer:
    """Writes entries below `stage`, counting every byte against the limits."""

    stage: Path
    archive: Path
    progress: Progress
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    total: int = 0
    _folders: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.packed = self.archive.stat().st_size
        self.free = shutil.disk_usage(self.stage).free - SPARE_BYTES

    def note(self, code: str, severity: str, name: str, **values: Any) -> None:
        self.problems.append(Problem(code, severity, printable(name[:300]), values))  # type: ignore[arg-type]

    def check(self, total: int, largest: int, files: int) -> None:
        """Raises UserError when so many bytes or files are more than one archive may hold, or than the disk has."""
        limit = max(RATIO_FLOOR, self.packed * MAX_RATIO)
        if total > min(limit, MAX_TOTAL_BYTES) or largest > MAX_FILE_BYTES:
            raise UserError("archive_too_large", name=self.archive.name, size=total >> 20, limit=min(limit, MAX_TOTAL_BYTES) >> 20,
                            ratio=total // max(self.packed, 1))
        if files > MAX_FILES:
            raise UserError("archive_too_many_files", name=self.archive.name, count=files, limit=MAX_FILES)
        if total > self.free:
            raise UserError("no_space_to_unpack", need=(total + SPARE_BYTES) >> 20, free=(self.free + SPARE_BYTES) >> 20)

    def admit(self, name: str, mode: int) -> str | None:
        """The relative path for an entry, or None when it is not to be written (and a problem says why, junk apart)."""
        path = archive_names.clean(name)
        if path is None:
            self.note("archive_unsafe_path", "error", name)
        elif path and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            self.note("archive_link" if stat.S_ISLNK(mode) else "archive_special", "error", name)
        elif path:
            if path != "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".")):
                self.note("archive_renamed", "note", name, new=path)
            if archive_names.is_nested_archive(path):
                self.note("archive_nested", "warning", path)
            return path
        return None

    def write(self, path: str, source: IO[bytes], name: str) -> int | None:
        """Copies `source`; returns the bytes written, or None when the place is taken. Nothing is ever overwritten."""
        target = self.stage / path
        if not self._make_folder(path.rpartition("/")[0]):
            self.note("archive_conflict", "error", name)
            return None
        written = 0
        try:
            with target.open("xb") as file:
                while chunk := source.read(CHUNK):
                    written += len(chunk)
                    self.total += len(chunk)
                    self.check(self.total, written, self.files)
                    file.write(chunk)
        except FileExistsError:
            self.note("archive_conflict" if target.is_dir() else "archive_duplicate", "warning", name)
            return None
        self.files += 1
        self.check(self.total, written, self.files)
        return written

    def discard(self, path: str) -> None:
        (self.stage / path).unlink(missing_ok=True)
        self.files -= 1

    def _make_folder(self, folder: str) -> bool:
        if folder in self._folders or not folder:
            return True
        steps = folder.split("/")
        for depth in range(1, len(steps) + 1):
            step = self.stage / "/".join(steps[:depth])
            if step.is_file():  # a file of that name came first; the folder, which holds more, wins
                self.note("archive_conflict", "error", "/".join(steps[:depth]))
                self.discard("/".join(steps[:depth]))
            step.mkdir(exist_ok=True)
        self._folders.add(folder)
        return True


# ---- zip

def _unpack_zip(archive: Path, writer: _Writer) -> None:
    check_directory(archive)
    with zipfile.ZipFile(archive) as source:
        entries = source.infolist()
        writer.check(sum(entry.file_size for entry in entries), max((entry.file_size for entry in entries), default=0), len(entries))
        _check_entries(entries, archive)
        encoding = archive_names.guess_encoding(raw for raw in map(archive_names.raw_zip_name, entries) if raw)
        if encoding not in ("ascii", "utf-8"):
            writer.note("archive_names_decoded", "note", archive.name, encoding=encoding)
        for number, entry in enumerate(entries):
            raw = archive_names.raw_zip_name(entry)
            name = archive_names.unicode_path(entry) or (raw.decode(encoding, "replace") if raw else entry.orig_filename)
            mode = entry.external_attr >> 16
            path = writer.admit(name, mode if entry.create_system == 3 or stat.S_ISLNK(mode) else 0)
            if path and not entry.is_dir() and not name.endswith(("/", "\\")):
                _unpack_entry(source, entry, writer, path)
            if number % 100 == 0:
                writer.progress(number / len(entries))


def _unpack_entry(source: zipfile.ZipFile, entry: zipfile.ZipInfo, writer: _Writer, path: str) -> None:
    """A damaged entry costs itself, not the archive."""
    before = writer.files
    try:
        with source.open(entry) as file:
            writer.write(path, file, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if writer.files == before:
            writer.files += 1
        writer.discard(path)
        writer.note("archive_entry_damaged", "error", path, reason=str(error)[:120])


def _check_entries(entries: list[zipfile.ZipInfo], archive: Path) -> None:
    """Raises UserError for encryption, for entries that share bytes and for sizes that cannot be true."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.flag_bits & 1:
            raise UserError("archive_encrypted", name=archive.name)
        if entry.header_offset < end:
            raise UserError("archive_overlap", name=archive.name, entry=printable(entry.filename[:200]))
        end = entry.header_offset + 30 + entry.compress_size
        if entry.compress_size > entry.file_size + entry.file_size // 100 + 4096:
            values = {"entry": printable(entry.filename[:200]), "packed": entry.compress_size, "size": entry.file_size}
            raise UserError("archive_lying_size", name=archive.name, **values)


# ---- tar

class _Bounded:
    """A forward reader that refuses to hold much at once and to come out much larger than it went in."""

    def __init__(self, file: Any, writer: _Writer) -> None:
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


def _is_old_tar(head: bytes) -> bool:
    """A tar from before the magic: its header carries a checksum."""
    try:
        return bool(head[0]) and int(head[148:156].strip(b" \0") or b"x", 8) == sum(head[:148]) + 256 + sum(head[156:])
    except ValueError:
        return False


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    with archive.open("rb") as file:
        head = file.read(8)
    opener = next((opener for magic, opener in PACKERS.items() if head.startswith(magic)), None)
    with (opener(archive) if opener else archive.open("rb")) as packed:
        bounded: Any = _Bounded(packed, writer)
        try:
            source = tarfile.open(fileobj=bounded, mode="r:", errors="surrogateescape")  # noqa: SIM115 - entered below
        except tarfile.ReadError as error:
            if opener is None:
                raise
            raise UserError("archive_unsupported", name=archive.name, kind=f"{opener.__module__} without tar") from error
        with source:
            for number, member in enumerate(_members(source)):
                _unpack_member(source, member, writer, number)


def _unpack_member(source: tarfile.TarFile, member: tarfile.TarInfo, writer: _Writer, number: int) -> None:
    writer.check(writer.total + member.size, member.size, max(writer.files, number))
    link = member.issym() or member.islnk()
    mode = stat.S_IFREG if member.isreg() else stat.S_IFDIR if member.isdir() else stat.S_IFLNK if link else stat.S_IFIFO
    path = writer.admit(_tar_name(member.name), mode)
    data = source.extractfile(member) if path and member.isreg() else None
    if path and data is not None:
        written = writer.write(path, data, path)
        if written is not None and written != member.size:
            raise tarfile.ReadError(f"{path}: {written} of {member.size} bytes")
    if number % 100 == 0:
        writer.progress(min(1.0, writer.total / max(writer.packed, 1)))


def _members(source: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """One after the other, forgetting each, so that a million of them need no memory."""
    while (member := source.next()) is not None:
        yield member
        source.members = []  # type: ignore[attr-defined]


def _tar_name(name: str) -> str:
    raw = name.encode("utf-8", "surrogateescape")
    return raw.decode(archive_names.guess_encoding([raw]), "replace")

"""An untrusted zip or tar becomes a folder. Sizes are counted as they come out, never believed; names never leave the target."""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from engine.datasets import archive_names
from engine.datasets.archive_tar import PACKERS, unpack_tar
from engine.datasets.archive_tar_headers import Damaged, is_header
from engine.datasets.archive_zip import unpack_zip
from engine.datasets.faults import printable
from engine.datasets.zip_directory import is_part
from engine.types import Problem, UserError

Progress = Callable[[float], None]  # the share that is done
Counted = Callable[[int, int], None]  # files that are done, and files in all: 0 when nobody knows
EVERY_S = 0.1
MAX_TOTAL_BYTES = 1 << 40
MAX_FILE_BYTES = 8 << 30
MAX_FILES = 500_000
MAX_RATIO = 100  # unpacked : packed, asked for once RATIO_FLOOR is reached; labels shrink about 10 times, images hardly
RATIO_FLOOR = 100 << 20
SPARE_BYTES = 64 << 20  # disk space left to others
CHUNK = 1 << 20
FOREIGN = {b"Rar!": "RAR", b"7z\xbc\xaf\x27\x1c": "7-Zip", b"MSCF": "CAB", b"\x28\xb5\x2f\xfd": "Zstandard", b"LZIP": "lzip",
           b"\x04\x22\x4d\x18": "LZ4", b"\x1f\x9d": "compress (.Z)", b"\x60\xea": "ARJ"}
DAMAGE = (zipfile.BadZipFile, Damaged, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


def kind_of(path: Path) -> str | None:
    """"zip", "tar", the name of an archive kind that is not supported, or None. Told by content. Raises UserError for a pipe or device."""
    if not path.is_file():
        raise UserError("special_file", name=path.name)
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08", b"PK00PK\3\4")):
        return "zip"
    if head.startswith(tuple(PACKERS)) or head[257:262] == b"ustar" or is_header(head):
        return "tar"
    return next((name for magic, name in FOREIGN.items() if head.startswith(magic)), None)


def unpack(archive: Path, target: Path, progress: Progress | None = None, *, counted: Counted | None = None) -> list[Problem]:
    """Unpacks into `target` (absent or empty) and says what was left out. Raises UserError; then nothing remains.

    Both callbacks are called a few times a second, also within large files; what they raise ends the unpacking.
    """
    kind = kind_of(archive)
    if archive.stat().st_size == 0:
        raise UserError("archive_empty_file", name=archive.name)
    if kind is None and is_part(archive):
        raise UserError("archive_split", name=archive.name)
    if kind not in ("zip", "tar"):
        raise UserError("archive_unsupported" if kind else "not_an_archive", name=archive.name, kind=kind or "?")
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", dir=target.parent))
    writer = Writer(stage, archive, progress or (lambda share: None), counted or (lambda done, total: None))
    try:
        (unpack_zip if kind == "zip" else unpack_tar)(archive, writer)
        if not writer.files:
            raise UserError("archive_empty", name=archive.name)
        writer.tell(done=True)
        if target.exists():
            target.rmdir()
        stage.rename(target)
        return writer.problems
    except DAMAGE as error:
        raise UserError("archive_damaged", name=archive.name, reason=str(error)[:200] or type(error).__name__) from error
    except NotImplementedError as error:
        raise UserError("archive_unsupported", name=archive.name, kind=str(error)[:80]) from error
    except OSError as error:
        if error.errno is None:  # what bz2 calls a torn stream
            raise UserError("archive_damaged", name=archive.name, reason=str(error)[:200]) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError("no_space_to_unpack", need=writer.total >> 20, free=shutil.disk_usage(target.parent).free >> 20) from error
        raise UserError("cannot_write", path=target.name, reason=error.strerror or str(error)) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@dataclass
class Writer:
    """Writes entries below `stage`, counting every byte against the limits."""

    stage: Path
    archive: Path
    progress: Progress
    counted: Counted
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    total: int = 0
    entries: int = 0
    expected: int = 0
    _told: float = 0.0
    _folders: set[str] = field(default_factory=set)
    _names: archive_names.Names = field(default_factory=archive_names.Names)

    def __post_init__(self) -> None:
        self.packed = self.archive.stat().st_size
        self.free = shutil.disk_usage(self.stage).free - SPARE_BYTES

    def note(self, code: str, severity: str, name: str, **values: Any) -> None:
        self.problems.append(Problem(code, severity, printable(name[:300]), values))  # type: ignore[arg-type]

    def tell(self, *, done: bool = False) -> None:
        """How far it is: in files where their number is known, in bytes of the archive where it is not."""
        if done or time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            share = self.entries / self.expected if self.expected else self.total / max(self.packed, 1)
            self.progress(1.0 if done else min(1.0, share))
            self.counted(self.entries, self.expected)

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
        if path is None and not name.strip("/\\ "):
            self.note("archive_no_name", "error", name or ".")
        elif path is None:
            self.note("archive_unsafe_path", "error", name)
        elif path and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            self.note("archive_link" if stat.S_ISLNK(mode) else "archive_special", "error", name)
        elif path:
            path = self._names.own(path, name)
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
                    self.tell()
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

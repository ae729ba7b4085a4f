"""Whose unfinished folder is it? A name carries the process that made it, so that what a killed one left can be told from work in progress."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import tempfile
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

TOLERANCE_S = 1.0
_MARK = re.compile(r"-p(\d{1,10})t(\d{1,15})h([0-9a-f]{8})-")


def marked(prefix: str) -> str:
    """A name that nothing else has: "import-p4711t1234567h0a1b2c3d-5e6f7a8b": process, its start in 1/100 s since the machine started, machine."""
    return f"{prefix}-p{os.getpid()}t{round(_started(os.getpid()) * 100)}h{_machine()}-{uuid.uuid4().hex[:8]}"


def is_living(name: str) -> bool | None:
    """Whether the process that made this name is still there; None when the name does not say, or another machine made it."""
    found = _MARK.search(name)
    if found is None or found[3] != _machine():
        return None
    try:
        if psutil.Process(int(found[1])).status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(_started(int(found[1])) - int(found[2]) / 100) <= TOLERANCE_S
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OverflowError, ValueError):
        return True


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A folder for the time being. What processes that were killed left of this kind goes away first."""
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{prefix}-p*"):
        if is_living(left.name) is False and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)  # what belongs to another person stays
    folder = place / marked(prefix)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One at a time, across threads and processes; the system lets go of the lock of a process that dies."""
    with file.open("ab") as handle:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
            try:
                yield
            finally:
                handle.seek(0)
                msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            with suppress(OSError):  # a disk that knows no locks: names are claimed one by one anyway
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _started(process: int) -> float:
    """Seconds between the start of the machine and that of the process: unlike the time of day, nobody sets this clock."""
    return psutil.Process(process).create_time() - psutil.boot_time()


def _machine() -> str:
    return f"{zlib.crc32(socket.gethostname().encode('utf-8', 'replace')):08x}"

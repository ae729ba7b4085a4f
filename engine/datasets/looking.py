"""How much of a disk may be looked at to find out what lies there, and who is told how far that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from engine.types import UserError

SYSTEM = {Path("/dev"), Path("/proc"), Path("/sys")}  # without end, and never anybody's images


@dataclass
class Look:
    """Counts what is listed. Over a bound, UserError `too_much_to_look_at`; what `told(folders so far)` raises ends the look as well."""

    folders: int = 0
    files: int = 0
    most_folders: int | None = None
    most_files: int | None = None
    told: Callable[[int], None] | None = None

    def add(self, files: int) -> None:
        self.folders += 1
        self.files += files
        if self.told is not None:
            self.told(self.folders)
        if (self.most_folders is not None and self.folders > self.most_folders) or (self.most_files is not None and self.files > self.most_files):
            raise UserError("too_much_to_look_at", folders=self.folders, files=self.files)


_LOOK: ContextVar[Look | None] = ContextVar("look", default=None)


@contextmanager
def bounded(*, folders: int | None = None, files: int | None = None, told: Callable[[int], None] | None = None) -> Iterator[Look]:
    """Inside, every folder that is listed from the disk counts."""
    before, look = _LOOK.get(), Look(most_folders=folders, most_files=files, told=told)
    _LOOK.set(look)
    try:
        yield look
    finally:
        _LOOK.set(before)


def listed(files: int) -> None:
    """One more folder with so many entries has been listed."""
    look = _LOOK.get()
    if look is not None:
        look.add(files)


def check_is_no_disk(folder: Path) -> None:
    """Raises UserError for a whole disk, a folder of all people's files and the system's own devices."""
    there = folder.resolve()
    if there == Path(there.anchor) or there in Path.home().resolve().parents or {there, *there.parents} & SYSTEM:
        raise UserError("whole_disk", path=str(folder))

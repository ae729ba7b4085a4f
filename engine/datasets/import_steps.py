"""The steps of an import, told to whoever watches it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from engine.datasets import archive, source
from engine.datasets.archive import Progress
from engine.types import Problem, Sample, UserError

EVERY_S = 0.1
Report = Callable[[str, int, int], None]
# stage, done, total (0 = not known): ("unpacking", files, files in all), ("looking", folders, 0), ("reading", images, 0)


class Watch:
    """Tells both kinds of listeners how far an import is, a few times a second, and keeps its folders looking alive."""

    def __init__(self, progress: Progress | None, report: Report | None, folders: tuple[Path, ...]) -> None:
        self.progress, self.report, self.folders = progress or (lambda share: None), report or (lambda stage, done, total: None), folders
        self._told = 0.0

    def unpacking(self, done: int, total: int) -> None:
        self._touch()
        self.report("unpacking", done, total)

    def looking(self, folders: int) -> None:
        """While the format is being recognised."""
        if time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            self._touch()
            self.report("looking", folders, 0)

    def reading(self, items: Iterator[Sample | Problem]) -> Iterator[Sample | Problem]:
        """Passes the items on and counts the images among them."""
        images = 0
        for item in items:
            yield item
            images += isinstance(item, Sample)
            if time.monotonic() - self._told >= EVERY_S:
                self._told = time.monotonic()
                self._read(images)
        self._read(images)

    def _read(self, images: int) -> None:
        self._touch()
        self.progress(0.0)
        self.report("reading", images, 0)

    def _touch(self) -> None:
        """All that another machine on the same disk sees of the work."""
        for folder in self.folders:
            with suppress(OSError):
                os.utime(folder)


def unpacked(src: Path, scratch: Path, problems: list[Problem], watch: Watch) -> Path:
    """The folder that an archive becomes; anything else is what it is."""
    if src.is_dir() or (src.suffix.lower() in source.label_file_suffixes() and archive.kind_of(src) is None):
        return src
    problems += archive.unpack(src, scratch / "unpacked", watch.progress, counted=watch.unpacking)
    return scratch / "unpacked"


def copy(file: Path, target: Path) -> None:
    """A hard link where the disk has them, else a copy. Raises UserError when there is no space for it."""
    try:
        target.hardlink_to(file)
    except OSError:
        need, free = file.stat().st_size + archive.SPARE_BYTES, shutil.disk_usage(target.parent).free
        if need > free:
            raise UserError("no_space_to_copy", need=need >> 20, free=free >> 20) from None
        shutil.copyfile(file, target)

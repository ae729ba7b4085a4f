"""Decoded images kept for the next epoch: in memory, on disk where all loading processes share them, or not at all. Always bounded."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
import psutil

from engine.datasets.images import open_image, resize
from engine.datasets.thumbnails import reduced

MEMORY_SHARE, DISK_SHARE = 0.15, 0.3  # of what is free when a run begins
KEPT = ("memory", "disk", "none")
PREFIX = "lightbox-images-"


class ImageCache:
    """Decoded images u8[H,W,3], never larger than needed: sides above twice `side` shrink to that, unless they are wanted `whole`. Large JPEGs
    are decoded at a fraction of their size.

    `kept` (one of KEPT) stops growing at a share of what is free; of memory, each of `sharers` processes has its part. What lies on disk, in the
    system's folder for temporary files, goes when the process that made the cache lets go of it.
    """

    def __init__(self, side: int, share: float = MEMORY_SHARE, *, whole: bool = False, kept: str = "memory", sharers: int = 1) -> None:
        self.side, self.whole = side, whole
        self.room = int(psutil.virtual_memory().available * share / max(1, sharers)) if kept == "memory" else 0
        self.files = Files.opened() if kept == "disk" else None
        self._images: dict[Path, np.ndarray] = {}

    def __call__(self, path: Path) -> np.ndarray:
        """Raises UserError or OSError for an image that cannot be read."""
        known = self._images.get(path)
        if known is not None:
            return known
        if self.files is not None:
            return self._on_disk(self.files, path)
        image = self._opened(path)
        if image.nbytes < self.room:
            self.room -= image.nbytes
            self._images[path] = image
        return image

    def _on_disk(self, files: Files, path: Path) -> np.ndarray:
        state = path.stat()
        told = f"{path}\0{state.st_mtime_ns}\0{state.st_size}\0{self.side}\0{self.whole}"
        name = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
        image = files.read(name)
        if image is None:
            image = self._opened(path)
            files.write(name, image)
        return image

    def _opened(self, path: Path) -> np.ndarray:
        if self.whole:
            return open_image(path)
        image = reduced(path, 2 * self.side, min)
        image = open_image(path) if image is None else image
        shrink = min(image.shape[:2]) / (2 * self.side)
        return resize(image, (round(image.shape[1] / shrink), round(image.shape[0] / shrink))) if shrink > 1 else image


class Files:
    """Arrays in a folder that several processes read and write: each appears at once, whole. `least` bytes of the disk stay free."""

    def __init__(self, folder: Path, least: int) -> None:
        self.folder, self.least = folder, least

    @classmethod
    def opened(cls) -> Files:
        """A new folder, removed with this object. Those of processes that ended before they could are removed now."""
        for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            owner = left.name.removeprefix(PREFIX).partition("-")[0]
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        made = cls(folder, int(shutil.disk_usage(folder).free * (1 - DISK_SHARE)))
        weakref.finalize(made, _remove, folder, os.getpid())
        return made

    def read(self, name: str) -> np.ndarray | None:
        try:
            return np.load(self.folder / f"{name}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None

    def write(self, name: str, image: np.ndarray) -> None:
        """Nothing where there is no room: the image is then opened again the next time."""
        try:
            if shutil.disk_usage(self.folder).free - image.nbytes < self.least:
                return
            part = self.folder / f"{name}.{os.getpid()}"
            with part.open("wb") as stream:
                np.save(stream, image, allow_pickle=False)
            part.replace(self.folder / f"{name}.npy")
        except OSError:
            (self.folder / f"{name}.{os.getpid()}").unlink(missing_ok=True)


def _remove(folder: Path, owner: int) -> None:
    """Loading processes end earlier than the one that owns the folder, with copies of its objects."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)

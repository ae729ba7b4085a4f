"""Our own stored data sets, so that they can be converted, checked and imported like any other."""

from __future__ import annotations

from pathlib import Path

from engine.datasets.formats import Format
from engine.types import Reading


def detects(root: Path) -> str | None:
    from engine.datasets.store import FILE, is_dataset
    return FILE if is_dataset(root) else None


def read(root: Path) -> Reading:
    """What is in the trash stays out. A file of an older version is read as it is, not brought up to date."""
    from engine.datasets.store import Dataset
    return Dataset(root, readonly=True).reading()


FORMATS = (Format("lightbox", detects, read),)

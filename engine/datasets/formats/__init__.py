"""Data set formats: one file each, in both directions. Only these files ever see a foreign class id."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.registry import Registry
from engine.types import Problem, Reading, Sample

ImagePolicy = Literal["copy", "link", "none"]


@dataclass(frozen=True)
class Format:
    """A way to lay out images and labels on disk.

    `detects(root)` says what evidence speaks for this format (a text, e.g. "data.yaml with names"), or None.
    `read(root)` never changes files. `write(classes, samples, root, images)` never changes what it is given and yields a
    Problem for what the target cannot hold. A format whose label file can stand for the whole names its suffixes in `files`:
    then, and only then, `root` may also be such a file.

    `rank` says how much its evidence weighs: a format is only asked for when none of a lower rank has been recognised
    (0 = label files of its own kind, 1 = mask pictures, 2 = folder names, 3 = nothing but images). `tasks` are those whose labels it can write.
    """

    name: str
    detects: Callable[[Path], str | None]
    read: Callable[[Path], Reading]
    write: Callable[[tuple[str, ...], Iterable[Sample], Path, ImagePolicy], Iterable[Problem]] | None = None
    files: tuple[str, ...] = ()
    rank: int = 0
    tasks: tuple[str, ...] = ()


formats: Registry[Format] = Registry("engine.datasets.formats", "FORMATS", "format")

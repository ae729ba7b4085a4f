"""Putting images where a written data set wants them: safe names, no collision, nothing overwritten, nothing outside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

from engine.datasets.formats import ImagePolicy
from engine.datasets.tree import folded, safe_name
from engine.types import Problem, Sample

SMALL = 1 << 20  # bytes


class Placer:
    """Names and places the images below `root`. Stems are unique in each folder, so that label files cannot collide either."""

    def __init__(self, root: Path, policy: ImagePolicy) -> None:
        self.root, self.policy = root, policy
        self._taken: dict[str, set[str]] = {}
        self._said: set[str] = set()

    def place(self, sample: Sample, folder: str) -> Generator[Problem, None, str | None]:
        """Yields problems; returns the file name inside `folder`, or None when the image could not be placed."""
        whole = (sample.name or sample.image.name).replace("\\", "/")
        name = self._free_name(whole, folder)
        if name != whole.rpartition("/")[2]:
            yield Problem("image_renamed", "note", whole, {"new": name})
        if self.policy != "none":
            target = f"{self.root}/{folder}/{name}"
            try:
                yield from self._put(os.fspath(sample.image), target)
            except FileNotFoundError:
                yield Problem("image_missing", "error", sample.name or sample.image.name)
                return None
        return name

    def _free_name(self, whole: str, folder: str) -> str:
        """The image's own name; where that is taken, with its sub-folders in front, then with a number."""
        taken = self._taken.get(folder)
        if taken is None:
            taken = self._taken[folder] = set()
            if self.policy != "none":
                os.makedirs(f"{self.root}/{folder}", exist_ok=True)  # noqa: PTH103
        name = safe_name(whole.rpartition("/")[2])
        stem, dot, suffix = name.rpartition(".")
        key = folded(stem)
        if key in taken:
            stem = base = safe_name(whole.replace("/", "_")).rpartition(".")[0]
            number = 1
            while (key := folded(stem)) in taken:
                number += 1
                stem = f"{base}_{number}"
            name = f"{stem}{dot}{suffix}"
        taken.add(key)
        return name

    def _put(self, source: str, target: str) -> Generator[Problem, None, None]:
        if self.policy == "link":
            try:
                os.link(os.path.realpath(source), target)
                return
            except FileNotFoundError:
                raise
            except OSError:  # another disk, or one that has no links
                if "link" not in self._said:
                    self._said.add("link")
                    yield Problem("link_copied", "note", ".")
        _copy(source, target)


def _copy(source: str, target: str) -> None:
    """Never over something that is there. A small file goes through memory, which takes half the time of asking the system to copy it."""
    with open(source, "rb", buffering=0) as file:  # noqa: PTH123 - called for every image
        small = os.fstat(file.fileno()).st_size < SMALL
        with open(target, "xb") as copy:  # noqa: PTH123
            if small:
                copy.write(file.readall())
    if not small:
        shutil.copyfile(source, target)

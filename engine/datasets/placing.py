"""Putting images where a written data set wants them: safe names, no collision, nothing overwritten, nothing outside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

from engine.datasets.formats import ImagePolicy
from engine.datasets.tree import folded, safe_name
from engine.types import Problem, Sample


class Placer:
    """Names and places the images below `root`. Stems are unique in each folder, so that label files cannot collide either."""

    def __init__(self, root: Path, policy: ImagePolicy) -> None:
        self.root, self.policy = root, policy
        self._taken: dict[str, set[str]] = {}
        self._said: set[str] = set()

    def place(self, sample: Sample, folder: str) -> Generator[Problem, None, str | None]:
        """Yields problems; returns the file name inside `folder`, or None when the image could not be placed."""
        name = self._free_name(sample, folder)
        if self.policy != "none":
            target = f"{self.root}/{folder}/{name}"
            try:
                yield from self._put(os.fspath(sample.image), target)
            except FileNotFoundError:
                yield Problem("image_missing", "error", sample.name or sample.image.name)
                return None
        return name

    def _free_name(self, sample: Sample, folder: str) -> str:
        """The image's own name; where that is taken, with its sub-folders in front, then with a number."""
        if folder not in self._taken:
            self._taken[folder] = set()
            if self.policy != "none":
                os.makedirs(f"{self.root}/{folder}", exist_ok=True)  # noqa: PTH103
        taken = self._taken[folder]
        whole = (sample.name or sample.image.name).replace("\\", "/")
        name = safe_name(whole.rpartition("/")[2])
        stem, dot, suffix = name.rpartition(".")
        if folded(stem) in taken:
            stem = base = safe_name(whole.replace("/", "_")).rpartition(".")[0]
            number = 1
            while folded(stem) in taken:
                number += 1
                stem = f"{base}_{number}"
        taken.add(folded(stem))
        return f"{stem}{dot}{suffix}"

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
        shutil.copyfile(source, target)

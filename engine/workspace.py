"""Where everything lives on disk: data sets, runs, weights, uploads. Ids are looked up among what is there, never joined to paths."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from engine.datasets import source
from engine.datasets.archive import Progress
from engine.datasets.faults import writing
from engine.datasets.store import Dataset
from engine.types import Problem, Reading, UserError

FOLDERS = ("datasets", "runs", "weights", "uploads", "tmp", "trash")
STALE_SECONDS = 3600
MAX_SLUG = 60


@dataclass
class Import:
    """What an import found: as much as a page needs to tell about it."""

    dataset: str
    name: str
    format: str
    evidence: str
    task: str
    classes: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    problems: list[Problem] = field(default_factory=list)
    upload: Path | None = None

    def as_dict(self, language: str | None = None) -> dict[str, Any]:
        return {"dataset": self.dataset, "name": self.name, "format": self.format, "evidence": self.evidence, "task": self.task,
                "classes": list(self.classes), "splits": self.splits, "problems": [problem.as_dict(language) for problem in self.problems]}


class Workspace:
    """A folder of its owner's alone (0700)."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for name in FOLDERS:
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UserError("workspace_not_writable", path=str(root), reason=error.strerror or str(error)) from error

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def runs_folder(self) -> Path:
        return self.root / "runs"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder that is gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.tmp, prefix="scratch-") as folder:
            yield Path(folder)

    # ---- data sets

    def datasets(self) -> list[Dataset]:
        """All that can be opened, in the order of their names. A damaged one is left out here; `dataset` says why."""
        found = []
        for folder in self._entries("datasets"):
            try:
                found.append(Dataset(folder))
            except UserError:
                continue
        return found

    def dataset(self, dataset_id: str) -> Dataset:
        """Raises UserError for an unknown id or a damaged data set."""
        return Dataset(self._lookup("datasets", dataset_id, "dataset_unknown"))

    def import_dataset(self, file: Path, name: str, progress: Progress | None = None, *, source_format: str | None = None) -> tuple[Dataset, Import]:
        """Recognises and stores `file` (archive, folder or label file). An upload stays in uploads/, so it can be tried again.

        Raises UserError; then no half data set is listed or left.
        """
        kept = self._keep(Path(file))
        problems: list[Problem] = []
        with tempfile.TemporaryDirectory(dir=self.tmp, prefix="import-") as scratch, \
                source.opened(kept, Path(scratch), problems=problems, progress=progress) as root:
            chosen, evidence = source.recognise(root, source_format)
            reading = chosen.read(root)
            reading = Reading(reading.classes, chain(problems, reading.items), reading.task)
            unpacked = Path(scratch).resolve() in root.resolve().parents
            dataset = Dataset.create(self._free("datasets", name), name.strip() or kept.stem, reading, progress,
                                     images="link" if unpacked else "copy", format_name=chosen.name)
        report = Import(dataset.id, dataset.name, chosen.name, evidence, dataset.task, dataset.classes, dataset.counts(), dataset.problems(),
                        kept if self.uploads in kept.parents else None)
        return dataset, report

    def delete_dataset(self, dataset_id: str) -> Path:
        """Moves the data set to trash/ and returns where it lies now."""
        folder = self._lookup("datasets", dataset_id, "dataset_unknown")
        target = self._free("trash", f"{time.strftime('%Y%m%d-%H%M%S')}-{folder.name}")
        folder.rename(target)
        return target

    # ---- runs

    def runs(self) -> list[Path]:
        """The folders of all runs, newest first."""
        return sorted(self._entries("runs"), key=lambda folder: (folder.stat().st_mtime, folder.name), reverse=True)

    def run_folder(self, run_id: str) -> Path:
        return self._lookup("runs", run_id, "run_unknown")

    def new_run_folder(self, name: str) -> Path:
        """A new, empty folder of its own, even for the same name in the same second."""
        return self._claim("runs", f"{time.strftime('%Y%m%d-%H%M%S')}-{slug(name) or 'run'}")

    # ---- inside

    def clean(self) -> None:
        """Removes what a process that was killed has left behind in tmp/ and among the data sets."""
        leftovers = [*self.tmp.iterdir(), *(self.root / "datasets").glob(".partial-*")]
        for path in leftovers:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def _entries(self, kind: str) -> list[Path]:
        entries = [Path(entry.path) for entry in os.scandir(self.root / kind) if entry.is_dir(follow_symlinks=False)]
        return sorted(path for path in entries if not path.name.startswith("."))

    def _lookup(self, kind: str, wanted: str, key: str) -> Path:
        known = {path.name: path for path in self._entries(kind)}
        if wanted not in known:
            raise UserError(key, id=str(wanted)[:80], known=", ".join(list(known)[:20]) or "-")
        return known[wanted]

    def _free(self, kind: str, name: str) -> Path:
        """A path of which nothing exists yet; the folder is made by whoever fills it."""
        folder = self._claim(kind, slug(name) or "dataset")
        folder.rmdir()
        return folder

    def _claim(self, kind: str, name: str) -> Path:
        number = 1
        while True:
            folder = self.root / kind / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir(mode=0o700)
                return folder
            except FileExistsError:
                number += 1

    def _keep(self, file: Path) -> Path:
        """A single uploaded file goes into a folder of its own in uploads/, under its own name, so that messages name what people know.

        Not when it lies there already, nor a label file, which stays beside what it names.
        """
        if not file.exists():
            raise UserError("path_missing", path=file.name or str(file))
        if file.is_dir() or self.uploads in file.resolve().parents or file.suffix.lower() in source.label_file_suffixes():
            return file
        target = self.uploads / uuid.uuid4().hex[:8] / file.name
        with writing(target):
            target.parent.mkdir(mode=0o700)
            try:
                target.hardlink_to(file)
            except OSError:  # another disk, or one without links
                shutil.copyfile(file, target)
        return target


def slug(name: str) -> str:
    """Letters and digits of any script, the rest as single dashes: "Scissors & 手术 (2)" -> "Scissors-手术-2"."""
    text = unicodedata.normalize("NFKC", name)
    words = "".join(char if char.isalnum() else " " for char in text).split()
    return "-".join(words)[:MAX_SLUG].strip("-")

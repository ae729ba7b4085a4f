"""Where everything lives on disk: data sets, runs, weights, uploads. Ids are looked up among what is there, never joined to paths."""

from __future__ import annotations

import os
import re
import shutil
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

from engine.datasets import owners, source, store_schema
from engine.datasets.archive import Progress
from engine.datasets.faults import writing
from engine.datasets.formats import ImagePolicy
from engine.datasets.import_steps import Report, Watch, copy, unpacked
from engine.datasets.looking import bounded
from engine.datasets.store import FILE, Dataset
from engine.runs import ACTIVE, Run
from engine.types import Problem, Reading, UserError

FOLDERS = ("datasets", "runs", "weights", "uploads", "tmp", "trash")
STALE_SECONDS = 3600  # after which what names no process of this machine counts as left behind
STALE_UPLOAD_SECONDS = 24 * 3600  # a page may stay open all day before its upload is imported
MAX_SLUG = 60
PARTIAL = ".partial"


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
    renamed_from: str | None = None  # the name that was asked for, when another data set has it already

    def as_dict(self, language: str | None = None) -> dict[str, Any]:
        return {"dataset": self.dataset, "name": self.name, "renamed_from": self.renamed_from, "format": self.format, "evidence": self.evidence,
                "task": self.task, "classes": list(self.classes), "splits": self.splits,
                "problems": [problem.as_dict(language) for problem in self.problems]}


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
        """A folder that is gone afterwards, at the latest at the next start when this process is killed."""
        with self._own("tmp", "scratch") as folder:
            yield folder

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """A hidden folder among the data sets, in which one is made before `adopt` lists it; what is left there goes as with `scratch`."""
        with self._own("datasets", PARTIAL) as folder:
            yield folder

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

    def import_dataset(self, file: Path, name: str, progress: Progress | None = None, *, source_format: str | None = None,
                       report: Report | None = None) -> tuple[Dataset, Import]:
        """Recognises and stores `file` (archive, folder or label file). An upload stays in uploads/, so it can be tried again.

        `report` counts what is done, `progress` is told the share of the archive that is unpacked and then 0; what they raise ends the import.
        A name that another data set has gets a number, see `Import.renamed_from`. Raises UserError; then no half data set is listed or left.
        """
        with self.scratch() as scratch, self.stage() as stage:
            watch = Watch(progress, report, (scratch, stage))
            kept = self._keep(Path(file))
            problems: list[Problem] = []
            with bounded(told=watch.looking), source.opened(unpacked(kept, scratch, problems, watch), scratch) as root:
                chosen, evidence = source.recognise(root, source_format)
                reading = chosen.read(root)
                content = Reading(reading.classes, watch.reading(chain(problems, reading.items)), reading.task)
                wanted = name.strip() or kept.stem
                policy: ImagePolicy = "link" if scratch.resolve() in root.resolve().parents else "copy"
                made = Dataset.create(stage / (slug(wanted) or "dataset"), wanted, content, images=policy, format_name=chosen.name)
            dataset = self.adopt(made)
        imported = Import(dataset.id, dataset.name, chosen.name, evidence, dataset.task, dataset.classes, dataset.counts(), dataset.problems(),
                          kept if self.uploads in kept.parents else None, wanted if dataset.name != wanted else None)
        return dataset, imported

    def adopt(self, made: Dataset) -> Dataset:
        """Lists a data set that was made in a `stage`, under an id and a name that no other has."""
        with owners.locked(self.root / ".lock"), writing(made.folder):
            name = free_name(made.name, {dataset.name for dataset in self.datasets()})
            if name != made.name:
                with closing(store_schema.connect(made.folder / FILE)) as connection, connection:
                    connection.execute("UPDATE meta SET value = ? WHERE key = 'name'", (name,))
            for number in count(1):
                folder = self.root / "datasets" / _numbered(slug(name) or "dataset", number)
                if not os.path.lexists(folder):
                    made.folder.rename(folder)
                    break
        return Dataset(folder)

    def delete_dataset(self, dataset_id: str) -> Path:
        """Moves the data set to trash/ and returns where it lies now. Raises UserError while a run that is waiting or at work uses it."""
        folder = self._lookup("datasets", dataset_id, "dataset_unknown")
        if runs := self.used_by(dataset_id):
            raise UserError("dataset_in_use", name=dataset_id, runs=", ".join(runs))
        target = self._free("trash", f"{time.strftime('%Y%m%d-%H%M%S')}-{folder.name}")
        folder.rename(target)
        return target

    def used_by(self, dataset_id: str) -> list[str]:
        """The ids of the runs that are queued or at work on a data set."""
        folder = self._lookup("datasets", dataset_id, "dataset_unknown").resolve()
        found = []
        for run in map(Run, self.runs()):
            with suppress(UserError):
                if run.exists() and run.state()["phase"] in ("queued", *ACTIVE) and Path(run.config().data).resolve() == folder:
                    found.append(run.id)
        return found

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
        """Removes what killed processes have left behind: at once where a name tells that its owner is gone, else after an hour without a change.

        What a living process works on stays, also that of another app on the same workspace.
        """
        now = time.time()
        uploaded = list((self.tmp / "gradio").glob("*"))
        kept = [*uploaded, self.tmp / "gradio"]
        partial = [path for kind in ("datasets", "uploads") for path in (self.root / kind).glob(f"{PARTIAL}-*")]
        for path in [*(path for path in self.tmp.iterdir() if path not in kept), *partial, *uploaded]:
            with suppress(OSError):  # somebody else cleans as well
                living = owners.is_living(path.name)
                age = now - path.lstat().st_mtime
                if living is False or (living is None and age > (STALE_UPLOAD_SECONDS if path in uploaded else STALE_SECONDS)):
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)

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
            folder = self.root / kind / _numbered(name, number)
            try:
                folder.mkdir(mode=0o700)
                return folder
            except FileExistsError:
                number += 1

    def _keep(self, file: Path) -> Path:
        """A single uploaded file goes into a folder of its own in uploads/, under its own name, so that messages name what people know.

        Not when it lies there already, nor a label file, which stays beside what it names. A copy appears there whole or not at all.
        """
        if not file.exists():
            raise UserError("path_missing", path=file.name or str(file))
        if file.is_dir() or self.uploads in file.resolve().parents or file.suffix.lower() in source.label_file_suffixes():
            return file
        with self._own("uploads", PARTIAL) as folder, writing(folder / file.name):
            copy(file, folder / file.name)
            return folder.rename(self.uploads / uuid.uuid4().hex[:8]) / file.name

    @contextmanager
    def _own(self, kind: str, prefix: str) -> Iterator[Path]:
        """A folder that carries its owner in its name, and is gone afterwards unless it was renamed."""
        folder = self.root / kind / owners.marked(prefix)
        with writing(folder):
            folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def free_name(name: str, taken: set[str]) -> str:
    """`name`, or with the first number that makes it new: "Cats" -> "Cats (2)" -> "Cats (3)"."""
    stem = found[1] if name in taken and (found := re.fullmatch(r"(.+) \((\d{1,6})\)", name, re.DOTALL)) else name
    number = 2
    while name in taken:
        name, number = f"{stem} ({number})", number + 1
    return name


def slug(name: str) -> str:
    """Letters and digits of any script, the rest as single dashes: "Scissors & 手术 (2)" -> "Scissors-手术-2"."""
    text = unicodedata.normalize("NFKC", name)
    words = "".join(char if char.isalnum() else " " for char in text).split()
    return "-".join(words)[:MAX_SLUG].strip("-")

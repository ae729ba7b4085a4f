"""Cross-checking a data set in the background: what is asked for, whether there is enough of it, and where the work lies until it is done."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.config import TrainConfig
from engine.datasets.store import Dataset
from engine.folds import dealt
from engine.label_errors import Suspect, labeled_ids, suspects_kfold
from engine.models import models
from engine.types import UserError

FOLDER, PLAN = "cross-checking", "plan.json"
FOLDS, MINUTES = 3, 15.0
MOST_FOLDS, MOST_MINUTES, LEAST_MINUTES = 20, 10_000, 0.05
IMAGES_A_FOLD = 2
# The smallest model of each task that learns within minutes on a processor; where only boxes are compared, a detector will do for outlines.
SMALLEST = {"detect": "deimv2_atto", "instance": "deimv2_atto", "semantic": "unet", "classify": "timm"}
FITTING = {"detect": ("detect",), "instance": ("detect", "instance"), "semantic": ("semantic",), "classify": ("classify",)}
OPTIONS = {"unet": {"architecture": "unet", "encoder": "resnet18"}}


@dataclass(frozen=True)
class CrossCheck:
    """`minutes` of training for all folds together; `image_size` 0 is that of the model."""

    model: str
    folds: int = FOLDS
    minutes: float = MINUTES
    image_size: int = 0

    def config(self) -> TrainConfig:
        spec = models.get(self.model)
        return TrainConfig(model=self.model, task=spec.task, minutes=self.minutes / self.folds, image_size=self.image_size,
                           options=OPTIONS.get(self.model, {}))


def asked(dataset: Dataset, *, model: str = "", folds: int = FOLDS, minutes: float = MINUTES, image_size: int = 0) -> CrossCheck:
    """Without a `model` the smallest that fits the task of the set.

    Raises UserError for values that cannot be, for a set without a task that models learn, and for one with too few labeled images or groups of them.
    """
    task = dataset.task
    if task not in FITTING:
        raise UserError("cross_check_task", name=dataset.name, task=task or "-")
    spec = models.get(model or SMALLEST[task])
    if spec.task not in FITTING[task]:
        raise UserError("suggest_other_task", model=spec.name, task=spec.task, name=dataset.name)
    for name, value, low, high in (("folds", folds, 2, MOST_FOLDS), ("minutes", minutes, LEAST_MINUTES, MOST_MINUTES)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
            raise UserError("option_bounds", name=name, value=str(value)[:40], low=low, high=high)
    if type(folds) is not int or type(image_size) is not int:
        raise UserError("labels_unreadable", what="folds" if type(folds) is not int else "image_size")
    wanted = CrossCheck(spec.name, folds, float(minutes), image_size)
    wanted.config()  # raises for a size that cannot be
    ids = labeled_ids(dataset)
    if len(ids) < IMAGES_A_FOLD * folds:
        raise UserError("cross_check_few", name=dataset.name, images=len(ids), folds=folds, wanted=IMAGES_A_FOLD * folds)
    try:
        dealt(dataset, ids, folds)
    except UserError as error:
        raise UserError("cross_check_groups", name=dataset.name, folds=folds) from error
    return wanted


def work(dataset: Dataset, wanted: CrossCheck, *, share: Callable[[float], None], stop: Callable[[], bool]) -> list[Suspect]:
    """Trains the folds and keeps what they find as the list of the set; [] when it was stopped.

    What was done before a stop stays in the folder of the set, and the next one goes on with it unless something else is asked for or the labels
    have changed. It goes away once all is done, and when it cannot be done.
    """
    scratch, plan = dataset.folder / FOLDER, _plan(dataset, wanted)
    if _kept_plan(dataset) != plan:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        (scratch / PLAN).write_text(json.dumps(plan), encoding="utf-8")
    try:
        found = suspects_kfold(dataset, wanted.config(), scratch, folds=wanted.folds, share=share, stop=stop)
    except UserError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    if not stop():
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def claim(folder: Path, dataset: Dataset, wanted: CrossCheck) -> None:
    """Makes sure that models which lie in a person's folder were trained for exactly this; notes what the folder is for.

    Raises UserError when they were not: another number of folds, another model or other labels would have learnt what they shall judge.
    """
    plan, file = _plan(dataset, wanted), folder / PLAN
    kept = _read(file)
    if kept != plan and folder.is_dir() and any(folder.iterdir()):
        raise UserError("cross_check_other_work", path=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(plan), encoding="utf-8")


def goes_on(dataset: Dataset, wanted: CrossCheck) -> bool:
    """Whether this was begun before and would go on where it stood."""
    return _kept_plan(dataset) == _plan(dataset, wanted)


def _plan(dataset: Dataset, wanted: CrossCheck) -> dict[str, Any]:
    ids = labeled_ids(dataset)
    with dataset.connection() as connection:
        labels = connection.execute("""SELECT id, revision FROM images WHERE trashed IS NULL AND state IN ('labeled', 'background')
            ORDER BY id""").fetchall()
    seen = hashlib.blake2b(json.dumps([dataset.classes, ids, labels]).encode(), digest_size=16).hexdigest()
    return {**asdict(wanted), "seen": seen}


def _kept_plan(dataset: Dataset) -> dict[str, Any] | None:
    return _read(dataset.folder / FOLDER / PLAN)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None

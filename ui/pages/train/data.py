"""What the train page says of the chosen data set, and the rules for weights and starts. No components here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from engine.config import TrainConfig
from engine.datasets.store import Dataset
from engine.messages import text
from engine.models import ModelSpec, models
from engine.recipe import FEW_OBJECTS as FEW_TO_LEARN
from engine.recipe import DataFacts
from engine.runs import Run
from engine.types import SPLITS, UserError
from engine.workspace import Workspace
from ui import html
from ui.html import Html, join, tag
from ui.i18n import t

FEW_IMAGES, FEW_OBJECTS = 30, 10
MOST_CHIPS = 24
FIRST = ("timm", "di_maskdino_atto")  # the plain model of a task before those that are wanted more rarely
SAME_PRESS_S = 10.0
WEIGHT_SUFFIXES = (".pt", ".pth", ".safetensors", ".pkl", ".npz", ".bin")
OBJECT_TASKS = ("detect", "instance")
LEARNED_TOO = {"instance": ("detect", "semantic")}  # outlines have boxes and areas
NO_FILE = ("auto", "download", "none")
Made = TypeVar("Made")


def find(workspace: Workspace, wanted: str | None) -> Dataset | None:
    """The data set with this id; ids are looked up among those that are there."""
    return next((each for each in workspace.datasets() if wanted and each.id == wanted), None)


def facts(dataset: Dataset) -> DataFacts:
    """What the recipe needs; a validation part that will be split off is counted off."""
    counts = dataset.counts()
    train, valid = _labeled(counts, "train"), _labeled(counts, "valid")
    if not valid and train > 1:
        valid = max(1, round(train * TrainConfig().valid_fraction))
        train -= valid
    if dataset.task not in OBJECT_TASKS:
        return DataFacts(train, valid, len(dataset.classes))
    rare = tuple(name for name, objects in counts.get("train", {}).get("classes", {}).items() if objects < FEW_TO_LEARN)
    objects = sum(counts.get("train", {}).get("classes", {}).values()) / max(1, _labeled(counts, "train"))
    return DataFacts(train, valid, len(dataset.classes), dataset.most_objects().get("train", 0), rare, objects=objects)


def _labeled(counts: dict[str, dict[str, Any]], split: str) -> int:
    row = counts.get(split, {})
    return int(row.get("images", 0)) - int(row.get("unlabeled", 0))


def models_of(dataset: Dataset) -> list[ModelSpec]:
    """The registered models that learn from this set's labels, those of its own task first, and of these the ones to begin with."""
    tasks = (dataset.task, *LEARNED_TOO.get(dataset.task, ()))
    every = sorted(models.entries().values(), key=lambda spec: spec.name not in FIRST)
    return [spec for task in tasks for spec in every if spec.task == task]


def pick_model(dataset: Dataset, wanted: str | None) -> str:
    """`wanted` when it can learn from this set, else the model to begin with. Raises UserError when there is none."""
    found = models_of(dataset)
    if not found:
        raise UserError("no_model_for_task", task=text(f"task.{dataset.task}"))
    if wanted in [spec.name for spec in found]:
        return str(wanted)
    own = [spec.name for spec in found if spec.task == found[0].task]
    return TrainConfig().model if TrainConfig().model in own else own[0]


def carried(dataset: Dataset | None, chosen: str | None) -> str | None:
    """What is left of a choice of model when another set comes: nothing where the set's own task has models and this is none of them."""
    own = [spec.name for spec in models_of(dataset) if spec.task == dataset.task] if dataset else []
    return chosen if not own or chosen in own else None


def obstacle(dataset: Dataset | None, language: str) -> str:
    """Why no training can start now; empty when one can."""
    if dataset is None:
        return t("train.no_dataset_yet", language)
    if not models_of(dataset):
        return t("train.no_model", language, task=t(f"task.{dataset.task}", language))
    return "" if _has_labels(dataset) else t("train.warn_nothing", language)


def _has_labels(dataset: Dataset) -> bool:
    """Objects, tags or areas to learn from in the training part."""
    train = dataset.counts().get("train", {})
    return _labeled({"train": train}, "train") > 0 and (train.get("boxes", 0) > 0 or any(train.get("classes", {}).values()))


def card(dataset: Dataset | None, language: str) -> Html:
    """Name, task, counts, classes and what may go wrong."""
    if dataset is None:
        return html.empty_state(t("train.no_dataset", language), "data")
    counts = dataset.counts()
    splits = [html.stat(t(f"train.images_{split}", language), html.number(counts[split]["images"])) for split in SPLITS if split in counts]
    objects = [html.stat(t("train.objects", language), html.number(sum(row.get("boxes", 0) for row in counts.values())))]
    shown = objects if dataset.task in OBJECT_TASKS else []
    task = html.stat(t("train.task", language), t(f"task.{dataset.task}", language))
    chips = [html.chip(name, i) for i, name in enumerate(dataset.classes[:MOST_CHIPS])]
    if len(dataset.classes) > MOST_CHIPS:
        chips.append(html.chip(t("train.more_classes", language, n=len(dataset.classes) - MOST_CHIPS)))
    notes = [tag("li", html.icon(icon), " ", words) for icon, words in warnings(dataset, language)]
    return html.card(dataset.name, html.stats(task, *splits, *shown), tag("div", *chips, class_="lb-chips"),
                     tag("ul", *notes, class_="lb-notes") if notes else "", class_="lb-data-card")


def warnings(dataset: Dataset, language: str) -> list[tuple[str, str]]:
    """(icon, sentence) for what makes a poor or impossible training."""
    counts, found = dataset.counts(), []
    train = counts.get("train", {})
    if why := obstacle(dataset, language):
        return [("error", why)]
    if not _labeled(counts, "valid"):
        percent = round(100 * TrainConfig().valid_fraction)
        found.append(("note", t("train.warn_no_valid", language, percent=percent)))
    if _labeled(counts, "train") < FEW_IMAGES:
        found.append(("warn", t("train.warn_few_images", language, n=_labeled(counts, "train"), wanted=FEW_IMAGES)))
    if unlabeled := int(train.get("unlabeled", 0)):
        found.append(("note", t("train.warn_unlabeled", language, n=html.number(unlabeled))))
    rare = [name for name, objects in train.get("classes", {}).items() if objects < FEW_OBJECTS]
    if rare and dataset.task != "instance":  # the plan names them, with what helps
        named = ", ".join(rare[:5]) + (" …" if len(rare) > 5 else "")
        counted = "train.warn_rare" if dataset.task in OBJECT_TASKS else "train.warn_rare_images"
        found.append(("warn", t(counted, language, names=named, wanted=FEW_OBJECTS)))
    return found


def weights_files(workspace: Workspace) -> dict[str, Path]:
    """Files to start from, by id: those of workspace/weights, then the best weights of earlier runs, newest first."""
    found = {f"weights/{file.name}": file for file in sorted(workspace.weights.iterdir()) if file.suffix in WEIGHT_SUFFIXES and file.is_file()}
    runs = [Run(each) for each in workspace.runs()]
    return {**found, **{f"runs/{run.id}": run.best for run in runs if run.best.is_file()}}


def weights_choices(workspace: Workspace, language: str) -> list[tuple[str, str]]:
    named = [(t(f"train.weights_{each}", language), each) for each in NO_FILE]
    return named + [(name.partition("/")[2] if name.startswith("weights/") else t("train.weights_run", language, run=name.partition("/")[2]), name)
                    for name in weights_files(workspace)]


def weights_file(workspace: Workspace, chosen: str | None) -> str:
    """What a choice means for the config. Raises UserError for an id that is not there."""
    if chosen in (None, "", *NO_FILE):
        return chosen or NO_FILE[0]
    files = weights_files(workspace)
    if chosen not in files:
        raise UserError("weights_gone", name=chosen)
    return str(files[chosen])


def code(command: str) -> Html:
    return join([html.code(command)])


class Starts(Generic[Made]):
    """Makes one run (or group of runs) of presses that mean the same: a double click is answered with what its first made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[Any, Made, float]] = {}

    def once(self, tab: str, config: Any, create: Callable[[], Made]) -> Made:
        """What `create` makes, or what the same press has just made."""
        with self._lock:
            known = self._last.get(tab)
            if known and known[0] == config and time.monotonic() - known[2] < SAME_PRESS_S:
                return known[1]
            self._last = {key: value for key, value in self._last.items() if time.monotonic() - value[2] < SAME_PRESS_S}
            run = create()
            self._last[tab] = (config, run, time.monotonic())
            return run

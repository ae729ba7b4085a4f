"""Which models can predict, and the two that were used last, ready to go."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.models import models as registry
from engine.types import UserError
from engine.weights_reading.told import told_by
from engine.workspace import Workspace
from ui.forms import SUGGESTED
from ui.pages.predict.result import DETECT, TASKS, THRESHOLD, Held
from ui.pages.train.compare import backbone_of
from ui.pages.train.data import WEIGHT_SUFFIXES, weights_files
from ui.selection import name_of

if TYPE_CHECKING:
    from engine.predict import Predictor

KEPT = 2
EXPORTED = ".onnx"
SUFFIXES = (*WEIGHT_SUFFIXES, EXPORTED)


@dataclass(frozen=True)
class Told:
    """What a person says of a bare weights file: the model that it belongs to, and options of that as words."""

    model: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, model: str | None, options: Mapping[str, Any]) -> Told:
        return cls(model or None, tuple(sorted((str(name), str(value)) for name, value in options.items())))


NOTHING_TOLD = Told()


class Predictors:
    """The last few loaded models. A file that changed on disk is loaded again."""

    def __init__(self, kept: int = KEPT) -> None:
        self.kept = kept
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[Any, ...], Predictor] = OrderedDict()

    def __call__(self, file: Path, told: Told = NOTHING_TOLD) -> Predictor:
        """Raises UserError for a file that cannot be loaded. The first call loads torch."""
        from engine.predict import load

        key = (str(file), file.stat().st_mtime_ns if file.is_file() else 0, told)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = load(file, told.model, options=dict(told.options))
                while len(self._loaded) > self.kept:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(key)
            return self._loaded[key]


predictors = Predictors()


def files(workspace: Workspace) -> dict[str, Path]:
    """Files to predict with, by id: exported models beside what training can start from."""
    exported = {f"weights/{file.name}": file for file in sorted(workspace.weights.iterdir()) if file.suffix == EXPORTED and file.is_file()}
    return {**weights_files(workspace), **exported}


def choices(workspace: Workspace) -> list[tuple[str, str]]:
    """(name, id) of every run with weights and every file in workspace/weights, newest run first."""
    found = files(workspace)
    runs = [key for key in found if key.startswith("runs/")]
    others = [key for key in found if key.startswith("weights/")]
    return [(_run_name(key), key) for key in runs] + [(key.partition("/")[2], key) for key in others]


def _run_name(key: str) -> str:
    run = key.partition("/")[2]
    name = name_of(run)
    return name if name == run else f"{name} · {run[4:6]}-{run[6:8]} {run[9:11]}:{run[11:13]}"


def pick(found: list[tuple[str, str]], run: str | None, now: str | None = None) -> str | None:
    """What is chosen now when it is still there, else the header's run, else the first."""
    keys = [key for _, key in found]
    for wanted in (now, f"runs/{run}"):
        if wanted in keys:
            return wanted
    return keys[0] if keys else None


def file_of(workspace: Workspace, chosen: str | None) -> Path:
    """The weights behind an id, or behind a run's bare name. Raises UserError for one that is not there."""
    found = files(workspace)
    for key in (chosen, f"runs/{chosen}", f"weights/{chosen}"):
        if key in found:
            return found[key]
    if not found:
        raise UserError("no_model")
    raise UserError("model_gone", name=str(chosen or "–")[:80], known=", ".join(list(found)[:20]))


def held(workspace: Workspace, chosen: str | None, kind: str | None = None) -> Held:
    """What the model behind an id says of itself, without being loaded. A bare file says nothing; of it `kind` tells the task."""
    file = files(workspace).get(chosen or "")
    told = _held(file, file.stat().st_mtime_ns) if file and file.suffix != EXPORTED else Held()
    spec = registry.entries().get(kind or "")
    return Held.of(spec.task, (), THRESHOLD, {}, exclusive=False) if told.task is None and spec else told


@lru_cache(maxsize=64)
def _held(file: Path, _changed: int) -> Held:
    """Nothing is said by a file that is damaged, and by one that was not written here."""
    told = told_by(file)
    try:
        thresholds, options = told["thresholds"], told["options"]
        score = float(thresholds.get("score", THRESHOLD if told["task"] == DETECT else 0.5))
        found = Held.of(told["task"], tuple(map(str, told["classes"])), score, thresholds, exclusive=options.get("mode") == "multiclass")
    except (LookupError, TypeError, ValueError):
        return Held()
    return found if found.task in TASKS and 0 <= found.threshold <= 1 and 0 <= found.nms <= 1 else Held()


def inside_of(model: str | None) -> tuple[str, tuple[str, ...]]:
    """The option that names the encoder or backbone of a model, and the common ones; ("", ()) when it has none."""
    spec = registry.entries().get(model or "")
    option = backbone_of(spec) if spec else ""
    return option, SUGGESTED.get((model or "", option), ())


def told(model: str | None, inside: str | None) -> Told:
    """What the page asked of a bare file: its model, and the encoder or backbone of that."""
    option, wanted = inside_of(model)[0], (inside or "").strip()
    return Told.of(model, {option: wanted} if option and wanted else {})


def needs_name(chosen: str | None) -> bool:
    """A bare weights file may not say which model it belongs to."""
    return bool(chosen) and str(chosen).startswith("weights/") and not str(chosen).endswith(EXPORTED)

"""Train: what becomes of the weights file that a run shall start from, told before it starts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.config import TrainConfig
from engine.models import checked_options, create, models
from engine.types import UserError
from ui.i18n import t
from ui.pages.train.watch import stamp

NO_FILE = ("auto", "download", "none")
MOST_NAMES = 12
KEPT_FILES = 64
PARTS = ("architecture", "encoder", "backbone")


@dataclass(frozen=True)
class Told:
    """What a file says of itself: the name of its model ("" when nothing), classes and options."""

    model: str = ""
    classes: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """How many tensors of the network the file fills, or why it cannot be used."""

    matched: int = 0
    total: int = 0
    refused: UserError | None = None


def told(config: TrainConfig) -> Told:
    """Looked up once for each state of the file."""
    return Told() if config.weights in NO_FILE else _told(config.weights, stamp(Path(config.weights)))


@lru_cache(maxsize=KEPT_FILES)
def _told(path: str, stamped: tuple[int, int]) -> Told:
    from engine import class_heads
    from engine.weights_reading import told as reading

    content = reading.told_by(path)
    options = content.get("options")
    return Told(content.get("model_name", ""), class_heads.names_in(content, None), options if isinstance(options, dict) else {})


def fit(config: TrainConfig) -> Fit | None:
    """What the run would find, tried out on a network that is thrown away; None where the file is of the same network, or says nothing."""
    theirs = told(config)
    if not theirs.model or (theirs.model == config.model and _built(config, theirs.options) == _built(config, config.options)):
        return None
    return _fit(config.weights, stamp(Path(config.weights)), config.model, json.dumps(config.options, sort_keys=True))


@lru_cache(maxsize=KEPT_FILES)
def _fit(path: str, stamped: tuple[int, int], model: str, options: str) -> Fit:
    from engine.opening import start_weights

    spec, classes = models.get(model), ("", " ")
    network = create(model, len(classes), **checked_options(spec, json.loads(options)))
    try:
        found, _ = start_weights(network, spec, path, classes)
    except UserError as error:
        return Fit(refused=UserError(error.key, **error.values))  # the one that was caught would keep the network
    return Fit(len(found.matched), len(found.matched) + len(found.missing)) if found else Fit()


def _built(config: TrainConfig, options: dict[str, Any]) -> dict[str, Any]:
    """The parts that a person chooses the network from; other options may follow from the data."""
    return {each.name: options.get(each.name, each.default) for each in models.get(config.model).options if each.name in PARTS}


def head(config: TrainConfig, language: str) -> str:
    """Which classes keep what the weights have learnt of them, as engine.class_heads deals them; "" where they are the same, or unknown."""
    from engine import class_heads

    theirs, ours = (_front(names, config.task) for names in (told(config).classes, _classes(config)))
    if not theirs or not ours or [class_heads.plain(name) for name in theirs] == [class_heads.plain(name) for name in ours]:
        return ""
    pairs, placed = class_heads.dealt(theirs, ours)
    if not pairs and not placed:
        return t("train.head_none", language, all=len(ours), names=_names(theirs))
    parts = {"named": sorted(pairs), "placed": placed, "anew": [place for place in range(len(ours)) if place not in {*pairs, *placed}]}
    return " ".join(t(f"train.head_{part}", language, count=len(places), all=len(ours), names=_names([ours[place] for place in places]))
                    for part, places in parts.items() if places)


def _names(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (" …" if len(names) > MOST_NAMES else "")


def _classes(config: TrainConfig) -> tuple[str, ...]:
    """Those of a stored set."""
    from engine.datasets.store import Dataset, is_dataset

    return Dataset(Path(config.data), readonly=True).classes if config.data and is_dataset(Path(config.data)) else ()


def _front(names: tuple[str, ...], task: str) -> tuple[str, ...]:
    """Of areas, what is no background: whether that is a class of its own follows from the data."""
    from engine.tasks.rasters import is_background

    return tuple(name for name in names if not is_background(name)) if task == "semantic" else names

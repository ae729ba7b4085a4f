"""Settings as people give them, flat: those of the run and those of the model, told apart by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from engine.config import TrainConfig
from engine.models import buildable, models
from engine.types import UserError

ONLY: dict[tuple[str, str], tuple[str, ...]] = {  # (setting, task) -> the choices that the task has
    ("loss", "semantic"): ("auto", "dice_bce", "focal", "tversky", "focal_tversky", "lovasz", "jaccard", "cross_entropy"),
    ("loss", "classify"): ("auto", "bce", "asymmetric", "focal", "cross_entropy"),
    ("augment", "detect"): ("auto", "none", "flip", "standard", "official"),
    ("augment", "instance"): ("auto", "none", "flip", "standard", "large_scale"),
    ("augment", "semantic"): ("auto", "none", "flip", "standard", "tutorial"),
    ("augment", "classify"): ("auto", "none", "flip", "standard", "tutorial"),
    ("schedule", "detect"): ("auto", "flat_cosine", "cosine"),
    ("schedule", "instance"): ("auto", "flat_cosine", "cosine"),
}
REFUSED = ("loss", "augment")  # any other choice that a task does not offer works all the same


def pairs(given: Iterable[str]) -> dict[str, str]:
    """{name: value} of "name=value" words. Raises UserError for a word without a value."""
    found = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError("set_without_value", given=word)
        found[name.strip()] = value.strip()
    return found


def config_of(values: Mapping[str, Any]) -> TrainConfig:
    """A config in which the options of the model (`encoder`, `backbone`, ...) have their place.

    Raises UserError for a name that neither the run nor the model knows, and for a value that they refuse.
    """
    spec = models.get(str(values.get("model", TrainConfig.model)))
    if values.get("task", spec.task) != spec.task:
        raise UserError("task_of_model", model=spec.name, task=spec.task, given=values["task"])
    fields = {each.name for each in dataclasses.fields(TrainConfig)}
    own = {name: value for name, value in values.items() if name not in fields}
    known = {each.name for each in spec.options}
    for name in own:
        if name not in known:
            raise UserError("unknown_option", name=name, known=", ".join(sorted(fields - {"options", "epochs_plan"} | known)))
    config = TrainConfig.from_dict({"task": spec.task, **{name: value for name, value in values.items() if name in fields}})
    for name in REFUSED:
        allowed = ONLY.get((name, spec.task))
        if allowed and getattr(config, name) not in allowed:
            raise UserError("option_choice", name=name, value=getattr(config, name), choices=", ".join(allowed))
    return config.replace(options=buildable(spec, {**config.options, **own}))

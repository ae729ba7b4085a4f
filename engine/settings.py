"""Settings as people give them, flat: those of the run and those of the model, told apart by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from engine.config import TrainConfig
from engine.models import checked_options, models
from engine.types import UserError


def config_of(values: Mapping[str, Any]) -> TrainConfig:
    """A config in which the options of the model (`encoder`, `backbone`, ...) have their place.

    Raises UserError for a name that neither the run nor the model knows, and for a value that they refuse.
    """
    fields = {each.name for each in dataclasses.fields(TrainConfig)}
    spec = models.get(str(values.get("model", TrainConfig.model)))
    own = {name: value for name, value in values.items() if name not in fields}
    known = {each.name for each in spec.options}
    for name in own:
        if name not in known:
            raise UserError("unknown_option", name=name, known=", ".join(sorted(fields - {"options", "epochs_plan"} | known)))
    config = TrainConfig.from_dict({"task": spec.task, **{name: value for name, value in values.items() if name in fields}})
    return config.replace(options=checked_options(spec, {**config.options, **own}))

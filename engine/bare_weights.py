"""Weights that come without the name of their model: whose they are, and what it takes to build it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from engine import weights
from engine.models import ModelSpec, OtherModel, checked_options, models
from engine.types import UserError


def recognised(content: Any, path: Path | str, model: str | None, told: Mapping[str, Any]) -> tuple[ModelSpec, dict[str, Any]]:
    """The model of a bare checkpoint and the options that rebuild it, `num_classes` among them where it shows.

    `model` and the options `told` by a person are believed, the rest follows from the tensors. Raises UserError that says what is to be told.
    """
    tensors = weights.state_dict_of(content, path)
    if model is not None:
        spec = models.get(model)
        return spec, _options(spec, content, tensors, path, told)
    fitting: list[tuple[ModelSpec, dict[str, Any]]] = []
    unclear: list[UserError] = []
    for spec in models.entries().values():
        if not {each.name for each in spec.options} >= told.keys() or (spec.infer is None and not (spec.recognises and spec.recognises(tensors))):
            continue
        try:
            fitting.append((spec, _options(spec, content, tensors, path, told)))
        except OtherModel:
            continue
        except UserError as error:
            unclear.append(error)
    if len(fitting) == 1:
        return fitting[0]
    if unclear and not fitting:
        raise unclear[0]
    raise UserError("model_name_needed", path=str(path), known=", ".join(models.names()))


def _options(spec: ModelSpec, content: Any, tensors: dict[str, Tensor], path: Path | str, told: Mapping[str, Any]) -> dict[str, Any]:
    known = checked_options(spec, told)
    found = spec.infer(tensors, known) if spec.infer is not None else weights.options_of(content, spec, path)
    return {**found, **known}

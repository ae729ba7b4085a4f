"""A described checkpoint beside a model of the registry: only names and shapes are compared, no number is read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine import weights
from engine.models import ModelSpec, models
from engine.models.network import LoadMap
from engine.types import Problem, UserError
from engine.weights_reading.report import Report

SHOWN = 20
MOST_CLASSES = 30_000  # more than any published model has; a network of that size is built


def compare(report: Report, name: str) -> None:
    """Adds the coverage, and what is to be said about it, to the report. Raises UserError for an unknown model."""
    spec = models.get(name)
    where = report.content.path.name
    report.coverage = {"model": name, "complete": False, "matched": 0}
    claiming = next((each for each, tensor in report.found.tensors.items() if tensor.numel > tensor.stored), None)
    if claiming is not None:  # a network of such a size would be built
        report.problems.append(Problem("weights_not_compared", "error", where, {"model": name, "name": claiming[:80]}))
        return
    try:
        state = weights.state_dict_of({each: torch.empty(tensor.shape, device="meta") for each, tensor in report.found.tensors.items()}, where)
        options = _options(spec, state, where)
        _cover(report, spec, state, options)
    except UserError as error:
        report.problems.append(Problem("weights_not_of_model", "error", where, {"model": name, "reason": error.message()}))


def _options(spec: ModelSpec, state: dict[str, Tensor], where: str) -> dict[str, Any]:
    """As `weights.options_of`, of a file whose names may promise what its shapes do not keep. Raises UserError."""
    try:
        options = weights.options_of(state, spec, where)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError("weights_no_classes", path=where, model=spec.name) from error
    if not 0 < options.get("num_classes", 1) <= MOST_CLASSES:
        raise UserError("weights_no_classes", path=where, model=spec.name)
    return options


def _cover(report: Report, spec: ModelSpec, state: dict[str, Tensor], options: dict[str, Any]) -> None:
    network = spec.build(**{"num_classes": len(report.class_names or "x"), **options})
    own = network.state_dict(keep_vars=True)
    coverage, usable = weights.compare(own, state, network.load_map() if hasattr(network, "load_map") else LoadMap())
    report.classes = options.get("num_classes", report.classes)
    report.coverage = {
        "model": spec.name, "complete": coverage.complete, "matched": len(coverage.matched), "total": len(own), "ignored": len(coverage.ignored),
        "missing": list(coverage.missing[:SHOWN]), "missing_count": len(coverage.missing), "unexpected": list(coverage.unexpected[:SHOWN]),
        "unexpected_count": len(coverage.unexpected), "reshaped": list(coverage.reshaped[:SHOWN])}
    where = report.content.path.name
    if coverage.reshaped:
        report.problems.append(Problem("weights_reshaped", "warning", where, {"classes": report.classes, "names": ", ".join(coverage.reshaped[:5])}))
    if not usable:
        report.problems.append(Problem("weights_foreign", "error", where, {"example": next(iter(state))[:80], "wanted": next(iter(own))}))
    elif not coverage.complete:
        report.problems.append(Problem("weights_partial", "warning", where, {
            "model": spec.name, "matched": len(coverage.matched), "total": len(own), "missing": len(coverage.missing),
            "unexpected": len(coverage.unexpected), "names": ", ".join(name[:80] for name in (coverage.missing + coverage.unexpected)[:5])}))

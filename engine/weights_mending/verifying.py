"""`weights verify`: whether a model of the registry takes every tensor of a file, and computes with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine import weights
from engine.bare_weights import recognised
from engine.models import ModelSpec, create, models
from engine.models.network import LoadMap
from engine.types import Problem, UserError
from engine.weights import Coverage
from engine.weights_reading.comparing import MOST_CLASSES
from engine.weights_reading.report import Report, inspect

SHOWN = 20
SEED = 0


@dataclass
class Proof:
    """What a model made of a file. `differing`: (name, shape in the file, shape in the model); `outputs`: shapes by name, of one forward pass."""

    report: Report
    model: str
    options: dict[str, Any]
    coverage: Coverage | None = None
    total: int = 0
    part: str = "model"
    differing: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    size: int = 0
    outputs: dict[str, list[int]] = field(default_factory=dict)
    finite: bool = False
    problems: list[Problem] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Every tensor of the model came from the file, none was left over, and the outputs are numbers."""
        whole = self.coverage is not None and self.coverage.complete and not self.coverage.reshaped
        return whole and self.finite and not any(each.severity == "error" for each in self.problems)

    def as_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = {"file": str(self.report.content.path), "model": self.model, "options": self.options, "part": self.part,
                                "verified": self.holds, "total": self.total}
        if self.coverage is not None:
            told |= {"matched": len(self.coverage.matched), "ignored": len(self.coverage.ignored), "reshaped": list(self.coverage.reshaped[:SHOWN]),
                     "missing": list(self.coverage.missing[:SHOWN]), "missing_count": len(self.coverage.missing),
                     "unexpected": list(self.coverage.unexpected[:SHOWN]), "unexpected_count": len(self.coverage.unexpected)}
        return {**told, "differing": [{"name": name, "file": list(theirs), "model": list(ours)} for name, theirs, ours in self.differing[:SHOWN]],
                "forward": {"image_size": self.size, "finite": self.finite, "outputs": self.outputs},
                "problems": [each.as_dict() for each in self.problems]}


def verify(file: Path, model: str, told: Mapping[str, Any], *, backbone: bool = False) -> Proof:
    """Builds the model as the tensors tell, options `told` by a person first, fills it and looks at one random image.

    `backbone`: only the part that pretrained weights are made for is compared. Raises UserError for an unknown model or option, and for a
    file that cannot be read or is not of this model.
    """
    spec, report = models.get(model), inspect(file)
    path = report.content.path
    proof = Proof(report, model, dict(told), problems=[each for each in report.problems if each.code == "weights_non_finite"])
    content = weights.safe_load(path)
    state = weights.state_dict_of(content, path)
    network, proof.options = _network(content, spec, path, told, backbone=backbone, classes=report.classes)
    if backbone:
        proof.part, proof.coverage = "backbone", weights.backbone_weights(network, str(path))
    else:
        proof.coverage = weights.load_into(network, path)
        proof.differing = _differing(network, state)
    proof.total = len(proof.coverage.matched) + len(proof.coverage.missing) + len(proof.coverage.reshaped) if proof.coverage else 0
    _look(proof, network, spec)
    proof.problems += _problems(proof)
    return proof


def _network(content: Any, spec: ModelSpec, path: Path, told: Mapping[str, Any], *, backbone: bool,
             classes: int | None) -> tuple[nn.Module, dict[str, Any]]:
    told = dict(told)
    counted = told.pop("num_classes", None)
    options = dict(content.get("options") or {}) if isinstance(content, dict) and content.get("model_name") == spec.name else {}
    if backbone:
        options = {**options, **told}
    elif options:
        options |= told
    else:
        try:
            options = recognised(content, path, spec.name, told)[1]
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError("weights_no_classes", path=str(path), model=spec.name) from error
    count = int(counted if counted is not None else options.pop("num_classes", None) or classes or 1)
    options.pop("num_classes", None)
    if not 0 < count <= MOST_CLASSES:
        raise UserError("weights_no_classes", path=str(path), model=spec.name)
    return create(spec.name, count, **options).eval(), {"num_classes": count, **options}


def _differing(network: nn.Module, state: Mapping[str, Tensor]) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    load_map: LoadMap = network.load_map() if hasattr(network, "load_map") else LoadMap()
    own = network.state_dict()
    pairs = ((load_map.rename(name), tuple(value.shape)) for name, value in state.items())
    return [(name, shape, tuple(own[name].shape)) for name, shape in pairs if name in own and own[name].shape != shape]


@torch.inference_mode()
def _look(proof: Proof, network: nn.Module, spec: ModelSpec) -> None:
    """One forward pass on noise, at a size that every machine manages."""
    proof.size = min(spec.image_size, spec.cpu_image_size)
    image = torch.randn(1, 3, proof.size, proof.size, generator=torch.Generator().manual_seed(SEED))
    found = dict(_tensors(network(image), "output"))
    proof.outputs = {name: list(value.shape) for name, value in found.items()}
    proof.finite = bool(found) and all(bool(torch.isfinite(value).all()) for value in found.values())


def _tensors(value: Any, name: str) -> Iterable[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, str(key))
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            yield from _tensors(each, f"{name}.{i}")


def _problems(proof: Proof) -> Iterable[Problem]:
    where, coverage = proof.report.content.path.name, proof.coverage
    if coverage is not None and not coverage.complete:
        yield Problem("weights_partial", "error", where, {
            "model": proof.model, "matched": len(coverage.matched), "total": proof.total, "missing": len(coverage.missing),
            "unexpected": len(coverage.unexpected), "names": ", ".join(name[:80] for name in (coverage.missing + coverage.unexpected)[:5])})
    if coverage is not None and coverage.reshaped:
        yield Problem("weights_reshaped", "error", where, {"classes": proof.options.get("num_classes"), "names": ", ".join(coverage.reshaped[:5])})
    if not proof.finite:
        yield Problem("weights_outputs_not_finite", "error", where, {"model": proof.model, "size": proof.size})

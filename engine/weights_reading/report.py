"""The report of `weights inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.messages import text
from engine.types import Problem, UserError
from engine.weights_reading import detectron, finite, layout
from engine.weights_reading.containers import Content, reading, wanted
from engine.weights_reading.inert import Array, type_name

SHOWN = 5
HALF = ("float16", "bfloat16")
HEADS = ("head.bias", "head.fc.bias", "fc.bias", "classifier.bias", "decoder.enc_score_head.bias", "classifier.fine_classifier.4.bias",
         "sem_seg_head.predictor.class_embed.bias")  # of the models of the registry, and of the ConvNeXt and ResNet files that people start from


@dataclass
class Report:
    """What is in a weights file. `coverage` is filled by a comparison with a model."""

    content: Content
    found: layout.Found
    verdict: detectron.Verdict
    non_finite: list[str]
    problems: list[Problem]
    classes: int | None = None
    class_names: list[str] | None = None
    coverage: dict[str, Any] | None = None
    dtypes: dict[str, int] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        return sum(tensor.numel for tensor in self.found.tensors.values())

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    def told(self, *, everything: bool) -> list[Problem]:
        """The problems that a person should read: what Detectron2 would say matters only of files that look made for it."""
        root = self.content.root
        keys = isinstance(root, dict) and ("__author__" in root or "matching_heuristics" in root)
        meant = keys or self.content.path.suffix in (".pkl", ".pyth") or any("backbone." in name for name in self.found.tensors)
        return [each for each in self.problems if everything or meant or each.code != self.verdict.cause]

    def detectron2(self) -> dict[str, str]:
        """`message`: the error it would raise, or a sentence on what it would do."""
        verdict = self.verdict
        said = verdict.message or text(f"weights.detectron2.{verdict.outcome}", count=verdict.matched, total=verdict.total)
        return {"outcome": verdict.outcome, "message": said}

    def as_dict(self) -> dict[str, Any]:
        report: dict[str, Any] = {
            "file": str(self.content.path), "container": self.content.container, "layout": self.found.family or self.found.layout,
            "found_in": self.found.layout, "tensors": len(self.found.tensors),
            "parameters": self.parameters, "dtypes": self.dtypes, "non_finite": len(self.non_finite), "non_finite_names": self.non_finite[:SHOWN],
            "classes": self.classes, "class_names": self.class_names, "problems": [problem.as_dict() for problem in self.problems],
            "detectron2": self.detectron2()}
        return report if self.coverage is None else {**report, "coverage": self.coverage}


def inspect(path: Path) -> Report:
    """Reads the file without running anything in it. Raises UserError when there is no such file, or nothing of it can be understood.

    A file that wants to run code is described all the same; the report then has a problem of severity error.
    """
    if path.is_dir() and (path / "best.pt").is_file():
        path = path / "best.pt"
    if not path.is_file():
        raise UserError("weights_file_missing", path=str(path))
    with reading(path) as content:
        return describe(content)


def describe(content: Content) -> Report:
    """The report on a file that is still open. Raises UserError when there are no weights in it, and DamagedError."""
    found = layout.find(content.root)
    finite.check_numbers(found.tensors)
    wrong = finite.non_finite(found.tensors) if finite.outside(found.tensors) is None else []
    if not found.tensors and not found.lists and not content.unsafe:
        raise UserError("weights_not_checkpoint", path=str(content.path), found=type_name(content.root))
    verdict = detectron.verdict(content)
    names = class_names(content.root)
    report = Report(content, found, verdict, wrong, [], class_count(found.tensors, names), names)
    report.dtypes = dict(Counter(tensor.dtype for tensor in found.tensors.values()).most_common())
    report.problems = list(_problems(report))
    return report


def class_names(root: Any) -> list[str] | None:
    """As our own checkpoints keep them."""
    names = root.get("classes") if isinstance(root, dict) else None
    return names if isinstance(names, list) and names and all(isinstance(name, str) for name in names) else None


def class_count(tensors: dict[str, Array], names: list[str] | None) -> int | None:
    """The length of the last bias of the networks that are known; else of the list of names. None when neither is there."""
    for name in HEADS:
        for prefix in ("", *layout.PREFIXES):
            if prefix + name in tensors and len(tensors[prefix + name].shape) == 1:
                return tensors[prefix + name].shape[0]
    return None if names is None else len(names)


def _problems(report: Report) -> Iterator[Problem]:
    content, found, where = report.content, report.found, report.content.path.name
    if content.container == "torchscript":
        yield Problem("weights_torchscript", "error", where, {"path": str(content.path)})
    elif content.unsafe:
        yield Problem("weights_unsafe", "error", where, {"path": str(content.path), "found": wanted(content)})
    broken = finite.outside(found.tensors)
    if broken is not None:
        yield Problem("weights_outside", "error", where, {"name": broken[:80], "shape": _shape(found.tensors[broken]),
                                                          "stored": found.tensors[broken].stored})
    if content.objects:
        yield Problem("weights_objects", "warning", where, {"found": _some(content.objects)})
    if report.non_finite:
        yield Problem("weights_non_finite", "warning", where, {"count": len(report.non_finite), "names": _some(report.non_finite)})
    if found.lists:
        yield Problem("weights_lists", "warning", where, {"count": len(found.lists), "names": _some(found.lists)})
    bloated = [name for name, tensor in found.tensors.items() if tensor.storage is not None and broken is None and tensor.numel > tensor.stored]
    if bloated:
        first = found.tensors[bloated[0]]
        yield Problem("weights_expanded", "warning", where, {"name": bloated[0][:80], "shape": _shape(first), "stored": first.stored})
    yield from _notes(report, where)
    if report.verdict.cause:
        yield Problem(report.verdict.cause, "note", where, {"message": report.verdict.message, **dict(report.verdict.values)})


def _notes(report: Report, where: str) -> Iterator[Problem]:
    found = report.found
    others = {name: value for name, value in found.others.items() if name not in found.lists}
    if others and found.layout != "flat":
        yield Problem("weights_other_values", "note", where, {"names": _some([f"{name}: {type_name(value)}" for name, value in others.items()])})
    if found.averaged:
        yield Problem("weights_averaged", "note", where, {"layout": found.layout})
    if found.prefix:
        yield Problem("weights_prefix", "note", where, {"prefix": found.prefix})
    half = sum(report.dtypes.get(name, 0) for name in HALF)
    if half:
        yield Problem("weights_half", "note", where, {"count": half, "dtypes": ", ".join(name for name in HALF if name in report.dtypes)})


def _some(names: Any) -> str:
    """The first few of them."""
    return ", ".join(str(name)[:160] for name in list(names)[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _shape(tensor: Array) -> str:
    return " × ".join(map(str, tensor.shape)) or "1"

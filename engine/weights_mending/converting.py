"""`weights convert`: the same numbers under the names, and in the container, that another program wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.types import Problem, UserError
from engine.weights_mending.gathering import Deed, Gathered, gather, some, without_bfloat16
from engine.weights_mending.writing import TORCH, check_target, write
from engine.weights_reading.convnext import renamed
from engine.weights_reading.detectron import ROOT
from engine.weights_reading.families import CONVNEXT, NOT_DETECTRON2, OTHER_PROGRAMS
from engine.weights_reading.report import Report, inspect

TARGETS = ("native", "detectron2", "timm", "timm-features", "safetensors")
AUTHOR = "Lightbox"
NAMES = {"native": "convnext_official", "timm": "convnext_timm", "timm-features": "convnext_timm_features", "detectron2": "convnext_detectron2"}
WITH_CONVNEXT = ("di_maskdino", "maskdino", "mask2former")  # their backbone may be one, with the names of Detectron2


@dataclass
class Outcome:
    """What came of a file. `changed`: something was amiss or had to become different; `file` None: nothing was written.

    `to` is what it was converted for, "" for a repair.
    """

    before: Report
    file: Path | None
    deeds: list[Deed] = field(default_factory=list)
    after: Report | None = None
    changed: bool = True
    to: str = ""

    @property
    def for_detectron2(self) -> bool:
        """Whether its verdict on the new file is worth telling."""
        if self.to or self.after is None:
            return self.to == "detectron2"
        return self.after.content.path.suffix != ".safetensors" and self.after.found.family not in OTHER_PROGRAMS

    @property
    def problems(self) -> list[Problem]:
        """Of the numbers themselves, which no rewriting mends."""
        report = self.after or self.before
        return [each for each in report.problems if each.code in ("weights_non_finite", "weights_half")]

    def as_dict(self) -> dict[str, Any]:
        report = self.after or self.before
        return {"file": str(self.before.content.path), "out": str(self.file) if self.file else None, "changed": self.changed,
                "steps": [each.as_dict() for each in self.deeds], "tensors": len(report.found.tensors), "parameters": report.parameters,
                "container": report.content.container, "layout": report.found.family or report.found.layout,
                "detectron2": report.detectron2(), "problems": [each.as_dict() for each in self.problems]}


def convert(file: Path, out: Path, to: str, *, force: bool = False) -> Outcome:
    """Writes the tensors of `file` as `to` (of TARGETS) wants them to `out`, whose ending chooses the container.

    Raises UserError when the file cannot be read, when its names have no counterpart there, and when `out` stands already (unless `force`).
    """
    _check_container(out, to)
    check_target(out, force=force)
    gathered = gather(file)
    tensors = _names_for(gathered, to)
    deeds = gathered.deeds
    if out.suffix == ".pkl":
        tensors, widened = without_bfloat16(tensors)
        deeds += widened
    write(out, tensors, _outer(gathered, out, to))
    if gathered.beside and (out.suffix == ".safetensors" or to.startswith("timm")):
        deeds.append(Deed("tensors_only", {"count": len(gathered.beside), "names": some(gathered.beside)}))
    return Outcome(gathered.report, out, deeds, inspect(out), to=to)


def _check_container(out: Path, to: str) -> None:
    """Raises UserError for a pair that the program in question would refuse."""
    if to not in TARGETS:
        raise UserError("weights_target", to=to, known=", ".join(TARGETS))
    if to == "safetensors" and out.suffix != ".safetensors":
        raise UserError("weights_out_not_safetensors", path=str(out))
    if out.suffix == ".pkl" and to != "detectron2":
        raise UserError("weights_torch_into_pkl", path=str(out), to=to)
    if to == "detectron2" and out.suffix == ".safetensors":
        raise UserError("weights_safetensors_for_detectron2", path=str(out))


def _outer(gathered: Gathered, out: Path, to: str) -> Mapping[str, Any] | None:
    """What stands beside "model"; None: nothing does, the tensors are the file."""
    if to.startswith("timm") or to == "safetensors":
        return None
    if to == "detectron2":
        pickled = out.suffix not in TORCH
        unknown = gathered.report.found.family not in (*CONVNEXT, *WITH_CONVNEXT)
        return {**gathered.beside, "__author__": AUTHOR, "matching_heuristics": pickled or unknown}
    return gathered.beside


def _names_for(gathered: Gathered, to: str) -> dict[str, Tensor]:
    """Raises UserError when the names of this file have no counterpart in the wanted code base."""
    family, tensors = gathered.report.found.family, gathered.tensors
    target = NAMES.get(to)
    if target is None or family == target:
        return tensors
    if family in CONVNEXT or (family in WITH_CONVNEXT and to.startswith("timm")):
        return _renamed(gathered, "convnext_detectron2" if family in WITH_CONVNEXT else family, target)
    if to == "native" or (to == "timm" and family.startswith("timm_")):
        return tensors
    if to == "detectron2" and family not in NOT_DETECTRON2:
        return _under_backbone(gathered)
    raise UserError("weights_no_such_names", path=str(gathered.report.content.path), found=family or gathered.report.found.layout, to=to,
                    example=next(iter(tensors)))


def _renamed(gathered: Gathered, source: str, target: str) -> dict[str, Tensor]:
    made, left = renamed(gathered.tensors, source, target)
    if not made:
        raise UserError("weights_no_such_names", path=str(gathered.report.content.path), found=source, to=target,
                        example=next(iter(gathered.tensors)))
    gathered.deeds.append(Deed("renamed", {"count": len(made), "source": source, "target": target}))
    if left:
        gathered.deeds.append(Deed("no_place", {"count": len(left), "names": some(left), "target": target}))
    return made


def _under_backbone(gathered: Gathered) -> dict[str, Tensor]:
    """Names of whole Detectron2 models stay; all others belong to a backbone."""
    tensors = gathered.tensors
    if gathered.report.found.family in WITH_CONVNEXT or any(name.startswith(ROOT) for name in tensors):
        return tensors
    gathered.deeds.append(Deed("prefixed", {"count": len(tensors), "prefix": ROOT}))
    return {ROOT + name: value for name, value in tensors.items()}

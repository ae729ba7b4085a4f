"""`weights repair`: what keeps Detectron2, torch.load and this program from reading a file is taken away, and told line by line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from engine.datasets.faults import writing
from engine.weights_mending.converting import AUTHOR, Outcome
from engine.weights_mending.gathering import Deed, Gathered, gather, some, without_bfloat16
from engine.weights_mending.writing import SUFFIXES, TORCH, check_target, write
from engine.weights_reading.detectron import ROOT
from engine.weights_reading.families import OTHER_PROGRAMS
from engine.weights_reading.report import Report, inspect

FITTING = {".pkl": ("pickle",), ".safetensors": ("safetensors",), **{suffix: ("torch_zip", "torch_legacy") for suffix in TORCH}}
WAYS = ((), ("model",))  # where Detectron2 finds tensors


def repaired_name(file: Path) -> Path:
    """Beside the file: name.repaired.pth. An ending that says nothing becomes .pth."""
    suffix = file.suffix if file.suffix in SUFFIXES else ".pth"
    return file.with_name(f"{file.stem}.repaired{suffix}")


def repair(file: Path, out: Path | None = None, *, only_if_wrong: Path | None = None, force: bool = False) -> Outcome:
    """Nothing is written when nothing was wrong, unless `out` was asked for: that is a copy then. Without it, `only_if_wrong` or a name
    beside the file is used.

    Raises UserError when the file cannot be repaired, with the reason, and when `out` stands already (unless `force`).
    """
    gathered = gather(file)
    source = gathered.report.content.path
    target = out or only_if_wrong or repaired_name(source)
    gathered.deeds += _container_deeds(gathered.report, target)
    heuristics = _needs_heuristics(gathered, target)
    if heuristics:
        gathered.deeds.append(Deed("heuristics", {"example": next(iter(gathered.tensors))}))
    fine = not any(_is_fault(each, gathered.report) for each in gathered.deeds)
    if fine and out is None:
        return Outcome(gathered.report, None, changed=False)
    check_target(target, force=force)
    if fine:
        if target.resolve() != source.resolve():
            with writing(target):
                shutil.copyfile(source, target)
        return Outcome(gathered.report, target, after=inspect(target), changed=False)
    _write(gathered, target, heuristics=heuristics)
    return Outcome(gathered.report, target, gathered.deeds, inspect(target))


def _is_fault(deed: Deed, report: Report) -> bool:
    """What is only left out because the file is written anew was none: an optimizer beside the weights, for one."""
    if deed.code == "beside":
        return bool(report.content.objects or report.content.unsafe)
    return deed.code != "averaged" and (deed.code != "unnested" or report.found.family not in OTHER_PROGRAMS)


def _container_deeds(report: Report, target: Path) -> list[Deed]:
    """What is wrong with the file as a whole; of its tensors `gather` has told."""
    content, found = report.content, report.found
    deeds = []
    if content.container not in FITTING.get(target.suffix, ()):
        misnamed = content.container not in FITTING.get(content.path.suffix, ())
        deeds.append(Deed("container" if misnamed else "rewritten", {"container": content.container, "suffix": target.suffix}))
    elif content.container == "torch_zip" and any(name.partition(".")[0] == "numpy" for name in content.names):
        deeds.append(Deed("arrays", {"names": some(name for name in content.names if name.startswith("numpy."))}))
    if target.suffix == ".safetensors":
        return deeds
    if found.path not in WAYS:
        deeds.append(Deed("unnested", {"layout": found.layout}))
    if target.suffix == ".pkl" and found.path and "__author__" not in content.root:
        deeds.append(Deed("author", {"author": AUTHOR}))
    return deeds


def _needs_heuristics(gathered: Gathered, target: Path) -> bool:
    """Whether Detectron2 would pass over every tensor without a word. Of a bare .pkl it matches the names by itself."""
    content, found = gathered.report.content, gathered.report.found
    if target.suffix == ".safetensors" or found.family in OTHER_PROGRAMS or any(name.startswith(ROOT) for name in gathered.tensors):
        return False
    bare = content.container == "pickle" and target.suffix == ".pkl" and not found.path and not gathered.deeds
    return not bare and not content.root.get("matching_heuristics")


def _write(gathered: Gathered, target: Path, *, heuristics: bool) -> None:
    root, tensors = gathered.report.content.root, gathered.tensors
    outer: dict[str, Any] = dict(gathered.beside)
    if heuristics or root.get("matching_heuristics"):
        outer["matching_heuristics"] = True
    author = root.get("__author__", AUTHOR if target.suffix == ".pkl" else None)
    if author is not None:
        outer["__author__"] = author if isinstance(author, str) else AUTHOR
    if target.suffix == ".pkl":
        tensors, widened = without_bfloat16(tensors)
        gathered.deeds += widened
    if target.suffix == ".safetensors" and gathered.beside:
        gathered.deeds.append(Deed("tensors_only", {"count": len(gathered.beside), "names": some(gathered.beside)}))
    bare = gathered.report.found.family in OTHER_PROGRAMS and not gathered.report.found.path and not outer
    write(target, tensors, None if bare and target.suffix in TORCH else outer)

"""What is worth keeping of a weights file: its tensors, the plain values beside them, and what is to be said about the rest."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine import messages
from engine.types import UserError
from engine.weights_reading import finite, values
from engine.weights_reading.containers import reading, wanted
from engine.weights_reading.inert import Made, type_name
from engine.weights_reading.layout import ASIDE
from engine.weights_reading.report import Report, describe

SHOWN = 5
NAMED = {"container": "container", "source": "family", "target": "family"}  # values of a deed that have names of their own in the catalogues
MOST_VALUES = 10_000
KEYS = ("__author__", "matching_heuristics")  # Detectron2's own, written anew where they belong
WRAPPINGS = ("model", "state_dict", "model_state_dict", "model_ema", "ema", "module")


@dataclass(frozen=True)
class Deed:
    """One thing that was done to the content of a file, in words: `weights.deed.<code>` of the catalogues."""

    code: str
    values: dict[str, Any] = field(default_factory=dict)

    def message(self, language: str | None = None) -> str:
        named = {name: messages.text(f"weights.{kind}.{self.values[name]}", language) for name, kind in NAMED.items() if name in self.values}
        return messages.spoken(f"weights.deed.{self.code}", language, **{**self.values, **named})

    def as_dict(self, language: str | None = None) -> dict[str, str]:
        return {"code": self.code, "message": self.message(language)}


@dataclass
class Gathered:
    """`tensors` are contiguous and share no memory; `beside` are plain values of the file's first level, such as the names of the classes."""

    report: Report
    tensors: dict[str, Tensor] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    deeds: list[Deed] = field(default_factory=list)


def gather(path: Path) -> Gathered:
    """Reads a weights file or the best.pt of a run folder.

    Raises UserError when there is no such file, or when it holds nothing that could be told from an attack, damage or a program.
    """
    if path.is_dir() and (path / "best.pt").is_file():
        path = path / "best.pt"
    if not path.is_file():
        raise UserError("weights_file_missing", path=str(path))
    with reading(path) as content:
        report = describe(content)
        _refuse(report)
        gathered = Gathered(report)
        _take_tensors(gathered)
        _take_values(gathered)
    return gathered


def _refuse(report: Report) -> None:
    content, found, path = report.content, report.found, str(report.content.path)
    if content.container == "torchscript":
        raise UserError("weights_torchscript", path=path)
    if any(_attacks(name) for name in content.unsafe):
        raise UserError("weights_unsafe", path=path, found=wanted(content))
    if found.in_object:
        raise UserError("weights_module", path=path, found=wanted(content) or type_name(content.root))
    if not found.tensors and not found.lists:
        raise UserError("weights_not_checkpoint", path=path, found=type_name(content.root))
    if finite.outside(found.tensors) is not None:
        raise UserError("weights_broken", path=path)
    values.check_growth(found.tensors.values(), content.path)


def _attacks(name: str) -> bool:
    """No training program leaves calls into Python's own library in a checkpoint; classes of other people's programs are merely left out."""
    return name.partition(".")[0] in sys.stdlib_module_names or name.startswith("copyreg")


def _take_tensors(gathered: Gathered) -> None:
    found, deeds = gathered.report.found, gathered.deeds
    if found.averaged:
        deeds.append(Deed("averaged", {"layout": found.layout}))
    unread = [name for name, array in found.tensors.items() if not values.is_readable(array)]
    whole = {name: values.tensor_of(array) for name, array in found.tensors.items() if name not in set(unread)}
    lists = {name: values.numbers_in(found.others[name]) for name in found.lists}
    whole |= {name: made for name, made in lists.items() if made is not None}
    gathered.tensors = {name.removeprefix(found.prefix): value for name, value in whole.items()}
    if not gathered.tensors:
        raise UserError("weights_not_checkpoint", path=str(gathered.report.content.path), found=some(found.lists or unread))
    turned = [name for name, made in lists.items() if made is not None]
    if turned:
        deeds.append(Deed("lists", {"count": len(turned), "names": some(turned)}))
    if found.prefix:
        deeds.append(Deed("prefix", {"prefix": found.prefix}))
    left = [f"{name}: {type_name(value)}" for name, value in found.others.items() if lists.get(name) is None and name not in KEYS]
    left += [f"{name}: {found.tensors[name].dtype}" for name in unread]
    if left and found.path:
        deeds.append(Deed("no_tensors", {"count": len(left), "names": some(left)}))
    views = [name for name, array in found.tensors.items() if array.numel > array.stored]
    if views:
        deeds.append(Deed("views", {"count": len(views), "names": some(views)}))


def _take_values(gathered: Gathered) -> None:
    """Keeps what is plain of the first level; numpy's scalars become numbers."""
    found, root = gathered.report.found, gathered.report.content.root
    left, numbers = [], []
    for name, value in root.items() if isinstance(root, dict) else ():
        key = str(name)
        if key in KEYS or key in found.path[:1] or (not found.path and (key in found.tensors or key in found.lists)):
            continue
        number = values.number_of(value) if isinstance(value, Made) else None
        if number is not None:
            numbers.append(f"{key}: {type_name(value)}")
            gathered.beside[key] = number
        elif key not in WRAPPINGS and not key.startswith(ASIDE) and is_plain(value):
            gathered.beside[key] = value
        else:
            left.append(f"{key}: {type_name(value)}")
    if numbers:
        gathered.deeds.append(Deed("numbers", {"count": len(numbers), "names": some(numbers)}))
    if left:
        gathered.deeds.append(Deed("beside", {"count": len(left), "names": some(left)}))
    foreign = [name for name in gathered.report.content.unsafe]
    if foreign:
        gathered.deeds.append(Deed("foreign", {"count": len(foreign), "names": some(foreign)}))


def is_plain(value: Any) -> bool:
    """Texts, numbers, and not too many of them in lists and dictionaries."""
    waiting, counted = [value], 0
    while waiting:
        each = waiting.pop()
        counted += 1
        if counted > MOST_VALUES:
            return False
        if isinstance(each, dict):
            waiting.extend((*each.keys(), *each.values()))
        elif isinstance(each, list | tuple):
            waiting.extend(each)
        elif each is not None and type(each) not in (str, int, float, bool):
            return False
    return True


def without_bfloat16(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[Deed]]:
    """For numpy, which has neither bfloat16 nor 8-bit floats: float32 holds each of their numbers exactly."""
    odd = [name for name, value in tensors.items() if value.dtype == torch.bfloat16 or str(value.dtype).startswith("torch.float8")]
    deeds = [Deed("widened", {"count": len(odd), "names": some(odd)})] if odd else []
    return {**tensors, **{name: tensors[name].float() for name in odd}}, deeds


def some(names: Iterable[str]) -> str:
    """The first few of them."""
    listed = [str(each)[:100] for each in names]
    return ", ".join(listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")

"""Weights from files: read without unpickling anything but tensors, fitted to a network, and accounted for."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from engine import class_heads
from engine.hub import cached, cached_file, download, fetch
from engine.models.network import BackboneFile, LoadMap
from engine.types import UserError
from engine.weights_reading import convnext, layout, values
from engine.weights_reading.containers import HEAD, kind_of

if TYPE_CHECKING:
    from engine.models import ModelSpec

COUNTER = "num_batches_tracked"
NUMBERED = r"\d+"  # in a pattern of LoadMap.per_class: one module for each class


class Settings:
    """Stands for the empty settings object that HybridMedNet's trainer pickles beside the weights. Holds nothing, does nothing."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Whatever the object held is dropped."""


HARMLESS = [(Settings, "configs.default_config.Config")]


@dataclass(frozen=True)
class Coverage:
    """What became of each tensor: names of the network, but `unexpected` and the recomputed part of `ignored` are the file's.

    `reshaped` kept their random start because the number of classes differs. `in_order`: names said nothing, but the file holds tensors of the
    same shapes in the same order. `adapted`: classes whose rows were found by their name in a file of other classes;
    `placed`: those that keep the rows of another name, which stood at their place. `part`: what was filled, the whole network or its backbone alone.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...]
    reshaped: tuple[str, ...]
    in_order: bool = False
    adapted: tuple[str, ...] = ()
    placed: tuple[str, ...] = ()
    part: Literal["weights", "backbone"] = "weights"

    @property
    def complete(self) -> bool:
        """Every tensor found its place, but for those that depend on the number of classes."""
        return not self.missing and not self.unexpected


def load_into(model: nn.Module, path: Path | str, classes: Sequence[str] = ()) -> Coverage:
    """Copies the weights of the file into the network where name and shape agree.

    With the `classes` of the network, layers with a row for each class take the rows of classes of the same name, where the file's are known.
    Raises UserError when the file cannot be read, when nothing in it belongs to this network, and when it holds a tensor under several names
    that do not agree.
    """
    return fill(model, safe_load(path), path, classes)


def fill(model: nn.Module, content: Any, path: Path | str, classes: Sequence[str] = ()) -> Coverage:
    """As `load_into`, of what `safe_load` gave for the file."""
    state = state_dict_of(content, path)
    load_map: LoadMap = model.load_map() if hasattr(model, "load_map") else LoadMap()
    own = model.state_dict(keep_vars=True)
    coverage, usable = compare(own, state, load_map)
    if not usable:
        raise UserError("weights_foreign", path=str(path), example=next(iter(state)), wanted=next(iter(model.state_dict())))
    _check_aliases({name: value for name, value in state.items() if load_map.rename(name) in usable}, load_map, path)
    if classes and usable:
        theirs = class_heads.names_in(content, _length(state, load_map))
        renamed = {load_map.rename(name): value for name, value in state.items()}
        named, placed = class_heads.dealt(theirs, classes)
        moved = class_heads.moved(own, renamed, load_map, theirs, classes)
        usable |= moved
        kept = moved or all(name in coverage.matched for name in own if load_map.by_class(name))
        coverage = replace(coverage, adapted=tuple(classes[place] for place in sorted(named)) if moved else (),
                           placed=tuple(classes[place] for place in placed) if kept else ())
    put(model, usable)
    return coverage


def _length(state: Mapping[str, Tensor], load_map: LoadMap) -> int | None:
    """The number of classes of a file, where one of its tensors shows it."""
    return next((len(value) for name, value in state.items() if load_map.class_bias and load_map.rename(name) == load_map.class_bias), None)


def put(model: nn.Module, tensors: Mapping[str, Tensor], *, strict: bool = False) -> None:
    """Copies tensors into the network by its own names; nothing else in this code base does.

    Raises RuntimeError when a shape differs and, when `strict`, unless the names are exactly those of the network.
    """
    model.load_state_dict(tensors, strict=strict)


def _check_aliases(state: dict[str, Tensor], load_map: LoadMap, path: Path | str) -> None:
    """Several names of the file may lead to one tensor of the network; then they must hold the same numbers (not-a-number equals itself)."""
    first: dict[str, str] = {}
    for name, value in state.items():
        other = first.setdefault(load_map.rename(name), name)
        if other != name and (state[other].shape != value.shape or not torch.allclose(state[other].float(), value.float(), 0, 0, equal_nan=True)):
            raise UserError("weights_disagree", path=str(path), first=other, second=name)


def safe_load(path: Path | str) -> Any:
    """The content of a checkpoint file of any kind that weights_reading knows, tensors on the CPU.

    Raises UserError for a file that is missing, damaged, or that would run code when opened.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("weights_not_found", path=str(path))
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD), path)
    if kind == "safetensors":
        return _load_safetensors(path)
    if kind in ("torch_zip", "torch_legacy"):
        torch.serialization.add_safe_globals(HARMLESS)
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning), path.open("rb") as file:  # by its path torch believes the suffix
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            pass  # something beside tensors: it is described, and refused or left out
        except (RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, OSError, AssertionError, ArithmeticError) as error:
            raise UserError("weights_torchscript" if "TorchScript" in str(error) else "weights_broken", path=str(path)) from error
    return values.load(path)


def state_dict_of(content: Any, path: Path | str) -> dict[str, Tensor]:
    """The tensors by name, without what wrappers put before all names. Looked for in `ema.module` (a running average), `model`,
    `model_state_dict`, `state_dict`, bare, and then wherever most of them are."""
    found = layout.find(content, Tensor)
    if not found.tensors:
        raise UserError("weights_not_checkpoint", path=str(path), found=type(content).__name__)
    return {name.removeprefix(found.prefix): value for name, value in found.tensors.items()}


def resolve(wanted: str, spec: ModelSpec) -> Path | None:
    """The weights file that training starts from, None = random weights.

    "none"; "auto": the published weights when they are on this machine already, no download; "download": fetch them from the hub;
    anything else is a file. Raises UserError for a file that is missing and for a failed download.
    """
    if wanted == "none" or (wanted in ("auto", "download") and not spec.weights):
        return None
    if wanted == "auto":
        return cached(spec)
    if wanted == "download":
        return download(spec, spec.weights[0].name)
    if not Path(wanted).is_file():
        raise UserError("weights_not_found", path=wanted)
    return Path(wanted)


def class_count(content: Any, spec: ModelSpec, path: Path | str) -> int | None:
    """The number of classes that a checkpoint of this model was trained for, None when it does not show."""
    network = spec.build(1)
    load_map: LoadMap = network.load_map() if hasattr(network, "load_map") else LoadMap()
    biases = [value for name, value in state_dict_of(content, path).items() if load_map.rename(name) == load_map.class_bias]
    return len(biases[0]) if biases else None


def options_of(content: Any, spec: ModelSpec, path: Path | str) -> dict[str, Any]:
    """What `spec.build` needs to make the network that a checkpoint is of: `num_classes` (left out when it does not show) and its options.

    Raises UserError when the checkpoint is not of this model.
    """
    if spec.infer is not None:
        return spec.infer(state_dict_of(content, path), {})
    count = class_count(content, spec, path)
    return {} if count is None else {"num_classes": count}


def backbone_weights(network: nn.Module, wanted: str) -> Coverage | None:
    """Fills the backbone of `network` with pretrained weights and says what became of each of its tensors; None when it keeps its random start.

    `wanted`: "none"; "auto" = those of the hub if they are on this machine already; "download"; or a file. A network that has such a backbone
    says so with `published_backbone()`; others may know a file of theirs by `backbone_file()`. Raises UserError when the file does not fit, and
    within seconds when a download is not possible.
    """
    published = network.published_backbone() if hasattr(network, "published_backbone") else None
    if wanted == "none" or (published is None and wanted == "auto"):
        return None
    if published is None:
        content = state_dict_of(safe_load(wanted), wanted) if wanted != "download" else {}
        part = network.backbone_file(content) if content and hasattr(network, "backbone_file") else None
        if part is None:
            raise UserError("no_backbone_weights", model=type(network).__name__)
        return fill_backbone(network, part, wanted, type(network).__name__)
    backbone, repository, file = published
    if wanted == "auto":
        found = cached_file(repository, file)
        return _fill_backbone(backbone, found) if found else None
    return _fill_backbone(backbone, fetch(repository, file) if wanted == "download" else Path(wanted))


def _fill_backbone(backbone: nn.Module, path: Path) -> Coverage:
    """By name, or in order when the names say nothing. Tensors of the file that the backbone has no place for (heads) are ignored."""
    from engine.models.backbones import published_names

    content = safe_load(path)
    state = convnext.as_timm_features(state_dict_of(content, path), layout.find(content, Tensor).family)
    state = {name: value for name, value in state.items() if not name.endswith(COUNTER)}
    own = {name: value for name, value in backbone.state_dict().items() if not name.endswith(COUNTER)}
    pairs = {name: each for name in own for each in published_names(name) if each in state and state[each].shape == own[name].shape}
    in_order = len(pairs) < len(own) and len(state) >= len(own) and all(
        value.shape == theirs.shape for value, theirs in zip(own.values(), state.values(), strict=False))
    if in_order:
        pairs = dict(zip(own, state, strict=False))
    if len(pairs) < len(own) / 2:
        raise UserError("weights_foreign", path=str(path), example=next(iter(state)), wanted=next(iter(own)))
    put(backbone, {name: state[each] for name, each in pairs.items()})
    used = set(pairs.values())
    return Coverage(tuple(pairs), tuple(name for name in own if name not in pairs), (), tuple(name for name in state if name not in used), (),
                    in_order, part="backbone")


def fill_backbone(network: nn.Module, found: BackboneFile, path: Path | str, model: str) -> Coverage:
    """Fills the backbone by the names of the network. Raises UserError when the file is of a backbone of other sizes."""
    own = network.state_dict()
    usable = {name: value for name, value in found.tensors.items() if own[name].shape == value.shape}
    matched = tuple(name for name in found.wanted if name in usable)
    if len(matched) < len(found.wanted) / (2 if found.partly else 1):
        raise UserError("weights_other_sizes", path=str(path), model=model, matched=len(matched), total=len(found.wanted), told="-")
    put(network, usable)
    return Coverage(matched, tuple(name for name in found.wanted if name not in usable), (), found.unused, (), part="backbone")


def compare(own: dict[str, Tensor], state: dict[str, Tensor], load_map: LoadMap) -> tuple[Coverage, dict[str, Tensor]]:
    """Coverage, and the tensors that fit. A tensor that the network lists under several names needs only one of them."""
    usable, unexpected, ignored = {}, [], []
    reshaped, surplus = _other_classes(own, {load_map.rename(name) for name in state}, load_map)
    for name, value in state.items():
        target = load_map.rename(name)
        if target in surplus:
            ignored.append(name)
        elif target in reshaped:
            continue
        elif target in own and own[target].shape == value.shape:
            usable[target] = value
        elif target in own and load_map.by_class(target):
            reshaped.append(target)
        elif _matches(target, load_map.recomputed):
            ignored.append(name)
        else:
            unexpected.append(name)
    reached = {id(own[name]) for name in usable}
    matched = [name for name, value in own.items() if id(value) in reached]
    rest = [name for name in own if name not in {*matched, *reshaped}]
    counters = [name for name in rest if name.endswith(COUNTER)]
    missing = [name for name in rest if name not in set(counters)]
    return Coverage(tuple(matched), tuple(missing), tuple(unexpected), (*ignored, *counters), tuple(reshaped)), usable


def _other_classes(own: Iterable[str], theirs: set[str], load_map: LoadMap) -> tuple[list[str], set[str]]:
    """Where each class has a module of its own and the numbers of classes differ: our modules, which keep their start, and the file's surplus."""
    reshaped: list[str] = []
    surplus: set[str] = set()
    for pattern in (each for each in load_map.per_class if NUMBERED in each):
        ours, found = ({name for name in names if re.fullmatch(pattern, name)} for names in (own, theirs))
        if found and ours != found:
            reshaped += [name for name in own if name in ours]
            surplus |= found - ours
    return reshaped, surplus


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError("weights_broken", path=str(path)) from error

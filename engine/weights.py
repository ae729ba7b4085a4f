"""Weights from files and from the hub: read without unpickling anything but tensors, fitted to a network, and accounted for."""

from __future__ import annotations

import os
import pickle
import pickletools
import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from engine.models.network import LoadMap
from engine.types import UserError

if TYPE_CHECKING:
    from engine.models import ModelSpec

HUB = "https://huggingface.co"
TIMEOUT = 5.0
REFUSED = re.compile(r"GLOBAL ([\w.]+)")


@dataclass(frozen=True)
class Coverage:
    """What became of each tensor: names of the network, but `unexpected` and the recomputed part of `ignored` are the file's.

    `reshaped` kept their random start because the number of classes differs.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...]
    reshaped: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every tensor found its place, but for those that depend on the number of classes."""
        return not self.missing and not self.unexpected


def load_into(model: nn.Module, path: Path | str) -> Coverage:
    """Copies the weights of the file into the network where name and shape agree.

    Raises UserError when the file cannot be read or when nothing in it belongs to this network.
    """
    state = state_dict_of(safe_load(path), path)
    load_map: LoadMap = model.load_map() if hasattr(model, "load_map") else LoadMap()
    coverage, usable = _compare(model.state_dict(keep_vars=True), state, load_map)
    if not usable:
        raise UserError("weights_foreign", path=str(path), example=next(iter(state)), wanted=next(iter(model.state_dict())))
    model.load_state_dict(usable, strict=False)
    return coverage


def safe_load(path: Path | str) -> Any:
    """The content of a checkpoint file (safetensors, or torch with tensors and plain containers only), on the CPU.

    Raises UserError for a file that is missing, damaged, or that would run code when opened.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("weights_not_found", path=str(path))
    if _is_safetensors(path):
        return _load_safetensors(path)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = REFUSED.search(str(error))
        if refused or _is_pickle(path):
            raise UserError("weights_unsafe", path=str(path), found=refused[1] if refused else "pickle") from error
        raise UserError("weights_broken", path=str(path)) from error
    except (RuntimeError, EOFError, KeyError, ValueError, IndexError, TypeError, AttributeError, OSError) as error:
        raise UserError("weights_broken", path=str(path)) from error


def state_dict_of(content: Any, path: Path | str) -> dict[str, Tensor]:
    """The tensors by name. A running average (`ema.module`) wins over `model`, which wins over `state_dict` and a bare dictionary."""
    ema = content.get("ema") if isinstance(content, dict) else None
    candidates = [ema.get("module") if isinstance(ema, dict) else None]
    if isinstance(content, dict):
        candidates += [content.get("model"), content.get("state_dict"), content]
    for candidate in candidates:
        if isinstance(candidate, dict):
            tensors = {str(name).removeprefix("module."): value for name, value in candidate.items() if isinstance(value, Tensor)}
            if tensors:
                return tensors
    raise UserError("weights_not_checkpoint", path=str(path), found=type(content).__name__)


def download(spec: ModelSpec, source: str) -> Path:
    """The file of the named source of weights, from the local cache or the hub (HF_ENDPOINT names a mirror).

    Raises UserError within seconds when the hub cannot be reached, or does not hand out the file.
    """
    import httpx2
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    sources = {each.name: each for each in spec.weights}
    if source not in sources:
        raise UserError("unknown_weights", name=source, model=spec.name, known=", ".join(sources) or "-")
    repository, file = sources[source].repository, sources[source].file
    cached = try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    where = {"repository": repository, "file": file, "endpoint": endpoint}
    try:
        get_hf_file_metadata(hf_hub_url(repository, file, endpoint=endpoint), timeout=TIMEOUT, endpoint=endpoint)
        return Path(hf_hub_download(repository, file, endpoint=endpoint, etag_timeout=TIMEOUT))
    except HfHubHTTPError as error:
        raise UserError("weights_unavailable", **where, reason=str(error).splitlines()[0]) from error
    except (httpx2.HTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError("weights_offline", **where) from error


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


def cached(spec: ModelSpec) -> Path | None:
    """The published weights, when an earlier download left them on this machine."""
    from huggingface_hub import try_to_load_from_cache

    for source in spec.weights:
        found = try_to_load_from_cache(source.repository, source.file)
        if isinstance(found, str):
            return Path(found)
    return None


def class_count(content: Any, spec: ModelSpec, path: Path | str) -> int | None:
    """The number of classes that a checkpoint of this model was trained for, None when it does not show."""
    network = spec.build(1)
    name = network.load_map().class_bias if hasattr(network, "load_map") else ""
    bias = state_dict_of(content, path).get(name)
    return None if bias is None else len(bias)


def _compare(own: dict[str, Tensor], state: dict[str, Tensor], load_map: LoadMap) -> tuple[Coverage, dict[str, Tensor]]:
    """Coverage, and the tensors that fit. A tensor that the network lists under several names needs only one of them."""
    usable, unexpected, ignored, reshaped = {}, [], [], []
    for name, value in state.items():
        target = load_map.rename(name)
        if target in own and own[target].shape == value.shape:
            usable[target] = value
        elif target in own and _matches(target, load_map.per_class):
            reshaped.append(target)
        elif _matches(target, load_map.recomputed):
            ignored.append(name)
        else:
            unexpected.append(name)
    reached = {id(own[name]) for name in usable}
    matched = [name for name, value in own.items() if id(value) in reached]
    rest = [name for name in own if name not in {*matched, *reshaped}]
    counters = [name for name in rest if name.endswith("num_batches_tracked")]
    missing = [name for name in rest if name not in set(counters)]
    return Coverage(*map(tuple, (matched, missing, unexpected, [*ignored, *counters], reshaped))), usable


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _is_pickle(path: Path) -> bool:
    """A whole, well-formed pickle; its instructions are listed, never followed."""
    try:
        with path.open("rb") as file:
            return all(True for _ in pickletools.genops(file))
    except (ValueError, LookupError, OverflowError, struct.error):
        return False


def _is_safetensors(path: Path) -> bool:
    """By content: a length in 8 bytes, then JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    return path.suffix == ".safetensors" or (head[8:] == b"{" and head[:1] not in (b"P", b"\x80"))


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError("weights_broken", path=str(path)) from error

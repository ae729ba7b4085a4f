"""Checkpoints: written whole or not at all, loaded without unpickling anything but tensors."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine import weights
from engine.types import UserError

SPARE_BYTES = 64 * 2**20
CONTENT = frozenset(("model", "ema", "ema_updates", "optimizer", "scaler", "random", "step", "epoch", "batch", "epochs", "elapsed", "best", "terms",
                     "classes"))


def save(state: dict[str, Any], file: Path) -> None:
    """Write beside, flush to disk, rename over. Raises UserError when the disk is full; the old file then stands.

    torch reports a full disk as an internal error, so the room is checked first.
    """
    wanted = _size(state) + SPARE_BYTES
    have = shutil.disk_usage(file.parent).free
    if have < wanted:
        raise UserError("disk_full", path=str(file), need=_mib(wanted), have=_mib(have))
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise UserError("checkpoint_not_written", path=str(file), reason=str(error)[:200]) from error


def read(file: Path) -> dict[str, Any]:
    """What `keeping.save_last` wrote. Raises UserError when the file is damaged or something else."""
    state = weights.safe_load(file)
    if not isinstance(state, dict) or not state.keys() >= CONTENT:
        raise UserError("weights_broken", path=str(file))
    return state


def random_state() -> dict[str, Any]:
    """State of every random generator, as tensors and lists only."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _size(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(_size(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_size(each) for each in value)
    return 64


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"

"""What this machine can do: device, memory, cores, free disk."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from engine.types import UserError

GIB = 2**30


@dataclass(frozen=True)
class MachineInfo:
    """device cpu, cuda or mps; sizes in GiB."""

    device: str
    name: str
    accelerator_memory: float
    memory: float
    cores: int


@cache
def detect() -> MachineInfo:
    """Looks once. Loads torch, which takes seconds the first time."""
    import torch

    memory, cores = psutil.virtual_memory().total / GIB, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return MachineInfo("cuda", properties.name, properties.total_memory / GIB, memory, cores)
    if torch.backends.mps.is_available():
        return MachineInfo("mps", "Apple GPU", memory, memory, cores)
    return MachineInfo("cpu", platform.processor() or platform.machine(), 0.0, memory, cores)


def choose_device(wanted: str) -> str:
    """`wanted` when this machine has it, the best one for "auto"; UserError otherwise."""
    import torch

    if wanted == "auto":
        return detect().device
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(wanted, False):
        raise UserError("device_missing", device=wanted, available=", ".join(name for name, there in available.items() if there))
    return wanted


def free_disk(path: Path) -> float:
    """Free GiB where `path` lies or will lie."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / GIB

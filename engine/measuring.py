"""What is fastest on this machine, measured before a run begins: precision of a training step, how its images lie in memory, and threads."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine import checkpoint
from engine.models.network import Network

CLEARLY = 0.95  # what a step must take of the time of the plainer way to be preferred to it
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


@dataclass(frozen=True)
class Arithmetic:
    """`precision` none, bf16 or fp16; `layout` one of LAYOUTS; `threads` that compute, 0 for as many as are set already."""

    precision: str
    layout: str = "channels_last"
    threads: int = 0

    @property
    def memory_format(self) -> torch.memory_format:
        return LAYOUTS[self.layout]

    def __str__(self) -> str:
        return f"{self.precision}, {self.layout}" + (f", threads={self.threads}" if self.threads else "")


def fastest(network: Network, images: Tensor, targets: list[dict[str, Tensor]],
            precisions: Sequence[str] = ("none", "bf16"), *, threads: Sequence[int] = ()) -> tuple[Arithmetic, dict[str, float]]:
    """The fastest arithmetic for training steps on these normalised images f32[B,3,S,S], and the seconds of a step by its name.

    First the precision, then the layout, then other numbers of `threads`: beside other programs several wait for each other longer than they
    compute. The network, the random state and the number of threads stay as they are.
    """
    before = checkpoint.random_state()
    ways = [Arithmetic(each) for each in precisions]
    seconds = {way: _seconds(network, images, targets, way) for way in ways}
    chosen = _best(ways, seconds)
    other = Arithmetic(chosen.precision, "contiguous")
    seconds[other] = _seconds(network, images, targets, other)
    chosen = _best([chosen, other], seconds)
    fewer = [replace(chosen, threads=count) for count in threads]
    for way in fewer:
        seconds[way] = _seconds(network, images, targets, way)
    checkpoint.restore_random_state(before)
    return _best([chosen, *fewer], seconds), {str(way): taken for way, taken in seconds.items()}


def _best(ways: Sequence[Arithmetic], seconds: dict[Arithmetic, float]) -> Arithmetic:
    best = ways[0]
    for way in ways[1:]:
        if seconds[way] < CLEARLY * seconds[best]:
            best = way
    return best


def _seconds(network: Network, images: Tensor, targets: list[dict[str, Tensor]], way: Arithmetic) -> float:
    """Of the faster of two steps on a copy, after one to warm up."""
    trial = copy.deepcopy(network).train().to(memory_format=way.memory_format)
    seen = images.contiguous(memory_format=way.memory_format)
    durations, before = [], torch.get_num_threads()
    torch.set_num_threads(way.threads or before)
    try:
        for _ in range(3):
            begun = time.perf_counter()
            with torch.autocast(images.device.type, torch.bfloat16, enabled=way.precision == "bf16"):
                losses = trial.loss(seen, targets)
            torch.stack(list(losses.values())).sum().backward()
            durations.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(before)
    return min(durations[1:])

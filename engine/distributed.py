"""Several processes that train one model together, as `torchrun` and `accelerate launch` start them. Alone, everything here does nothing.

All of them do the same with other images. What depends on time, on files or on chance is decided by the first and told to the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from engine.config import TrainConfig
from engine.types import UserError

OTHER_SEED = 1_000_003  # times the number of a process: its noise is its own
PATIENCE = timedelta(days=1)  # the others wait while the first one measures validation images


class Group:
    """The processes of a training: this one is number `rank` of `size`. This class is a process that trains alone."""

    rank, size = 0, 1

    @property
    def main(self) -> bool:
        """Whether this process writes files and decides."""
        return self.rank == 0

    def first(self, value: Any) -> Any:
        """What the first process gives, in all of them: something that JSON can hold."""
        return value

    def each(self, value: Any) -> list[Any]:
        """What every process gives, in all of them."""
        return [value]

    def joined(self, values: list[Any]) -> list[Any]:
        """What all processes have in their lists."""
        return values

    def mean(self, number: float) -> float:
        """Over the processes."""
        return number

    def states(self) -> list[Tensor]:
        """The state of the random generator u8[n] of each process but the first."""
        return []

    def spread(self, network: nn.Module) -> None:
        """The weights of the first process become those of all."""

    def average(self, network: nn.Module, weight: float) -> None:
        """Gradients become their mean over the processes, each with its `weight`, the statistics of batch norms their plain mean."""

    def close(self) -> None:
        """Leave the others."""


ALONE = Group()


class Together(Group):
    """One of several processes. Every method is called by all of them at the same place of the program.

    Raises UserError when another one has ended. Gradients go from device to device, everything else over the processors.
    """

    def __init__(self) -> None:
        local, size = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ["WORLD_SIZE"])
        devices = torch.cuda.device_count()
        if devices:
            wanted = int(os.environ.get("LOCAL_WORLD_SIZE", size))
            if wanted > devices:
                raise UserError("processes_without_device", processes=wanted, devices=devices)
            torch.cuda.set_device(local)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if devices else "gloo")
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self.words = distributed.new_group(backend="gloo", timeout=PATIENCE)

    def first(self, value: Any) -> Any:
        told = _bytes(value) if self.main else torch.zeros(0, dtype=torch.uint8)
        length = torch.tensor([len(told)])
        self._do(lambda: distributed.broadcast(length, 0, group=self.words))
        told = told if self.main else torch.zeros(int(length), dtype=torch.uint8)
        self._do(lambda: distributed.broadcast(told, 0, group=self.words))
        return json.loads(told.numpy().tobytes())

    def each(self, value: Any) -> list[Any]:
        told = _bytes(value)
        lengths = [int(each) for each in self._gathered(torch.tensor([len(told)]))]
        padded = torch.zeros(max(lengths), dtype=torch.uint8)
        padded[: len(told)] = told
        return [json.loads(each[:length].numpy().tobytes()) for each, length in zip(self._gathered(padded), lengths, strict=True)]

    def joined(self, values: list[Any]) -> list[Any]:
        return [value for part in self.each(values) for value in part]

    def mean(self, number: float) -> float:
        total = torch.tensor([number], dtype=torch.float64)
        self._do(lambda: distributed.all_reduce(total, group=self.words))
        return float(total) / self.size

    def states(self) -> list[Tensor]:
        return self._gathered(random_state())[1:]

    def spread(self, network: nn.Module) -> None:
        for each in [*network.parameters(), *network.buffers()]:
            held = each.detach().contiguous()
            held = held.byte() if held.dtype == torch.bool else held
            self._do(lambda held=held: distributed.broadcast(held, 0))  # type: ignore[misc]
            with torch.no_grad():
                each.copy_(held)

    @torch.no_grad()
    def average(self, network: nn.Module, weight: float) -> None:
        parameters = [each for each in network.parameters() if each.requires_grad]
        statistics = [each for norm in network.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)
                      for each in (norm.running_mean, norm.running_var) if each is not None]
        there = parameters[0].new_tensor([weight, *(each.grad is not None for each in parameters)], dtype=torch.float32)
        gradients = [(torch.zeros_like(each) if each.grad is None else each.grad).flatten().float() * weight for each in parameters]
        flat = torch.cat([there, *(each.flatten().float() / self.size for each in statistics), *gradients])
        self._do(lambda: distributed.all_reduce(flat))
        parts = flat.split([len(there), *(each.numel() for each in (*statistics, *parameters))])
        total, *used = parts[0].tolist()
        for each, part in zip(statistics, parts[1:], strict=False):
            each.copy_(part.view_as(each))
        for each, part, count in zip(parameters, parts[1 + len(statistics):], used, strict=True):
            if count and total:  # what none of them used keeps no gradient, and is left alone by the optimiser
                each.grad = torch.empty_like(each) if each.grad is None else each.grad
                each.grad.copy_((part / total).view_as(each))

    def close(self) -> None:
        distributed.destroy_process_group()

    def _gathered(self, tensor: Tensor) -> list[Tensor]:
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        self._do(lambda: distributed.all_gather(found, tensor, group=self.words))
        return found

    def _do(self, exchange: Callable[[], Any]) -> None:
        try:
            exchange()
        except RuntimeError as error:  # of gloo and NCCL alike: somebody has left
            raise UserError("process_lost", rank=self.rank, processes=self.size) from error


def join() -> Group:
    """The group that this process was started for. Raises UserError where there are fewer devices than processes."""
    started = {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys() and int(os.environ["WORLD_SIZE"]) > 1
    return Together() if started else ALONE


def agreed(group: Group, config: TrainConfig, data: list[Any]) -> TrainConfig:
    """The plan of the first process, for all. `data`: the number of training images, and what else each process must have found alike.

    Raises UserError when they have not, and when there are not enough images for each of them.
    """
    config = TrainConfig.from_dict(group.first(config.as_dict()))
    if any(each != data for each in group.each(data)):
        raise UserError("processes_differ", data=config.data)
    if (batch := min(config.batch, data[0])) < group.size:
        raise UserError("batch_below_processes", batch=batch, processes=group.size)
    return config


def random_state() -> Tensor:
    """u8[n]: of the generator that dropout and noise of this process draw from."""
    states = [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]
    return torch.cat(states)


def restore_random_state(state: Tensor) -> None:
    """What `random_state` gave."""
    own = len(torch.get_rng_state())
    torch.set_rng_state(state[:own].clone())
    if torch.cuda.is_available() and len(state) > own:
        torch.cuda.set_rng_state(state[own:].clone())


def _bytes(value: Any) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)

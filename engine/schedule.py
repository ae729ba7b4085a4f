"""The learning-rate curve: quadratic warm-up, flat, cosine, constant tail. A pure function of the step, but for plateaus."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.config import TrainConfig
from engine.recipe import warmup_steps
from engine.stages import final_lr, flat_share, plain_from


def factor(config: TrainConfig, step: int, *, total_steps: int, epochs: int) -> float:
    """Multiplier of the base rate at `step` (from 0) of `total_steps`; warm-up always ends within the run.

    flat_cosine: falls from the end of the flat part to `final_lr` where the plain tail begins (DEIMv2 recipe).
    cosine: falls from the end of the warm-up to `final_lr` at the end. plateau: stays; Plateau lowers it.
    """
    warmup = warmup_steps(config, total_steps)
    if step < warmup:
        return ((step + 1) / (warmup + 1)) ** 2
    if config.schedule == "plateau":
        return 1.0
    plain = config.schedule == "cosine"
    per_epoch = total_steps / max(1, epochs)
    tail = total_steps if plain else (plain_from(config, epochs) - 1) * per_epoch
    flat = warmup if plain else min(max(warmup, flat_share(config, epochs) * total_steps), tail)
    if step < flat:
        return 1.0
    final = final_lr(config)
    if step >= tail:
        return final
    phase = (step - flat) / max(1.0, tail - flat)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * phase))


@dataclass
class Plateau:
    """Lowers the rate when the figure of merit has not grown for `plateau_patience` epochs, as torch's ReduceLROnPlateau (mode max) does."""

    best: float = -math.inf
    waited: int = 0
    scale: float = 1.0

    def judge(self, config: TrainConfig, value: float) -> bool:
        """After a validation; True when the rate was lowered."""
        if value > self.best * (1 + THRESHOLD) if self.best > 0 else value > self.best:
            self.best, self.waited = value, 0
            return False
        self.waited += 1
        if self.waited <= config.plateau_patience:
            return False
        self.scale, self.waited = self.scale * config.plateau_factor, 0
        return True


THRESHOLD = 1e-4

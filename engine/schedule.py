"""The learning-rate curve: quadratic warm-up, flat, cosine, constant tail. A pure function of the step."""

from __future__ import annotations

import math

from engine.config import TrainConfig
from engine.recipe import plain_from, warmup_steps


def factor(config: TrainConfig, step: int, *, total_steps: int, epochs: int) -> float:
    """Multiplier of the base rate at `step` (from 0) of `total_steps`; warm-up always ends within the run.

    Cosine falls from the end of the flat part to `final_lr` where the plain tail begins (DEIMv2 recipe, "flatcosine").
    """
    warmup = warmup_steps(config, total_steps)
    if step < warmup:
        return ((step + 1) / (warmup + 1)) ** 2
    per_epoch = total_steps / max(1, epochs)
    tail = (plain_from(config, epochs) - 1) * per_epoch
    flat = min(max(warmup, config.flat * total_steps), tail)
    if step < flat:
        return 1.0
    if step >= tail:
        return config.final_lr
    phase = (step - flat) / max(1.0, tail - flat)
    return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * phase))

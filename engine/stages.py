"""The stages of a run as plain values: what is active in which epoch. The published recipe of DEIMv2, scaled to runs of any length.

For E epochs of 50 or more the recipe is that of the tutorial: E + 12 epochs in all, strong augmentation from the fifth to the last of the E,
mosaic, MixUp and the full rate until epoch 4 + E // 2, stricter matching from nine tenths of E on, 12 plain epochs in the end. Shorter runs
have the same proportions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from engine.augment.official import Chances
from engine.config import TrainConfig
from engine.models import Official, models

OFFICIAL = "official"
MIXED = (OFFICIAL, "auto", "standard", "large_scale", "tutorial")  # presets that do more than mirror
REFERENCE, TAIL, START = 50, 12, 4  # epochs: of the tutorial's run, plain ones after them, plain ones before
PLAIN_TAIL, FLAT, FINAL = 0.15, 0.5, 0.1  # of the other presets: shares of the run, share of the rate
LATE = 0.9
STEP, NARROWEST, WIDEST = 32, 0.75, 1.25  # of the sides of the input


class Active(IntFlag):
    """What an image may meet in an epoch. Nothing: it is stretched, perhaps mirrored."""

    PLAIN = 0
    STRONG = 1
    MOSAIC = 2
    MIXUP = 4
    COPY_BLEND = 8


@dataclass(frozen=True)
class Span:
    """Epochs from `first` to `last`, counted from 1 and both included; none when `last` is smaller."""

    first: int
    last: int

    def __contains__(self, epoch: int) -> bool:
        return self.first <= epoch <= self.last

    def __bool__(self) -> bool:
        return self.last >= self.first

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.last > self.first else str(self.first)


@dataclass(frozen=True)
class Timeline:
    """A run of `epochs`: `flat` of them at the full rate, augmented until `stop` is over, then plain; and the span of each part by name."""

    epochs: int
    start: int
    flat: int
    stop: int
    spans: Mapping[str, Span]

    @property
    def augmented(self) -> Span:
        """All epochs before the plain ones."""
        return Span(1, self.stop)

    def shares(self, name: str) -> tuple[float, float]:
        """Where a part begins and ends, as shares of the run."""
        span = self.spans[name]
        return (span.first - 1) / self.epochs, span.last / self.epochs


def published(config: TrainConfig) -> Official | None:
    """What the published recipe says of the model, where the run follows it."""
    return (models.get(config.model).official or Official()) if config.augment == OFFICIAL and config.task == "detect" else None


def run_epochs(config: TrainConfig) -> int:
    """All epochs of a run: those that are asked for, and the plain ones that the published recipe adds to them.

    A plain tail that a person chose is a part of the epochs, not added to them.
    """
    added = published(config) is not None and config.plain_tail < 0
    return config.epochs + (round(min(TAIL, config.epochs * TAIL / REFERENCE)) if added else 0)


def tail_epochs(config: TrainConfig, epochs: int) -> int:
    """Plain epochs at the end of a run of `epochs` in all."""
    if config.plain_tail >= 0:
        return round(epochs * config.plain_tail)
    return round(min(TAIL, epochs * TAIL / (REFERENCE + TAIL))) if published(config) else round(epochs * PLAIN_TAIL)


def plain_from(config: TrainConfig, epochs: int) -> int:
    """First epoch (from 1) without strong augmentation."""
    return epochs + 1 - tail_epochs(config, epochs)


def flat_share(config: TrainConfig, epochs: int) -> float:
    """The share of the run that has the full rate."""
    if config.flat >= 0:
        return config.flat
    return timeline(config, epochs).flat / max(1, epochs) if published(config) else FLAT


def final_lr(config: TrainConfig) -> float:
    """What the rate has fallen to in the end, as a share of the full one."""
    if config.final_lr >= 0:
        return config.final_lr
    recipe = published(config)
    return recipe.final_lr if recipe else FINAL


def timeline(config: TrainConfig, epochs: int) -> Timeline:
    """The stages of a run of `epochs` in all, which may be another number than was asked for where minutes bound it."""
    epochs = max(1, epochs)
    stop, recipe = plain_from(config, epochs) - 1, published(config)
    start = round(min(START, stop * START / REFERENCE)) if recipe else 0
    flat = round(epochs * config.flat) if config.flat >= 0 else start + stop // 2 if recipe else round(epochs * FLAT)
    flat = min(max(flat, start), stop)
    always = config.augment == "tutorial" and config.task == "semantic"
    strong = Span(start + 1, epochs if always else stop if config.augment in MIXED else 0)
    none = Span(1, 0)
    spans = {"strong": strong, "flip": none if config.augment == "none" else Span(1, epochs), "flat": Span(1, flat), "cosine": Span(flat + 1, stop),
             "plain": Span(stop + 1, epochs)}
    if config.task == "detect":
        spans["matcher_change"] = Span(math.ceil(LATE * (stop if recipe else epochs) - 1e-9) + 1, epochs)
    if recipe:
        early, late = Span(start + 1, flat), Span(start + 1, stop if recipe.blends_late else flat)
        spans |= {"photometric": strong, "zoom_out": strong, "iou_crop": strong, "mosaic": early if recipe.mosaic else none,
                  "mixup": early if recipe.mixup else none, "copy_blend": late if recipe.copy_blend else none,
                  "multi_scale": Span(1, stop) if recipe.own_size else none, "reload": Span(stop + 1, stop + 1) if 0 < stop < epochs else none}
    return Timeline(epochs, start, flat, stop, spans)


def active(config: TrainConfig, epoch: int, epochs: int) -> Active:
    """What the images of an epoch may meet."""
    spans = timeline(config, epochs).spans
    if not published(config):
        return Active.STRONG if epoch < plain_from(config, epochs) else Active.PLAIN
    parts = {"strong": Active.STRONG, "mosaic": Active.MOSAIC, "mixup": Active.MIXUP, "copy_blend": Active.COPY_BLEND}
    return Active(sum(flag for name, flag in parts.items() if epoch in spans[name]))


def most_active(config: TrainConfig) -> Active:
    """Everything that a run meets at some time, for a look at it."""
    return Active.STRONG | Active.MOSAIC | Active.MIXUP | Active.COPY_BLEND if published(config) else Active.STRONG


def chances(config: TrainConfig, now: int) -> Chances:
    """How often each part of the published augmentation happens to an image while `now` (see Active) holds."""
    recipe = published(config) or Official()
    return Chances(bool(now & Active.STRONG), recipe.mosaic * bool(now & Active.MOSAIC), recipe.mixup * bool(now & Active.MIXUP),
                   recipe.copy_blend * bool(now & Active.COPY_BLEND), recipe.least_side)


def progress(config: TrainConfig, epoch: int, epochs: int) -> float:
    """How much is done before an epoch begins, 0..1: of the augmented epochs in the published recipe, of all others else."""
    whole = timeline(config, epochs).stop if published(config) else epochs
    return min(1.0, (epoch - 1) / max(1, whole))


def sides(config: TrainConfig) -> tuple[int, ...]:
    """The sides that a batch may be resized to: multiples of 32 around that of training, which itself stands there several times."""
    recipe, side = published(config), config.image_size
    if recipe is None or not recipe.own_size:
        return (side,)
    low, high = (int(side * share / STEP) * STEP for share in (NARROWEST, WIDEST))
    return (*range(max(STEP, low), side, STEP), *(side,) * recipe.own_size, *range(side + STEP, high + 1, STEP))


def side_of(config: TrainConfig, epoch: int, batch: int, epochs: int) -> int:
    """The side that the images of a batch are learnt at. It follows from seed, epoch and batch: a resumed run repeats it."""
    found = sides(config)
    if len(found) == 1 or epoch not in timeline(config, epochs).spans["multi_scale"]:
        return config.image_size
    return found[int(np.random.default_rng([config.seed, epoch, batch, 31]).integers(len(found)))]


def restarted(decay: float, times: int) -> float:
    """The decay of the average after so many restarts: its memory becomes a half, a third, ... as 0.9999, 0.9998, 0.9997 in the publication."""
    return 1 - min(1.0, (1 - decay) * (1 + max(0, times)))

"""Everything a training run holds: network, optimiser, average, data, random state. Built from a config, saved and restored whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor

from engine import restart, schedule, stages
from engine.config import Stage, TrainConfig, stages_of
from engine.distributed import ALONE, OTHER_SEED, Group, agreed
from engine.ema import Ema
from engine.evaluate import SquareCache, predict_samples
from engine.machine import choose_device, detect
from engine.measuring import Arithmetic, fastest
from engine.models import checked_options, create, models
from engine.models.network import Loss, tolerate_single_values
from engine.opening import facts_of, fewer_threads, open_data, seed_everything, start_weights, use_threads, worker_count
from engine.predict import Predictor, Preprocess
from engine.recipe import Machine, ema_decay, suggest
from engine.settings import ONLY
from engine.tasks.loading import Batch, EpochBatches, TrainingImages, normalised, resized, training_loader
from engine.tasks.task import Pick, tasks
from engine.types import Labels, Sample, UserError

UNREADABLE_LIMIT = 0.05
PREVIEWS = 4


class Session:
    """State of one run. `step` counts optimiser steps, `epoch` the one in progress (from 1), `batch` the batches done in it, `length` all epochs.

    The last epoch may be a part. `pace` are seconds of a batch and between epochs, of late; `replay`: the length follows the record of a run.
    `terms` are the losses since the last row of metrics, `bad` the batches in a row without a usable loss or gradient, `seen` the images since the
    last step.
    """

    def __init__(self, config: TrainConfig, scratch: Path, wanted: str, group: Group = ALONE) -> None:
        """`wanted` are the weights to start from (TrainConfig.weights), "none" for a run that goes on; `group` are the processes that train."""
        self.group = group
        self.device = torch.device(choose_device(config.device))
        self.spec = models.get(config.model)
        task = tasks.get(self.spec.task)
        if config.augment not in (known := ONLY.get(("augment", task.name), (config.augment,))):
            raise UserError("option_choice", name="augment", value=config.augment, choices=", ".join(known))
        self.data = open_data(config, task, scratch)
        self.options = checked_options(self.spec, {**config.options, **self.data.options})
        self.task = task.bound({**self.options, "num_classes": len(self.data.classes)})
        seed_everything(config.seed)
        network = create(config.model, len(self.data.classes), **self.options)
        tolerate_single_values(network)
        self.coverage, self.source = start_weights(network, self.spec, wanted, self.data.classes)
        self.mean: tuple[float, ...] = self.spec.mean
        self.std: tuple[float, ...] = self.spec.std
        if self.coverage and (own := network.normalisation()):
            self.mean, self.std = own
        machine = Machine(self.device.type, detect().accelerator_memory)
        plan = suggest(config.replace(task=self.task.name), self.spec, facts_of(self.data), machine, pretrained=self.coverage is not None)
        self.config, self.derived = plan.config.replace(options=self.options), plan.derived
        self.task = self.task.bound(self.task.options, self.task.told(self.config))
        if group.size > 1:
            self.config = agreed(group, self.config, [len(self.data.train), len(self.data.valid), *self.data.classes])
        use_threads(self.config, self.device)
        network.configure(self.config, self.task.balance(self.data.classes, self.data.train, self.config))
        self.network = network.to(self.device)
        group.spread(self.network)
        self.step, self.epoch, self.batch, self.elapsed = 0, 1, 0, 0.0
        self.best: dict[str, Any] = {}
        self.terms: list[dict[str, float]] = []
        self.bad, self.seen = 0, 0
        self.stages, self.plateau = stages_of(self.config.stages), schedule.Plateau()
        self.epochs = max(1, stages.run_epochs(self.config))
        self.length: float = self.epochs
        self.pace, self.replay = (0.0, 0.0), False
        self.restarts = -1  # of the average in the plain tail, see engine.restart
        self.unreadable: set[str] = set()
        self._spare: Batch | None = None
        self._open_loaders()

    @property
    def stage(self) -> Stage:
        """The stage of the epoch in progress: the whole run when it has none."""
        for stage, first in zip(self.stages, self._firsts(), strict=True):
            if self.epoch < first + stage.epochs:
                return stage
        return self.stages[-1] if self.stages else Stage(self.config.image_size, self.epochs)

    def _firsts(self) -> list[int]:
        """The first epoch of each stage."""
        return [1 + sum(each.epochs for each in self.stages[:i]) for i in range(len(self.stages))]

    def _open_loaders(self) -> None:
        config, self.side = self.config, self.stage.image_size
        self._encoding = config.replace(image_size=self.side)
        workers = worker_count(config, self.device)
        images = TrainingImages(self.data.train, self.side, self._encode, config.seed, whole=config.resize == "crop", kept=config.cache,
                                workers=workers)
        shares = self.task.weights(self.data.train) if config.sampling == "balanced" else None
        self.batches = EpochBatches(len(images), config.batch, config.seed, shares, (self.group.rank, self.group.size))
        self.loader = training_loader(images, self.batches, workers, self.device)
        self.squares = SquareCache(self.side)

    def close(self) -> None:
        """Ends the processes that load images. Left to the collector, as session and loader know each other, they hold it up for seconds."""
        del self.loader

    def _encode(self, sample: Sample, image: np.ndarray, seed: int, strong: int, pick: Pick) -> tuple[np.ndarray, dict[str, Tensor]]:
        return self.task.encode_mixed(self._encoding, sample, image, seed, strong, pick)

    def prepare(self, way: Arithmetic) -> None:
        """Settle how to compute and build what depends on it: accelerator, optimiser, average."""
        precision, self.memory_format = way.precision, way.memory_format
        self.config = self.config.replace(precision=precision, layout=way.layout, threads=way.threads or self.config.threads)
        use_threads(self.config, self.device)
        self.network.to(memory_format=self.memory_format)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        self.accelerator = Accelerator(mixed_precision={"none": "no"}.get(precision, precision), cpu=self.device.type == "cpu")
        groups = self.network.parameter_groups(self.config.lr, self.config.backbone_lr, self.config.weight_decay)
        for group in groups:
            group["base_lr"] = group["lr"]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=self.device.type in ("cpu", "cuda"))
        self.ema = Ema(self.network, ema_decay(self.config, self.total_steps))
        self.loss = self.accelerator.prepare_model(Loss(self.network), evaluation_mode=True)  # gradients are averaged by the group
        self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        self.counted = self.network.share_counts(self.group.mean)
        if not self.group.main:
            torch.manual_seed(self.config.seed + OTHER_SEED * self.group.rank)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.batches) // self.config.accumulate)

    def steps_of(self, epoch: int) -> int:
        """Steps of an epoch (from 1): fewer in the last one when it is cut."""
        part = max(1, round(min(1.0, self.length - epoch + 1) * len(self.batches)))
        return -(-part // self.config.accumulate)

    @property
    def batches_now(self) -> int:
        """Batches of the epoch in progress."""
        return min(len(self.batches), self.steps_of(self.epoch) * self.config.accumulate)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * (self.epochs - 1) + self.steps_of(self.epochs)

    def set_epochs(self, length: float) -> None:
        """Change the length of the run: rate and average follow. It never ends before what is done already."""
        self.length = max(length, self.epoch - 1 + self.batch / len(self.batches), 1 / len(self.batches))
        self.epochs = math.ceil(self.length)
        if hasattr(self, "ema"):
            restart.set_decay(self)

    def start_epoch(self) -> None:
        if self.stage.image_size != self.side:
            self._open_loaders()
        self.network.set_progress(stages.progress(self.config, self.epoch, self.epochs))
        self.network.train()
        self.batches.epoch, self.batches.start = self.epoch, self.batch
        self.batches.strong = stages.active(self.config, self.epoch, self.epochs)

    @property
    def between_steps(self) -> bool:
        """No gathered gradients wait for their step."""
        return self.batch % self.config.accumulate == 0 or self.batch == len(self.batches)

    def learn(self, batch: Batch) -> None:
        """One batch forward and backward (nothing when none of its images could be read), and a step when enough are gathered."""
        terms = self._backward(batch.to(self.device)) if len(batch) else None
        if terms is None and self.group.size > 1 and self.counted:
            self._backward_nothing()
        self.batch, self.seen = self.batch + 1, self.seen + len(batch)
        stepped = self._update() if self.between_steps else True
        if terms is None:
            return
        self.bad = 0 if stepped and math.isfinite(terms["loss"]) else self.bad + 1
        if not self.bad:
            self.terms.append(terms)

    def _backward_nothing(self) -> None:
        """None of the images could be read. Processes that count together all take part: the last images are seen again, and nothing learnt."""
        if self._spare is None:
            raise UserError("no_readable_images", path=self.config.data, images=len(self.data.train))
        self._backward(self._spare, 0.0)

    def _rate(self) -> float:
        """Multiplier of the base rates now. Each stage runs through the schedule of its own."""
        stage, first, total = self.stage, 0, self.total_steps
        if self.stages:
            first, total = max(each for each in self._firsts() if each <= self.epoch) - 1, stage.epochs * self.steps_per_epoch
        curve = schedule.factor(self.config, self.step - first * self.steps_per_epoch, total_steps=total, epochs=stage.epochs)
        return curve * self.plateau.scale * (stage.lr / self.config.lr if stage.lr else 1.0)

    def _backward(self, batch: Batch, share: float = 1.0) -> dict[str, float]:
        if self.group.size > 1:
            self._spare = batch
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * rate
        side = stages.side_of(self.config, self.epoch, self.batch, self.epochs) if stages.published(self.config) else self.side
        images = resized(normalised(batch.images, self.mean, self.std), side).contiguous(memory_format=self.memory_format)
        terms = self.loss(images, batch.targets)
        total = sum(terms.values())
        self.accelerator.backward(total * share / self.config.accumulate)
        names, values = ["loss", *terms], torch.stack([total.detach(), *(each.detach() for each in terms.values())]).tolist()
        return {**dict(zip(names, values, strict=True)), "lr": self.config.lr * rate}

    def _update(self) -> bool:
        """Clip, step, average. A step whose gradients are not finite is left out, and False returned."""
        self.group.average(self.network, 1 if self.counted else self.seen)
        self.seen = 0
        norm = self.accelerator.clip_grad_norm_(self.loss.parameters(), self.config.clip or float("inf"))
        usable = bool(torch.isfinite(norm)) or self.accelerator.scaler is not None
        if usable:
            self.optimizer.step()
            self.ema.update(self.network)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return usable

    def note_unreadable(self, names: Sequence[str]) -> list[str]:
        """Images that vanished or broke after the import are skipped; returns the new ones. Too many raise UserError."""
        new = [name for name in names if name not in self.unreadable]
        self.unreadable.update(new)
        if len(self.unreadable) >= len(self.data.train):
            raise UserError("no_readable_images", path=self.config.data, images=len(self.data.train))
        if len(self.unreadable) > max(2, UNREADABLE_LIMIT * len(self.data.train)):
            raise UserError("too_many_unreadable", count=len(self.unreadable), images=len(self.data.train), first=sorted(self.unreadable)[0])
        return new

    def predictor(self) -> Predictor:
        """The averaged weights in fp32, so that `evaluate` finds the same figures again."""
        return Predictor(self.ema.network, name=self.config.model, task=self.task, classes=self.data.classes, device=self.device,
                         preprocess=self.preprocess())

    def preprocess(self) -> Preprocess:
        return Preprocess(self.side, self.mean, self.std, self.config.resize)

    def drop_unreadable_valid(self) -> list[str]:
        """Takes validation images that vanished or broke after the import out of the measurement; returns their names."""
        readable = [self.squares.readable(each.image) for each in self.data.valid]
        gone = [each.name or each.image.name for each, good in zip(self.data.valid, readable, strict=True) if not good]
        if len(gone) > max(2, UNREADABLE_LIMIT * len(readable)) or len(gone) == len(readable):
            raise UserError("too_many_unreadable", count=len(gone), images=len(readable), first=gone[0])
        self.data.valid = [each for each, good in zip(self.data.valid, readable, strict=True) if good]
        return gone

    def validate(self) -> tuple[dict[str, Any], list[tuple[Sample, Labels]]]:
        """Metrics of the averaged weights on the validation images, and what was found in the first few. The others are told the metrics."""
        if not self.group.main:
            return self.group.first(None), []
        meter = self.task.meter(self.data.classes)
        first: list[tuple[Sample, Labels]] = []
        for sample, found in predict_samples(self.predictor(), self.data.valid, batch=max(4, self.config.batch), squares=self.squares):
            meter.add(sample, found)
            if len(first) < PREVIEWS:
                first.append((sample, found))
        measured = meter.result()
        if self.group.size > 1:
            self.group.first({name: measured[name] for name in ("metrics", "per_class", "thresholds")})
        return measured, first

    def judge(self, metrics: dict[str, Any]) -> tuple[bool, bool]:
        """After a validation: is it the best so far, and was the rate lowered?"""
        rank = self.task.rank(metrics)
        better = not self.best or rank >= self.best["score"]
        if better:
            improved = not self.best or rank > self.best["score"]
            since = self.epoch if improved else self.best["since"]
            self.best = {"score": rank, "epoch": self.epoch, "since": since, "metrics": metrics}
        return better, self.config.schedule == "plateau" and self.plateau.judge(self.config, rank[0])

    def stale(self) -> bool:
        """No improvement for as long as the run may wait. Stages before the last are not cut short."""
        waited = self.epoch - max([int(self.best.get("since", self.epoch)), *self._firsts()[-1:]])
        return bool(self.config.patience and self.best and self.epoch >= max([1, *self._firsts()]) and waited >= self.config.patience)

    def measure(self) -> tuple[Arithmetic, dict[str, float]]:
        """How to compute: what the config says, else the fastest way measured on a CPU, else what suits the device."""
        config, layout = self.config, self.config.layout if self.config.layout != "auto" else "channels_last"
        if config.precision != "auto":
            return Arithmetic(config.precision, layout), {}
        if self.device.type == "cuda":
            return Arithmetic("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16", layout), {}
        if self.device.type != "cpu":
            return Arithmetic("none", layout), {}
        if not self.group.main:
            way, seconds = self.group.first(None)
            return Arithmetic(*way), seconds
        batch = next((each for each in self.loader if len(each)), None)
        if batch is None:
            raise UserError("no_readable_images", path=config.data, images=len(self.data.train))
        found, seconds = fastest(self.network, normalised(batch.images, self.mean, self.std), batch.targets, threads=fewer_threads(config))
        self.group.first([astuple(found), seconds])
        return found, seconds

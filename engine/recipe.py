"""The numbers that people compute by hand elsewhere: derived from data, model and machine, each with its reason."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

from engine import messages, stages
from engine.config import MASKS_AND_TAGS, TrainConfig, stages_of
from engine.models import ModelSpec, Official
from engine.stages import final_lr, flat_share, plain_from
from engine.types import Problem

CPU_MINUTES = 10.0
WARMUP_CEILING = 2000
EMA_SHORTEST = 2.0  # steps that the average remembers at least
EMA_CEILING = 0.9999
SCRATCH_RATIO = 1.25
PATIENCE = 20
FEW_OBJECTS = 5
MOST_NAMES = 20
DETECTIONS = 100  # objects of an image that are told and counted, where there are outlines
SIZES = ("backbone", "hidden_dim", "encoder_layers", "encoder_ffn", "decoder_layers", "decoder_ffn", "di_layers")  # options that change the memory
DENOISING = (40, 100)  # disturbed labels on a processor: at least, at most; the latter as published
COPIES = 4  # of each object of the fullest image
FEW_IN_IMAGE = 3.0
ROOM = 50  # counts that are suggested are multiples of it
OPEN: dict[str, Any] = {"weight_decay": -1, "clip": -1, "patience": -1, "schedule": "auto", "nms": -1, "augment": "auto"}  # not 0


@dataclass(frozen=True)
class DataFacts:
    """What the recipe needs to know of a data set: `most_objects` of a training image, `rare` classes with fewer than FEW_OBJECTS objects there,
    `overlap` (IoU) that boxes of one class hardly ever exceed, and the mean number of `objects` of a training image; 0: nobody looked."""

    train_images: int
    valid_images: int
    classes: int
    most_objects: int = 0
    rare: tuple[str, ...] = ()
    overlap: float = 0.0
    objects: float = 0.0


@dataclass(frozen=True)
class Machine:
    """The device that trains: kind cpu, cuda or mps; memory of the accelerator in GiB."""

    device: str = "cpu"
    memory: float = 0.0
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)


@dataclass(frozen=True)
class Derived:
    """A value with the reason for it (catalogue key `reason.<reason>`)."""

    name: str
    value: Any
    reason: str
    values: dict[str, Any] = field(default_factory=dict)

    def label(self, language: str | None = None) -> str:
        return messages.text(f"option.{self.name}", language)

    def because(self, language: str | None = None) -> str:
        return messages.text(f"reason.{self.reason}", language, **self.values)


@dataclass(frozen=True)
class Plan:
    """A config without open values, and why each derived value is what it is."""

    config: TrainConfig
    derived: tuple[Derived, ...]


def suggest(config: TrainConfig, spec: ModelSpec, data: DataFacts, machine: Machine, *, pretrained: bool) -> Plan:
    """Fill every value that `config` leaves open. Values given by a person are kept."""
    found: list[Derived] = []

    def settle(name: str, value: Any, reason: str, **values: Any) -> None:
        nonlocal config
        if getattr(config, name) == OPEN.get(name, 0):
            config = config.replace(**{name: value})
            found.append(Derived(name, value, reason, values))

    on_cpu = machine.device == "cpu"
    sized = stages_of(config.stages)
    if sized:
        config = config.replace(image_size=0)  # the stages say it, whatever stands beside them
        settle("image_size", sized[-1].image_size, "image_size_stages", stages=config.stages)
        settle("epochs", sum(stage.epochs for stage in sized), "epochs_stages", stages=config.stages)
    mixed = _mixed(config, spec, data, on_cpu)
    settle("augment", stages.OFFICIAL if mixed else "standard", "augment_mixed" if mixed else "augment_alone", objects=f"{data.objects:.1f}")
    small = on_cpu and spec.image_size > spec.cpu_image_size
    settle("image_size", spec.cpu_image_size if small else spec.image_size, "image_size_cpu" if small else "image_size_model", size=spec.image_size)
    settle("batch", _batch(config, spec, data, machine), "batch_cpu" if on_cpu else "batch_memory",
           images=data.train_images, memory=round(machine.memory))
    if not config.epochs and not config.minutes:
        if on_cpu:
            settle("minutes", CPU_MINUTES, "minutes_cpu")
        else:
            settle("epochs", _epochs(config, data, pretrained), "epochs_steps", images=data.train_images, batch=config.batch)
    from_scratch = "lr_scratch_model" if spec.scratch_learning_rate else "lr_scratch"
    settle("lr", _learning_rate(config, spec, pretrained), "lr_batch" if pretrained else from_scratch,
           ratio=SCRATCH_RATIO, published=spec.learning_rate, reference=spec.reference_batch, batch=config.batch * config.accumulate)
    ratio = spec.backbone_lr_ratio if pretrained else 1.0
    settle("backbone_lr", _round(config.lr * ratio), "backbone_lr" if pretrained else "backbone_lr_scratch", ratio=ratio)
    settle("weight_decay", spec.weight_decay, "weight_decay_model")
    settle("clip", spec.clip, "clip_model")
    settle("schedule", spec.schedule, "schedule_model")
    settle("patience", PATIENCE if spec.task in MASKS_AND_TAGS and config.epochs else 0, "patience_task")
    if spec.task == "detect" and on_cpu:
        settle("denoising", min(DENOISING[1], max(DENOISING[0], COPIES * data.most_objects)), "denoising_cpu", copies=COPIES, least=DENOISING[0],
               published=DENOISING[1])
    if spec.task == "detect" and data.overlap:
        settle("nms", data.overlap, "nms_data" if data.overlap < 1 else "nms_crowded")
    return Plan(config, tuple(found))


def schedule_facts(config: TrainConfig, total_steps: int, epochs: int) -> tuple[Derived, ...]:
    """What follows from the length of the run: shown as information, each with its reason."""
    warmup = warmup_steps(config, total_steps)
    steps = {"per_epoch": max(1, total_steps // max(1, epochs)), "batch": config.batch * config.accumulate, "epochs": epochs}
    return (
        Derived("total_steps", total_steps, "total_steps", steps),
        *_fall(config, total_steps, epochs),
        Derived("warmup_steps", warmup, "warmup_steps", {"percent": round(100 * config.warmup), "ceiling": WARMUP_CEILING}),
        *(_published_stages(config, epochs) if stages.published(config) else _stages(config, epochs)),
        Derived("ema", round(ema_decay(config, total_steps), 5), "ema_steps" if config.ema or total_steps >= 40 * EMA_SHORTEST else "ema_shortest",
                {"steps": total_steps, "shortest": round(EMA_SHORTEST)}),
    )


def _stages(config: TrainConfig, epochs: int) -> tuple[Derived, ...]:
    """When what changes, for all presets but the published one."""
    share, matcher = flat_share(config, epochs), stages.timeline(config, epochs).spans.get("matcher_change")
    flat = Derived("flat_until", max(1, round(epochs * share)), "flat_until", {"percent": round(100 * share)})
    tail = config.plain_tail if config.plain_tail >= 0 else stages.PLAIN_TAIL
    plain = Derived("plain_from", plain_from(config, epochs), "plain_from", {"percent": round(100 * tail)})
    late = (Derived("matcher_change", matcher.first, "matcher_change", {"percent": round(100 * stages.LATE)}),) if matcher else ()
    return (*((flat,) if config.schedule in ("auto", "flat_cosine") else ()), plain, *late)


def _published_stages(config: TrainConfig, epochs: int) -> tuple[Derived, ...]:
    """When what changes in the published recipe, with the rule that each number follows from."""
    plan, recipe, sides = stages.timeline(config, epochs), stages.published(config) or Official(), stages.sides(config)
    values = {"epochs": plan.stop, "tail": epochs - plan.stop, "start": plan.start, "low": min(sides), "high": max(sides),
              "percent": round(100 * stages.LATE), "side": f"{recipe.least_side:g}"}
    parts = {"strong": 1.0, "mosaic": recipe.mosaic, "mixup": recipe.mixup, "copy_blend": recipe.copy_blend, "multi_scale": 1.0}
    spans = [Derived(f"{name}_epochs", str(plan.spans[name]), f"{name}_epochs", {**values, "chance": round(100 * chance)})
             for name, chance in parts.items() if plan.spans[name]]
    firsts = [Derived(name, plan.spans[part].first, f"{name}_official", values)
              for name, part in (("plain_from", "plain"), ("matcher_change", "matcher_change"), ("reload_from", "reload")) if plan.spans[part]]
    flat = Derived("flat_until", plan.flat, "flat_official", values)
    least = (Derived("least_side", recipe.least_side, "least_side", values),) if recipe.least_side > 1 else ()
    return (Derived("epochs_run", epochs, "epochs_run", values), *((flat,) if plan.flat and config.schedule in ("auto", "flat_cosine") else ()),
            *spans, *firsts, *least)


def steps_per_epoch(config: TrainConfig, data: DataFacts) -> Derived:
    """Where minutes limit the run, this is all that is known of its steps before the speed is measured."""
    steps = -(-max(1, data.train_images // config.batch) // config.accumulate)
    return Derived("steps_per_epoch", steps, "steps_per_epoch", {"images": data.train_images, "batch": config.batch * config.accumulate})


def memory_facts(config: TrainConfig, spec: ModelSpec) -> tuple[Derived, ...]:
    """GiB that training takes, where it was measured for the model as it is published."""
    if not spec.memory or any(each.name in SIZES and config.options.get(each.name, each.default) != each.default for each in spec.options):
        return ()
    resting, per_megapixel = spec.memory
    need = resting + per_megapixel * config.batch * config.image_size**2 / 1e6
    return (Derived("memory", round(need, 1), "memory_measured", {"batch": config.batch, "size": config.image_size}),)


def _fall(config: TrainConfig, total_steps: int, epochs: int) -> tuple[Derived, ...]:
    """Where the rate falls, told beside the two drops that others write down as STEPS."""
    if config.task != "instance" or config.schedule not in ("auto", "flat_cosine", "cosine"):
        return ()
    warm, tail = warmup_steps(config, total_steps), round(total_steps * (plain_from(config, epochs) - 1) / max(1, epochs))
    begin, end = (warm, total_steps) if config.schedule == "cosine" else (max(warm, round(total_steps * flat_share(config, epochs))), tail)
    drops = {"first": round(0.8 * total_steps), "second": round(0.9 * total_steps), "final": final_lr(config)}
    return (Derived("rate_falls", f"{min(begin, end)}-{end}", "rate_falls", drops),)


def notes(config: TrainConfig, spec: ModelSpec, data: DataFacts) -> list[Problem]:
    """What the images ask of the model beyond what it is set to: crowded images, rare classes. Each names the setting that helps."""
    options = {**{each.name: each.default for each in spec.options}, **config.options}
    most, found = data.most_objects, []
    if spec.task in ("detect", "instance"):
        queries, denoising = int(options.get("queries", spec.capacity)), int(options.get("denoising_queries", 0))
        if most > queries:
            wanted = _rounded_up(1.5 * most)
            found.append(Problem("dense_queries" if "queries" in options else "dense_capacity", "warning", ".",
                                 {"most": most, "queries": queries, "wanted": wanted, "first": max(int(options.get("first_selected", 0)), wanted)}))
        if 0 < denoising < most:
            found.append(Problem("dense_denoising", "note", ".", {"most": most, "denoising": denoising, "wanted": _rounded_up(2 * most)}))
    if spec.task == "instance" and most > DETECTIONS:
        found.append(Problem("dense_detections", "note", ".", {"most": most, "limit": DETECTIONS, "wanted": _rounded_up(most)}))
    if spec.task == "instance" and data.rare:
        names = ", ".join(data.rare[:MOST_NAMES]) + (" …" if len(data.rare) > MOST_NAMES else "")
        found.append(Problem("rare_classes", "warning", ".", {"count": len(data.rare), "wanted": FEW_OBJECTS, "names": names}))
    return found


def _rounded_up(value: float) -> int:
    return math.ceil(value / ROOM) * ROOM


def warmup_steps(config: TrainConfig, total_steps: int) -> int:
    """Steps of warm-up: a fraction of the run, never more than the published 2000 and never the whole run."""
    return min(WARMUP_CEILING, int(total_steps * min(config.warmup, 0.5)))


def ema_decay(config: TrainConfig, total_steps: int) -> float:
    """Decay whose memory is 1/40 of the run, at most the published 0.9999: a short run would otherwise average its own start."""
    return config.ema or min(EMA_CEILING, 1 - 1 / max(EMA_SHORTEST, total_steps / 40))


def _mixed(config: TrainConfig, spec: ModelSpec, data: DataFacts, on_cpu: bool) -> bool:
    """Whether images are mixed as the model was published with: where an image holds few objects, a step learns from more of them.

    Only where minutes bound the run: the published recipe adds epochs to those that are asked for. Measured in 10 minutes on one thread
    (bench/RESULTS.md): with 2.3 objects in an image it finds more, with 4.3 and with 14 it finds less than without.
    """
    timed = bool(config.minutes) or (on_cpu and not config.epochs)
    return spec.official is not None and timed and 0 < data.objects <= FEW_IN_IMAGE


def _batch(config: TrainConfig, spec: ModelSpec, data: DataFacts, machine: Machine) -> int:
    """CPU: what the model finds most with in equal time. Accelerator: by memory, model and picture size. At most half of the images."""
    size = spec.cpu_batch
    if machine.device != "cpu":
        per_image = (0.25 + 0.03 * spec.parameters) * (max(stages.sides(config)) / 640) ** 2
        size = 2 ** int(math.log2(min(max(1.0, (machine.memory - 1.5) * 0.7 / per_image), spec.reference_batch)))
    return max(1, min(size, (data.train_images + 1) // 2))


def _epochs(config: TrainConfig, data: DataFacts, pretrained: bool) -> int:
    """Enough epochs for a fixed number of steps: small sets are shown more often, within 12 to 300 epochs."""
    steps = max(1, data.train_images // config.batch)
    return max(12, min(300, round((6_000 if pretrained else 20_000) / steps)))


def _learning_rate(config: TrainConfig, spec: ModelSpec, pretrained: bool) -> float:
    """Fine-tuning: the published rate times the square root of the batch ratio. From scratch: 1.25 times the published rate.

    Measured on 205 images, 16 epochs, Atto: AP50 .54 at rate 1e-3, .78 at 2e-3, .75 at 4e-3 (batch 8); .80 at 2e-3, .82 at 3e-3 (batch 4).
    """
    if not pretrained:
        return spec.scratch_learning_rate or _round(SCRATCH_RATIO * spec.learning_rate)
    return _round(spec.learning_rate * min(1.0, math.sqrt(config.batch * config.accumulate / spec.reference_batch)))


def _round(value: float) -> float:
    return float(f"{value:.3g}")

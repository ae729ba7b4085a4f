"""What fits a data set and this machine: the size of the model by rules that are told, the largest batch and the time of a run by trial."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import torch

from engine import messages, stages
from engine.config import TrainConfig
from engine.datasets.collection import load
from engine.machine import choose_device, detect
from engine.models import ModelSpec, models
from engine.recipe import DataFacts, Derived, Machine, suggest
from engine.session import Session
from engine.tasks.loading import Batch, gather
from engine.types import Instances, Sample, UserError

GIB = 2**30
CPU_SHARE, ACCELERATOR_SHARE = 0.8, 0.92  # of the free memory that a run may take
PATIENCE_S = 40.0  # of the trials on a processor
MOST_BATCH = 4  # times the published batch: more never helps
STEPS = 3
SIZES = ("atto", "femto", "pico", "n", "s", "m", "l", "x")
MEMORY_FOR = ((4.0, "pico"), (6.0, "n"), (8.0, "s"), (12.0, "m"), (16.0, "l"), (24.0, "x"))  # GiB from which a size is at ease at 640 pixels
IMAGES_FOR = ((300, "n"), (1500, "s"), (5000, "m"), (20_000, "l"))  # training images up to which no larger size pays
SMALL_PIXELS = 12.0  # the side of an object that a detector still finds reliably
SMALL_SHARE = 0.25
LARGEST_SIDE = 1280


@dataclass(frozen=True)
class Trial:
    """Seconds of a training step with `batch` images, and the GiB that the process (or the accelerator) held at most."""

    batch: int
    seconds: float
    memory: float


@dataclass(frozen=True)
class Probe:
    """What training took on this machine. `resting` and `per_image` GiB are the line through the trials, `room` what there is.

    `largest` is the largest batch that fits: tried on an accelerator, on a processor read off the line where `tried` is less. `loading`: CPU
    seconds to load and augment one image; `validating`: seconds of one validation image. `limit`: the batch that nobody needs to exceed, half
    of the images or MOST_BATCH times the published one.
    """

    model: str
    image_size: int
    device: str
    way: str
    trials: tuple[Trial, ...]
    resting: float
    per_image: float
    room: float
    largest: int
    tried: int
    loading: float
    validating: float
    train_images: int
    valid_images: int
    limit: int = 0

    def seconds(self, batch: int) -> float:
        """Of a step with `batch` images, between and beyond the trials by their line."""
        sizes, taken = np.array([each.batch for each in self.trials], float), np.array([each.seconds for each in self.trials])
        if batch <= sizes[-1] or len(sizes) < 2:
            return float(np.interp(batch, sizes, taken)) if len(sizes) > 1 else float(taken[0] * batch / sizes[0])
        return float(taken[-1] + (batch - sizes[-1]) * max(0.0, (taken[-1] - taken[-2]) / (sizes[-1] - sizes[-2])))

    def epoch_seconds(self, batch: int, workers: int = 0) -> float:
        """Of an epoch with validation. Worker processes load while the device computes."""
        batches, loading = max(1, self.train_images // max(1, batch)), self.loading * batch
        step = max(self.seconds(batch), loading / workers) if workers else self.seconds(batch) + loading
        return batches * step + self.valid_images * self.validating

    def as_dict(self) -> dict[str, Any]:
        return {"model": self.model, "image_size": self.image_size, "device": self.device, "way": self.way,
                "trials": [{"batch": each.batch, "seconds": round(each.seconds, 4), "memory": round(each.memory, 3)} for each in self.trials],
                "resting": round(self.resting, 3), "per_image": round(self.per_image, 4), "room": round(self.room, 2), "largest": self.largest,
                "tried": self.tried, "loading": round(self.loading, 5), "validating": round(self.validating, 5)}


@dataclass(frozen=True)
class Advice:
    """The size that suits, and why; `notes` are further things to know. Reasons are keys `reason.<key>` of the catalogue."""

    model: str
    image_size: int
    reasons: tuple[Derived, ...] = field(default=())

    def because(self, language: str | None = None) -> list[str]:
        return [each.because(language) for each in self.reasons]


# ---- the size of the model

def sides_of(samples: Sequence[Sample]) -> np.ndarray:
    """f64[N]: sqrt(area) of each object over sqrt(area) of its image."""
    found = [np.sqrt(np.maximum(0, np.prod(each.labels.boxes[:, 2:] - each.labels.boxes[:, :2], axis=1)) / max(1, each.size[0] * each.size[1]))
             for each in samples if isinstance(each.labels, Instances) and len(each.labels)]
    return np.concatenate(found).astype(np.float64) if found else np.zeros(0)


def suited(specs: Sequence[ModelSpec], samples: Sequence[Sample], machine: Machine) -> Advice | None:
    """The detector among `specs` that suits the training images and the machine; None when none of the sizes is there.

    The machine says what is at ease (memory of the accelerator; without one, the smallest), the number of images what still pays, and the size
    of the objects how many pixels it takes.
    """
    known = {spec.name.rpartition("_")[2]: spec for spec in specs if spec.name.rpartition("_")[2] in SIZES and spec.task == "detect"}
    if not known:
        return None
    reasons, order = [], [each for each in SIZES if each in known]
    by_machine = _by_machine(machine, order)
    reasons.append(Derived("model", by_machine, "advice_cpu" if machine.device == "cpu" else "advice_memory",
                           {"memory": round(machine.memory), "size": by_machine.upper()}))
    by_data = next((size for most, size in IMAGES_FOR if len(samples) <= most), SIZES[-1])
    chosen = by_machine
    if SIZES.index(by_data) < SIZES.index(by_machine):
        chosen = max((each for each in order if SIZES.index(each) <= SIZES.index(by_data)), key=SIZES.index, default=order[0])
        reasons.append(Derived("model", chosen, "advice_images", {"images": len(samples), "size": chosen.upper()}))
    side, sides = _image_side(known[chosen], machine), sides_of(samples)
    if len(sides) and float(np.mean(sides * side < SMALL_PIXELS)) > SMALL_SHARE:
        small = round(100 * float(np.mean(sides * side < SMALL_PIXELS)))
        wanted = min(LARGEST_SIDE, 32 * math.ceil(SMALL_PIXELS / max(1e-3, float(np.quantile(sides, SMALL_SHARE))) / 32))
        if wanted > side:
            values = {"percent": small, "pixels": int(SMALL_PIXELS), "size": side, "wanted": wanted}
            reasons.append(Derived("image_size", wanted, "advice_small", values))
            side = wanted
    return Advice(known[chosen].name, side, tuple(reasons))


def _by_machine(machine: Machine, order: Sequence[str]) -> str:
    if machine.device == "cpu":
        return order[0]
    fitting = [size for memory, size in MEMORY_FOR if machine.memory + 0.6 >= memory and size in order]
    return fitting[-1] if fitting else order[0]


def _image_side(spec: ModelSpec, machine: Machine) -> int:
    return min(spec.image_size, spec.cpu_image_size) if machine.device == "cpu" else spec.image_size


# ---- trials

def probe(config: TrainConfig, *, patience: float = PATIENCE_S, room: float | None = None, progress: Callable[[Trial], None] | None = None,
          cancelled: Callable[[], bool] = lambda: False) -> Probe:
    """Trains some steps as `config` says, on the most crowded images of its data, with batches that grow as far as memory and `patience` reach.

    Nothing is kept. On a processor it belongs into a process of its own, because what is read is the most that the process has ever held.
    `room` in GiB, None = what is free now. Raises UserError like a run would.
    """
    with TemporaryDirectory(prefix="lightbox-probe-") as folder:
        start = "auto" if config.weights == "download" else config.weights  # a probe is not worth a download
        session = Session(config.replace(batch=config.batch or 2, workers=0), Path(folder), start)
        way, _ = session.measure()
        session.prepare(way)
        session.start_epoch()
        space = _room(session.device) if room is None else room
        items, loading = _crowded(session)
        trials, failed = _trials(session, items, space, patience, progress, cancelled)
        resting, per_image = _line(trials)
        limit = _limit(session)
        fits = int((space - resting) / per_image) if per_image > 0 else limit
        largest = max(1, min(limit, fits, *([failed - 1] if failed else [])))
        return Probe(config.model, session.side, session.device.type, str(way), tuple(trials), resting, per_image, space, largest,
                     max(each.batch for each in trials), loading, _validating(session), len(session.data.train), len(session.data.valid), limit)


def _limit(session: Session) -> int:
    return max(1, min(MOST_BATCH * session.spec.reference_batch, (len(session.data.train) + 1) // 2))


def _crowded(session: Session) -> tuple[list[Any], float]:
    """Items of the images with the most objects, as many as the largest batch may take (64 at most), and the CPU seconds of loading one anew."""
    images = session.loader.dataset
    count = [len(each.labels) if isinstance(each.labels, Instances) else 0 for each in session.data.train]
    order = sorted(range(len(count)), key=lambda place: -count[place])[:max(2, min(64, _limit(session)))]
    for place in order[:8]:  # decoded, as in every epoch but the first
        images[1, place, session.batches.strong]
    begun = time.process_time()
    items = [images[1, place, session.batches.strong] for place in order]
    loading = (time.process_time() - begun) / len(items)
    return [each for each in items if not isinstance(each, str)], loading


def _batch(items: Sequence[Any], size: int) -> Batch:
    return gather([items[place % len(items)] for place in range(size)])


def _trials(session: Session, items: Sequence[Any], room: float, patience: float, progress: Callable[[Trial], None] | None,
            cancelled: Callable[[], bool]) -> tuple[list[Trial], int]:
    """Trials with 1, 2, 4 ... images, then between the last that fitted and the first that did not; and the smallest that did not fit, or 0."""
    trials: list[Trial] = []
    failed, size, begun = 0, 1, time.monotonic()
    while size and not cancelled():
        found = _tried(session, _batch(items, size))
        if found is None or (trials and found.memory > room):
            failed = size
        else:
            trials.append(found)
            if progress is not None:
                progress(found)
        if not trials:
            break
        size = _next_size(session, trials, failed, room, patience - (time.monotonic() - begun))
    if not trials:  # not even one image
        raise torch.OutOfMemoryError
    return sorted(trials, key=lambda each: each.batch), failed


def _next_size(session: Session, trials: Sequence[Trial], failed: int, room: float, left: float) -> int:
    """The batch to try next, 0 = enough is known."""
    best, limit = max(trials, key=lambda each: each.batch), _limit(session)
    if failed:
        middle = (best.batch + failed) // 2
        return middle if session.device.type != "cpu" and middle > best.batch and failed - best.batch > max(1, best.batch // 8) else 0
    following = min(limit, 2 * best.batch)
    resting, per_image = _line(trials)
    if following <= best.batch or (session.device.type == "cpu" and len(trials) > 1 and resting + per_image * following > room):
        return 0
    return following if 2 * (STEPS + 1) * best.seconds < left else 0


def _tried(session: Session, batch: Batch) -> Trial | None:
    """A few steps; None when memory did not reach."""
    device = session.device
    try:
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        taken = []
        for _ in range(STEPS):
            session.batch = 0
            _settled(device)
            begun = time.perf_counter()
            session.learn(batch)
            _settled(device)
            taken.append(time.perf_counter() - begun)
        return Trial(len(batch), min(taken[1:]), _held(device))
    except (torch.OutOfMemoryError, MemoryError):
        session.optimizer.zero_grad(set_to_none=True)
        return None
    except RuntimeError as error:
        if "memory" not in str(error).lower():
            raise
        session.optimizer.zero_grad(set_to_none=True)
        return None


def _settled(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def _held(device: torch.device) -> float:
    """GiB that were held at most: on an accelerator since the last reset, on a processor by this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved() / GIB
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / GIB
    if platform.system() == "Windows":
        return float(psutil.Process().memory_info().peak_wset) / GIB
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


def _room(device: torch.device) -> float:
    """GiB that a run may take: most of what is free, and what this process holds already."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return ACCELERATOR_SHARE * (free + torch.cuda.memory_reserved()) / GIB
    if device.type == "mps":
        return CPU_SHARE * torch.mps.recommended_max_memory() / GIB
    return CPU_SHARE * (psutil.virtual_memory().available + psutil.Process().memory_info().rss) / GIB


def _line(trials: Sequence[Trial]) -> tuple[float, float]:
    """(GiB at rest, GiB an image): with the steepest rise between two trials and above all of them, so that it never promises too much."""
    ordered = sorted(trials, key=lambda each: each.batch)
    rises = [(b.memory - a.memory) / (b.batch - a.batch) for a, b in zip(ordered, ordered[1:], strict=False)]
    steepest = max([0.0, *rises]) if rises else ordered[-1].memory / ordered[-1].batch
    return max(0.0, *(each.memory - steepest * each.batch for each in ordered)), steepest


def _validating(session: Session) -> float:
    """Seconds of a validation image, 0 when there is none."""
    from engine.evaluate import predict_samples

    some = session.data.valid[:4]
    if not some:
        return 0.0
    begun = time.perf_counter()
    for _ in predict_samples(session.predictor(), some, batch=4, squares=session.squares):
        pass
    return (time.perf_counter() - begun) / len(some)


# ---- what follows

def settled(config: TrainConfig, found: Probe, wanted: int, workers: int = 0) -> Iterator[Derived]:
    """The batch, the gradient accumulation that keeps `wanted` images a step, and the time that the run takes."""
    batch = max(1, min(wanted, found.largest))
    gathered = max(1, round(wanted / batch))
    epoch = found.epoch_seconds(batch, workers)
    values = {"batch": batch, "wanted": wanted, "largest": found.largest, "room": round(found.room, 1), "tried": found.tried,
              "need": round(found.resting + found.per_image * batch, 1)}
    yield Derived("batch", batch, "advice_batch" if batch == wanted else "advice_batch_less", values)
    if gathered > 1:
        yield Derived("accumulate", gathered, "advice_accumulate", {**values, "effective": gathered * batch})
    if config.minutes:
        epochs = 60 * config.minutes / max(1e-6, epoch)
        whole = round(epochs, 1) if epochs < 10 else int(epochs)
        yield Derived("epochs", whole, "advice_epochs", {"minutes": config.minutes, "seconds": round(epoch, 1)})
    elif config.epochs:
        minutes = stages.run_epochs(config) * epoch / 60
        yield Derived("minutes", round(minutes, 1), "advice_minutes", {"epochs": stages.run_epochs(config), "seconds": round(epoch, 1)})


def advised(config: TrainConfig, *, choose: bool, progress: Callable[[Trial], None] | None = None) -> dict[str, Any]:
    """What suits: {"suggested": {"model", "image_size", "reasons"} or None, "probe", "line", "settings": [{"name", "value", "why"}], "config"}.

    `choose`: the model is open, and the one that suits is tried. "config" is what was asked with the settings that follow. Raises UserError.
    """
    machine = detect()
    device = Machine(choose_device(config.device), machine.accelerator_memory, machine.cores)
    advice = None
    if choose or models.get(config.model).task == "detect":
        with TemporaryDirectory(prefix="lightbox-") as scratch:
            collection = load(Path(config.data), Path(scratch))
        if collection.task == "detect":
            advice = suited(list(models.entries().values()), collection.split("train"), device)
    if advice is not None and choose:
        config = config.replace(model=advice.model, image_size=config.image_size or advice.image_size)
    found = probe(config, progress=progress)
    facts = DataFacts(found.train_images, found.valid_images, 1)
    plan = suggest(config.replace(image_size=found.image_size), models.get(config.model), facts, device, pretrained=config.weights != "none")
    follows = list(settled(plan.config, found, plan.config.batch * plan.config.accumulate))
    chosen = config.replace(**{each.name: each.value for each in follows if each.name in ("batch", "accumulate")})
    return {"suggested": {"model": advice.model, "image_size": advice.image_size, "reasons": advice.because()} if advice else None,
            "probe": found.as_dict(), "line": spoken(found), "config": chosen.as_dict(),
            "settings": [{"name": each.name, "value": each.value, "why": each.because()} for each in follows]}


def spoken(found: Probe, language: str | None = None) -> str:
    """One line about a probe."""
    key = "advice.line" if found.largest < found.limit else "advice.line_images"
    return messages.text(key, language, model=found.model, size=found.image_size, device=found.device, way=found.way,
                         rest=f"{found.resting:.2f}", each=f"{found.per_image:.3f}", room=f"{found.room:.1f}", largest=found.largest)


def main(arguments: list[str]) -> int:
    """`python -m engine.advising FILE`: what the page starts. FILE holds a config; each trial is a line of JSON, the last line the advice."""
    messages.set_language(os.environ.get("LIGHTBOX_LANGUAGE", messages.system_language()))
    config = TrainConfig(**json.loads(Path(arguments[0]).read_text(encoding="utf-8")))

    def say(content: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    try:
        say({"advice": advised(config, choose=False, progress=lambda trial: say({"trial": asdict(trial)}))})
    except UserError as error:
        say({"error": {"message": error.message(), "remedy": error.remedy()}})
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The process that trains: turns the events of a training run into the files of its folder."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import messages
from engine.hub import megabytes
from engine.metrics.names import loss_family
from engine.runs import Run
from engine.types import UserError

if TYPE_CHECKING:
    from engine.distributed import Group

log = logging.getLogger("lightbox.run")
STATE_EVERY_S = 0.5
PREVIEW_SIDE = 640
HISTORY_EVERY_S = 20.0
Watcher = Callable[[Any], None]


def work(run: Run, watch: Watcher = lambda event: None, group: Group | None = None) -> str:
    """Train the run in this process until it is done or stopped; returns the last phase. `watch` sees every event, `group` are the processes that
    train together, of which this is the first.

    Everything that goes wrong ends up in state.json: a UserError with its key, anything else as a bug whose traceback
    stands in traceback.txt, where no page shows it.
    """
    run.claim()
    handler = logging.FileHandler(run.folder / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    try:
        return _train(run, watch, group)
    except UserError as error:
        log.error("%s", error)
        run.write_state(phase="failed", eta_s=None, fetching=None, error={"key": error.key, "values": _plain(error.values)})
        raise
    except Exception as error:
        (run.folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        log.error("%s", messages.text("log.bug", kind=type(error).__name__, file=run.folder / "traceback.txt"))
        run.write_state(phase="failed", eta_s=None, fetching=None, error=explain(error, run))
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


def _train(run: Run, watch: Watcher, group: Group | None) -> str:
    from engine.distributed import ALONE
    from engine.train import train  # torch loads here, after the claim

    run.forget_metrics_after(_checkpoint_step(run) if run.last.is_file() else -1)
    with closing(Recorder(run)) as recorder:
        for event in train(run.config(), run.folder, stop=run.stop_requested, group=group or ALONE):
            recorder(event)
            watch(event)
    return run.state()["phase"]


class Recorder:
    """One method per kind of event."""

    def __init__(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.run, self.written, self.drawn = run, 0.0, time.monotonic()
        self.board = SummaryWriter(str(run.folder / "tensorboard"))

    def __call__(self, event: Any) -> None:
        getattr(self, f"on_{event.kind}", lambda event: None)(event)

    def on_note(self, event: Any) -> None:
        values = event.values
        if "problem" in values:
            problem = values["problem"]
            log.info("%s %s", problem.message(), problem.remedy())
        elif "derived" in values:
            derived = values["derived"]
            log.info("%s = %s: %s", derived.label(), derived.value, derived.because())
        else:
            log.info("%s", messages.text(f"log.{values['key']}", **{k: v for k, v in values.items() if k != "key"}))

    def on_fetching(self, event: Any) -> None:
        told = event.values
        ends = told["come"] == told["whole"] > 0
        if ends or not told["whole"]:
            log.info("%s", messages.text("log.fetched" if ends else "log.fetching", file=told["file"], size=megabytes(0, told["whole"])[1]))
        elif time.monotonic() - self.written < STATE_EVERY_S:
            return
        self.written = time.monotonic()
        self.run.write_state(phase="starting", fetching=None if ends else told)

    def on_recorded(self, event: Any) -> None:
        self.run.write_config(event.values["config"])
        if event.values.get("seconds"):
            timed = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in event.values["seconds"].items())
            chosen = f"{event.values['config'].precision}, {event.values['config'].layout}"
            log.info("%s", messages.text("log.precision", chosen=chosen, timed=timed))

    def on_plan(self, event: Any) -> None:
        self.run.write_state(phase="running", step=event.step, epoch=event.epoch, epochs=event.values["epochs"])
        for fact in event.values["facts"]:
            log.info("%s = %s: %s", fact.label(), fact.value, fact.because())

    def on_step(self, event: Any) -> None:
        self._row(event, "train", {**event.values["row"], "images_per_s": round(event.values["images_per_s"], 2)})
        if time.monotonic() - self.written > STATE_EVERY_S:
            self.written = time.monotonic()
            self.run.write_state(phase="running", step=event.step, epoch=event.epoch, eta_s=_rounded(event.values["eta_s"]),
                                 images_per_s=round(event.values["images_per_s"], 1), memory_gib=memory_in_use())

    def on_validated(self, event: Any) -> None:
        metrics = event.values["metrics"]
        self._row(event, "valid", {**metrics, "best": event.values["best"]})
        words = ", ".join(f"{name} {metrics[name]:.3f}" for name in event.values["shown"] if metrics.get(name) is not None)
        log.info("%s", messages.text("log.validated", epoch=event.epoch, metrics=words or "-", seconds=round(event.values["seconds"], 1)))
        self._previews(event)
        if event.values["best"]:
            kept = {"epoch": event.epoch, "metrics": metrics, "per_class": event.values["per_class"], "curves": event.values["curves"]}
            self.run.write_validation(kept)
        self._draw_history()

    def on_reported(self, event: Any) -> None:
        self.run.write_validation({"epoch": event.epoch, **event.values})

    def on_stopped(self, event: Any) -> None:
        told = messages.text("log.stopped", step=event.step, epoch=event.epoch) if event.epoch else messages.text("log.stopped_before")
        log.info("%s", told)
        if event.epoch:
            self._draw_history(last=True)
        self.run.write_state(phase="stopped", step=event.step, epoch=event.epoch, eta_s=None, fetching=None)

    def on_done(self, event: Any) -> None:
        log.info("%s", messages.text("log.done", epoch=event.epoch))
        self._draw_history(last=True)
        self.run.write_state(phase="done", step=event.step, epoch=event.epoch, eta_s=None)

    def _draw_history(self, *, last: bool = False) -> None:
        """At most every HISTORY_EVERY_S, and at the end."""
        from engine.history import draw_history

        if last or time.monotonic() - self.drawn >= HISTORY_EVERY_S:
            draw_history(self.run.metrics()[0], self.run.config().task, self.run.folder / "training_history.png")
            self.drawn = time.monotonic()

    def _row(self, event: Any, split: str, values: dict[str, Any]) -> None:
        self.run.append_metrics({"time": round(time.time(), 3), "step": event.step, "epoch": event.epoch, "split": split, **values})
        for name, value in board_values(split, values).items():
            self.board.add_scalar(name, value, event.step)

    def _previews(self, event: Any) -> None:
        """A few validation images with what was found, per epoch; small ones enlarged, so that lines and names stay fine."""
        from engine.datasets.images import open_image, save_image

        folder = self.run.folder / "previews"
        for number, (sample, labels, threshold) in enumerate(event.values["previews"]):
            with suppress(UserError):  # an image that has vanished since costs its picture, not the run
                drawn = preview(open_image(sample.image), sample.labels, labels.above(threshold), event.values["classes"], event.values["thresholds"])
                save_image(folder / f"epoch_{event.epoch:05d}_{number}.jpg", drawn)
        for old in sorted(folder.glob("epoch_*.jpg"))[: -5 * max(1, len(event.values["previews"]))]:
            old.unlink()

    def close(self) -> None:
        self.board.close()


def preview(image: Any, truth: Any, found: Any, classes: Sequence[str], thresholds: dict[str, Any]) -> Any:
    """u8[h,w,3]: what was found, drawn on the image; of tags, which lie nowhere, truth and answer beside it."""
    from engine.overlay_labels import draw_labels, enlarged
    from engine.overlay_tags import tag_card
    from engine.types import Tags

    if isinstance(truth, Tags) and isinstance(found, Tags):
        return tag_card(image, truth, found, classes, thresholds.get("classes"), float(thresholds.get("temperature", 1.0)))
    picture, shown = enlarged(image, found, PREVIEW_SIDE)
    return draw_labels(picture, shown, classes)


def board_values(split: str, values: dict[str, Any]) -> dict[str, float]:
    """What a row is called on TensorBoard: `loss/total` and a sum for each family of terms, `loss_<family>/<term>`, and the rest by split."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        if split == "train" and name.startswith("loss_"):
            family = loss_family(name)
            found[f"loss/{family}"] = found.get(f"loss/{family}", 0.0) + value
            found[f"loss_{family}/{name.removeprefix('loss_')}"] = value
        else:
            found["loss/total" if split == "train" and name == "loss" else f"{split}/{name}"] = value
    return found


def memory_in_use() -> float:
    """GiB at most so far: of the accelerator where one trains, else of this process."""
    import psutil
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return round(torch.cuda.max_memory_reserved() / 2**30, 2)
    if sys.platform == "win32":
        return round(psutil.Process().memory_info().peak_wset / 2**30, 2)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2 ** (30 if sys.platform == "darwin" else 20), 2)


def explain(error: Exception, run: Run) -> dict[str, Any]:
    """What state.json says of an unexpected end: known causes by name, the rest as a bug."""
    name, words = type(error).__name__, str(error)
    if name == "OutOfMemoryError" or "out of memory" in words.lower() or isinstance(error, MemoryError):
        return {"key": "out_of_memory", "values": {"batch": run.config().batch, "size": run.config().image_size}}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"key": "no_space_to_write", "values": {"path": error.filename or run.folder.name}}
    if "DataLoader worker" in words:
        return {"key": "loader_died", "values": {"workers": run.config().workers}}
    return {"key": "training_bug", "values": {"kind": name, "log": str(run.folder / "traceback.txt")}}


def _checkpoint_step(run: Run) -> int:
    from engine import checkpoint

    return int(checkpoint.read(run.last)["step"])


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, (int, float, str, type(None))) else str(value) for name, value in values.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(max(0.0, value), 1)


def step_back() -> None:
    """All cores train; the page, which needs a moment of one now and then, goes first."""
    import psutil

    with suppress(psutil.Error, OSError):
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if sys.platform == "win32" else 5)


def main(arguments: list[str]) -> int:
    """`python -m engine.worker RUN_FOLDER`: what the job queue starts. Afterwards the next waiting run begins."""
    from engine.jobs import local

    run = Run(arguments[0])
    messages.set_language(os.environ.get("LIGHTBOX_LANGUAGE", messages.system_language()))
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, frame: run.request_stop())
    step_back()
    try:
        work(run)
    except UserError:
        return 2
    except Exception:  # noqa: BLE001 - the worker's outer border; it is logged in the run folder by now
        return 1
    finally:
        local.advance(Path(run.folder).parent)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Training: a generator of events. Who consumes them - worker, test, notebook - is not its business."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine import keeping, restart
from engine.clock import Clock
from engine.config import TrainConfig
from engine.distributed import ALONE, Group
from engine.evaluate import predict_samples
from engine.fetching import Fetching
from engine.opening import facts_of
from engine.predict import load
from engine.recipe import Derived, notes, schedule_facts
from engine.session import Session
from engine.types import UserError

ROWS_PER_EPOCH = 10
NON_FINITE_LIMIT = 5


@dataclass(frozen=True)
class Event:
    """Something that happened. kind: note, fetching, recorded, plan, step, validated, checkpoint, done or stopped."""

    kind: str
    step: int = 0
    epoch: int = 0
    values: dict[str, Any] = field(default_factory=dict)


def train(config: TrainConfig, folder: Path | None = None, *, stop: Callable[[], bool] = lambda: False,
          group: Group = ALONE) -> Iterator[Event]:
    """Train as `config` says and yield what happens. Writes last.pt and best.pt into `folder`; goes on from a last.pt that is there.

    `stop` is asked after every batch; a stopped run can be resumed exactly. Of a `group` of processes all run this, the first one's `config` and
    `stop` count, and it alone writes into the folder, which all can read. Raises UserError for what a person can mend.
    """
    with ExitStack() as ends:
        temporary = ends.enter_context(TemporaryDirectory(prefix="lightbox-"))
        folder = folder or Path(temporary)
        config = TrainConfig.from_dict(group.first(config.as_dict())) if group.size > 1 else config
        yield Event("note", values={"key": "reading_data", "data": config.data})
        resumed = (folder / "last.pt").is_file()
        if not resumed and not (yield from _fetched(config, stop, group)):
            yield Event("stopped")
            return
        session = Session(config, (folder if group.main else Path(temporary)) / "data", "none" if resumed else config.weights, group)
        ends.callback(session.close)
        yield from _opening(session, resumed)
        clock = Clock(session, replay=bool(config.epochs_plan) and not resumed)
        way, seconds = session.measure()
        if not resumed:
            clock.first_plan(seconds.get(str(way)))
        session.prepare(way)
        if resumed:
            keeping.restore(session, folder / "last.pt")
            clock.go_on()
            yield Event("note", session.step, session.epoch, {"key": "resumed", "step": session.step, "epoch": session.epoch})
        yield Event("recorded", session.step, session.epoch, {"config": session.config, "seconds": seconds})
        yield Event("plan", session.step, session.epoch, _plan(session))
        while session.epoch <= session.epochs:
            finished = yield from _epoch(session, clock, lambda: group.first(stop()))
            if not finished:
                keeping.save_last(session, folder / "last.pt")
                yield Event("stopped", session.step, session.epoch)
                return
            yield from _validate(session, folder)
            if session.stale() and session.epoch < session.epochs:
                yield Event("note", session.step, session.epoch, {"key": "early_stop", "epoch": session.epoch, "waited": session.config.patience})
                clock.end_after()
            session.epoch, session.batch = session.epoch + 1, 0
            if clock.replan() or clock.ended:
                yield from _planned(session, session.epoch - 1)
            if restart.turn_back(session, folder / "kept.pt"):
                yield Event("note", session.step, session.epoch - 1, {"key": "turned_back", "epoch": session.epoch})
            keeping.save_last(session, folder / "last.pt")
            yield Event("checkpoint", session.step, session.epoch - 1)
            if group.first(stop()) and session.epoch <= session.epochs:
                yield Event("stopped", session.step, session.epoch - 1)
                return
        yield from _report(session, folder)
        if group.main:
            (folder / "kept.pt").unlink(missing_ok=True)
        yield Event("done", session.step, session.epochs, {"best": session.best})


def _fetched(config: TrainConfig, stop: Callable[[], bool], group: Group) -> Generator[Event, None, bool]:
    """Downloads the weights that the run shall start from, once for all processes that share a cache. False when it was asked to stop meanwhile."""
    stopped = False
    for turn in (True, False):
        if group.main == turn:
            fetching = Fetching(config, stop)
            for values in fetching:
                yield Event("fetching", values=values)
            stopped = fetching.stopped
        if group.first(stopped):
            return False
    return True


def _opening(session: Session, resumed: bool) -> Iterator[Event]:
    """What was found before the first step."""
    data = session.data
    yield Event("note", values={"key": "data_ready", "train": len(data.train), "valid": len(data.valid), "classes": ", ".join(data.classes)})
    for problem in data.problems:
        yield Event("note", values={"problem": problem})
    if (processes := session.group.size) > 1:
        yield Event("note", values={"key": "processes", "count": processes, "batch": session.config.batch, "share": session.config.batch / processes})
    if session.coverage is None and not resumed:
        yield Event("note", values={"key": "from_scratch", "model": session.config.model})
    elif session.coverage:
        found = session.coverage
        key = "weights_fitted" if found.adapted else f"{found.part}_loaded"
        yield Event("note", values={"key": key, "file": session.source, "matched": len(found.matched), "reshaped": len(found.reshaped),
                                    "missing": len(found.missing), "ignored": len(found.ignored)})
        anew = len(data.classes) - len(found.adapted) - len(found.placed) if found.adapted else 0
        for part, names in (("adapted", found.adapted), ("placed", found.placed)):
            if names:
                yield Event("note", values={"key": f"head_{part}", "names": ", ".join(names), "count": len(names)})
        if anew:
            yield Event("note", values={"key": "head_anew", "count": anew})
    if any(data.unseen):
        count, valid = data.unseen
        yield Event("note", values={"key": "accepted_unseen", "count": count, "images": len(data.train), "valid": valid})
    if not data.valid:
        yield Event("note", values={"key": "no_validation"})
    elif not any(map(session.task.teaches, data.valid)):
        yield Event("note", values={"key": "no_validation_objects"})
    if untaught := data.untaught():
        yield Event("note", values={"key": "classes_not_in_train", "classes": ", ".join(untaught)})
    for problem in notes(session.config, session.spec, facts_of(data)):
        yield Event("note", values={"problem": problem})
    for name, reason in data.reasons.items():
        yield Event("note", values={"derived": Derived(name, data.options[name], reason)})
    for derived in session.derived:
        yield Event("note", values={"derived": derived})


def _plan(session: Session) -> dict[str, Any]:
    return {"epochs": session.epochs, "total_steps": session.total_steps, "steps_per_epoch": session.steps_per_epoch,
            "facts": schedule_facts(session.config, session.total_steps, session.epochs)}


def _planned(session: Session, epoch: int | None = None) -> Iterator[Event]:
    """What is told of another length of the run."""
    epoch = session.epoch if epoch is None else epoch
    yield Event("recorded", session.step, epoch, {"config": session.config})
    yield Event("plan", session.step, epoch, _plan(session))


def _epoch(session: Session, clock: Clock, stop: Callable[[], bool]) -> Generator[Event, None, bool]:
    """The rest of the current epoch. Returns False when it was asked to stop before its end; when time is over, it ends early.

    Rows, stops and the end of time come between two steps, never amid gathered gradients.
    """
    session.start_epoch()
    group = session.group
    images, steps = 0, session.batch // session.config.accumulate
    clock.begin_epoch()
    begun = session.elapsed
    for batch in session.loader:
        for name in session.note_unreadable(group.joined(batch.unreadable)):
            yield Event("note", session.step, session.epoch, {"key": "unreadable", "name": name})
        session.learn(batch)
        clock.tick()
        images += group.size * len(batch)
        if session.bad >= NON_FINITE_LIMIT:
            raise UserError("loss_not_finite", step=session.step, lr=session.config.lr, precision=session.config.precision)
        if not session.between_steps:
            continue
        steps += 1
        planned = clock.adapt()
        over = session.batch >= session.batches_now
        if over or steps % max(1, session.steps_of(session.epoch) // ROWS_PER_EPOCH) == 0:
            terms, session.terms = group.joined(session.terms), []
            if terms:
                row = {**_mean(terms), "trained_s": round(session.elapsed, 1)}
                yield Event("step", session.step, session.epoch, {
                    "row": row, "images_per_s": images / max(1e-6, session.elapsed - begun), "eta_s": clock.eta()})
        if planned:
            yield from _planned(session)
        if not over and stop():
            return False
        if not over and clock.out_of_time():
            clock.end_here()
            yield Event("note", session.step, session.epoch, {"key": "out_of_time", "epoch": session.epoch})
            break
        if over:
            break
    clock.end_steps()
    return True


def _validate(session: Session, folder: Path) -> Iterator[Event]:
    """Measure the averaged weights; keep them when they are the best so far. Without validation images the last are the best."""
    if not session.data.valid:
        keeping.save_best(session, folder / "best.pt", {}, {})
        return
    begun = time.monotonic()
    try:
        measured, found = session.validate()
    except UserError:
        for name in session.drop_unreadable_valid():
            yield Event("note", session.step, session.epoch, {"key": "unreadable", "name": name})
        measured, found = session.validate()
    metrics = measured["metrics"]
    better, lowered = session.judge(metrics)
    if better:
        keeping.save_best(session, folder / "best.pt", metrics, measured["thresholds"])
        restart.keep(session, folder / "kept.pt")
    if lowered:
        yield Event("note", session.step, session.epoch, {"key": "plateau", "lr": f"{session.config.lr * session.plateau.scale:.3g}"})
    threshold = measured["thresholds"].get("score", 0.5)
    yield Event("validated", session.step, session.epoch, {
        "metrics": metrics, "per_class": measured["per_class"], "curves": measured.get("curves"), "best": better,
        "seconds": time.monotonic() - begun, "previews": [(sample, labels, threshold) for sample, labels in found],
        "classes": session.data.classes, "shown": session.task.shown, "thresholds": measured["thresholds"]})


def _report(session: Session, folder: Path) -> Iterator[Event]:
    """What is told of the best epoch in the end, with what takes too long to be measured after every epoch: intervals, distances."""
    if not session.group.main or not session.data.valid or not session.task.has_report or not (folder / "best.pt").is_file():
        return
    predictor = load(folder / "best.pt", device=str(session.device))
    meter = session.task.meter(session.data.classes, final=True)
    for sample, found in predict_samples(predictor, session.data.valid, batch=max(4, session.config.batch)):
        meter.add(sample, found)
    measured = meter.result()
    yield Event("reported", session.step, int(session.best["epoch"]), {name: measured.get(name) for name in ("metrics", "per_class", "curves")})


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each term over the rows that have it: the number of terms changes from batch to batch."""
    names = {name: None for row in rows for name in row}
    return {name: sum(row[name] for row in rows if name in row) / sum(name in row for row in rows) for name in names}

"""Looking through a data set with a model, in a process of its own: suggestions, the order of work, or suspicious labels, which models that are
trained for it alone find as well ("kfold"). One at a time for a set.

`suggesting.json` in the folder of the set is all that anybody reads of it, so a restart of the app changes nothing.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from engine import messages
from engine.datasets import owners
from engine.datasets.store import Dataset
from engine.jobs.local import REPOSITORY
from engine.runs import exclusive, write_json
from engine.types import UserError
from engine.workspace import Workspace

log = logging.getLogger("lightbox.suggest")
FILE, STOP, LOG, LOCK = "suggesting.json", "suggesting.stop", "suggesting.log", ".suggesting.lock"
NUMBER = "suggesting.pid"
WORKS = ("suggest", "rank", "suspects", "kfold")
ACTIVE = ("starting", "running", "stopping")
START_PATIENCE_S, LOCK_S = 180.0, 30.0
EVERY_S = 0.3
PATIENCE_S = 5.0  # a training that is amid something long when it is cancelled ends by then: it goes on from its last checkpoint
SHARES = 1000  # what the whole of a cross-check counts as
NOTHING: dict[str, Any] = {"phase": "stopped", "done": 0, "total": 0, "failed": 0, "error": None, "source": "", "work": "suggest", "images": 0,
                           "shapes": 0, "missing": {}, "owner": None, "started": 0.0, "request": {}}


def start(workspace: Workspace, dataset_id: str, model: str | Path, images: Sequence[int] | str = "unlabeled", *, count: int = 20, around: int = 0,
          threshold: float = 0.25, work: str = "suggest", folds: int = 3, minutes: float = 15.0, image_size: int = 0) -> dict[str, Any]:
    """Begins to look through `images` (ids, "next" = the `count` unlabeled ones from the image `around` on, or "unlabeled"); returns the state.

    `model` is the id of a run or the name of a file among the weights; a Path is taken as it is. `work`: "suggest" labels, "rank" the unlabeled
    images (`count` of them by diversity), find "suspects" among the labels, or find them with models trained for it, "kfold": then `model` is the
    name of what is trained, "" = the smallest that fits, for `folds` folds, in `minutes` together. Raises UserError for an unknown model or set,
    one that may only be read, wrong values, too few labels for the folds, and while another job is at work on the set.
    """
    dataset = workspace.dataset(dataset_id)
    if dataset.readonly:
        raise UserError("dataset_read_only", name=dataset.id)
    if work not in WORKS:
        raise UserError("browse_unknown", value=str(work)[:80], known=", ".join(WORKS))
    if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UserError("option_bounds", name="threshold", value=threshold, low=0, high=1)
    if work == "kfold":
        from engine.cross_checking import asked

        wanted = asked(dataset, model=str(model), folds=folds, minutes=minutes, image_size=image_size)
        source, request = wanted.model, {**asdict(wanted), "work": work}
    else:
        source, request = _looking(workspace, dataset, model, images, count, around)
        request |= {"threshold": threshold, "work": work}
    with exclusive(dataset.folder / LOCK, LOCK_S) as mine:
        if not mine or (state(dataset) or NOTHING)["phase"] in ACTIVE:
            raise UserError("suggest_running", name=dataset.name)
        for name in (STOP, NUMBER):
            (dataset.folder / name).unlink(missing_ok=True)
        begun = {"phase": "starting", "source": source, "work": work, "request": request, "started": time.time()}
        write_json(dataset.folder / FILE, {**NOTHING, **begun})
        _launch(dataset.folder)
    return state(dataset) or NOTHING


def _looking(workspace: Workspace, dataset: Dataset, model: str | Path, images: Sequence[int] | str, count: int,
             around: int) -> tuple[str, dict[str, Any]]:
    """What a model that is there already is asked for, and its name."""
    from engine.suggesting import wanted_ids

    if images != "unlabeled":
        wanted_ids(dataset, images, count=count, around=around)
    path, source = model_of(workspace, model)
    return source, {"model": str(path), "images": images if isinstance(images, str) else list(images), "count": count, "around": around}


def _launch(folder: Path) -> None:
    """Starts the process, in a session of its own, and notes its number: until it has said who it is, that is all one knows of it."""
    with (folder / LOG).open("wb") as output:
        process = subprocess.Popen([
            sys.executable, "-m", "engine.suggest_jobs", str(folder.resolve())], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, env={**os.environ, "LIGHTBOX_LANGUAGE": messages.current_language()}, start_new_session=os.name != "nt",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0), close_fds=True)
    (folder / NUMBER).write_text(str(process.pid), encoding="ascii")


def _starting(folder: Path, started: float) -> bool:
    """Whether a process that has not said who it is may still do so."""
    if time.time() - started >= START_PATIENCE_S:
        return False
    try:
        return psutil.Process(int((folder / NUMBER).read_text(encoding="ascii"))).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except (OSError, ValueError, psutil.Error):
        return True  # it is about to be started


def model_of(workspace: Workspace, model: str | Path) -> tuple[Path, str]:
    """Where a model lies, and what suggestions say they come from. A name is looked up among runs and weights, never joined to a path."""
    if isinstance(model, Path):
        return model, model.parent.name if model.name == "best.pt" else model.name
    runs = {folder.name: folder for folder in workspace.runs()}
    if model in runs:
        if not (runs[model] / "best.pt").is_file():
            raise UserError("run_without_best", path=model)
        return runs[model] / "best.pt", model
    files = {str(file.relative_to(workspace.weights)): file for file in sorted(workspace.weights.rglob("*")) if file.is_file()}
    if model in files:
        return files[model], model
    raise UserError("model_unknown", model=str(model)[:80], known=", ".join([*runs, *files][:20]) or "-")


def state(dataset: Dataset) -> dict[str, Any] | None:
    """{"phase", "done", "total", "failed", "error", "source", "work", "images", "shapes", "missing"} of the last job; None when there was none.

    `done` and `total` count images, of a cross-check thousandths.
    phase: starting, running, stopping, done, stopped or failed; one whose process has died is "stopped". `error` is {"key", "values"} of a
    UserError; `images` and `shapes` count what was suggested, `missing` the classes that the set lacks.
    """
    try:
        found = {**NOTHING, **json.loads((dataset.folder / FILE).read_text(encoding="utf-8"))}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        found = {"phase": None}
    if not isinstance(found["phase"], str):
        return {**NOTHING, "phase": "failed", "error": {"key": "suggest_died", "values": {"name": dataset.id}}}
    if found["phase"] not in ACTIVE:
        return found
    if found["owner"] is None:
        alive: bool | None = _starting(dataset.folder, found["started"])
    else:
        alive = owners.is_living(str(found["owner"]))
    if alive is False:
        return {**found, "phase": "stopped"}
    return {**found, "phase": "stopping" if (dataset.folder / STOP).exists() else found["phase"]}


def active(workspace: Workspace) -> list[tuple[Dataset, dict[str, Any]]]:
    """The sets that are being looked through now, each with the state of its job."""
    found = []
    for each in workspace.datasets():
        now = state(each) if (each.folder / FILE).is_file() else None
        if now is not None and now["phase"] in ACTIVE:
            found.append((each, now))
    return found


def cancel(dataset: Dataset) -> None:
    """Asks the job to stop after the few images that it is looking at; what it has suggested or trained so far stays."""
    if (state(dataset) or NOTHING)["phase"] in ACTIVE:
        (dataset.folder / STOP).touch()


# ---- the process

class _Job:
    """One request being worked on; writes the state file."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.written = dataset, 0.0
        self.now = {**NOTHING, **json.loads((dataset.folder / FILE).read_text(encoding="utf-8"))}
        self.asked = False

    def tell(self, **changes: Any) -> None:
        self.now |= changes
        with suppress(OSError):  # the set was deleted meanwhile
            write_json(self.dataset.folder / FILE, self.now)

    def progress(self, done: int, total: int) -> None:
        self.now |= {"done": done, "total": total}
        if time.monotonic() - self.written > EVERY_S:
            self.written = time.monotonic()
            self.tell()

    def stopped(self) -> bool:
        return self.asked or (self.dataset.folder / STOP).exists()

    def work(self) -> None:
        from engine.predict import load  # torch loads here, once the state says that somebody is at work

        request = self.now["request"]
        self.tell(phase="running", owner=owners.marked("suggest"))
        predictor = None if request["work"] == "kfold" else load(Path(request["model"]))
        WORK[request["work"]](self, predictor, request)
        self.tell(phase="stopped" if self.stopped() else "done")


def _suggest(job: _Job, predictor: Any, request: dict[str, Any]) -> None:
    from engine import suggesting

    ids = suggesting.wanted_ids(job.dataset, request["images"], count=request["count"], around=request["around"])
    job.tell(total=len(ids))
    told = suggesting.Suggested()

    def progress(done: int, total: int) -> None:
        job.now |= {"failed": told.failed, "images": told.images, "shapes": told.shapes, "missing": told.missing}
        job.progress(done, total)

    suggesting.suggest(job.dataset, predictor, ids, source=job.now["source"], threshold=request["threshold"], progress=progress,
                       cancelled=job.stopped, into=told)
    job.now |= {"failed": told.failed, "images": told.images, "shapes": told.shapes, "missing": told.missing}


def _rank(job: _Job, predictor: Any, request: dict[str, Any]) -> None:
    from engine import label_errors, ranking, suggesting

    suggesting.check(job.dataset, predictor)
    ids = suggesting.wanted_ids(job.dataset, request["images"], count=request["count"], around=request["around"], states=("unlabeled", "suggested"))
    job.tell(total=len(ids))
    found = ranking.rank(job.dataset, predictor, ids, count=request["count"], known=label_errors.labeled_ids(job.dataset), source=job.now["source"],
                         progress=job.progress, cancelled=job.stopped)
    job.now |= {"images": len(found)}


def _suspects(job: _Job, predictor: Any, request: dict[str, Any]) -> None:
    from engine import label_errors

    ids = None if isinstance(request["images"], str) else request["images"]
    found = label_errors.suspects(job.dataset, predictor, ids, model=Path(request["model"]), source=job.now["source"], progress=job.progress,
                                  cancelled=job.stopped)
    job.now |= {"images": len({each.image_id for each in found}), "shapes": len(found)}


def _cross_check(job: _Job, predictor: None, request: dict[str, Any]) -> None:
    from engine import cross_checking

    wanted = cross_checking.CrossCheck(**{name: request[name] for name in ("model", "folds", "minutes", "image_size")})
    job.tell(total=SHARES)
    found = cross_checking.work(job.dataset, wanted, share=lambda part: job.progress(max(job.now["done"], int(SHARES * part)), SHARES),
                                stop=job.stopped)
    job.now |= {"images": len({each.image_id for each in found}), "shapes": len(found)}


WORK: dict[str, Callable[[_Job, Any, dict[str, Any]], None]] = {"suggest": _suggest, "rank": _rank, "suspects": _suspects, "kfold": _cross_check}


def _end_soon(job: _Job) -> None:
    """Ends this process when a training does not answer to a cancel in time."""
    while not job.stopped():
        time.sleep(EVERY_S)
    time.sleep(PATIENCE_S)
    job.tell(phase="stopped")
    os._exit(0)


def main(arguments: list[str]) -> int:
    """`python -m engine.suggest_jobs FOLDER`: what `start` starts."""
    from engine.worker import step_back

    messages.set_language(os.environ.get("LIGHTBOX_LANGUAGE", messages.system_language()))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    job = _Job(Dataset(Path(arguments[0])))
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, frame: setattr(job, "asked", True))
    step_back()
    if job.now["work"] == "kfold":
        threading.Thread(target=_end_soon, args=(job,), daemon=True).start()
    return run(job)


def run(job: _Job) -> int:
    """Does the work; what goes wrong ends up in the state. The exit code of the process."""
    try:
        job.work()
    except UserError as error:
        log.error("%s", error)
        job.tell(phase="failed", error={"key": error.key, "values": {key: str(value) for key, value in error.values.items()}})
        return 2
    except Exception as error:  # noqa: BLE001 - the outer border of the process
        log.exception("unexpected")
        job.tell(phase="failed", error={"key": "suggest_bug", "values": {"kind": type(error).__name__, "log": str(job.dataset.folder / LOG)}})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

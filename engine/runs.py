"""A run is a folder. The worker writes it, everyone else only reads it."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from engine.config import TrainConfig
from engine.types import UserError

ACTIVE = ("starting", "running", "stopping")
FINISHED = ("done", "stopped", "interrupted", "failed")
FOREIGN_HEARTBEAT_S = 60
CLAIM_S = 10
EMPTY_STATE: dict[str, Any] = {"phase": "queued", "pid": None, "pid_started": None, "host": None, "step": 0, "epoch": 0, "epochs": 0,
                               "eta_s": None, "images_per_s": None, "memory_gib": None, "fetching": None, "error": None, "heartbeat": None,
                               "created": None}


class Run:
    """Read access to a run folder; `write_state` and `append_metrics` are for its worker."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    def exists(self) -> bool:
        return (self.folder / "config.json").is_file()

    def config(self) -> TrainConfig:
        """Raises UserError when config.json is missing or damaged."""
        try:
            return TrainConfig.from_dict(json.loads((self.folder / "config.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError("run_damaged", run=self.id, file="config.json") from error

    def command(self) -> str:
        file = self.folder / "command.txt"
        return file.read_text(encoding="utf-8").strip() if file.is_file() else ""

    def state(self) -> dict[str, Any]:
        """The worker's last word; "interrupted" when it says active but its process is gone."""
        try:
            state = {**EMPTY_STATE, **json.loads((self.folder / "state.json").read_text(encoding="utf-8"))}
        except (OSError, ValueError):
            return {**EMPTY_STATE, "phase": "failed", "error": {"key": "run_damaged", "values": {"run": self.id, "file": "state.json"}}}
        if state["phase"] in ACTIVE and not _alive(state):
            return {**state, "phase": "interrupted", "eta_s": None}
        if state["phase"] == "running" and self.stop_requested():
            state["phase"] = "stopping"
        return state

    def metrics(self, since: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Rows from byte offset `since` on, and the offset to ask from next time. A row that is being written is left for then."""
        file = self.folder / "metrics.jsonl"
        if not file.is_file():
            return [], 0
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(since if since <= size else 0)
            start = stream.tell()
            data = stream.read()
        complete = data[: data.rfind(b"\n") + 1]
        return list(_parsed_rows(complete)), start + len(complete)

    def log(self, lines: int = 200) -> str:
        file = self.folder / "log.txt"
        if not file.is_file():
            return ""
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 200 * lines))
            return "\n".join(stream.read().decode("utf-8", "replace").splitlines()[-lines:])

    def request_stop(self) -> None:
        """Ask the worker to stop at its next step; a run that only waits is taken off the queue."""
        (self.folder / "stop").touch()
        if self.state()["phase"] == "queued":
            self.write_state(phase="stopped")

    def stop_requested(self) -> bool:
        return (self.folder / "stop").exists()

    def write_state(self, **changes: Any) -> None:
        """Replace state.json atomically."""
        try:
            state = {**EMPTY_STATE, **json.loads((self.folder / "state.json").read_text(encoding="utf-8"))}
        except (OSError, ValueError):
            state = dict(EMPTY_STATE)
        write_json(self.folder / "state.json", {**state, **changes, "heartbeat": time.time()})

    def write_config(self, config: TrainConfig) -> None:
        write_json(self.folder / "config.json", config.as_dict())

    def write_validation(self, found: dict[str, Any]) -> None:
        """What the best epoch's validation found: metrics, per class, and curves where there are any."""
        write_json(self.folder / "validation.json", found)

    def validation(self) -> dict[str, Any]:
        """What `write_validation` wrote; {} when there is nothing, or nothing that can be read."""
        try:
            found = json.loads((self.folder / "validation.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def append_metrics(self, row: dict[str, Any]) -> None:
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def forget_metrics_after(self, step: int) -> None:
        """Drop rows beyond `step`, so that a resumed run has no epoch twice."""
        rows, _ = self.metrics()
        temporary = self.folder / "metrics.jsonl.tmp"
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows if row.get("step", 0) <= step), encoding="utf-8")
        temporary.replace(self.folder / "metrics.jsonl")

    def claim(self) -> None:
        """The calling process becomes the worker of this run. Raises UserError when another one is at work on it."""
        me = psutil.Process()
        with exclusive(self.folder / ".claim.lock", CLAIM_S) as mine:
            state = self.state()
            if not mine or (state["phase"] in ACTIVE and state["pid"] != me.pid):
                raise UserError("run_active", run=self.id)
            self._claim(me)

    def _claim(self, me: psutil.Process) -> None:
        self.write_state(phase="starting", pid=me.pid, pid_started=me.create_time(), host=socket.gethostname(), error=None, eta_s=None,
                         fetching=None)


def create(folder: str | Path, config: TrainConfig) -> Run:
    """A new run, "queued". Raises UserError when the folder already holds something, but for a run that failed before its first checkpoint."""
    folder = Path(folder)
    run = Run(folder)
    try:
        if folder.exists() and any(folder.iterdir()) and not _failed_at_the_start(run):
            raise UserError("run_exists", path=str(folder))
        (folder / "previews").mkdir(parents=True, exist_ok=True)
        (folder / "stop").unlink(missing_ok=True)
        run.write_config(config)
        (folder / "command.txt").write_text(command_line(config, folder) + "\n", encoding="utf-8")
        run.write_state(phase="queued", created=time.time())
    except OSError as error:
        raise UserError("folder_not_writable", path=str(folder), reason=error.strerror or str(error)) from error
    return run


def requeue(run: Run) -> None:
    """Make a finished, stopped or interrupted run ready to go on. Raises UserError while it is active or has no checkpoint."""
    phase = run.state()["phase"]
    if phase in ACTIVE or phase == "queued":
        raise UserError("run_active", run=run.id)
    if phase == "done":
        raise UserError("run_done", run=run.id)
    if not run.last.exists() and (config := run.config()).minutes and all(moment.split("+")[0] == "0" for moment in config.epochs_plan):
        run.write_config(config.replace(epochs_plan={}))  # guesses before the first epoch was complete are no record to repeat
    (run.folder / "stop").unlink(missing_ok=True)
    run.write_state(phase="queued", pid=None, pid_started=None, error=None)


def command_line(config: TrainConfig, folder: Path) -> str:
    """The shell command that does the same."""
    default = TrainConfig()
    flags = {"data", "model", "epochs", "minutes", "batch", "image_size", "lr", "seed", "device", "weights", "workers"}
    parts = ["python -m engine train", f"--run {_quoted(str(folder))}"]
    for name, value in config.as_dict().items():
        if value == getattr(default, name) and name not in ("data", "model"):
            continue
        if name in flags:
            parts.append(f"--{name.replace('_', '-')} {_quoted(str(value))}")
        elif name == "options":
            parts += [f"--set {each}={_quoted(str(chosen))}" for each, chosen in value.items()]
        elif name not in ("epochs_plan", "task"):
            parts.append(f"--set {name}={_quoted(str(value))}")
    return " ".join(parts)


def write_json(file: Path, value: Any) -> None:
    """Whole or not at all: written beside, then renamed over."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    temporary.replace(file)


@contextmanager
def exclusive(file: Path, stale_s: float) -> Iterator[bool]:
    """A lock file; yields False when somebody else holds it. One older than `stale_s` was left by a process that died."""
    with suppress(FileNotFoundError):
        if time.time() - file.stat().st_mtime > stale_s:
            file.unlink(missing_ok=True)
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        yield False
        return
    try:
        yield True
    finally:
        file.unlink(missing_ok=True)


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[\w./:=,+-]+", value, re.ASCII) else '"' + value.replace('"', '\\"') + '"'


def _parsed_rows(data: bytes) -> list[dict[str, Any]]:
    rows = []
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _failed_at_the_start(run: Run) -> bool:
    return run.exists() and run.state()["phase"] == "failed" and not run.last.exists() and not run.metrics()[0]


def _alive(state: dict[str, Any]) -> bool:
    """Is the worker that wrote `state` still there? A reused process number does not count."""
    if state["host"] not in (None, socket.gethostname()):
        return time.time() - (state["heartbeat"] or 0) < FOREIGN_HEARTBEAT_S
    try:
        process = psutil.Process(int(state["pid"]))
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - float(state["pid_started"])) < 1.0
    except (psutil.Error, TypeError, ValueError):
        return False

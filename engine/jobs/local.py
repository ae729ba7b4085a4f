"""Jobs on this machine: one worker process at a time, first in, first out. The run folders are the queue."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from engine import messages
from engine.runs import ACTIVE, Run, exclusive

START_PATIENCE_S = 30.0
STALE_LOCK_S = 120.0
REPOSITORY = Path(__file__).resolve().parents[2]


def submit(run: Run) -> int:
    """Start `run` now or leave it queued; the number of runs before it (0 = started, or about to be by somebody else who asked)."""
    advance(run.folder.parent)
    ids = [each.id for each in queued(run.folder.parent)]
    return ids.index(run.id) + len(active(run.folder.parent)) if run.id in ids else 0


def queued(runs_folder: Path) -> list[Run]:
    """Waiting runs, oldest first."""
    waiting = [(run.state(), run) for run in _runs(runs_folder)]
    return [run for state, run in sorted(waiting, key=lambda pair: (pair[0].get("created") or 0, pair[1].id)) if state["phase"] == "queued"]


def active(runs_folder: Path) -> list[Run]:
    return [run for run in _runs(runs_folder) if run.state()["phase"] in ACTIVE]


def advance(runs_folder: Path) -> None:
    """Start the oldest waiting run when none is active. Safe to call from anyone at any time."""
    runs_folder.mkdir(parents=True, exist_ok=True)
    with exclusive(runs_folder / ".queue.lock", STALE_LOCK_S) as mine:
        if not mine or active(runs_folder):
            return
        for run in queued(runs_folder):
            if _launch(run):
                return


def _launch(run: Run) -> bool:
    """Start a worker of its own session and wait until it has claimed the run."""
    with (run.folder / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.worker", str(run.folder.resolve())], cwd=REPOSITORY, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, env={**os.environ, "LIGHTBOX_LANGUAGE": messages.current_language()},
            start_new_session=os.name != "nt", creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0), close_fds=True,
        )
    deadline = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < deadline:
        if run.state()["phase"] != "queued":
            return True
        if process.poll() is not None:
            run.write_state(phase="failed", error={"key": "worker_died", "values": {"run": run.id, "code": process.returncode}})
            return False
        time.sleep(0.05)
    process.kill()
    run.write_state(phase="failed", error={"key": "worker_slow", "values": {"run": run.id, "seconds": int(START_PATIENCE_S)}})
    return False


def _runs(folder: Path) -> list[Run]:
    return [Run(each) for each in sorted(folder.iterdir()) if (each / "state.json").is_file()] if folder.is_dir() else []

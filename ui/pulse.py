"""The page's heartbeat: one small question a second, and an event only for what is on show and has changed.

Each event of Gradio makes the browser walk through all components, which takes some tens of milliseconds; clocks that ticked on their own took a
good part of a core from the training beside them, also while nothing happened.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gradio as gr

from engine.jobs import local
from engine.runs import ACTIVE, Run
from engine.workspace import Workspace
from ui.selection import dataset_choices

PAGES = {"header": "", "train": "lb-page-train", "runs": "lb-page-runs"}  # event: the page that has to be on show for it
REST_MS = {"header": 3000, "train": 900, "runs": 1900}  # at least between two of them, while something changes all the time
PULSE_JS = """
// A page is told again after a change, in case a file was still being written.
const AGAIN = 2, seen = {}, left = {}, told = {};
const tell = (name) => { told[name] = Date.now(); trigger(name); };
const onShow = (page) => !page || document.getElementById(page)?.offsetParent;
const look = async () => {
  try {
    if (document.hidden) return;
    const now = await server.pulse_look({});
    for (const [name, page] of Object.entries(PAGES)) {
      if (!onShow(page) || Date.now() - (told[name] ?? 0) < REST_MS[name]) continue;
      if (now[name] !== seen[name]) { seen[name] = now[name]; left[name] = AGAIN; tell(name); }
      else if (left[name] > 0) { left[name] -= 1; tell(name); }
    }
  } catch { /* the app is away for a moment: Gradio tells */ } finally { setTimeout(look, 1000); }
};
look();
"""


def build(workspace: Workspace, jobs: Callable[[], str]) -> gr.HTML:
    """An invisible component with one event for each of `PAGES`. `jobs`: what the header says of jobs."""

    def pulse_look(sent: Any) -> dict[str, str]:
        local.advance(workspace.runs_folder)
        return state_of(workspace, jobs())

    script = PULSE_JS.replace("PAGES", json.dumps(PAGES)).replace("REST_MS", json.dumps(REST_MS))
    return gr.HTML("", elem_id="lb-pulse", visible="hidden", js_on_load=script, apply_default_css=False, server_functions=[pulse_look])


def state_of(workspace: Workspace, jobs: str) -> dict[str, str]:
    """For each event a text that changes when what it shows may have changed."""
    runs = [_trace(Run(folder)) for folder in workspace.runs()]
    phases = [trace[:2] for trace in runs]
    clock = int(time.time()) if any(phase in ACTIVE for _, phase in phases) else 0
    return {"header": _digest(dataset_choices(workspace), phases, jobs), "train": _digest(runs, clock), "runs": _digest(runs)}


def _trace(run: Run) -> tuple[str, str, int, int]:
    """Name, phase, time of the last file that came or was replaced, bytes of metrics."""
    changed = size = 0
    with suppress(FileNotFoundError):
        changed = run.folder.stat().st_mtime_ns
        size = (run.folder / "metrics.jsonl").stat().st_size
    return run.id, run.state()["phase"], changed, size


def _digest(*parts: Any) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()

"""Runs that were queued together to be compared: one table of what was measured of each on this machine."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.metrics import names
from engine.runs import Run
from engine.types import UserError
from ui import html, plots
from ui.html import Html, join, tag
from ui.i18n import t
from ui.pages.train import words
from ui.pages.train.groups import Group
from ui.pages.train.pictures import elapsed
from ui.pages.train.plan import full_name
from ui.pages.train.validation import interval
from ui.pages.train.watch import stamp

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
HEAD = ("model", "state", "metric", "parameters", "images_per_s", "memory", "time")


@dataclass(frozen=True)
class Measured:
    """What was measured of a run; None = not yet."""

    run: str
    name: str
    phase: str
    best: float | None
    interval: str
    parameters: float | None
    images_per_s: float | None
    memory: float | None
    seconds: float | None


def measured(run: Run) -> Measured:
    state = run.state()
    try:
        config = run.config()
        name, task = full_name(config), config.task
    except UserError:
        name, task = run.id, "detect"
    rows = run.metrics()[0]
    metric = names.headline(task)
    best = plots.best(rows, metric)
    speeds = [float(row["images_per_s"]) for row in rows if row.get("split") == "train" and row.get("images_per_s")]
    memory = state.get("memory_gib")
    return Measured(run.id, name, str(state["phase"]), best[0] if best else None, interval(run.validation().get("metrics") or {}, metric),
                    parameters(str(run.best), *stamp(run.best)), statistics.median(speeds) if speeds else None,
                    float(memory) if memory else None, elapsed(rows))


@lru_cache(maxsize=256)
def parameters(file: str, size: int, changed: int) -> float | None:
    """Millions of numbers that best.pt holds, without the running statistics; `size` and `changed` are what the answer depends on."""
    if not size:
        return None
    from engine import weights

    with suppress(UserError, KeyError, AttributeError, OSError):
        tensors = weights.safe_load(file)["model"]
        return sum(value.numel() for name, value in tensors.items() if not name.endswith(BUFFERS)) / 1e6
    return None


def task_of(runs: Sequence[Run]) -> str:
    return words.task_of(runs[0]) if runs else "detect"


def table_html(group: Group, runs: Sequence[Run], language: str) -> Html:
    """A row a run; a click on a heading sorts."""
    metric = plots.metric_name(names.headline(task_of(runs)), language)
    heads = {"model": t("runs.model", language), "state": t("runs.state", language), "metric": metric, "time": t("runs.time", language),
             **{name: t(f"runs.{name}", language) for name in ("parameters", "images_per_s", "memory")}}
    head = [tag("button", heads[name], type="button", class_="lb-sort", data_sort=i, title=t("runs.sort_by", language, name=heads[name]))
            for i, name in enumerate(HEAD)]
    found = [measured(run) for run in runs]
    top = max((each.best for each in found if each.best is not None), default=None)
    rows = [_row(each, top, language) for each in found]
    note = tag("p", t("runs.comparison_note", language, metric=metric), class_="lb-muted lb-small")
    return join([html.table(head, rows, numeric=(2, 3, 4, 5, 6), label=t("runs.comparison", language, name=group.label())), note])


def _row(each: Measured, top: float | None, language: str) -> list[Html]:
    best = tag("b" if each.best == top else "span", f"{each.best:.3f}") if each.best is not None else "–"
    spread = tag("span", each.interval, class_="lb-muted", title=t("runs.interval", language)) if each.interval else ""
    return [
        _value(tag("button", each.name, type="button", class_="lb-link", data_open=each.run, title=each.run), each.name),
        _value(html.dot(words.tone(each.phase), t(f"phase.{each.phase}", language)), each.phase),
        _value(join([best, spread]), each.best), _value(_figure(each.parameters, 1), each.parameters),
        _value(_figure(each.images_per_s, 1), each.images_per_s), _value(_figure(each.memory, 2), each.memory),
        _value(words.duration(each.seconds, language), each.seconds),
    ]


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _value(shown: Any, value: Any) -> Html:
    """What a cell shows, and what it is sorted by."""
    return tag("span", shown, data_value="" if value is None else value)

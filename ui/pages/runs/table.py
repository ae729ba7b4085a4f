"""The table of runs: one row of facts each, read again only when the run's files changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.config import TrainConfig
from engine.jobs import local
from engine.metrics.names import headline
from engine.runs import ACTIVE, Run
from engine.types import UserError
from engine.workspace import Workspace
from ui import forms, html, plots
from ui.html import Html, join, tag
from ui.i18n import t
from ui.pages.train import words
from ui.pages.train.monitor import find
from ui.pages.train.pictures import elapsed
from ui.pages.train.plan import full_name
from ui.pages.train.watch import stamp
from ui.selection import name_of

MOST = 200


@dataclass(frozen=True)
class Line:
    """What the table says of a run."""

    id: str
    state: dict[str, Any]
    data: str
    model: str
    metric: str
    best: tuple[float, int] | None
    curve: tuple[float, ...]
    seconds: float | None

    @property
    def phase(self) -> str:
        return str(self.state["phase"])


def lines(workspace: Workspace, runs: Sequence[Run]) -> list[Line]:
    names = {each.folder: each.name for each in workspace.datasets()}
    return [line_of(run, names) for run in runs[:MOST]]


def line_of(run: Run, names: Mapping[Path, str]) -> Line:
    """`names` are those of the data sets, by folder."""
    try:
        config = run.config()
        data, model, task = names.get(Path(config.data), Path(config.data).name), full_name(config), config.task
    except UserError:
        data, model, task = "–", "–", "detect"
    metric = headline(task)
    best, curve, seconds = _measured(str(run.folder), metric, *stamp(run.folder / "metrics.jsonl"))
    return Line(run.id, run.state(), data, model, metric, best, curve, seconds)


@lru_cache(maxsize=512)
def _measured(folder: str, metric: str, size: int, changed: int) -> tuple[tuple[float, int] | None, tuple[float, ...], float | None]:
    """Best value, curve and duration; `size` and `changed` are what the answer depends on."""
    rows, _ = Run(folder).metrics()
    points = plots.fewer(plots.metric_series(rows, (metric,)).get(metric, []), 60)
    return plots.best(rows, metric), tuple(value for _, value in points), elapsed(rows)


def signature(runs: Sequence[Run], language: str) -> tuple[Any, ...]:
    """Changes when a row of the table has to change."""
    facts = [(run.id, state["phase"], state["epoch"], stamp(run.folder / "metrics.jsonl")) for run in runs[:MOST] for state in (run.state(),)]
    return (*facts, language)


def table_html(found: Sequence[Line], picked: Sequence[str], language: str) -> Html:
    if not found:
        return html.empty_state(t("runs.empty", language), "runs")
    colours = plots.colours_of([line.id for line in found if line.id in picked]) if len(picked) > 1 else {}
    head = [t(f"runs.{name}", language) for name in ("pick", "run", "state", "data", "model", "best", "time", "curve")]
    rows = [_row(line, line.id in picked, colours.get(line.id), language) for line in found]
    return html.table(head, rows, numeric=(5, 6), label=t("runs.table", language))


def _row(line: Line, picked: bool, colour: str | None, language: str) -> list[Any]:
    name = name_of(line.id)
    box = tag("input", type="checkbox", value=line.id, checked=picked, data_pick=True, aria_label=t("runs.pick_run", language, run=name))
    swatch = tag("i", class_="lb-swatch", style=f"background:{colour}") if colour else ""
    opener = tag("button", swatch, name, type="button", class_="lb-link", data_open=line.id, title=line.id)
    when = tag("span", words.begun(line.state), class_="lb-muted")
    phase = html.dot(words.tone(line.phase), t(f"phase.{line.phase}", language))
    curve = html.sparkline(line.curve, t("runs.curve_of", language, run=name, metric=plots.metric_name(line.metric, language)))
    return [box, tag("div", opener, when, class_="lb-run-cell"), phase, line.data, line.model, _best(line, language),
            words.duration(line.seconds, language), curve]


def _best(line: Line, language: str) -> Html:
    if line.best is None:
        return html.esc("–")
    value, epoch = line.best
    where = f"{plots.metric_name(line.metric, language)} · {t('runs.at_epoch', language, epoch=epoch)}"
    return join([tag("b", f"{value:.2f}"), " ", tag("span", where, class_="lb-muted")])


def name_among(run: Run, others: Sequence[Run]) -> str:
    """The run's short name, with what tells it apart when others share it."""
    same = [each for each in others if name_of(each.id) == name_of(run.id)]
    times = [words.begun(each.state()) for each in same]
    mine = words.begun(run.state())
    return name_of(run.id) if len(same) < 2 else f"{name_of(run.id)} {mine}" if times.count(mine) == 1 else run.id


def difference_html(runs: Sequence[Run], language: str) -> Html:
    """The settings in which the runs differ, a column each."""
    configs: list[TrainConfig] = []
    named: list[str] = []
    for run in runs:
        try:
            configs.append(run.config())
            named.append(name_among(run, runs))
        except UserError:
            continue
    different = forms.difference(configs)
    if not different:
        return tag("p", t("runs.no_difference", language), class_="lb-muted")
    rows = [[tag("b", forms.option_name(name, language)), *(_setting(name, value, language) for value in values)]
            for name, values in different.items()]
    return html.table([t("train.setting", language), *named], rows, label=t("runs.difference", language))


def _setting(name: str, value: Any, language: str) -> str:
    field = next((each for each in forms.fields() if each.name == name), None)
    if field is not None and field.open is not None and value == field.open:
        return t("train.suggested", language)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return t("word.on" if value else "word.off", language)
    return Path(value).name if name == "data" else forms.figure(value)


def picked_runs(workspace: Workspace, picked: Sequence[str]) -> list[Run]:
    """Those of the ticked runs that are still there."""
    return [run for run in (find(workspace, each) for each in picked) if run is not None]


def move_to_trash(workspace: Workspace, run: Run) -> Path:
    """Takes the run out of the list; its folder lies in trash/ from then on. Raises UserError while it is active."""
    if run.state()["phase"] in ACTIVE:
        raise UserError("run_active", run=run.id)
    target = workspace.root / "trash" / f"{time.strftime('%Y%m%d-%H%M%S')}-{run.id}"
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{target.name}-{number}")
    run.folder.rename(target)
    local.advance(workspace.runs_folder)
    return target

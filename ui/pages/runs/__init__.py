"""Runs: every training in one table; two or more of them can be laid over each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.metrics import names
from engine.runs import Run
from engine.types import UserError
from engine.workspace import Workspace
from ui import plots
from ui.guard import guarded
from ui.html import tag
from ui.i18n import label, language_of, static, t
from ui.pages.runs import comparison, table
from ui.pages.train import groups, monitor, words
from ui.selection import App, choose_run, go_to, name_of

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
PLAIN: dict[str, Any] = {"apply_default_css": False}
LOSS = "loss"
COMPARISON_JS = """
let sorted = null;
const sort = () => {
  if (!sorted) return;
  const value = (row) => row.children[sorted.column].querySelector('[data-value]').dataset.value;
  const rows = [...element.querySelectorAll('tbody tr')].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === '' || y === '') return (x === '') - (y === '');
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return sorted.down ? -order : order;
  });
  rows.forEach((row) => row.parentElement.append(row));
  element.querySelectorAll('th').forEach((head, i) => {
    head.setAttribute('aria-sort', i !== sorted.column ? 'none' : sorted.down ? 'descending' : 'ascending');
  });
};
element.addEventListener('click', (event) => {
  const head = event.target.closest('[data-sort]'), opener = event.target.closest('[data-open]');
  if (head) {
    const column = Number(head.dataset.sort);
    sorted = {column, down: sorted && sorted.column === column ? !sorted.down : column > 1};
    sort();
  }
  if (opener) trigger('open', {id: opener.dataset.open});
});
watch('value', sort);
"""
TABLE_JS = """
element.addEventListener('change', (event) => {
  if (!event.target.matches('[data-pick]')) return;
  trigger('pick', {ids: [...element.querySelectorAll('[data-pick]:checked')].map((box) => box.value)});
});
watch('value', () => element.querySelectorAll('[data-pick]').forEach((box) => { box.checked = box.hasAttribute('checked'); }));
element.addEventListener('click', (event) => {
  const opener = event.target.closest('[data-open]');
  if (opener) trigger('open', {id: opener.dataset.open});
});
"""


@dataclass(frozen=True)
class Parts:
    """The components of the page. `picked` holds the ids that are ticked, `seen` what the table was made from, `drawn` the plot's curves."""

    table: gr.HTML
    picked: gr.State
    seen: gr.State
    drawn: gr.State
    open: gr.Button
    stop: gr.Button
    resume: gr.Button
    delete: gr.Button
    confirm: gr.Column
    question: gr.HTML
    really: gr.Button
    keep: gr.Button
    start: gr.Button
    groups: gr.Column
    group: gr.Dropdown
    measured: gr.HTML
    overlay: gr.Button
    compare: gr.Column
    metric: gr.Radio
    plot: gr.LinePlot
    difference: gr.HTML

    @property
    def everything(self) -> list[Any]:
        """In the order of `shown`."""
        return [self.table, self.picked, self.seen, self.open, self.stop, self.resume, self.delete, self.confirm, self.start, self.compare,
                self.difference, self.metric]


def build(app: App) -> None:
    parts = _layout()
    _wire_table(app, parts)
    _wire_comparisons(app, parts)
    _wire_actions(app, parts)


def _layout() -> Parts:
    picked, seen, drawn = gr.State([]), gr.State(None), gr.State(None)
    with gr.Column(elem_classes="lb-page"):
        with gr.Row(elem_classes="lb-monitor-head"):
            gr.HTML(static(lambda language: tag("div", tag("h2", t("runs.title", language), class_="lb-title"),
                                                tag("p", t("runs.lead", language), class_="lb-lead"))), js_on_load=None, **PLAIN)
            with gr.Row(elem_classes="lb-actions"):
                opened = gr.Button(label("runs.open"), variant="primary", visible=False, elem_id="lb-runs-open")
                stop = gr.Button(label("train.stop"), visible=False, elem_id="lb-runs-stop")
                resume = gr.Button(label("train.resume"), visible=False, elem_id="lb-runs-resume")
                delete = gr.Button(label("runs.delete"), visible=False, elem_id="lb-runs-delete")
        with gr.Column(visible=False, elem_classes="lb-runs-confirm") as confirm:
            question = gr.HTML(js_on_load=None, **PLAIN)
            with gr.Row(elem_classes="lb-actions"):
                really = gr.Button(label("runs.delete_yes"), variant="stop", elem_id="lb-runs-delete-yes")
                keep = gr.Button(label("runs.delete_no"), elem_id="lb-runs-delete-no")
        with gr.Column(visible=False, elem_classes="lb-card lb-comparison", elem_id="lb-comparison") as groups_:
            with gr.Row(elem_classes="lb-between"):
                gr.HTML(static(lambda language: tag("h3", t("runs.comparisons", language))), js_on_load=None, **PLAIN)
                group = gr.Dropdown([], label=label("runs.comparison_pick"), show_label=False, container=False, elem_id="lb-comparison-pick")
            measured = gr.HTML(js_on_load=COMPARISON_JS, elem_id="lb-comparison-table", **PLAIN)
            overlay = gr.Button(label("runs.comparison_curves"), elem_id="lb-comparison-curves", elem_classes="lb-lone-button")
        listing = gr.HTML(js_on_load=TABLE_JS, elem_id="lb-runs-table", min_height=160, **PLAIN)
        start = gr.Button(label("runs.start"), variant="primary", visible=False, elem_id="lb-runs-start", elem_classes="lb-lone-button")
        with gr.Column(visible=False, elem_id="lb-runs-compare", elem_classes="lb-page") as compare:
            metric = gr.Radio([(label("runs.loss"), LOSS)], value=LOSS, show_label=False, container=False, elem_id="lb-runs-metric")
            plot = plots.line_plot("compare", "epoch")
            difference = gr.HTML(js_on_load=None, elem_id="lb-runs-difference", **PLAIN)
    return Parts(listing, picked, seen, drawn, opened, stop, resume, delete, confirm, question, really, keep, start, groups_, group, measured,
                 overlay, compare, metric, plot, difference)


def shown(workspace: Workspace, picked: Sequence[str], language: str) -> list[Any]:
    """The page for the runs that are there and ticked, for `Parts.everything`."""
    runs = monitor.all_runs(workspace)
    chosen = [run for run in runs if run.id in picked]
    phases = [run.state()["phase"] for run in chosen]
    active = [words.is_active(phase) for phase in phases]
    ids = [run.id for run in chosen]
    return [
        table.table_html(table.lines(workspace, runs), ids, language), ids, table.signature(runs, language),
        gr.Button(visible=len(chosen) == 1), gr.Button(visible=any(active)), gr.Button(visible=len(chosen) == 1 and words.can_resume(phases[0])),
        gr.Button(visible=bool(chosen) and not any(active)), gr.Column(visible=False), gr.Button(visible=not runs),
        gr.Column(visible=len(chosen) > 1), table.difference_html(chosen, language) if len(chosen) > 1 else gr.skip(),
        metrics_of(chosen, language),
    ]


def metrics_of(runs: Sequence[Run], language: str) -> Any:
    """What can be compared: the metrics of the runs' tasks and the loss."""
    found = list(dict.fromkeys(name for run in runs for name in names.shown(words.task_of(run))))
    if len(runs) < 2 or not found:
        return gr.skip()
    return gr.update(choices=[*((plots.metric_name(name, language), name) for name in found), (t("runs.loss", language), LOSS)], value=found[0])


def compared(workspace: Workspace, chosen: str | None, language: str) -> list[Any]:
    """The comparison on show: its frame, the list of all, and its table."""
    every = groups.grouped(monitor.all_runs(workspace))
    if not every:
        return [gr.Column(visible=False), gr.skip(), gr.skip()]
    key = chosen if chosen in every else next(iter(every))
    group, members = every[key]
    choices = [(each.label(), name) for name, (each, _) in every.items()]
    return [gr.Column(visible=True), gr.Dropdown(choices=choices, value=key), comparison.table_html(group, members, language)]


def curves(workspace: Workspace, picked: Sequence[str], metric: str, drawn: Any) -> tuple[Any, Any]:
    """The plot's next value and the curves that it then shows. A metric that none of the runs has is their first."""
    chosen = [run for run in monitor.all_runs(workspace) if run.id in picked]
    known = [name for run in chosen for name in names.shown(words.task_of(run))]
    metric = metric if metric == LOSS or metric in known else next(iter(known), LOSS)
    return plots.comparison_update({table.name_among(run, chosen): run.metrics()[0] for run in chosen}, metric, drawn)


def _wire_table(app: App, parts: Parts) -> None:
    workspace = app.workspace

    @guarded
    def entered(request: gr.Request, picked: list[str], chosen: str | None) -> list[Any]:
        return shown(workspace, picked or [chosen or ""], language_of(request))

    @guarded
    def tick(request: gr.Request, picked: list[str], metric: str, drawn: Any, seen: Any) -> list[Any]:
        language = language_of(request)
        if seen is None or seen == table.signature(monitor.all_runs(workspace), language):
            return [gr.skip()] * (len(parts.everything) + 2)
        result = shown(workspace, picked, language)
        result[7] = result[-1] = gr.skip()  # a question that stands is not taken away, nor the choice of a metric
        return [*result, *(curves(workspace, picked, metric, drawn) if len(picked) > 1 else (gr.skip(), gr.skip()))]

    @guarded
    def pick(event: gr.EventData, request: gr.Request) -> list[Any]:
        return shown(workspace, [str(each) for each in event.ids], language_of(request))

    @guarded
    def draw(picked: list[str], metric: str, drawn: Any) -> tuple[Any, Any]:
        return curves(workspace, picked, metric, drawn)

    @guarded
    def open_run(event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        return choose_run(workspace, str(event.id), language_of(request)), go_to("train"), *app.show_run(str(event.id))

    compared, plot = [parts.picked, parts.metric, parts.drawn], [parts.plot, parts.drawn]
    for changed in (app.tab["runs"].select(entered, [parts.picked, app.run], parts.everything, **QUIET),
                    parts.table.pick(pick, None, parts.everything, **QUIET), parts.metric.input(lambda: None, None, None, **QUIET)):
        changed.then(draw, compared, plot, **QUIET).then(draw, compared, plot, **QUIET)  # emptied first, then drawn
    app.pulse.runs(tick, [*compared, parts.seen], [*parts.everything, *plot], trigger_mode="once", **QUIET)
    for listed in (parts.table, parts.measured):
        listed.open(open_run, None, [app.run, app.tabs, *app.run_view], **QUIET)


def _wire_comparisons(app: App, parts: Parts) -> None:
    workspace = app.workspace
    outputs = [parts.groups, parts.group, parts.measured]
    seen = gr.State(None)

    @guarded
    def show(chosen: str | None, request: gr.Request) -> list[Any]:
        return compared(workspace, chosen, language_of(request))

    @guarded
    def tick(chosen: str | None, before: Any, request: gr.Request) -> list[Any]:
        every = groups.grouped(monitor.all_runs(workspace))
        now = (chosen, list(every), table.signature(every[chosen][1] if chosen in every else [], language_of(request)))
        if now == before:
            return [gr.skip()] * 4
        return [*compared(workspace, chosen, language_of(request)), now]

    @guarded
    def overlay(chosen: str | None, request: gr.Request) -> list[Any]:
        every = groups.grouped(monitor.all_runs(workspace))
        members = every[chosen][1] if chosen in every else []
        return shown(workspace, [run.id for run in members], language_of(request))

    parts.group.input(show, parts.group, outputs, **QUIET)
    app.pulse.runs(tick, [parts.group, seen], [*outputs, seen], trigger_mode="once", **QUIET)
    compare, plot = [parts.picked, parts.metric, parts.drawn], [parts.plot, parts.drawn]

    @guarded
    def draw(picked: list[str], metric: str, drawn: Any) -> tuple[Any, Any]:
        return curves(workspace, picked, metric, drawn)

    parts.overlay.click(overlay, parts.group, parts.everything, **QUIET).then(draw, compare, plot, **QUIET).then(draw, compare, plot, **QUIET)


def _wire_actions(app: App, parts: Parts) -> None:
    workspace = app.workspace

    @guarded
    def open_picked(picked: list[str], request: gr.Request) -> tuple[Any, ...]:
        wanted = picked[0] if picked else ""
        return choose_run(workspace, wanted, language_of(request)), go_to("train"), *app.show_run(wanted)

    @guarded
    def stop(request: gr.Request, picked: list[str]) -> list[Any]:
        for run in table.picked_runs(workspace, picked):
            if words.is_active(run.state()["phase"]):
                monitor.stop(workspace, run.id)
        return shown(workspace, picked, language_of(request))

    @guarded
    def resume(request: gr.Request, picked: list[str]) -> list[Any]:
        for each in picked:
            monitor.resume(workspace, each)
        return shown(workspace, picked, language_of(request))

    @guarded
    def ask(picked: list[str], request: gr.Request) -> tuple[Any, ...]:
        return gr.Column(visible=True), tag("p", t("runs.delete_question", language_of(request), names=", ".join(map(name_of, picked))))

    @guarded
    def delete(request: gr.Request, picked: list[str]) -> list[Any]:
        if app.demo:
            raise UserError("demo_delete")
        for run in table.picked_runs(workspace, picked):
            table.move_to_trash(workspace, run)
        language = language_of(request)
        return [*shown(workspace, [], language), choose_run(workspace, None, language)]

    parts.open.click(open_picked, parts.picked, [app.run, app.tabs, *app.run_view], **QUIET)
    parts.stop.click(stop, parts.picked, parts.everything, **QUIET)
    parts.resume.click(resume, parts.picked, parts.everything, show_progress="hidden", api_visibility="private")
    parts.delete.click(ask, parts.picked, [parts.confirm, parts.question], **QUIET)
    parts.keep.click(lambda: gr.Column(visible=False), None, parts.confirm, **QUIET)
    parts.really.click(delete, parts.picked, [*parts.everything, app.run], **QUIET)
    parts.start.click(lambda: go_to("train"), None, app.tabs, **QUIET)

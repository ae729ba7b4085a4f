"""The train page while a run is shown: everything comes from the run's folder, once a second, and only when it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine import runs
from engine.jobs import local
from engine.runs import Run
from engine.types import UserError
from engine.workspace import Workspace
from ui import plots
from ui.i18n import label, t
from ui.pages.train import pictures, validation, words
from ui.pages.train.watch import Watch, look

PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}
OUTPUTS = 14


@dataclass(frozen=True)
class Monitor:
    """The components of the monitor. `shown` holds the id of the run on show, "" while the form is."""

    column: gr.Column
    shown: gr.Textbox
    watch: gr.State
    title: gr.HTML
    failure: gr.HTML
    headline: gr.HTML
    loss: gr.LinePlot
    metrics: gr.LinePlot
    rate: gr.LinePlot
    previews: gr.HTML
    log: gr.HTML
    validation: gr.HTML
    history: gr.HTML
    stop: gr.Button
    resume: gr.Button
    use: gr.Button
    new: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """In the order of `Frame.values`."""
        return [self.title, self.failure, self.headline, self.loss, self.metrics, self.rate, self.previews, self.log,
                self.validation, self.history, self.stop, self.resume, self.use, self.watch]


def build() -> Monitor:
    shown, watch = gr.Textbox("", visible=False), gr.State(None)
    with gr.Column(visible=False, elem_id="lb-monitor", elem_classes="lb-page") as column:
        with gr.Row(elem_classes="lb-monitor-head"):
            title = gr.HTML(elem_id="lb-monitor-title", **PLAIN)
            with gr.Row(elem_classes="lb-actions"):
                stop = gr.Button(label("train.stop"), elem_id="lb-train-stop", visible=False)
                resume = gr.Button(label("train.resume"), variant="primary", elem_id="lb-train-resume", visible=False)
                use = gr.Button(label("train.use"), variant="primary", elem_id="lb-train-use", visible=False)
                new = gr.Button(label("train.new"), elem_id="lb-train-new")
        failure = gr.HTML(visible=False, **PLAIN, elem_id="lb-monitor-failure")
        headline = gr.HTML(**PLAIN, elem_id="lb-monitor-headline")
        with gr.Row(elem_classes="lb-plots"):
            loss, metrics = plots.line_plot("loss", "step"), plots.line_plot("metrics", "epoch", y_lim=[0, 1])
        previews = gr.HTML(**PLAIN, elem_id="lb-monitor-previews")
        found = gr.HTML(js_on_load=validation.JS, apply_default_css=False, elem_id="lb-monitor-validation")
        with gr.Accordion(label("train.rate"), open=False):
            rate = plots.line_plot("rate", "step", legend=False)
        with gr.Accordion(label("train.history"), open=False):
            history = gr.HTML(**PLAIN, elem_id="lb-monitor-history")
        with gr.Accordion(label("train.log"), open=False):
            log = gr.HTML(**PLAIN, elem_id="lb-monitor-log")
    return Monitor(column, shown, watch, title, failure, headline, loss, metrics, rate, previews, log, found, history, stop, resume,
                   use, new)


def find(workspace: Workspace, wanted: str | None) -> Run | None:
    """The run called `wanted`; ids are looked up among those that are there."""
    return next((Run(folder) for folder in workspace.runs() if wanted and folder.name == wanted and Run(folder).exists()), None)


def all_runs(workspace: Workspace) -> list[Run]:
    """Every run, newest first; a folder that is only being made is none yet."""
    found = [run for run in map(Run, workspace.runs()) if run.exists()]
    return sorted(found, key=lambda run: run.state()["created"] or 0, reverse=True)


def newest_active(workspace: Workspace) -> Run | None:
    """The run that trains, else the one that waits first."""
    folder = workspace.runs_folder
    training = sorted(local.active(folder), key=lambda run: run.state()["created"] or 0)
    return training[-1] if training else next(iter(local.queued(folder)), None)


def tick(workspace: Workspace, shown: str, watch: Watch | None, language: str) -> list[Any]:
    """What changed in the run on show, for `Monitor.outputs`; skips whatever did not."""
    nothing: list[Any] = [gr.skip()] * OUTPUTS
    run = find(workspace, shown)
    if run is None:
        return nothing
    fresh = watch is None or watch.run != run.id
    if watch is None or fresh:
        watch = Watch(run.id, words.task_of(run))
    news = look(watch, run)
    result = nothing
    if news.state_changed or fresh:
        result = _state_parts(run, news.state, watch, language)
    if news.rows or watch.emptied:
        result[3:6] = _plot_parts(watch, language)
    if news.previews is not None:
        result[6], complete = pictures.previews(news.previews, language)
        watch.previews = watch.previews if complete else ("?",)
    if news.log:
        result[7] = pictures.log(run, language)
    if news.validation:
        result[8] = validation.section(run, watch.task, language)
    if news.history:
        result[9] = validation.history(run, language)
    result[-1] = watch if fresh else gr.skip()
    return result


def _plot_parts(watch: Watch, language: str) -> list[Any]:
    loss, watch.loss = plots.loss_update(watch.rows, language, watch.loss)
    metrics, watch.metrics = plots.metric_update(watch.rows, watch.task, language, watch.metrics, int(watch.state.get("epochs") or 0))
    return [loss, metrics, plots.rate_update(watch.rows)]


def _state_parts(run: Run, state: dict[str, Any], watch: Watch, language: str) -> list[Any]:
    phase = state["phase"]
    failure = gr.HTML(pictures.failure(run, state, language), visible=phase in ("failed", "interrupted"))
    return [
        pictures.title(run, state, language), failure, pictures.headline(state, watch.rows, language, watch.task), *[gr.skip()] * 7,
        gr.Button(visible=words.is_active(phase), interactive=phase in ("queued", "starting", "running")),
        gr.Button(t("train.resume" if state["step"] else "train.retry", language), visible=words.can_resume(phase)),
        gr.Button(visible=phase == "done" and run.best.is_file()), gr.skip(),
    ]


def stop(workspace: Workspace, shown: str) -> None:
    """Asks the run to stop; one that only waits is taken off the queue. Raises UserError when it is gone."""
    _existing(workspace, shown).request_stop()


def resume(workspace: Workspace, shown: str) -> None:
    """Puts the run back into the queue. Raises UserError when there is nothing to go on with."""
    run = _existing(workspace, shown)
    runs.requeue(run)
    local.submit(run)


def _existing(workspace: Workspace, wanted: str) -> Run:
    run = find(workspace, wanted)
    if run is None:
        raise UserError("run_gone", run=wanted)
    return run

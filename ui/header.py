"""The slim header on every page: where you are, what the pages act on, what is running, language and theme."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine import suggest_jobs
from engine.datasets.store import Dataset
from engine.jobs import local
from engine.runs import ACTIVE, Run
from engine.workspace import Workspace
from ui import html, pulse, theme
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import NAMES, label, language_of, static, t
from ui.pages.train.words import fetching, fetching_text
from ui.selection import (
    UNCHECKED,
    App,
    choose_dataset,
    choose_run,
    dataset_choices,
    go_to,
    name_of,
    pick,
    refresh_dataset,
    refresh_run,
    run_choices,
    signature,
)

JOBS_JS = """
element.addEventListener('click', (event) => {
  const stop = event.target.closest('[data-run], [data-looked]');
  if (stop) { stop.disabled = true; trigger('stop', {run: stop.dataset.run, looked: stop.dataset.looked}); return; }
  if (event.target.closest('[data-lb-jobs]')) { element.dataset.open = element.dataset.open === '1' ? '' : '1'; sync(); }
});
const sync = () => element.querySelector('[data-lb-jobs]')?.setAttribute('aria-expanded', element.dataset.open === '1');
const close = () => { if (element.dataset.open) { element.dataset.open = ''; sync(); } };
document.addEventListener('click', (event) => { if (!element.contains(event.target) && event.target.isConnected) close(); });
document.addEventListener('keydown', (event) => { if (event.key === 'Escape') close(); });
watch('value', () => setTimeout(sync));
"""


def build(workspace: Workspace, demo: bool) -> dict[str, Any]:
    """The header's parts: what `App` needs of them, and the two that only the header changes."""
    sets, runs = dataset_choices(workspace), run_choices(workspace)
    with gr.Row(elem_id="lb-header"):
        gr.HTML(_brand(workspace, demo), elem_id="lb-brand", js_on_load=None)
        with gr.Row(elem_id="lb-context"):
            look: dict[str, Any] = {"container": False, "interactive": True, "min_width": 120}
            dataset = gr.Dropdown(sets, value=pick(sets, None) or None, label=label("header.dataset"), elem_id="lb-dataset", **look)
            run = gr.Dropdown(runs, value=pick(runs, None) or None, label=label("header.run"), elem_id="lb-run", **look)
        jobs = gr.HTML(static(_pill_of_none), elem_id="lb-jobs", js_on_load=JOBS_JS)
        gr.HTML(static(_controls), elem_id="lb-controls", js_on_load=None)
    return {"dataset": dataset, "run": run, "jobs": jobs, "pulse": pulse.build(workspace, lambda: jobs_html(workspace, "en"))}


def wire(app: App, jobs: gr.HTML) -> None:
    """Fill the header in the visitor's language when the page opens, and keep it true while it is open."""
    workspace, seen = app.workspace, gr.State(None)

    @guarded
    def opened(request: gr.Request) -> tuple[Any, ...]:
        language, query = language_of(request), dict(request.query_params)
        page = query.get("tab")
        return (choose_dataset(workspace, query.get("dataset"), language), choose_run(workspace, query.get("run"), language),
                jobs_html(workspace, language), go_to(page) if page in app.tab else gr.skip(), _seen(workspace, language))

    @guarded
    def tick(dataset: str | None, run: str | None, last: Any, request: gr.Request) -> tuple[Any, ...]:
        language = language_of(request)
        now = _seen(workspace, language)
        if now == last:
            return (gr.skip(),) * 4
        lists = now[0] != (last or [None])[0]
        return (refresh_dataset(workspace, dataset, language) if lists else gr.skip(), refresh_run(workspace, run, language) if lists else gr.skip(),
                now[1], now)

    @guarded
    def stop(event: gr.EventData, request: gr.Request) -> str:
        stop_job(workspace, getattr(event, "run", None), getattr(event, "looked", None))
        return jobs_html(workspace, language_of(request))

    quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    app.blocks.load(opened, None, [app.dataset, app.run, jobs, app.tabs, seen], **quiet).then(
        None, None, None, js="() => { setTimeout(lightbox.settle, 300); }", **quiet)
    app.pulse.header(tick, [app.dataset, app.run, seen], [app.dataset, app.run, jobs, seen], **quiet, **UNCHECKED)
    jobs.stop(stop, None, jobs, **quiet)
    for name, part in (("dataset", app.dataset), ("run", app.run)):
        part.change(None, part, None, js=f"(value) => {{ lightbox.remember('{name}', value); }}", **quiet)
    for name, tab in app.tab.items():
        tab.select(None, None, None, js=f"() => {{ lightbox.remember('tab', '{name}'); }}", **quiet)


def _seen(workspace: Workspace, language: str) -> tuple[Any, str]:
    return signature(workspace, language), jobs_html(workspace, language)


def stop_job(workspace: Workspace, run: str | None, looked: str | None) -> None:
    """Asks a run to stop, or what looks through a data set. Raises UserError for an unknown one."""
    if looked:
        suggest_jobs.cancel(workspace.dataset(str(looked)))
    else:
        Run(workspace.run_folder(str(run))).request_stop()


def jobs_html(workspace: Workspace, language: str) -> Html:
    """The pill with how many jobs run and wait, and the list that it opens."""
    running, waiting = local.active(workspace.runs_folder), local.queued(workspace.runs_folder)
    looking = suggest_jobs.active(workspace)
    busy = len(running) + len(looking)
    counts = [t("header.jobs_running", language, n=busy)] if busy else []
    counts += [t("header.jobs_queued", language, n=len(waiting))] if waiting else []
    text = " · ".join(counts) or t("header.jobs_none", language)
    rows = [*(_job(run, language) for run in running), *(_look(*each, language) for each in looking), *(_job(run, language) for run in waiting)]
    return _pill("good" if busy else "warn" if waiting else "none", text, rows, language)


def _pill_of_none(language: str) -> Html:
    return _pill("none", t("header.jobs_none", language), [], language)


def _pill(state: str, text: str, rows: list[Html], language: str) -> Html:
    rows = rows or [tag("p", t("header.jobs_empty", language), class_="lb-muted")]
    pill = tag("button", html.dot(state, text), type="button", class_="lb-pill", data_lb_jobs=True,
               aria_expanded="false", aria_haspopup="true")
    return html.join([pill, tag("div", *rows, class_="lb-popover", role="group", aria_label=t("header.jobs", language))])


def _job(run: Run, language: str) -> Html:
    state = run.state()
    phase, epochs = state["phase"], state["epochs"]
    words = fetching_text(state, language, "progress.fetching") or t(f"phase.{phase}", language)
    if epochs and phase in ACTIVE:
        words += " · " + t("header.job_epoch", language, epoch=state["epoch"], epochs=epochs)
    button = tag("button", html.icon("stop", 16), t("header.stop", language), type="button", class_="lb-button", data_run=run.id,
                 disabled=phase == "stopping", aria_label=t("header.stop_run", language, run=name_of(run.id)))
    coming = fetching(state)
    done = coming[0] if coming else state["epoch"] / epochs if epochs else 0.0
    return tag("div", tag("div", tag("b", name_of(run.id)), button, class_="lb-between"), html.progress(done, words), class_="lb-job")


def _look(dataset: Dataset, state: dict[str, Any], language: str) -> Html:
    """A model that looks through a data set."""
    button = tag("button", html.icon("stop", 16), t("header.stop", language), type="button", class_="lb-button", data_looked=dataset.id,
                 disabled=state["phase"] == "stopping", aria_label=t("header.stop_run", language, run=dataset.name))
    words, known = t(f"label.js.assist.work.{state['work']}", language), state["total"] or None
    return tag("div", tag("div", tag("b", dataset.name), button, class_="lb-between"), html.progress(state["done"] / known if known else None, words),
               class_="lb-job")


def _brand(workspace: Workspace, demo: bool) -> Html:
    name = workspace.root.resolve().name
    return tag("div", Html(theme.logo()), tag("h1", "Lightbox"), tag("span", name, class_="lb-workspace", title=name), class_="lb-brand")


def _controls(language: str) -> Html:
    options = [tag("option", name, value=code, selected=code == language, lang=code) for code, name in NAMES.items()]
    select = tag("select", *options, data_lb_language=True, aria_label=t("header.language", language))
    button = tag("button", html.icon("theme"), type="button", data_lb_theme=True, class_="lb-icon-button", title=t("header.theme", language),
                 aria_label=t("header.theme", language))
    return tag("div", select, button, class_="lb-controls")

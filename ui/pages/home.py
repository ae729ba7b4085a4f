"""Home: three doors in, what was done last, and the machine it runs on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from engine import machine
from engine.datasets import samples
from engine.datasets.store import Dataset
from engine.metrics.names import headline
from engine.runs import Run
from engine.workspace import Workspace
from ui import html, plots
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, static, t
from ui.pages.data.pictures import strip
from ui.pages.data.words import counts_in_words, health
from ui.pages.train.words import task_of
from ui.progress import Work
from ui.selection import App, choose_dataset, choose_run, go_to, name_of

SAMPLE_IMAGES, SAMPLE_SEED = 120, 0
SAMPLES = ("detect", "instance", "semantic", "classify")
LATEST = 3
BLANK = "\u00a0"
TONES = {"done": "good", "running": "good", "starting": "good", "failed": "bad", "interrupted": "warn", "queued": "warn"}
DOORS = (("sample", "primary"), ("folder", "secondary"), ("model", "secondary"))
OPEN_JS = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('[data-kind]');
  if (card) trigger('open', {kind: card.dataset.kind, id: card.dataset.id});
});
"""
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(app: App) -> None:
    with gr.Column(elem_classes="lb-page lb-home"):
        gr.HTML(static(lambda language: tag("div", tag("h2", t("home.title", language), class_="lb-title"),
                                            tag("p", t("home.lead", language), class_="lb-lead"))))
        with gr.Row(elem_classes="lb-doors", equal_height=True):
            doors = {name: _door(name, variant) for name, variant in DOORS}
        kind = doors["sample"][2]
        filled = bool(app.workspace.datasets() or app.workspace.runs())
        recent = gr.HTML(static(_recent_waiting) if filled else "", elem_classes="lb-recent", js_on_load=OPEN_JS)
        device = gr.HTML(static(_machine_waiting), elem_classes="lb-machine")
    _wire_doors(app, {name: button for name, (_, button, _) in doors.items()}, doors["sample"][0], kind)
    _wire_cards(app, recent, device)


def _door(name: str, variant: Any) -> tuple[gr.HTML, gr.Button, gr.Radio | None]:
    """The text, whose place a progress bar can take, the button, and the choice of a sample."""
    with gr.Column(elem_classes="lb-card lb-door", min_width=240):
        gr.HTML(static(lambda language: html.join([html.icon(name, 28), tag("h3", t(f"home.door.{name}", language))])))
        text = gr.HTML(static(lambda language: _door_text(name, language)), elem_classes="lb-door-text")
        kind = _sample_kind() if name == "sample" else None
        return text, gr.Button(label(f"home.door.{name}.button"), variant=variant, elem_id=f"lb-door-{name}"), kind


def _sample_kind() -> gr.Radio:
    return gr.Radio([(label(f"home.sample.{each}"), each) for each in SAMPLES], value=SAMPLES[0], label=label("home.sample_kind"), container=False,
                    show_label=False, elem_id="lb-sample-kind")


def _door_text(name: str, language: str) -> Html:
    return tag("p", t(f"home.door.{name}.text", language), class_="lb-muted")


def _wire_doors(app: App, doors: dict[str, gr.Button], status: gr.HTML, kind: gr.Radio | None) -> None:
    workspace = app.workspace

    @guarded
    def try_sample(request: gr.Request, chosen: str) -> Iterator[tuple[Any, ...]]:
        language, chosen = language_of(request), chosen if chosen in SAMPLES else SAMPLES[0]
        known = next((each.id for each in workspace.datasets() if each.name == sample_name(chosen)), None)
        if known is None:
            work = Work(lambda report: make_sample(workspace, report, language, chosen), language, t("home.sample_making", language))
            for bar in work:
                yield bar, gr.skip(), gr.skip(), gr.Button(interactive=False)
            known = work.result
        yield _door_text("sample", language), choose_dataset(workspace, known, language), go_to("train"), gr.Button(interactive=True)

    @guarded
    def restore(request: gr.Request) -> tuple[Any, ...]:
        return _door_text("sample", language_of(request)), gr.Button(interactive=True)

    doors["sample"].click(try_sample, kind, [status, app.dataset, app.tabs, doors["sample"]], **QUIET).failure(
        restore, None, [status, doors["sample"]], **QUIET)
    doors["folder"].click(lambda: go_to("data"), None, app.tabs, queue=False, **QUIET)
    doors["model"].click(lambda: go_to("predict"), None, app.tabs, queue=False, **QUIET)


def _wire_cards(app: App, recent: gr.HTML, device: gr.HTML) -> None:
    workspace = app.workspace

    @guarded
    def open_card(event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        language = language_of(request)
        if event.kind == "dataset":
            return choose_dataset(workspace, event.id, language), gr.skip(), go_to("data"), *(gr.skip() for _ in app.run_view)
        return gr.skip(), choose_run(workspace, event.id, language), go_to("train"), *app.show_run(event.id)

    @guarded
    def show_recent(request: gr.Request) -> Html:
        return recent_html(workspace, language_of(request))

    @guarded
    def show_machine(request: gr.Request) -> Html:
        return machine_html(workspace, language_of(request))

    app.blocks.load(show_recent, None, recent, **QUIET)
    app.blocks.load(show_machine, None, device, **QUIET)
    app.tab["home"].select(show_recent, None, recent, **QUIET)
    app.late.append(lambda: recent.open(open_card, None, [app.dataset, app.run, app.tabs, *app.run_view], **QUIET))


def sample_name(kind: str) -> str:
    """Under which a sample is known, whatever the visitor's language."""
    return t("home.sample_name" if kind == SAMPLES[0] else f"home.sample_name.{kind}", "en")


def make_sample(workspace: Workspace, report: Any, language: str, kind: str = "detect") -> str:
    """Generates a sample, imports it, and returns its id."""
    with workspace.scratch() as folder:
        samples.generate(kind, folder / "sample", images=SAMPLE_IMAGES, seed=SAMPLE_SEED,
                         progress=lambda done, total: report(done, total, t("home.sample_making", language)))
        dataset, _ = workspace.import_dataset(folder / "sample", sample_name(kind),
                                              report=lambda stage, done, total: report(done, total, t(f"data.{stage}", language)))
    return dataset.id


def recent_html(workspace: Workspace, language: str) -> Html:
    """Cards of the newest sets and runs; nothing when there are none."""
    sets = sorted(workspace.datasets(), key=lambda each: each.created, reverse=True)[:LATEST]
    runs = sorted((Run(folder) for folder in workspace.runs()), key=lambda run: run.state().get("created") or 0, reverse=True)[:LATEST]
    return _recent([_dataset_card(each, language) for each in sets] + [_run_card(each, language) for each in runs], language)


def _recent(cards: list[Html], language: str) -> Html:
    if not cards:
        return Html("")
    return tag("div", tag("h2", t("home.continue", language), class_="lb-heading"), tag("div", *cards, class_="lb-cards"), class_="lb-section")


def _recent_waiting(language: str) -> Html:
    """Keeps the place of the cards until they come."""
    return _recent([tag("div", tag("span", class_="lb-thumbs"), class_="lb-card lb-recent-card lb-waiting")], language)


def _dataset_card(dataset: Dataset, language: str) -> Html:
    state, words = health(dataset, language)
    return _card("dataset", dataset.id, strip(dataset), dataset.name, counts_in_words(dataset, language), html.dot(state, words))


def _run_card(run: Run, language: str) -> Html:
    rows, phase = run.metrics()[0], run.state()["phase"]
    metric = headline(task_of(run))
    best, curve = plots.best(rows, metric), [value for _, value in plots.metric_series(rows, (metric,)).get(metric, [])]
    named = plots.metric_name(metric, language)
    words = t("home.run_best", language, metric=named, value=f"{best[0]:.2f}", epoch=best[1]) if best else t("home.run_unmeasured", language)
    picture = tag("span", html.sparkline(curve, t("home.run_curve", language, run=name_of(run.id), metric=named), 248, 56), class_="lb-curve")
    return _card("run", run.id, picture, name_of(run.id), words, html.dot(TONES.get(phase, "none"), t(f"phase.{phase}", language)))


def _card(kind: str, key: str, picture: Html, name: str, words: str, state: Html) -> Html:
    return tag("button", picture, tag("b", name), tag("span", words, class_="lb-muted lb-small"), tag("span", state, class_="lb-small"),
               type="button", class_="lb-card lb-recent-card", data_kind=kind, data_id=key)


def machine_html(workspace: Workspace, language: str) -> Html:
    """Loads torch the first time it is asked, which takes seconds."""
    found = machine.detect()
    cores = t("home.cores", language, n=found.cores)
    device = t(f"home.device.{found.device}", language)
    name, note = (device, f"{cores} · {found.name}") if found.device == "cpu" else (found.name, f"{device} · {cores}")
    memory = t("home.gib", language, n=round(found.accelerator_memory or found.memory, 1))
    return _machine(name, note, memory, t("home.gib", language, n=round(machine.free_disk(workspace.root), 1)), language)


def _machine_waiting(language: str) -> Html:
    return _machine(t("home.looking", language), BLANK, BLANK, BLANK, language)


def _machine(name: str, note: str, memory: str, disk: str, language: str) -> Html:
    numbers = html.stats(html.stat(t("home.processor", language), name, note), html.stat(t("home.memory", language), memory),
                         html.stat(t("home.disk", language), disk))
    return tag("div", tag("h2", t("home.machine", language), class_="lb-heading"), tag("section", numbers, class_="lb-card"), class_="lb-section")

"""Data: bring a set in, look through it, and see what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.datasets.store import Dataset
from engine.types import UserError
from ui import html
from ui.findings import findings, tally
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, static, t
from ui.pages.data import browse, importing, words
from ui.pages.data.browse import Query
from ui.progress import Work
from ui.selection import UNCHECKED, App, choose_dataset
from ui.sources import chosen_source

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
LOOSE: dict[str, Any] = {**QUIET, **UNCHECKED}


@dataclass
class Parts:
    """Everything on the page that an event reads or writes."""

    zone: importing.DropZone
    filters: list[gr.Dropdown]
    filter_box: gr.Column
    status: gr.HTML
    header: gr.HTML
    views: gr.Tabs
    grid: gr.HTML
    pager: gr.Row
    back: gr.Button
    place: gr.HTML
    forward: gr.Button
    health: gr.HTML
    viewer: gr.HTML
    page: gr.State
    delete: gr.Button
    confirm: gr.Column
    really: gr.Button
    keep: gr.Button
    question: gr.HTML


def build(app: App) -> None:
    with gr.Row(elem_classes=["lb-split", "lb-data"]):
        with gr.Column(elem_classes="lb-side"):
            zone = importing.build(demo=app.demo, opened=not app.dataset.value)
            side = _build_side()
        with gr.Column(elem_classes="lb-main"):
            main = _build_main()
    parts = Parts(zone=zone, **side, **main, page=gr.State(1))
    _wire_import(app, parts)
    _wire_browse(app, parts)
    _wire_delete(app, parts)


def _build_side() -> dict[str, Any]:
    everything = [(label("data.all"), "")]
    states = [*everything, *((label(f"data.state.{state}"), state) for state in browse.STATES)]
    with gr.Column(elem_classes="lb-card lb-plain-form lb-filters", visible=False) as box:
        gr.HTML(static(lambda language: tag("h3", t("data.show", language))))
        filters = [gr.Dropdown(choices, value="", label=label(f"data.{name}"), elem_id=f"lb-filter-{name}")
                   for name, choices in (("split", everything), ("class", everything), ("labels", states))]
    delete = gr.Button(label("data.delete"), variant="secondary", size="sm", visible=False, elem_id="lb-data-delete")
    with gr.Column(visible=False, elem_classes="lb-card lb-confirm") as confirm:
        question = gr.HTML("")
        with gr.Row():
            really = gr.Button(label("data.delete_yes"), variant="stop", size="sm", elem_id="lb-data-delete-yes")
            keep = gr.Button(label("data.delete_no"), variant="secondary", size="sm")
    return {"filters": filters, "filter_box": box, "delete": delete, "confirm": confirm, "really": really, "keep": keep, "question": question}


def _build_main() -> dict[str, Any]:
    status = gr.HTML("", elem_id="lb-data-status")
    header = gr.HTML(static(_nothing_yet), elem_id="lb-data-header")
    with gr.Tabs(visible=False, elem_classes="lb-views") as views:
        with gr.Tab(label("data.browse"), id="browse"):
            grid = gr.HTML("", elem_id="lb-data-grid", js_on_load=browse.GRID_JS)
            with gr.Row(elem_classes="lb-pager") as pager:
                back = gr.Button(label("data.previous_page"), size="sm", elem_id="lb-page-back")
                place = gr.HTML("", elem_classes="lb-pager-place")
                forward = gr.Button(label("data.next_page"), size="sm", elem_id="lb-page-next")
        with gr.Tab(label("data.health"), id="health"):
            health = gr.HTML("", elem_id="lb-data-health")
    viewer = gr.HTML("", elem_id="lb-viewer", js_on_load=browse.VIEWER_JS)
    return {"status": status, "header": header, "views": views, "grid": grid, "pager": pager, "back": back, "place": place, "forward": forward,
            "health": health, "viewer": viewer}


def _wire_import(app: App, parts: Parts) -> None:
    zone = parts.zone

    @guarded
    def look(file: str | None, path: str, choice: str, request: gr.Request) -> tuple[Any, ...]:
        seen, ask = importing.look(file, "" if app.demo else path, choice, language_of(request))
        return seen, gr.Dropdown(visible=ask), importing.suggested_name(file, path), gr.Button(label("data.import")), ""

    @guarded
    def bring_in(file: str | None, path: str, name: str, choice: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        language = language_of(request)
        try:
            src = chosen_source(file, "" if app.demo else path)
            work = Work(lambda report: importing.run(app.workspace, src, name, choice, report, language), language, t("data.importing", language))
            for bar in work:
                yield tag("section", bar, class_="lb-card"), gr.Button(interactive=False), *unchanged
            report = work.result
        except UserError as error:
            ask = error.key in importing.ASK_FORMAT or bool(choice)
            again = gr.Button(label("data.try_again"), interactive=True)
            yield importing.failure(error, language), again, gr.Dropdown(visible=ask), *unchanged[2:], importing.nothing_seen(language)
            return
        yield (importing.done(report, language), gr.Button(label("data.import"), interactive=True), gr.Dropdown(visible=False, value=""),
               choose_dataset(app.workspace, report.dataset, language), gr.Accordion(open=False), None, "", "",
               importing.nothing_seen(language))

    outputs = [parts.status, zone.start, zone.format, app.dataset, zone.frame, zone.file, zone.path, zone.name, zone.seen]
    unchanged = (gr.skip(),) * (len(outputs) - 2)
    zone.start.click(bring_in, zone.inputs, outputs, **QUIET).failure(
        lambda: ("", gr.Button(interactive=True)), None, [parts.status, zone.start], **QUIET)
    for event in (zone.file.upload, zone.file.clear, zone.path.submit, zone.path.blur, zone.format.input):
        event(look, [zone.file, zone.path, zone.format], [zone.seen, zone.format, zone.name, zone.start, parts.status], **QUIET)


def _wire_browse(app: App, parts: Parts) -> None:
    @guarded
    def show_set(chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        language = language_of(request)
        dataset = open_set(app, chosen)
        there = dataset is not None
        common = (gr.Column(visible=there), gr.Tabs(visible=there), gr.Button(visible=there and not app.demo), gr.Column(visible=False))
        if dataset is None:
            return _nothing_yet(language), *_filter_choices(None, language), "", *common, *_page(None, Query(), language)
        return (words.header(dataset, language), *_filter_choices(dataset, language), health_html(dataset, language), *common,
                *_page(dataset, Query(), language))

    @guarded
    def turn(chosen: str | None, split: str, class_id: str, state: str, page: int, request: gr.Request) -> tuple[Any, ...]:
        return _page(open_set(app, chosen), Query.of(split, class_id, state, page), language_of(request))

    @guarded
    def enlarge(chosen: str | None, split: str, class_id: str, state: str, event: gr.EventData, request: gr.Request) -> Html:
        dataset, query = open_set(app, chosen), Query.of(split, class_id, state)
        return browse.viewer(dataset, query, int(event.index), language_of(request)) if dataset else Html("")

    view = [parts.grid, parts.pager, parts.back, parts.place, parts.forward, parts.page]
    whole = [parts.header, *parts.filters, parts.health, parts.filter_box, parts.views, parts.delete, parts.confirm, *view]
    app.blocks.load(show_set, app.dataset, whole, **LOOSE)
    app.dataset.change(show_set, app.dataset, whole, **LOOSE)
    app.dataset.input(lambda: "", None, parts.status, queue=False, **QUIET)
    chosen = [app.dataset, *parts.filters]
    for part in parts.filters:
        part.input(lambda: 1, None, parts.page, queue=False, **QUIET).then(turn, [*chosen, parts.page], view, **LOOSE)
    parts.back.click(lambda page: page - 1, parts.page, parts.page, queue=False, **QUIET).then(turn, [*chosen, parts.page], view, **LOOSE)
    parts.forward.click(lambda page: page + 1, parts.page, parts.page, queue=False, **QUIET).then(turn, [*chosen, parts.page], view, **LOOSE)
    parts.grid.open(enlarge, chosen, parts.viewer, **LOOSE)
    parts.viewer.step(enlarge, chosen, parts.viewer, **LOOSE)


def _wire_delete(app: App, parts: Parts) -> None:
    @guarded
    def ask(chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        dataset = open_set(app, chosen)
        return gr.Column(visible=dataset is not None), tag("p", t("data.delete_question", request, name=dataset.name if dataset else ""))

    @guarded
    def delete(chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        if app.demo:
            raise UserError("demo_only_shows")
        language, dataset = language_of(request), open_set(app, chosen)
        if dataset is not None:
            name = dataset.name
            app.workspace.delete_dataset(dataset.id)
            gr.Info(html.esc(t("data.deleted", language, name=name)))
        return choose_dataset(app.workspace, None, language), gr.Column(visible=False), ""

    parts.delete.click(ask, app.dataset, [parts.confirm, parts.question], **LOOSE)
    parts.keep.click(lambda: gr.Column(visible=False), None, parts.confirm, queue=False, **QUIET)
    parts.really.click(delete, app.dataset, [app.dataset, parts.confirm, parts.status], **LOOSE)


def open_set(app: App, chosen: str | None) -> Dataset | None:
    """The chosen set, None when there is none or it is gone. Raises UserError when it is damaged."""
    try:
        return app.workspace.dataset(str(chosen)) if chosen else None
    except UserError as error:
        if error.key == "dataset_unknown":
            return None
        raise


def _filter_choices(dataset: Dataset | None, language: str) -> tuple[gr.Dropdown, ...]:
    everything = [(t("data.all", language), "")]
    splits = [(t(f"split.{name}", language), name) for name in dataset.counts()] if dataset else []
    classes = [(name, str(number)) for number, name in enumerate(dataset.classes)] if dataset else []
    return gr.Dropdown(choices=everything + splits, value=""), gr.Dropdown(choices=everything + classes, value=""), gr.Dropdown(value="")


def _page(dataset: Dataset | None, query: Query, language: str) -> tuple[Any, ...]:
    """Grid, pager and page number."""
    if dataset is None:
        return "", gr.Row(visible=False), gr.skip(), "", gr.skip(), 1
    total = dataset.total(**query.filters)
    page, pages = browse.within(query.page, total), browse.pages_of(total)
    shown = Query(query.split, query.class_id, query.state, page)
    place = t("data.page_of", language, page=html.number(page), pages=html.number(pages), images=html.number(total))
    return (browse.grid(dataset, shown, language), gr.Row(visible=total > 0), gr.Button(interactive=page > 1), tag("p", place, role="status"),
            gr.Button(interactive=page < pages), page)


def health_html(dataset: Dataset, language: str) -> Html:
    problems = dataset.problems()
    if not problems:
        return tag("section", html.empty_state(t("data.healthy", language), "check"), class_="lb-card")
    return html.card(tally(problems, language), findings(problems, language))


def _nothing_yet(language: str) -> Html:
    return tag("section", html.empty_state(t("data.empty", language), "data"), class_="lb-card")

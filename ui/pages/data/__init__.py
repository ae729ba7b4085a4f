"""Data: bring a set in, look through it, see what is wrong with it, mend it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.datasets import editing
from engine.datasets.editing import Edit
from engine.datasets.store import Dataset
from ui import html
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, static, t
from ui.latest import latest
from ui.pages.data import browse, classes, exporting, health, importing, splits, statistics, versions, words
from ui.pages.data.exporting import Export
from ui.pages.data.panel import LOOSE, QUIET, Panel, Room, form, now, sent
from ui.selection import App, choose_dataset, dataset_choices, go_to, will_change

PANELS = {"browse": browse, "health": health, "statistics": statistics, "splits": splits, "classes": classes, "versions": versions}


def build(app: App) -> None:
    with gr.Column(elem_classes=["lb-page", "lb-data"]):
        zone = importing.build(demo=app.demo, opened=not app.dataset.value)
        status = form("", elem_id="lb-data-status")
        header = form(static(_nothing_yet), elem_id="lb-data-header")
        exported = exporting.build()
        asked = _build_question()
        viewer = browse.viewer_part()
        views = gr.Tabs(visible=False, selected="browse", elem_classes="lb-views", elem_id="lb-data-views")
        room = Room(app, gr.State(0.0), gr.State({}), views, viewer)
        panels: dict[str, Panel] = {}
        tabs: dict[str, gr.Tab] = {}
        with views:
            for name, module in PANELS.items():
                with gr.Tab(label(f"data.tab.{name}"), id=name, elem_id=f"lb-view-{name}") as tabs[name]:
                    panels[name] = module.build(room)
    importing.wire(room, zone, status)
    app.blocks.load(lambda: gr.Accordion(open=not dataset_choices(app.workspace)), None, zone.frame, queue=False, **QUIET)
    exporting.wire(room, exported)
    _wire_views(room, header, (exported.frame, asked.frame), panels, tabs)
    _wire_header(room, header, exported, asked)
    _wire_delete(room, asked, status)


@dataclass
class Question:
    """Whether to delete the set, and the two answers."""

    frame: gr.Column
    words: gr.HTML
    really: gr.Button
    keep: gr.Button


def _build_question() -> Question:
    with gr.Column(visible=False, elem_classes="lb-card lb-confirm") as frame:
        words = gr.HTML("")
        with gr.Row(elem_classes="lb-line"):
            really = gr.Button(label("data.delete_yes"), variant="stop", size="sm", elem_id="lb-data-delete-yes")
            keep = gr.Button(label("data.delete_no"), variant="secondary", size="sm")
    return Question(frame, words, really, keep)


def _wire_views(room: Room, header: gr.HTML, frames: tuple[Any, ...], panels: dict[str, Panel], tabs: dict[str, gr.Tab]) -> None:
    """What is shown of the set: all of it is made anew for another set or after a change, but only for the tab that is open."""
    app, view, seen = room.app, gr.State("browse"), gr.State("")
    outputs = [part for panel in panels.values() for part in panel.outputs]
    inputs = [part for panel in panels.values() for part in panel.inputs]

    def parts_of(dataset: Dataset | None, shown: str, language: str, values: Sequence[Any] | None) -> list[Any]:
        """`values` of all inputs: the set is the same, and keeps its filters. None: it is another one."""
        made: list[Any] = []
        rest = iter(values or ())
        for name, panel in panels.items():
            own = [next(rest) for _ in panel.inputs] if values is not None else []
            if name == shown:
                made += panel.afresh(dataset, language) if values is None else panel.show(dataset, language, *own)
            else:
                made += panel.cleared(dataset, language) if values is None else [gr.skip()] * len(panel.outputs)
        return made

    @guarded
    def show_set(request: gr.Request, wanted: str | None, shown: str) -> tuple[Any, ...]:
        dataset, language = room.open(wanted), language_of(request)
        there = dataset is not None
        return (set_header(dataset, language, app.demo), stand(dataset), gr.Tabs(visible=there), gr.Column(visible=False), gr.Column(visible=False),
                *parts_of(dataset, shown, language, None))

    @guarded
    def show_first(request: gr.Request, wanted: str | None, shown: str) -> tuple[Any, ...]:
        """When the page opens."""
        if will_change(app, wanted, request):
            return tuple(gr.skip() for _ in everything)
        return show_set(request, wanted, shown)

    @guarded
    def refresh(request: gr.Request, wanted: str | None, shown: str, *values: Any) -> tuple[Any, ...]:
        dataset, language = room.open(wanted), language_of(request)
        return set_header(dataset, language, app.demo), stand(dataset), *parts_of(dataset, shown, language, values)

    @guarded
    def back(wanted: str | None, before: str) -> Any:
        """Whoever labeled meanwhile finds the page as the set is now."""
        return now() if stand(room.open(wanted)) != before else gr.skip()

    everything = [header, seen, room.views, *frames, *outputs]
    app.blocks.load(show_first, [app.dataset, view], everything, **LOOSE)
    latest([app.dataset.change], show_set, [app.dataset, view], everything, **LOOSE)
    room.changed.change(refresh, [app.dataset, view, *inputs], [header, seen, *outputs], **LOOSE)
    app.tab["data"].select(back, [app.dataset, seen], room.changed, **LOOSE)
    for name, tab in tabs.items():
        _wire_tab(room, name, tab, panels[name], view)


def _wire_tab(room: Room, name: str, tab: gr.Tab, panel: Panel, view: gr.State) -> None:
    """A tab is filled when it is opened."""
    @guarded
    def fill(request: gr.Request, wanted: str | None, *values: Any) -> Iterator[tuple[Any, ...]]:
        dataset, language = room.open(wanted), language_of(request)
        if dataset is not None and panel.slow(dataset):
            busy = tag("section", html.progress(None, t("data.counting", language)), class_="lb-card")
            yield name, busy, *(gr.skip() for _ in panel.outputs[1:])
        yield name, *panel.show(dataset, language, *values)

    tab.select(fill, [room.app.dataset, *panel.inputs], [view, *panel.outputs], **LOOSE)


def _wire_header(room: Room, header: gr.HTML, export: Export, asked: Question) -> None:
    """What its buttons open, and the way back from the last change."""
    outputs = [room.changed, room.views, room.app.tabs, *export.opened, asked.frame, asked.words]

    @guarded
    def pressed(request: gr.Request, event: gr.EventData, wanted: str | None) -> tuple[Any, ...]:
        what, language = sent(event).get("send"), language_of(request)
        made: dict[Any, Any] = {}
        if what in ("health", "classes"):
            made = {room.views: gr.Tabs(selected=what)}
        elif what == "label":
            made = {room.app.tabs: go_to("label")}
        elif what == "undo":
            made = {room.changed: health.take_back(room, wanted, sent(event).get("edit"), language)}
        elif what == "export":
            made = dict(zip(export.opened, exporting.unfolded(room.open(wanted), language), strict=True)) | {asked.frame: gr.Column(visible=False)}
        elif what == "delete":
            dataset = room.to_edit(wanted)
            made = {asked.frame: gr.Column(visible=True), asked.words: tag("p", t("data.delete_question", language, name=dataset.name)),
                    export.frame: gr.Column(visible=False)}
        return tuple(made.get(part, gr.skip()) for part in outputs)

    header.send(pressed, room.app.dataset, outputs, **LOOSE)


def _wire_delete(room: Room, asked: Question, status: gr.HTML) -> None:
    app = room.app

    @guarded
    def remove(chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        language, dataset = language_of(request), room.to_edit(chosen)
        name = dataset.name
        app.workspace.delete_dataset(dataset.id)
        browse.said(t("data.deleted", language, name=name), language)
        return choose_dataset(app.workspace, None, language), gr.Column(visible=False), ""

    asked.keep.click(lambda: gr.Column(visible=False), None, asked.frame, queue=False, **QUIET)
    asked.really.click(remove, app.dataset, [app.dataset, asked.frame, status], **LOOSE)


def set_header(dataset: Dataset | None, language: str, demo: bool) -> Html:
    if dataset is None:
        return _nothing_yet(language)
    return words.header(dataset, language, None if demo else last_change(dataset), editable=not demo)


def stand(dataset: Dataset | None) -> str:
    """Another text after every edit, and for another set."""
    return f"{dataset.id}@{dataset.revision}" if dataset is not None else ""


def last_change(dataset: Dataset) -> Edit | None:
    """The latest edit that can be taken back."""
    return next((edit for edit in editing.edits(dataset, 20) if edit.undoable), None)


def _nothing_yet(language: str) -> Html:
    return tag("section", html.empty_state(t("data.empty", language), "data"), class_="lb-card")

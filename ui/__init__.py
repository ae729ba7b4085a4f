"""The app's frame: a header and the list of pages."""

from __future__ import annotations

import importlib
from pathlib import Path

import gradio as gr

from engine.workspace import Workspace
from ui import api, header
from ui.i18n import label
from ui.selection import PAGES, App

CACHE_S = 24 * 3600


def build(workspace: Path | str | Workspace, *, demo: bool = False) -> gr.Blocks:
    """All pages as tabs of one page, so that an event on one can change another."""
    workspace = workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace))
    with gr.Blocks(title="Lightbox", analytics_enabled=False, delete_cache=(CACHE_S, CACHE_S), fill_width=True) as blocks:
        parts = header.build(workspace, demo)
        tabs = gr.Tabs(elem_id="lb-pages", selected=PAGES[0])
        app = App(workspace, blocks, parts["dataset"], parts["run"], tabs, parts["pulse"], demo)
        with tabs:
            for name in PAGES:
                with gr.Tab(label(f"page.{name}"), id=name, elem_id=f"lb-page-{name}") as app.tab[name]:
                    importlib.import_module(f"ui.pages.{name}").build(app)
        for wire in app.late:
            wire()
        header.wire(app, parts["jobs"])
        api.build(app)
        _tell_nobody_of_progress(blocks)
    return blocks


def _tell_nobody_of_progress(blocks: gr.Blocks) -> None:
    """Of every step of an event the browser informs all components that any event has ever written, also where no progress is shown: half of the
    time that a page took to open. Progress stands in the pages' own words, so no component has to hear of it."""
    for event in blocks.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = []

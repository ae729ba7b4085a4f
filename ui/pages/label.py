"""Label: the canvas for the chosen data set, or the way to one."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine.types import UserError
from ui import html
from ui.annotator import annotator
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, static, t
from ui.selection import UNCHECKED, App, go_to

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False, **UNCHECKED}


def build(app: App) -> None:
    with gr.Column(elem_classes=["lb-page", "lb-label"]):
        with gr.Column(visible=not app.dataset.value, elem_classes="lb-card") as nothing:
            gr.HTML(static(_nothing_yet))
            with gr.Row(elem_classes="lb-empty-actions"):
                to_data = gr.Button(label("label.to_data"), variant="primary", size="md")
        canvas = annotator(app.workspace, demo=app.demo, elem_id="lb-annotator")

    @guarded
    def show(wanted: str | None) -> tuple[Any, ...]:
        there = bool(wanted) and _exists(app, str(wanted))
        return gr.Column(visible=not there), wanted if there else ""

    to_data.click(lambda: go_to("data"), None, app.tabs, **QUIET)
    app.blocks.load(show, app.dataset, [nothing, canvas], **QUIET)
    app.dataset.change(show, app.dataset, [nothing, canvas], **QUIET)


def _exists(app: App, wanted: str) -> bool:
    try:
        app.workspace.dataset(wanted)
    except UserError as error:
        if error.key == "dataset_unknown":
            return False
        raise
    return True


def _nothing_yet(language: str) -> Html:
    return tag("div", html.empty_state(t("label.empty", language), "data"))

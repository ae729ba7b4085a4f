"""Tools: convert a data set from any format to any other; look into weights files, repair and convert them."""

from __future__ import annotations

import gradio as gr

from ui.i18n import label
from ui.pages.tools import convert, weights
from ui.pages.tools.convert import convert_to_zip
from ui.selection import App

__all__ = ["build", "convert_to_zip"]
PARTS = {"convert": convert, "weights": weights}


def build(app: App) -> None:
    with gr.Tabs(selected="convert", elem_classes="lb-views", elem_id="lb-tools-views"):
        for name, module in PARTS.items():
            with gr.Tab(label(f"tools.tab.{name}"), id=name, elem_id=f"lb-tools-{name}"):
                module.build(app)

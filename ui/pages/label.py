"""Label: the canvas for the chosen data set, or the way to one. Before the first label it asks what the images are to be labeled with."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine.datasets import labeling
from engine.datasets.labeling_shapes import kind_of
from engine.datasets.store import Dataset
from engine.types import UserError
from ui import html
from ui.annotator import annotator
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, static, t
from ui.latest import latest
from ui.pages.data.words import is_labeled
from ui.selection import UNCHECKED, App, go_to, will_change

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False, **UNCHECKED}
LOOK_S = 2.0
BARE = "images"  # sets of every other format say themselves what they are labeled with


def build(app: App) -> None:
    with gr.Column(elem_classes=["lb-page", "lb-label"]):
        with gr.Column(visible=not app.dataset.value, elem_classes="lb-card") as nothing:
            gr.HTML(static(_nothing_yet))
            with gr.Row(elem_classes="lb-empty-actions"):
                to_data = gr.Button(label("label.to_data"), variant="primary", size="md")
        kinds = [(label(f"label.kind.{each}"), each) for each in labeling.TASK_OF_KIND]
        kind = gr.Radio(kinds, label=label("label.kind"), info=label("label.kind.info"), visible=False, elem_id="lb-label-kind")
        timer = gr.Timer(LOOK_S, active=False)
        canvas = annotator(app.workspace, demo=app.demo, elem_id="lb-annotator")

    @guarded
    def show(wanted: str | None) -> tuple[Any, ...]:
        dataset = _opened(app, wanted)
        return gr.Column(visible=dataset is None), dataset.id if dataset else "", *asked(dataset, demo=app.demo)

    @guarded
    def show_first(wanted: str | None, request: gr.Request) -> tuple[Any, ...]:
        return tuple(gr.skip() for _ in everything) if will_change(app, wanted, request) else show(wanted)

    @guarded
    def look(wanted: str | None) -> tuple[Any, ...]:
        return asked(_opened(app, wanted), demo=app.demo)

    @guarded
    def watch(wanted: str | None) -> tuple[Any, ...]:
        """The question stays where it is after the first label, so that the canvas does not move under the hand."""
        dataset = _opened(app, wanted)
        return (gr.Radio(interactive=False), gr.Timer(active=False)) if dataset is None or is_labeled(dataset) else (gr.skip(), gr.skip())

    @guarded
    def choose(wanted: str | None, chosen: str) -> str:
        """Empties the canvas, which then opens the set anew."""
        if app.demo:
            raise UserError("demo_only_shows")
        labeling.begin_with(app.workspace.dataset(str(wanted or "")), chosen)
        return ""

    everything = [nothing, canvas, kind, timer]
    to_data.click(lambda: go_to("data"), None, app.tabs, **QUIET)
    app.blocks.load(show_first, app.dataset, everything, **QUIET)
    latest([app.dataset.change], show, app.dataset, everything, **QUIET)
    app.tab["label"].select(look, app.dataset, [kind, timer], **QUIET)
    timer.tick(watch, app.dataset, [kind, timer], **QUIET)
    kind.input(choose, [app.dataset, kind], canvas, **QUIET).then(show, app.dataset, everything, **QUIET)


def asked(dataset: Dataset | None, *, demo: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """The question what to label, and the clock that looks whether it has come too late: only of bare images without labels."""
    if dataset is None or demo or dataset.readonly or dataset.format != BARE or is_labeled(dataset):
        return gr.update(visible=False), gr.update(active=False)
    return gr.update(visible=True, interactive=True, value=kind_of(None, dataset.task)), gr.update(active=True)


def _opened(app: App, wanted: str | None) -> Dataset | None:
    try:
        return app.workspace.dataset(wanted) if wanted else None
    except UserError as error:
        if error.key == "dataset_unknown":
            return None
        raise


def _nothing_yet(language: str) -> Html:
    return tag("div", html.empty_state(t("label.empty", language), "data"))

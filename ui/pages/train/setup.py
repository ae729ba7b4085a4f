"""The train page before a run: data, model and plan, one below the other, and the button that starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ui import forms
from ui.forms import Field
from ui.html import Html, tag
from ui.i18n import label, static, t
from ui.pages.train.plan import LENGTHS

DRAFT_KEY = "lightbox-train-draft"
PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}


@dataclass(frozen=True)
class Setup:
    """The components of the form; `parts` are those of the options, by name."""

    column: gr.Column
    running: gr.Row
    watch: gr.Button
    data: gr.HTML
    open_data: gr.Button
    model: gr.Radio
    length: gr.Radio
    parts: dict[str, Any]
    plan: gr.HTML
    command: gr.HTML
    start: gr.Button
    draft: gr.BrowserState

    @property
    def inputs(self) -> list[Any]:
        """What `values_of` takes apart again."""
        return [self.model, self.length, *self.parts.values()]

    def values_of(self, given: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(("model", "length", *self.parts), given, strict=True))


def build() -> Setup:
    parts: dict[str, Any] = {}
    plain = {each.name: each for each in forms.plain_fields() if each.name != "model"}
    with gr.Column(elem_id="lb-setup", elem_classes="lb-page") as column:
        with gr.Row(visible=False, elem_classes="lb-note-row") as running:
            gr.HTML(static(lambda language: tag("p", t("train.another_runs", language))), **PLAIN)
            watch = gr.Button(label("train.watch"), elem_id="lb-train-watch")
        with _step(1, "data"):
            data = gr.HTML(**PLAIN, elem_id="lb-train-data")
            open_data = gr.Button(label("train.open_data"), variant="primary", visible=False, elem_id="lb-train-open-data",
                                  elem_classes="lb-lone-button")
        with _step(2, "model"):
            model = gr.Radio([], show_label=False, container=False, elem_id="lb-train-model", elem_classes="lb-choice-cards")
        with _step(3, "plan", lambda: parts.update(_controls(plain))):
            plan = gr.HTML(**PLAIN, elem_id="lb-train-plan", min_height=320)
            with gr.Accordion(label("train.advanced"), open=False, elem_id="lb-train-advanced"):
                parts.update(_advanced())
            with gr.Accordion(label("train.command"), open=False):
                command = gr.HTML(**PLAIN, elem_id="lb-train-command")
        length = parts.pop("length")
        with gr.Row(elem_classes="lb-start-bar"):
            start = gr.Button(label("train.start"), variant="primary", elem_id="lb-train-start", interactive=False)
    draft = gr.BrowserState({}, storage_key=DRAFT_KEY, secret=DRAFT_KEY)
    return Setup(column, running, watch, data, open_data, model, length, parts, plan, command, start, draft)


class _step:
    """A numbered part of the page: title and controls left, content right."""

    def __init__(self, number: int, name: str, controls: Callable[[], None] = lambda: None) -> None:
        self.number, self.name, self.controls = number, name, controls

    def __enter__(self) -> None:
        self.row = gr.Row(elem_classes="lb-split lb-step")
        self.row.__enter__()
        with gr.Column(elem_classes="lb-side", scale=0, min_width=320):
            gr.HTML(static(self._head), **PLAIN)
            self.controls()
        self.main = gr.Column(elem_classes="lb-main")
        self.main.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.main.__exit__()
        self.row.__exit__()

    def _head(self, language: str) -> Html:
        return tag("div", tag("span", self.number, class_="lb-step-number"), tag("h2", t(f"train.step_{self.name}", language), class_="lb-heading"),
                   tag("p", t(f"train.step_{self.name}.text", language), class_="lb-muted lb-small"), class_="lb-step-head")


def _controls(plain: dict[str, Field]) -> dict[str, Any]:
    """The plain options; of minutes and epochs only the chosen one shows."""
    made: dict[str, Any] = {
        "length": gr.Radio([(label(f"train.length_{each}"), each) for each in LENGTHS], value=LENGTHS[0], label=label("train.length"),
                           elem_id="lb-train-length")}
    for name, field in plain.items():
        if name == "weights":
            made[name] = gr.Dropdown(choices=[("auto", "auto"), ("none", "none")], value="auto", label=label("option.weights"),
                                     info=label("option.weights.help"), interactive=True, elem_id="lb-option-weights")
        else:
            made[name] = forms.component(field, visible=name not in LENGTHS)
    return made


def _advanced() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for group, fields in forms.advanced_groups().items():
        gr.HTML(static(_heading(group)), **PLAIN)
        with gr.Row(elem_classes="lb-option-grid"):
            for field in fields:
                made[field.name] = forms.component(field, min_width=220)
    return made


def _heading(group: str) -> Callable[[str], Html]:
    return lambda language: tag("h3", t(f"option_group.{group}", language))


def length_parts(chosen: str) -> list[Any]:
    """Visibility of minutes and epochs."""
    return [gr.Textbox(visible=chosen == "minutes"), gr.Textbox(visible=chosen == "epochs")]

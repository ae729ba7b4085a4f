"""The train page before a run: data, model and plan, one below the other, and the button that starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.config import TrainConfig
from engine.datasets.store import Dataset
from engine.models import models
from engine.settings import ONLY
from engine.workspace import Workspace
from ui import forms
from ui.forms import Field
from ui.html import Html, tag
from ui.i18n import label, static, t
from ui.pages.train import advice as advising
from ui.pages.train import augmented as augmenting
from ui.pages.train import compare as comparing
from ui.pages.train import data as data_rules
from ui.pages.train.advice import Advice
from ui.pages.train.augmented import Augmented
from ui.pages.train.compare import Compare
from ui.pages.train.plan import LENGTHS, model_card

DRAFT_KEY = "lightbox-train-draft"
PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}


@dataclass(frozen=True)
class Setup:
    """The components of the form; `parts` are those of the options, by name, `steps` the rows that need a model.

    Options of a model are parts called `<model>.<option>`, in the column `model_options[<model>]`; advanced ones lie in `groups`.
    """

    column: gr.Column
    running: gr.Row
    watch: gr.Button
    data: gr.HTML
    open_data: gr.Button
    model: gr.Radio
    length: gr.Radio
    parts: dict[str, Any]
    add_weights: gr.UploadButton
    groups: dict[str, gr.Column]
    model_options: dict[str, gr.Column]
    advice: Advice
    augmented: Augmented
    compare: Compare
    plan: gr.HTML
    command: gr.HTML
    reason: gr.HTML
    start: gr.Button
    draft: gr.BrowserState
    steps: tuple[gr.Row, ...]

    @property
    def inputs(self) -> list[Any]:
        """What `values_of` takes apart again."""
        return [self.model, self.length, *self.parts.values()]

    def values_of(self, given: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(("model", "length", *self.parts), given, strict=True))

    @property
    def deciding(self) -> list[Any]:
        """Parts on which it depends whether others show."""
        names = {other for other, _ in forms.DEPENDS.values()}
        return [self.model, *(part for key, part in self.parts.items() if key.rpartition(".")[2] in names)]

    @property
    def depending(self) -> list[Any]:
        """In the order of `option_updates`."""
        return [*self.parts.values(), *self.groups.values(), *self.model_options.values()]


def build() -> Setup:
    parts: dict[str, Any] = {}
    groups: dict[str, gr.Column] = {}
    model_options: dict[str, gr.Column] = {}
    plain = {each.name: each for each in forms.plain_fields() if each.name != "model"}
    with gr.Column(elem_id="lb-setup", elem_classes="lb-page") as column:
        with gr.Row(visible=False, elem_classes="lb-note-row") as running:
            gr.HTML(static(lambda language: tag("p", t("train.another_runs", language))), **PLAIN)
            watch = gr.Button(label("train.watch"), elem_id="lb-train-watch")
        with _step(1, "data"):
            data = gr.HTML(**PLAIN, elem_id="lb-train-data")
            open_data = gr.Button(label("train.open_data"), variant="primary", visible=False, elem_id="lb-train-open-data",
                                  elem_classes="lb-lone-button")
        with _step(2, "model") as choosing:
            model = gr.Radio([], show_label=False, container=False, elem_id="lb-train-model", elem_classes="lb-choice-cards")
            parts.update(_model_options(model_options))
            compare = comparing.build()
        with _step(3, "plan", lambda: parts.update(_controls(plain))) as planning:
            plan = gr.HTML(**PLAIN, elem_id="lb-train-plan", min_height=320)
            advice = advising.build()
            augmented = augmenting.build()
            with gr.Accordion(label("train.advanced"), open=False, elem_id="lb-train-advanced"):
                parts.update(_advanced(groups))
            with gr.Accordion(label("train.command"), open=False):
                command = gr.HTML(**PLAIN, elem_id="lb-train-command")
        length, add_weights = parts.pop("length"), parts.pop("add_weights")
        with gr.Row(elem_classes="lb-start-bar"):
            reason = gr.HTML("", **PLAIN, elem_id="lb-train-obstacle")
            start = gr.Button(label("train.start"), variant="primary", elem_id="lb-train-start", interactive=False)
    draft = gr.BrowserState({}, storage_key=DRAFT_KEY, secret=DRAFT_KEY)
    steps = (choosing, planning)
    return Setup(column, running, watch, data, open_data, model, length, parts, add_weights, groups, model_options, advice, augmented,
                 compare, plan, command, reason, start, draft, steps)


class _step:
    """A numbered part of the page: title and controls left, content right."""

    def __init__(self, number: int, name: str, controls: Callable[[], None] = lambda: None) -> None:
        self.number, self.name, self.controls = number, name, controls

    def __enter__(self) -> gr.Row:
        self.row = gr.Row(elem_classes="lb-split lb-step")
        self.row.__enter__()
        with gr.Column(elem_classes="lb-side", scale=0, min_width=320):
            gr.HTML(static(self._head), **PLAIN)
            self.controls()
        self.main = gr.Column(elem_classes="lb-main")
        self.main.__enter__()
        return self.row

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
    for name, field in sorted(plain.items(), key=lambda each: each[0] == "weights"):  # the last, so that its button stands below it
        if name == "weights":
            made[name] = gr.Dropdown(choices=[("auto", "auto"), ("none", "none")], value="auto", label=label("option.weights"),
                                     info=label("train.weights_help"), interactive=True, elem_id="lb-option-weights")
            made["add_weights"] = gr.UploadButton(label("predict.add_weights"), file_types=list(data_rules.WEIGHT_SUFFIXES), size="sm",
                                                  elem_id="lb-train-add-weights")
        else:
            made[name] = forms.component(field, visible=name not in LENGTHS)
    return made


def _advanced(groups: dict[str, gr.Column]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for group, fields in forms.advanced_groups().items():
        with gr.Column(elem_classes="lb-option-group") as groups[group]:
            gr.HTML(static(_heading(group)), **PLAIN)
            with gr.Row(elem_classes="lb-option-grid"):
                for field in fields:
                    made[field.key] = forms.component(field, min_width=220)
    return made


def _model_options(columns: dict[str, gr.Column]) -> dict[str, Any]:
    """The options of every model, of which only the chosen one's show: each keeps its own values."""
    made: dict[str, Any] = {}
    for spec in models.entries().values():
        if not spec.options:
            continue
        with gr.Column(visible=False, elem_classes="lb-option-group") as columns[spec.name], gr.Row(elem_classes="lb-option-grid"):
            for field in forms.model_fields(spec):
                made[field.key] = forms.component(field, min_width=220)
    return made


def filled(name: str, value: Any, length: str, workspace: Any, language: str) -> Any:
    """A part with the value that a draft holds for it."""
    changes: dict[str, Any] = {"visible": name == length} if name in LENGTHS else {}
    if name == "weights":
        return gr.Dropdown(choices=data_rules.weights_choices(workspace, language), value=value or "auto")
    return gr.update(**changes) if value is None else gr.update(value=value, **changes)


def defaults() -> dict[str, Any]:
    """The value of every option, by key."""
    own = (field for spec in models.entries().values() for field in forms.model_fields(spec))
    return {each.key: each.default for each in (*forms.fields(), *own)}


def option_updates(form: Setup, values: dict[str, Any]) -> list[dict[str, Any]]:
    """What of the form shows for the model and the values, with the choices of its task, for `Setup.depending`."""
    spec = models.entries().get(str(values.get("model"))) or models.get(TrainConfig().model)
    every = {each.key: each for each in (*forms.fields(), *(field for each in models.entries().values() for field in forms.model_fields(each)))}
    shown = {key: forms.matters(every[key], spec, values) for key in form.parts}
    parts = [_part_update(every[key], spec.task, values, shown[key]) for key in form.parts]
    groups = [gr.update(visible=any(shown[each.key] for each in forms.advanced_groups()[group])) for group in form.groups]
    return [*parts, *groups, *(gr.update(visible=name == spec.name) for name in form.model_options)]


def _part_update(field: Field, task: str, values: dict[str, Any], shown: bool) -> dict[str, Any]:
    if field.name in LENGTHS:
        return gr.skip()
    if any(name == field.name for name, _ in ONLY) and not field.model:
        return gr.update(visible=shown, **forms.choices_update(field, task, values.get(field.key)))
    return gr.update(visible=shown)


def _heading(group: str) -> Callable[[str], Html]:
    return lambda language: tag("h3", t(f"option_group.{group}", language))


def length_parts(chosen: str) -> list[Any]:
    """Visibility of minutes and epochs."""
    return [gr.Textbox(visible=chosen == "minutes"), gr.Textbox(visible=chosen == "epochs")]


def wanted_model(workspace: Workspace, dataset: str | None, chosen: str | None, draft: dict[str, Any]) -> str | None:
    """The model to go on with: as chosen where that was for this very set, else what suits a set of its kind."""
    return chosen if dataset and draft.get("dataset") == dataset else data_rules.carried(data_rules.find(workspace, dataset), chosen)


def models_for(dataset: Dataset | None, wanted: str | None, language: str) -> list[dict[str, Any]]:
    """The model choice as it suits the set, then whether the steps that need a model show."""
    offered = list(models.entries().values()) if dataset is None else data_rules.models_of(dataset)
    names = [spec.name for spec in offered]
    value = wanted if wanted in names else data_rules.pick_model(dataset, wanted) if dataset and names else TrainConfig().model if names else None
    cards = [(model_card(spec, language), spec.name) for spec in offered]
    return [gr.update(choices=cards, value=value), *(gr.update(visible=bool(names)) for _ in range(2))]


def reason_text(why: str) -> Html:
    return tag("p", why, class_="lb-muted lb-small", role="status") if why else Html("")

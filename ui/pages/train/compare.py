"""One data set, several backbones or models: which there are to choose from, and the config of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.config import TrainConfig
from engine.datasets.store import Dataset
from engine.models import ModelSpec, buildable, models
from engine.types import UserError
from ui import forms
from ui.html import tag
from ui.i18n import label, static, t
from ui.pages.train import data
from ui.pages.train.plan import BACKBONES, display_name

FEWEST, MOST = 2, 8
BETWEEN = " · "
PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}


@dataclass(frozen=True)
class Compare:
    """What is picked, and the button that queues it."""

    picked: gr.Dropdown
    start: gr.Button


def build() -> Compare:
    with gr.Accordion(label("train.compare"), open=False, elem_id="lb-train-compare"):
        gr.HTML(static(lambda language: tag("p", t("train.compare_text", language), class_="lb-muted lb-small")), **PLAIN)
        picked = gr.Dropdown([], multiselect=True, allow_custom_value=True, label=label("train.compare_pick"), info=label("train.compare_pick.help"),
                             interactive=True, elem_id="lb-compare-picked")
        start = gr.Button(label("train.compare_start"), elem_id="lb-compare-start", elem_classes="lb-lone-button")
    return Compare(picked, start)


def backbone_of(spec: ModelSpec) -> str:
    """The option that names the model's image encoder, "" when it has none."""
    return next((each.name for each in spec.options if each.name in BACKBONES), "")


def candidates(dataset: Dataset | None) -> list[str]:
    """What can be compared on this set: "timm · resnet18", or just the model where it is one network."""
    found: list[str] = []
    for spec in data.models_of(dataset) if dataset else []:
        names = forms.SUGGESTED.get((spec.name, backbone_of(spec)), ())
        found += [f"{spec.name}{BETWEEN}{name}" for name in names] or [spec.name]
    return found


def update(dataset: Dataset | None) -> Any:
    return gr.update(choices=candidates(dataset), value=[])


def configs(picked: Sequence[str], asked: TrainConfig, planned: TrainConfig) -> list[TrainConfig]:
    """A config for each: as `asked`, at the image size, batch and length of its plan, so that only the network differs.

    Raises UserError for too few, too many, and for what no model understands.
    """
    chosen = list(dict.fromkeys(each.strip() for each in picked if each.strip()))
    if not FEWEST <= len(chosen) <= MOST:
        raise UserError("compare_count", n=len(chosen), most=MOST)
    same = {"image_size": planned.image_size, "batch": planned.batch, "epochs": planned.epochs, "minutes": planned.minutes}
    if asked.stages:
        same = {"batch": planned.batch}
    return [_config(each, asked.replace(**same)) for each in chosen]


def _config(name: str, asked: TrainConfig) -> TrainConfig:
    model, found, backbone = name.partition(BETWEEN)
    if not found:
        model, backbone = (name, "") if name in models.entries() else (asked.model, name)
    spec = models.get(model)
    option = backbone_of(spec)
    if backbone and not option:
        raise UserError("compare_name", model=display_name(model), name=backbone)
    known = {each.name for each in spec.options}
    kept = asked.options if model == asked.model else {key: value for key, value in asked.options.items() if key == "mode" and key in known}
    return asked.replace(model=model, task=spec.task, options=buildable(spec, {**kept, **({option: backbone} if backbone else {})}))

"""A few training images as the network will see them: augmented, at the size of training, with their labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from engine.config import TrainConfig
from engine.datasets.images import resize
from engine.datasets.store import Dataset, Row
from engine.overlay import Pen, draw
from engine.overlay_labels import draw_labels, enlarged
from engine.types import IGNORE, Instances, Labels, SemanticMask, Tags, UserError
from ui.guard import guarded
from ui.html import Html, join, tag
from ui.i18n import label, language_of, plural, static, t
from ui.latest import latest
from ui.pages.data.pictures import UNREADABLE, scaled
from ui.pages.data.pictures import image as picture_of
from ui.pages.train.data import find
from ui.selection import App

COUNT, SHOWN = 8, 256
OUTLINED, THIN = 512, Pen(1, 1, 12)  # thin things side by side: their outlines need twice the size, and fine lines
MOST_NAMES = 3
PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}


@dataclass(frozen=True)
class Augmented:
    """The pictures, the button for others, and how often it was pressed."""

    pictures: gr.HTML
    again: gr.Button
    seed: gr.State


def build() -> Augmented:
    seed = gr.State(0)
    with gr.Column(elem_classes="lb-card lb-augmented", elem_id="lb-augmented"):
        with gr.Row(elem_classes="lb-between"):
            gr.HTML(static(lambda language: tag("h3", t("train.augmented", language))), **PLAIN)
            again = gr.Button(label("train.augmented_again"), size="sm", elem_id="lb-augmented-again")
        pictures = gr.HTML(**PLAIN, elem_id="lb-augmented-pictures", min_height=160)
    return Augmented(pictures, again, seed)


def wire(app: App, shown: Augmented, planned: Callable[[Dataset, tuple[Any, ...]], TrainConfig], inputs: list[Any], triggers: list[Any],
         offered: list[Any]) -> None:
    """The pictures follow the `triggers`, and another set once its models have been `offered`: until then the form holds a model of the last one.

    `planned(set, values of the inputs)` is the config that the form means.
    """
    @guarded
    def draw(request: gr.Request, dataset: str | None, seed: int, *values: Any) -> Any:
        language, found = language_of(request), find(app.workspace, dataset)
        try:
            config = planned(found, values) if found else None
        except UserError:
            return gr.skip()  # the plan says what is wrong
        return grid(found, config, seed, language) if found and config else nothing(language)

    seen = [app.dataset, shown.seed, *inputs]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    latest([*triggers, shown.seed.change], draw, seen, shown.pictures, **quiet)
    for each in offered:
        each.then(draw, seen, shown.pictures, trigger_mode="always_last", **quiet)
    shown.again.click(lambda seed: seed + 1, shown.seed, shown.seed, queue=False, **quiet)


def nothing(language: str) -> Html:
    return tag("p", t("train.augmented_none", language), class_="lb-muted")


def grid(dataset: Dataset, config: TrainConfig, seed: int, language: str) -> Html:
    """COUNT training images after the augmentation that `config` asks for; `config` is a plan: nothing in it is open."""
    rows = _rows(dataset, seed)
    cells = []
    for place, row in enumerate(rows):
        try:
            others = rows[place + 1:] + rows[:place]
            cells.append(_cell(row, others, dataset.classes, config, 1000 * seed + place, language))
        except UNREADABLE:
            continue
    if not cells:
        return nothing(language)
    key = f"option.choice.{config.augment}"
    own = t(f"{key}.{config.task}", language)
    preset = own if own != f"{key}.{config.task}" else t(key, language)
    note = t("train.augmented_note", language, side=config.image_size, preset=preset)
    kind = "lb-augmented-grid lb-augmented-large" if config.task == "instance" else "lb-augmented-grid"
    return join([tag("div", *cells, class_=kind), tag("p", note, class_="lb-muted lb-small")])


def _rows(dataset: Dataset, seed: int) -> list[Row]:
    """Labeled training images, others for another seed."""
    ids = [*dataset.ids(split="train", state="labeled")] or [*dataset.ids(state="labeled")]
    chosen = np.random.default_rng(seed).permutation(len(ids))[:COUNT]
    found = []
    for place in chosen:
        try:
            found.append(dataset.row(ids[place]))
        except UserError:
            continue
    return found


def _cell(row: Row, others: list[Row], classes: tuple[str, ...], config: TrainConfig, seed: int, language: str) -> Html:
    from ui.pages.train.pixels import seen_in_training

    seen, labels, pasted = seen_in_training(row, others, config, seed)
    seen = _marked(seen, labels, classes)
    named = _names(row.labels, classes, language)
    alt = t("train.augmented_alt", language, name=row.name, labels=named)
    words = named if isinstance(row.labels, Tags) else plural("train.augmented_pasted", pasted, language) if pasted else ""
    caption = tag("figcaption", words, class_="lb-small lb-muted lb-cut") if words else ""
    return tag("figure", tag("div", picture_of(seen, alt), class_="lb-well"), caption)


def _marked(seen: np.ndarray, labels: Labels | None, classes: tuple[str, ...]) -> np.ndarray:
    """The picture, large enough to be looked at, with its labels in it."""
    if isinstance(labels, Instances) and labels.shapes is not None:
        large = scaled(labels, OUTLINED / seen.shape[1], OUTLINED / seen.shape[0])
        return draw(resize(seen, (OUTLINED, OUTLINED)), large, classes, names=False, pen=THIN)
    if labels is None or isinstance(labels, Tags):
        return seen
    return draw_labels(*enlarged(seen, labels, SHOWN), classes, names=False)


def _names(labels: Labels | None, classes: tuple[str, ...], language: str) -> str:
    """What the image shows, in words: the tags, or the classes of its objects and areas."""
    if isinstance(labels, Tags):
        present = np.flatnonzero(np.nan_to_num(labels.values) > 0.5)
    elif isinstance(labels, Instances | SemanticMask) and labels.classes is not None:
        present = np.unique(labels.classes)
    elif isinstance(labels, SemanticMask) and labels.layers is not None:
        present = np.flatnonzero(labels.layers.any((1, 2)))
    else:
        present = np.zeros(0, int)
    found = [classes[i] for i in present if i < min(len(classes), IGNORE)]
    rest = f" +{len(found) - MOST_NAMES}" if len(found) > MOST_NAMES else ""
    return ", ".join(found[:MOST_NAMES]) + rest if found else t("train.no_tags", language)



"""A few training images as the network will see them: augmented, at the size of training, with their labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from engine import stages
from engine.augment import classification, detection, official, segmentation
from engine.augment.boxed import Boxed
from engine.config import TrainConfig
from engine.datasets.images import open_image, resize
from engine.datasets.store import Dataset, Row
from engine.overlay import Pen, draw, shape_mask
from engine.overlay_labels import draw_labels, enlarged
from engine.types import IGNORE, Instances, Labels, SemanticMask, Tags, UserError
from ui.guard import guarded
from ui.html import Html, join, tag
from ui.i18n import label, language_of, plural, static, t
from ui.pages.data.pictures import UNREADABLE, scaled
from ui.pages.data.pictures import image as picture_of
from ui.pages.train import outlined
from ui.pages.train.data import find
from ui.selection import App

COUNT, SHOWN, LARGEST = 8, 256, 1024
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
    gr.on([*triggers, shown.seed.change], draw, seen, shown.pictures, trigger_mode="always_last", **quiet)
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
    seen, labels, pasted = _seen(row, others, config, seed)
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


def _seen(row: Row, others: list[Row], config: TrainConfig, seed: int) -> tuple[np.ndarray, Labels | None, int]:
    """An image as training would make it, its labels, and how many of its objects come from one of the `others`."""
    look = _look(row) if config.task == "instance" or stages.published(config) else None
    if look is not None and stages.published(config):
        return *_published(look, config, seed, lambda seed: _other(others, seed)), 0
    if look is None:
        return *transformed(_opened(str(row.path), row.revision, config.resize == "crop"), row.labels, row.size, config, seed), 0
    mixed = outlined.mixed(look, config, seed, lambda seed: _other(others, seed))
    return mixed.picture, mixed.labels, mixed.pasted


def _look(row: Row) -> outlined.Look | None:
    return outlined.Look(_opened(str(row.path), row.revision, False), row.labels, row.size) if isinstance(row.labels, Instances) else None


def _other(rows: list[Row], seed: int) -> outlined.Look | None:
    """One of the other pictures on show, to take objects from."""
    if not rows:
        return None
    try:
        return _look(rows[int(np.random.default_rng([seed, 9]).integers(len(rows)))])
    except UNREADABLE:
        return None


@lru_cache(maxsize=2 * COUNT)
def _opened(path: str, revision: int, whole: bool) -> np.ndarray:
    """The image, not larger than LARGEST unless its own pixels are wanted: opened once however often the settings change."""
    picture = open_image(Path(path))
    scale = 1.0 if whole else LARGEST / max(picture.shape[:2])
    return picture if scale >= 1 else resize(picture, (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))))


def transformed(picture: np.ndarray, labels: Labels | None, size: tuple[int, int], config: TrainConfig,
                seed: int) -> tuple[np.ndarray, Labels | None]:
    """u8[S,S,3] and its labels, as training would make them. `labels` belong to the image at `size`, of which `picture` may be a smaller copy."""
    side = config.image_size
    if config.task == "classify":
        seen = classification.apply(classification.pipeline(config.augment, strong=True, side=side), picture, None, seed)[0]
        return _square(seen, side), labels
    if isinstance(labels, SemanticMask):
        return _with_mask(picture, labels, config, seed)
    if isinstance(labels, Instances):
        small = scaled(labels, picture.shape[1] / size[0], picture.shape[0] / size[1])
        return _with_areas(picture, small, config, seed) if config.task == "semantic" else _with_boxes(picture, small, config, seed)
    return _square(picture, side), None


def _published(look: outlined.Look, config: TrainConfig, seed: int, pick: Callable[[int], outlined.Look | None]) -> tuple[np.ndarray, Labels]:
    """What the published recipe makes of an image while most of it is active; `pick(seed)` gives another image to mix it with."""
    def taken(look: outlined.Look) -> official.Taken:
        single = look.labels if look.labels.crowd is None else look.labels[~look.labels.crowd]
        scale = np.array([look.picture.shape[1] / look.size[0], look.picture.shape[0] / look.size[1]] * 2, np.float32)
        return official.Taken(Boxed(look.picture, single.boxes * scale, single.classes), look.size[0] / look.picture.shape[1])

    def another(number: int) -> official.Taken | None:
        other = pick(number)
        return None if other is None else taken(other)

    made = official.prepared(taken(look), another, stages.chances(config, stages.most_active(config)), side=config.image_size, seed=seed)
    return made.image, Instances(made.boxes, made.classes)


def _with_boxes(picture: np.ndarray, labels: Instances, config: TrainConfig, seed: int) -> tuple[np.ndarray, Labels]:
    side = config.image_size
    if stages.published(config):
        return _published(outlined.Look(picture, labels, (picture.shape[1], picture.shape[0])), config, seed, lambda _: None)
    seen, boxes, kept = detection.apply(detection.pipeline(config.augment, strong=True), picture, labels.boxes, seed)
    stretch = np.array([side / seen.shape[1], side / seen.shape[0]] * 2, np.float32)
    return _square(seen, side), Instances(boxes * stretch, labels.classes[kept])


def _with_mask(picture: np.ndarray, labels: SemanticMask, config: TrainConfig, seed: int) -> tuple[np.ndarray, Labels]:
    """Masks move along at the size of the picture; what comes in from outside may not be judged."""
    side, size = config.image_size, (picture.shape[1], picture.shape[0])
    transform = segmentation.pipeline(config.augment, strong=True, side=side)
    if labels.layers is not None:
        planes = np.stack([_nearest(layer.astype(np.uint8), size) for layer in labels.layers])
        picture, planes = _piece(picture, planes, config, seed)
        seen, moved = segmentation.apply(transform, picture, planes, seed)
        layers = np.stack([_nearest(layer, (side, side)) == 1 for layer in (planes if moved is None else moved)])
        return _square(seen, side), SemanticMask(layers=layers)
    picture, plane = _piece(picture, _nearest(np.asarray(labels.classes, np.uint16), size), config, seed)
    seen, moved = segmentation.apply(transform, picture, plane, seed)
    return _square(seen, side), SemanticMask(classes=_nearest(plane if moved is None else moved, (side, side)))


def _piece(picture: np.ndarray, planes: np.ndarray, config: TrainConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """With "crop", a piece of the size of training at the image's own resolution; else the whole."""
    if config.resize != "crop":
        return picture, planes
    random = np.random.default_rng(seed)
    top, left = (int(random.integers(0, max(0, length - config.image_size) + 1)) for length in picture.shape[:2])
    rows, columns = slice(top, top + config.image_size), slice(left, left + config.image_size)
    return picture[rows, columns], planes[..., rows, columns]


def _with_areas(picture: np.ndarray, labels: Instances, config: TrainConfig, seed: int) -> tuple[np.ndarray, Labels]:
    """Outlines as masks: a layer for each class."""
    height, width = picture.shape[:2]
    count = int(labels.classes.max(initial=0)) + 1
    layers = np.zeros((count, height, width), bool)
    for class_id, shape in zip(labels.classes, labels.shapes or (None,) * len(labels), strict=True):
        if shape is not None:
            area, x, y = shape_mask(shape, width, height)
            layers[class_id, y : y + area.shape[0], x : x + area.shape[1]] |= area > 0
    return _with_mask(picture, SemanticMask(layers=layers), config, seed)


def _square(picture: np.ndarray, side: int) -> np.ndarray:
    return picture if picture.shape[:2] == (side, side) else resize(picture, (side, side))


def _nearest(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[H,W] at (width, height), nearest pixel."""
    height, width = plane.shape
    if (width, height) == size:
        return plane
    rows, columns = (np.minimum((np.arange(new) + 0.5) * old // new, old - 1).astype(int) for new, old in ((size[1], height), (size[0], width)))
    return plane[np.ix_(rows, columns)]


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



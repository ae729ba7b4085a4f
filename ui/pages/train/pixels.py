"""What training makes of an image: for the pictures of the page, with the code that trains. Loads torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from engine import stages
from engine.augment import classification, detection, official, segmentation
from engine.augment.boxed import Boxed
from engine.config import TrainConfig
from engine.datasets.images import open_image, resize
from engine.datasets.store import Row
from engine.overlay import shape_mask
from engine.types import Instances, Labels, SemanticMask
from ui.pages.data.pictures import UNREADABLE, scaled
from ui.pages.train import outlined

KEPT, LARGEST = 16, 1024


def seen_in_training(row: Row, others: list[Row], config: TrainConfig, seed: int) -> tuple[np.ndarray, Labels | None, int]:
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


@lru_cache(maxsize=KEPT)
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

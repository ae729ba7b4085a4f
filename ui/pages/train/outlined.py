"""Training images whose objects have outlines, as the network will see them: moved, with objects of other images on top.

The page does without the task itself, which would load torch; the draws are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.augment import instance as augmentation
from engine.augment.copy_paste import paste
from engine.augment.instance import Scene
from engine.config import TrainConfig
from engine.datasets.outlines import as_polygons, rle_of_mask
from engine.types import Instances, Polygons


@dataclass(frozen=True)
class Look:
    """A training image: the picture, its labels, and the (width, height) they belong to, of which the picture may be a smaller copy."""

    picture: np.ndarray
    labels: Instances
    size: tuple[int, int]


@dataclass(frozen=True)
class Seen:
    """u8[S,S,3], its objects, and how many of them, the last ones, were laid on top."""

    picture: np.ndarray
    labels: Instances
    pasted: int


def mixed(look: Look, config: TrainConfig, seed: int, pick: Callable[[int], Look | None]) -> Seen:
    """What training makes of an image while its augmentation is in full strength; `pick(seed)` gives another image to take objects from."""
    scene, pasted = _scene(look, config, seed), 0
    if config.copy_paste and np.random.default_rng([seed, 4]).random() < config.copy_paste:
        other = pick(seed)
        if other is not None:
            scene, pasted = _pasted(scene, _scene(other, config, int(np.random.SeedSequence([seed, 6]).generate_state(1)[0])), seed)
    return Seen(augmentation.relit(scene.image, config.augment, strong=True, seed=seed), _objects(scene), pasted)


def _scene(look: Look, config: TrainConfig, seed: int) -> Scene:
    single = look.labels if look.labels.crowd is None else look.labels[~look.labels.crowd]
    move = augmentation.draw_move(config.augment, strong=True, side=config.image_size, seed=seed)
    return augmentation.scene(look.picture, single, look.size, move)


def _pasted(scene: Scene, donor: Scene, seed: int) -> tuple[Scene, int]:
    """The older objects come first, so that what was laid on top is told by where its masks stand."""
    whole = paste(scene, donor, seed)
    own = {mask.tobytes() for mask in donor.masks}
    count = 0
    while count < len(whole) and whole.masks[-1 - count].tobytes() in own:
        count += 1
    return whole, count


def _objects(scene: Scene) -> Instances:
    boxes = augmentation.boxes_of(scene.masks)
    return Instances(boxes, scene.classes, shapes=tuple(map(_outline, scene.masks, boxes.astype(int).tolist())))


def _outline(mask: np.ndarray, box: list[int]) -> Polygons:
    """An outline rather than a mask: it can be enlarged. Only the box is looked at."""
    left, top, right, bottom = box
    traced = as_polygons(rle_of_mask(augmentation.unpacked(mask)[top:bottom, left:right]), None)
    return Polygons(*(tuple(ring + (left, top) for ring in part) for part in (traced.rings, traced.holes)))

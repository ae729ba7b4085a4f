"""Copy-paste: objects of one training image laid on another (Ghiasi et al. 2021). What they hide is hidden from the older masks as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from engine.augment.instance import LEAST_PIXELS, Scene, areas_of, draw_move, relit, scene, unpacked
from engine.types import Instances

Picture = tuple[np.ndarray, Instances, tuple[int, int]]  # an image, its objects, and the (width, height) that they are given in

MOST_COVERED = 0.7
SHARE = 0.5
RIM = 3  # width in pixels of the filter that softens the edge


def prepared(picture: Picture, pick: Callable[[int], Picture | None], *, preset: str, share: float, side: int, seed: int,
             strong: bool = True) -> Scene:
    """What a network learns from, as training and preview make it: moved, mixed with a chance of `share`, and relit.

    `pick(seed)` gives the image to paste from, None when there is none. Crowd objects are left out. Without `strong` nothing is pasted.
    """
    made = _moved(picture, preset, strong, side, seed)
    if strong and share and np.random.default_rng([seed, 4]).random() < share:
        other = pick(seed)
        if other is not None:
            made = paste(made, _moved(other, preset, strong, side, int(np.random.SeedSequence([seed, 6]).generate_state(1)[0])), seed)
    return replace(made, image=relit(made.image, preset, strong=strong, seed=seed))


def _moved(picture: Picture, preset: str, strong: bool, side: int, seed: int) -> Scene:
    image, labels, size = picture
    single = labels if labels.crowd is None else labels[~labels.crowd]
    return scene(image, single, size, draw_move(preset, strong=strong, side=side, seed=seed))


def paste(base: Scene, donor: Scene, seed: int) -> Scene:
    """`base` with some objects of `donor` on top: each with a chance of one half, one at least. Both have the same side.

    Older objects lose the pixels that are covered; those that keep fewer than LEAST_PIXELS, or lose more than MOST_COVERED, go.
    """
    if not len(donor):
        return base
    random = np.random.default_rng([seed, 5])
    chosen = random.random(len(donor)) < SHARE
    chosen[int(random.integers(len(donor)))] = True
    pasted = donor.kept(chosen)
    cover = np.bitwise_or.reduce(pasted.masks, axis=0)
    before = areas_of(base.masks)
    rest = base.masks & ~cover
    after = areas_of(rest)
    stays = (after >= LEAST_PIXELS) & (before - after <= MOST_COVERED * before)
    return Scene(blended(base.image, donor.image, cover), np.concatenate([rest[stays], pasted.masks]),
                 np.concatenate([base.classes[stays], pasted.classes]))


def blended(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """u8[S,S,3]: `above` where `cover` u8[S,S//8] has bits, softened along the edge, `below` elsewhere."""
    hard = unpacked(cover)
    share = cv2.GaussianBlur(hard.astype(np.uint8) * np.uint8(255), (RIM, RIM), 0)
    result = np.where(hard[..., None], above, below)
    rim = (share > 0) & (share < 255)
    part = share[rim][:, None].astype(np.float32) / 255
    result[rim] = np.rint(below[rim] * (1 - part) + above[rim] * part).astype(np.uint8)
    return result

"""The published augmentation of DEIMv2, put together: which of its parts an image meets in the stage that a run is in.

A mosaic is neither zoomed out nor cropped, and no image is both mixed with another and given its objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.augment import framing
from engine.augment.boxed import Boxed
from engine.augment.mixing import copy_blend, mixup
from engine.augment.mosaic import mosaic
from engine.augment.photometric import distorted

ZOOM_OUT, CROP, FLIP = 0.5, 0.8, 0.5
PARTS = 4


@dataclass(frozen=True)
class Chances:
    """What may happen to an image: light, zoom out and crop at all (`strong`), and how often it is mixed with others.

    Boxes with a side below `least` are left out: pixels of the whole image, as it was taken, or of the mosaic.
    """

    strong: bool = False
    mosaic: float = 0.0
    mixup: float = 0.0
    copy_blend: float = 0.0
    least: float = 1.0


@dataclass(frozen=True)
class Taken:
    """An image as it was taken: `scale` of its pixels make one of `picture`."""

    picture: Boxed
    scale: float = 1.0


Another = Callable[[int], Taken | None]


def prepared(taken: Taken, pick: Another, chances: Chances, *, side: int, seed: int) -> Boxed:
    """What a network learns from: u8[side,side,3] with its boxes. `pick(seed)` gives another image, None when there is none."""
    random = np.random.default_rng([seed, 21])
    mixes, blends = random.random(2) < (chances.mixup, chances.copy_blend)
    made = _single(taken, pick, chances, side, seed)
    if not (chances.strong and (mixes or blends)):
        return made
    other = pick(_derived(seed, 1))
    if other is None:
        return made
    second = _single(other, pick, chances, side, _derived(seed, 2))
    return mixup(made, second, random) if mixes else copy_blend(made, second, random)


def _single(taken: Taken, pick: Another, chances: Chances, side: int, seed: int) -> Boxed:
    """One square, of one image or four."""
    random = np.random.default_rng([seed, 22])
    composed, flipped = random.random() < chances.mosaic, random.random() < FLIP
    if chances.strong and composed:
        others = [pick(_derived(seed, 10 + place)) for place in range(1, PARTS)]
        made = mosaic([taken.picture, *((other or taken).picture for other in others)], side, random)
        made = _large(Boxed(distorted(made.image, random), made.boxes, made.classes), chances.least, 1.0, 1.0)
        return made.mirrored() if flipped else made
    frame, picture = framing.whole(taken.picture.size), taken.picture
    if chances.strong:
        zooms, crops = random.random(2) < (ZOOM_OUT, CROP)
        frame = framing.zoomed_out(picture.size, random) if zooms else frame
        frame = framing.cropped(frame, picture.boxes, random) if crops else frame
    made = framing.framed(picture, frame, side, relit=(lambda image: distorted(image, random)) if chances.strong else lambda image: image)
    made = _large(made, chances.least, taken.scale * frame.width / side, taken.scale * frame.height / side)
    return made.mirrored() if flipped else made


def _large(made: Boxed, least: float, across: float, down: float) -> Boxed:
    """Without boxes whose width or height, one pixel of the square being `across` and `down` of those that count, is below `least`."""
    return made.kept((made.sides * np.array([across, down]) >= least).all(1))


def _derived(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, 23, number]).generate_state(1)[0])

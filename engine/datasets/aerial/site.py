"""A site: land, the objects put on it with the pixels that show them, and the camera that takes the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain

import cv2
import numpy as np

from engine.datasets.aerial import ground
from engine.datasets.aerial.ground import SCALE, SIZE, Land, direction
from engine.datasets.aerial.model import Model, Part, Points

MOST, CLEARANCE, VISIBLE = 8, 4, 0.75  # objects; pixels between two of them; share of an object's extent inside the picture
Spot = tuple[float, float, float]  # x, y, heading
Make = Callable[[np.random.Generator, np.ndarray], Model]  # the sun's direction is given in the object's own coordinates


@dataclass(frozen=True)
class Scene:
    """image u8[SIZE,SIZE,3] RGB; classes i64[N]; masks bool[N,SIZE,SIZE], the pixels that show each object."""

    image: np.ndarray
    classes: np.ndarray
    masks: np.ndarray

    def boxes(self) -> np.ndarray:
        """f32[N,4] x1,y1,x2,y2 around the masks."""
        boxes = np.zeros((len(self.masks), 4), np.float32)
        for i, mask in enumerate(self.masks):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            boxes[i] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return boxes


@dataclass
class Site:
    """Land with the objects put on it so far. Nothing overlaps: `taken` holds every object and the space around it."""

    rng: np.random.Generator
    land: Land
    taken: np.ndarray = field(default_factory=lambda: np.zeros((SIZE, SIZE), bool))
    objects: list[list[Part]] = field(default_factory=list)
    shadows: np.ndarray = field(default_factory=lambda: np.zeros((SIZE * SCALE, SIZE * SCALE), np.uint8))
    classes: list[int] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)

    def scatter(self, class_id: int, make: Make, spots: Iterable[Spot], count: int, allowed: np.ndarray | None = None) -> list[Spot]:
        """Puts up to `count` objects on the spots that suit; returns where."""
        used: list[Spot] = []
        for spot in spots:
            if len(used) >= count or len(self.classes) >= MOST:
                break
            if self._put(class_id, make, spot, allowed):
                used.append(spot)
        return used

    def _put(self, class_id: int, make: Make, spot: Spot, allowed: np.ndarray | None) -> bool:
        ahead = direction(spot[2])
        turn = np.array([ahead, (-ahead[1], ahead[0])])
        model = make(self.rng, turn @ self.land.sun)
        outlines = [part.points @ turn + spot[:2] for part in model.parts]
        if _share_inside(np.vstack(outlines)) < VISIBLE:
            return False
        mask = ground.coarse(ground.fill(outlines))
        if not mask.any() or (mask & self.taken).any() or (allowed is not None and (mask & ~allowed).sum() > 0.02 * mask.sum()):
            return False
        around = np.ones((2 * CLEARANCE + 1, 2 * CLEARANCE + 1), np.uint8)
        self.taken |= cv2.dilate(mask.astype(np.uint8), around).astype(bool)
        self.objects.append([Part(points, part.colour) for points, part in zip(outlines, model.parts, strict=True)])
        self.shadows |= _cast(outlines, -self.land.sun * model.height)
        self.classes.append(class_id)
        self.masks.append(mask)
        return True

    def finish(self) -> Scene:
        self.land.shadow(self.shadows, 0.5)
        for part in chain.from_iterable(self.objects):
            self.land.polygon(part.points, part.colour)
        masks = np.stack(self.masks) if self.masks else np.zeros((0, SIZE, SIZE), bool)
        image = cv2.resize(self.land.image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        return Scene(_photograph(self.rng, image), np.array(self.classes, np.int64), masks)


def _share_inside(points: Points) -> float:
    low, high = points.min(axis=0), points.max(axis=0)
    seen = np.clip(high, 0, SIZE) - np.clip(low, 0, SIZE)
    return float(np.prod(seen / np.maximum(high - low, 1e-6)))


def _cast(outlines: list[Points], reach: np.ndarray) -> np.ndarray:
    """The shadow of flat shapes at a height: everything between them and where the light sets them down."""
    steps = max(2, round(float(np.hypot(*reach)) / 2))
    return ground.fill(points + reach * step / steps for step in range(1, steps + 1) for points in outlines)


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light, haze, focus and sensor noise."""
    curve = np.linspace(0, 1, 256) ** rng.uniform(0.8, 1.25) * rng.uniform(0.82, 1.12)
    picture = curve.astype(np.float32)[image] * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    haze = np.float32(rng.uniform(0, 0.22) if rng.random() < 0.4 else 0.0)
    picture = picture * (1 - haze) + haze * np.array((0.74, 0.78, 0.82), np.float32)
    picture *= 1 + 0.07 * ground.noise(rng, 1, 2)[..., None]
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 0.8)))
    picture += rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0.004, 0.022))
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)

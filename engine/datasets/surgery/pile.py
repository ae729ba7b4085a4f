"""Where instruments come to lie: spread over the tray, one over the other, but none hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from engine.datasets.sample_strokes import turned
from engine.datasets.surgery.ground import HEIGHT, WIDTH
from engine.datasets.surgery.metal import fill
from engine.datasets.surgery.model import Instrument, Points

LAYOUTS = ("rows", "loose", "heap")
LOOSE = 0.5  # of the detail of the finished picture, in which places are tried
TRIES = 24
SEEN = 0.7  # share of every instrument that the others leave visible, where there is room
SPREAD = np.array([0.7548776662466927, 0.5698402909980532])  # 1/p and 1/p² of the plastic number p: steps that fill a square evenly
SIZE = np.array([WIDTH, HEIGHT])


@dataclass(frozen=True)
class Camera:
    """Pixels a millimetre, and the homography f64[3,3] of a view that is not quite from above."""

    scale: float
    tilt: np.ndarray

    @staticmethod
    def draw(rng: np.random.Generator) -> Camera:
        corners = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], np.float32)
        moved = corners + rng.uniform(-0.035, 0.035, (4, 2)) * WIDTH
        return Camera(float(rng.uniform(1.0, 1.14)), cv2.getPerspectiveTransform(corners, moved.astype(np.float32)))

    def seen(self, points: Points) -> Points:
        whole = points @ self.tilt[:, :2].T + self.tilt[:, 2]
        return whole[:, :2] / whole[:, 2:]


@dataclass
class Pile:
    """Tries places, and takes the first that leaves enough of everything that lies there already."""

    rng: np.random.Generator
    layout: str
    margin: float
    camera: Camera
    top: np.ndarray = field(default_factory=lambda: np.zeros((round(HEIGHT * LOOSE), round(WIDTH * LOOSE)), np.uint8))
    whole: list[int] = field(default_factory=lambda: [1])
    heading: float = 0.0
    start: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def __post_init__(self) -> None:
        self.heading, self.start = float(self.rng.choice((0.5, 1.5, 0.0))) * np.pi, self.rng.random(2)

    def lay(self, instrument: Instrument, number: int) -> Instrument:
        """The instrument where it came to lie, in pixels of the finished picture."""
        visible = np.bincount(self.top.ravel(), minlength=len(self.whole))
        best: tuple[float, Instrument, np.ndarray] | None = None
        for attempt in range(TRIES):
            placed = instrument.mapped(self._somewhere(instrument, number, attempt / TRIES))
            mask = self._mask(placed)
            quality = self._quality(mask, placed, visible)
            if best is None or quality > best[0]:
                best = quality, placed, mask
            if quality >= SEEN:
                break
        assert best is not None
        self.top[best[2] > 0] = number
        self.whole.append(max(1, int(np.count_nonzero(best[2]))))
        return best[1]

    def _somewhere(self, instrument: Instrument, number: int, wander: float) -> Callable[[Points], Points]:
        """Spread evenly over the tray, the first tries close to where the number belongs."""
        heading = self._turn()
        points = turned(np.concatenate([outline for part in instrument.parts for outline in part.fills]) * self.camera.scale, heading)
        room = np.maximum(SIZE / 2 - self.margin - np.abs(points).max(0), 4)
        share = (self.start + number * SPREAD + self.rng.normal(0, 0.03 + 0.4 * wander, 2)) % 1 * 2 - 1
        if self.layout == "heap":
            share = share * np.abs(share) ** 0.7
        at = SIZE / 2 + share * room
        return lambda points: self.camera.seen(turned(points * self.camera.scale, heading) + at)

    def _turn(self) -> float:
        if self.layout != "rows":
            return float(self.rng.uniform(0, 2 * np.pi))
        stray = float(self.rng.uniform(-0.9, 0.9)) if self.rng.random() < 0.15 else 0.0
        return self.heading + float(self.rng.normal(0, 0.08)) + stray + (np.pi if self.rng.random() < 0.2 else 0)

    def _mask(self, placed: Instrument) -> np.ndarray:
        mask = np.zeros_like(self.top)
        for part in placed.parts:
            own = np.zeros_like(self.top)
            fill(own, tuple(each * LOOSE for each in part.fills), tuple(each * LOOSE for each in part.holes), np.zeros(2))
            mask |= own
        return mask

    def _quality(self, mask: np.ndarray, placed: Instrument, visible: np.ndarray) -> float:
        """The share that is left of whatever is hidden most, less what sticks out beyond the margin."""
        covered = np.bincount(self.top[mask > 0], minlength=len(self.whole))
        left = (visible - covered)[1:] / np.array(self.whole[1:])
        points = np.concatenate([outline for part in placed.parts for outline in part.fills])
        beyond = np.maximum(self.margin - points, points - SIZE + self.margin).max()
        return min([1.0, *left[covered[1:] > 0].tolist()]) - max(0.0, float(beyond) - 1) / 30

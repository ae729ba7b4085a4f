"""What instruments are made of, as a table of the colour that each slope of a surface shows, and how they are painted with it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine.datasets.sample_strokes import SHIFT, fixed
from engine.datasets.surgery.model import Instrument, Part, Points

TABLE = 96  # slopes along each side of a table
PLASTICS = {"teal": (24, 138, 128), "orange": (232, 120, 30), "red": (196, 40, 46), "violet": (112, 66, 158), "blue": (38, 96, 190)}
METALS = {"steel": ((0.93, 0.95, 0.97), 0.5), "bright": ((1.0, 1.01, 1.03), 0.25), "satin": ((0.86, 0.87, 0.88), 0.85),
          "glass": ((0.86, 0.95, 1.06), 0.1), "gold": ((1.06, 0.80, 0.36), 0.5)}  # tint, roughness
MARGIN = 5  # fine pixels around a part that its own shade reaches
COARSE = 6  # a far shadow is blurred at so much less detail
Lamp = tuple[np.ndarray, float, float]
Box = tuple[slice, slice]


@dataclass(frozen=True)
class Light:
    """Lamps (direction, sharpness, strength): the one that casts the shadows, a wide one overhead, others.

    `table` is the colour that metal mirrors from below, `room` how light the ceiling is.
    """

    lamps: tuple[Lamp, ...]
    table: np.ndarray
    room: float

    @staticmethod
    def draw(rng: np.random.Generator, table: np.ndarray, turn: float) -> Light:
        """`turn` is where the first lamp stands."""
        lamps = [_lamp(turn, float(rng.uniform(0.5, 0.85)), rng.uniform(9, 26), rng.uniform(0.75, 1.0)),
                 _lamp(turn + float(rng.uniform(-1.2, 1.2)), float(rng.uniform(0.12, 0.4)), rng.uniform(4, 9), rng.uniform(0.3, 0.5))]
        for _ in range(int(rng.integers(1, 3))):
            lamps.append(_lamp(turn + float(rng.uniform(1.5, 4.8)), float(rng.uniform(0.3, 1.2)), rng.uniform(12, 30), rng.uniform(0.3, 0.8)))
        return Light(tuple(lamps), table / 255, float(rng.uniform(0.38, 0.5)))

    def shadow(self) -> np.ndarray:
        """Pixels that a shadow is moved by for every pixel of height."""
        way = self.lamps[0][0]
        return -way[:2] / way[2]


def _lamp(turn: float, lean: float, sharp: float, strength: float) -> Lamp:
    return np.array([np.cos(turn) * np.sin(lean), np.sin(turn) * np.sin(lean), np.cos(lean)]), float(sharp), float(strength)


def tables(light: Light) -> dict[str, np.ndarray]:
    """u8[TABLE,TABLE,3] a material, by the slope (y, x) from -1 to 1."""
    y, x = np.mgrid[:TABLE, :TABLE].astype(np.float32) * 2 / (TABLE - 1) - 1
    z = np.sqrt(np.clip(1 - x * x - y * y, 0.02, 1))
    normal = np.stack([x, y, z], -1)
    found = {name: _as_bytes(_mirrored(light, normal, rough) * tint) for name, (tint, rough) in METALS.items()}
    found["black"] = _as_bytes(0.05 + 0.3 * _mirrored(light, normal, 0.6))
    for name, colour in PLASTICS.items():
        lit = np.clip(normal @ light.lamps[0][0], 0, 1)[..., None]
        found[name] = _as_bytes(np.array(colour) / 255 * (0.5 + 0.62 * lit) + 0.28 * np.clip(_mirrored(light, normal, 0.3) - 0.6, 0, None))
    return found


def _mirrored(light: Light, normal: np.ndarray, rough: float) -> np.ndarray:
    """f[...,3]: what comes from where a mirror of this slope looks: the table below, a dim room above, lamps."""
    way = np.concatenate([2 * normal[..., 2:] * normal[..., :2], 2 * normal[..., 2:] ** 2 - 1], -1)
    up = np.clip(way[..., 2:] * (2.4 - rough) + 0.45, 0, 1)
    total = (1 - up) * (light.table * 0.42 + 0.02) + up * light.room * (1.18 - 0.3 * way[..., 2:])
    for lamp, sharp, strength in light.lamps:
        total = total + strength * (1 - 0.4 * rough) * np.exp(sharp * (1 - 0.6 * rough) * (way @ lamp - 1))[..., None]
    return total


def _as_bytes(colours: np.ndarray) -> np.ndarray:
    return np.clip(255 * colours, 0, 255).astype(np.uint8)


# -- painting -------------------------------------------------------------------------------------------------------------------------


@dataclass
class Canvas:
    """The picture u8[H,W,3] and whose pixel it is u8[H,W] (0 = nobody's), both fine; how much flat metal leans f32[H,W] for x and y."""

    image: np.ndarray
    owners: np.ndarray
    leans: tuple[np.ndarray, np.ndarray]
    tables: dict[str, np.ndarray]
    drop: np.ndarray  # fine pixels of shadow for every fine pixel of height
    grain: float  # fine pixels a millimetre
    shade: float

    def paint(self, instrument: Instrument, number: int, lean: np.ndarray) -> None:
        """Lays an instrument, in fine pixels, onto what is there; `lean` is its own slope."""
        masks = [self._mask(part) for part in instrument.parts]
        self._cast(masks, instrument.height * self.grain)
        for part, (box, mask) in zip(instrument.parts, masks, strict=True):
            if mask.size:
                self._contact(box, mask)
                slope_x, slope_y = self._slopes(part, box, mask, lean)
                cv2.copyTo(cv2.remap(self.tables[part.material], slope_x, slope_y, cv2.INTER_LINEAR), mask, self.image[box])
                self.owners[box][mask > 0] = number

    def _mask(self, part: Part) -> tuple[Box, np.ndarray]:
        """Where the part lies in the picture, and u8 255 where it covers."""
        points = np.concatenate(part.fills)
        height, width = self.owners.shape
        left, top = np.clip(np.floor(points.min(0)).astype(int) - MARGIN, 0, (width, height))
        right, bottom = np.clip(np.ceil(points.max(0)).astype(int) + MARGIN, 0, (width, height))
        mask = np.zeros((bottom - top, right - left), np.uint8)
        if mask.size:
            fill(mask, part.fills, part.holes, np.array([left, top]))
        return (slice(top, bottom), slice(left, right)), mask

    def _cast(self, masks: list[tuple[Box, np.ndarray]], height: float) -> None:
        """The soft shadow of all parts together."""
        reach = int(np.abs(self.drop).max() * height + height) + 2 * COARSE
        starts = np.array([[side.start for side in box] for box, _ in masks])
        stops = np.array([[side.stop for side in box] for box, _ in masks])
        top, left = np.maximum(starts.min(0) - reach, 0).tolist()
        bottom, right = np.minimum(stops.max(0) + reach, self.owners.shape).tolist()
        whole = np.zeros((bottom - top, right - left), np.uint8)
        for (rows, columns), mask in masks:
            part = whole[rows.start - top:rows.stop - top, columns.start - left:columns.stop - left]
            np.maximum(part, mask, out=part)
        small = cv2.resize(whole, None, fx=1 / COARSE, fy=1 / COARSE, interpolation=cv2.INTER_AREA).astype(np.float32)
        across, down = self.drop * height / COARSE
        moved = cv2.warpAffine(small, np.array([[1, 0, across], [0, 1, down]]), small.shape[::-1])
        soft = cv2.GaussianBlur(moved, (0, 0), height / COARSE * 0.33) + 0.3 * cv2.GaussianBlur(moved, (0, 0), height / COARSE * 1.1)
        self._darken((slice(top, bottom), slice(left, right)), np.clip(255 - self.shade * soft, 0, 255))

    def _contact(self, box: Box, mask: np.ndarray) -> None:
        near = cv2.blur(mask, (2 * MARGIN - 1, 2 * MARGIN - 1))
        self._darken(box, 255 - 0.55 * near.astype(np.float32))

    def _darken(self, box: Box, factors: np.ndarray) -> None:
        view = self.image[box]
        factors = factors.astype(np.uint8)
        if factors.shape != view.shape[:2]:
            factors = cv2.resize(factors, view.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        cv2.multiply(view, cv2.cvtColor(factors, cv2.COLOR_GRAY2RGB), view, 1 / 255)

    def _slopes(self, part: Part, box: Box, mask: np.ndarray, lean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in the table f32, x and y, from a relief that rises from the edge like a quarter of a circle."""
        bevel = max(part.bevel * self.grain, 1.0)
        rise = np.sin(np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 3) * np.float32(0.5 * np.pi / bevel), np.float32(np.pi / 2)))
        relief = rise * np.float32(part.steep * bevel * 0.8)
        for groove in part.grooves:
            cut = np.zeros(mask.shape, np.float32)
            points = fixed(groove.points - (box[1].start, box[0].start) - 0.5)
            cv2.polylines(cut, [points], False, 1.0, max(1, round(groove.width * self.grain)), cv2.LINE_8, SHIFT)
            relief -= cut * np.float32(groove.depth * self.grain)
        relief = cv2.GaussianBlur(relief, (0, 0), 1.2)
        x = self.leans[0][box] + np.float32(lean[0]) - cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=1 / 8)
        y = self.leans[1][box] + np.float32(lean[1]) - cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=1 / 8)
        length = np.sqrt(x * x + y * y + 1)
        return (x / length + 1) * np.float32((TABLE - 1) / 2), (y / length + 1) * np.float32((TABLE - 1) / 2)


def fill(mask: np.ndarray, fills: tuple[Points, ...], holes: tuple[Points, ...], origin: np.ndarray) -> None:
    """255 inside the fills, 0 inside the holes. Coordinates run along the borders of pixels, `origin` is that of the mask."""
    for outline in fills:
        cv2.fillPoly(mask, [fixed(outline - origin - 0.5)], 255, cv2.LINE_8, SHIFT)
    for outline in holes:
        cv2.fillPoly(mask, [fixed(outline - origin - 0.5)], 0, cv2.LINE_8, SHIFT)

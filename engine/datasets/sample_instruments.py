"""Drawn trays of surgical instruments seen from above: thin, of bright metal, one over the other; the outline of whatever can be seen of each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine.datasets.outlines import box_of, joined
from engine.datasets.sample_strokes import hills
from engine.datasets.surgery import ground
from engine.datasets.surgery.craft import BUILDERS
from engine.datasets.surgery.ground import FINE, HEIGHT, WIDTH
from engine.datasets.surgery.metal import Canvas, Light, tables
from engine.datasets.surgery.pile import LAYOUTS, Camera, Pile
from engine.types import Instances, Polygons

CLASSES = tuple(BUILDERS)
OBJECTS, MOST = (20, 30), 40  # fewest and most on a tray as a rule; more than that hide each other
KINDS = tuple((surface, layout) for layout in LAYOUTS for surface in ground.KINDS)
LEAST = 40  # finished pixels; with less to be seen an instrument is no object
SPECK, PINHOLE = 6.0, 0.5  # finished pixels; smaller pieces of an instrument are left out, smaller holes in it filled
TOLERANCE = 0.5  # half fine pixels by which an outline may be simplified
SMOOTH = 3  # neighbours on either side that a point of an outline is averaged with


@dataclass(frozen=True)
class Tray:
    """image u8[HEIGHT,WIDTH,3] RGB; owners u8[HEIGHT,WIDTH]: 0, or 1 + the index of the object that the pixel shows; labels: the visible outlines."""

    image: np.ndarray
    owners: np.ndarray
    labels: Instances


def generate(rng: np.random.Generator, kind: int, objects: tuple[int, int] = OBJECTS) -> Tray:
    """A tray of one of the KINDS with so many instruments, fewest and most."""
    surface, layout = KINDS[kind % len(KINDS)]
    camera = Camera.draw(rng)
    turn = float(rng.uniform(0, 2 * np.pi))
    floor = surface(rng, camera.seen, np.array([np.cos(turn), np.sin(turn)]))
    canvas = _canvas(rng, floor, Light.draw(rng, floor.colour, turn), camera.scale * FINE)
    classes = _dealt(rng, int(rng.integers(objects[0], objects[1] + 1)))
    pile = Pile(rng, layout, floor.margin, camera)
    for number, class_id in enumerate(classes, 1):
        placed = pile.lay(BUILDERS[CLASSES[class_id]](rng).middled(), number)
        canvas.paint(placed.mapped(lambda points: points * FINE), number, rng.uniform(-0.12, 0.12, 2))
    owners, labels = _labels(canvas.owners, np.array(classes))
    return Tray(_photograph(rng, canvas.image), owners, labels)


def _dealt(rng: np.random.Generator, count: int) -> list[int]:
    """Every class as often as any other, give or take one, in any order."""
    rounds = [rng.permutation(len(CLASSES)) for _ in range(count // len(CLASSES) + 1)]
    return rng.permutation(np.concatenate(rounds)[:count]).tolist()


def _canvas(rng: np.random.Generator, floor: ground.Ground, light: Light, grain: float) -> Canvas:
    size = (WIDTH * FINE, HEIGHT * FINE)
    lean_x, lean_y = (cv2.resize(0.1 * hills(rng, 64, 7, 2)[:48], size, interpolation=cv2.INTER_LINEAR) for _ in range(2))
    owners = np.zeros(size[::-1], np.uint8)
    return Canvas(floor.image, owners, (lean_x, lean_y), tables(light), light.shadow(), grain, shade=float(rng.uniform(0.42, 0.6)))


# -- labels ---------------------------------------------------------------------------------------------------------------------------


def _labels(fine: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, Instances]:
    """Owners of the finished pixels (of their middles), numbered anew without those that are hardly to be seen, and the outlines."""
    owners = np.zeros((HEIGHT, WIDTH), np.uint8)
    kept, shapes = [], []
    for index in range(len(classes)):
        left, top, mask = _visible(fine, index + 1)
        middles = mask[(FINE // 2 - top) % FINE::FINE, (FINE // 2 - left) % FINE::FINE]
        if np.count_nonzero(middles) >= LEAST:
            kept.append(index)
            shapes.append(_outline(mask, np.array([left, top])))
            row, column = -(-(top - FINE // 2) // FINE), -(-(left - FINE // 2) // FINE)
            owners[row:row + len(middles), column:column + middles.shape[1]][middles > 0] = len(kept)
    boxes = np.array([box_of(shape) for shape in shapes]).reshape(-1, 4)
    return owners, Instances(boxes, classes[kept], shapes=tuple(shapes))


def _visible(fine: np.ndarray, number: int) -> tuple[int, int, np.ndarray]:
    """Where the pieces of an instrument that are no specks lie: left, top, u8[h,w] of 0 and 1."""
    whole = cv2.compare(fine, number, cv2.CMP_EQ)
    left, top, width, height = cv2.boundingRect(whole)
    _, pieces, facts, _ = cv2.connectedComponentsWithStats(whole[top:top + height, left:left + width], connectivity=8)
    large = facts[:, cv2.CC_STAT_AREA] >= SPECK * FINE**2
    large[0] = False
    return left, top, large.astype(np.uint8)[pieces]


def _outline(mask: np.ndarray, corner: np.ndarray) -> Polygons:
    """Rings along the borders of fine pixels, in finished ones; a hole is joined to its ring by a bridge without width.

    On a grid of half pixels a pixel is nine points, of which the outer ones lie on its border: contours through points then run along borders.
    """
    grid = np.zeros((2 * mask.shape[0] + 1, 2 * mask.shape[1] + 1), np.uint8)
    grid[1::2, 1::2] = mask
    contours, tree = cv2.findContours(cv2.dilate(grid, np.ones((3, 3), np.uint8)), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parents = tree[0][:, 3]
    rings = {number: [_ring(contours[number], corner)] for number in np.flatnonzero(parents < 0).tolist()}
    for number in np.flatnonzero(parents >= 0).tolist():
        if cv2.contourArea(contours[number]) >= PINHOLE * (2 * FINE) ** 2:
            rings[int(parents[number])].append(_ring(contours[number], corner))
    return Polygons(tuple(joined(Polygons((outer,), tuple(holes))) for outer, *holes in rings.values()))


def _ring(contour: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The steps of slanted borders smoothed away, then as few corners as will do."""
    points = np.pad(contour[:, 0].astype(np.float32), ((SMOOTH, SMOOTH), (0, 0)), "wrap")
    even = cv2.blur(points, (1, 2 * SMOOTH + 1))[SMOOTH:-SMOOTH]
    corners = cv2.approxPolyDP(even[:, None], TOLERANCE, True).reshape(-1, 2).astype(np.float64)
    return np.round(corners / (2 * FINE) + corner / FINE, 2)


# -- the picture ----------------------------------------------------------------------------------------------------------------------


def _photograph(rng: np.random.Generator, fine: np.ndarray) -> np.ndarray:
    """u8[HEIGHT,WIDTH,3]: uneven light, glare around highlights, the tint of the lamps, noise."""
    image = cv2.resize(fine, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.2, 0.45)))
    image += 0.5 * cv2.GaussianBlur(np.clip(image - 215, 0, None), (0, 0), 4.0)
    y, x = np.mgrid[-1:1:HEIGHT * 1j, -1:1:WIDTH * 1j].astype(np.float32)
    slant = rng.uniform(-0.1, 0.1, 2)
    light = float(rng.uniform(0.9, 1.14)) * (1.03 + slant[0] * x + slant[1] * y - 0.1 * (x * x + y * y))
    image *= light[..., None] * rng.uniform((0.97, 0.98, 0.95), (1.04, 1.02, 1.04)).astype(np.float32)
    return np.clip(image + 2 * rng.standard_normal(image.shape, np.float32), 0, 255).astype(np.uint8)

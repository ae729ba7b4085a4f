"""What a stored set looks like in numbers and small maps; computed once a revision."""

from __future__ import annotations

import base64
import sqlite3
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any

import numpy as np

from engine.datasets.store import Dataset
from engine.datasets.store_classes import GONE, Classes
from engine.datasets.store_counts import class_counts, counted

GRID = 64
TOP_CLASSES = 12
MOST_POINTS = 5_000
REFERENCE_SIDE = 640
MOST_BINS = 60
BLOCK = 4096
ASPECTS = tuple(2.0 ** (step / 4) for step in range(-16, 17))
SIDES = (0, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 640)


@dataclass(frozen=True)
class Statistics:
    """`counts`: as Dataset.counts. For each class of `classes` (index = id) one number in `objects` and in `images`.

    Histograms are (edges, counts) with one edge more than counts; a value on an edge belongs to the bin above it, and the outer bins take what lies
    beyond. `heat`: u32[G,G], how many boxes cover each cell of the image (row 0 at the top); `class_heat` the same for the classes with most objects.
    `points`: f32[N,3], share of the image's width, of its height, and class id, of at most 5,000 boxes. `sizes`: (width, height, images), most first.
    `together`: u32[C,C], images that show both classes (the diagonal: images of one). `pixels`: share of all judged pixels per class of masks.
    """

    classes: tuple[str, ...]
    counts: dict[str, dict[str, Any]]
    objects: tuple[int, ...]
    images: tuple[int, ...]
    per_image: tuple[tuple[float, ...], tuple[int, ...]]
    aspects: tuple[tuple[float, ...], tuple[int, ...]]
    sides: tuple[tuple[float, ...], tuple[int, ...]]
    sizes: tuple[tuple[int, int, int], ...]
    heat: np.ndarray
    class_heat: dict[int, np.ndarray] = field(default_factory=dict)
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    together: np.ndarray | None = None
    pixels: tuple[float, ...] | None = None


def statistics(dataset: Dataset) -> Statistics:
    """Everything above, from the cache when the set has not changed. Nothing in the trash counts."""
    return _unpacked(dataset.cached("statistics", lambda connection: _packed(_computed(connection))))


def _computed(connection: sqlite3.Connection) -> Statistics:
    classes = Classes.load(connection)
    count = len(classes.names)
    found = connection.execute("SELECT id, width, height, objects FROM images WHERE trashed IS NULL ORDER BY id")
    images = _table(found, 4, np.int64)
    boxes = _Boxes.load(connection, classes, images)
    objects, shown = np.zeros(count, np.int64), np.zeros(count, np.int64)
    content = class_counts(connection)
    for _, key, things, times in content:
        objects[classes.ids[key]] += things
        shown[classes.ids[key]] += times
    most = np.argsort(-np.bincount(boxes.classes, minlength=count), kind="stable")[:TOP_CLASSES].tolist()
    sizes, how_often = np.unique(images[:, 1:3], axis=0, return_counts=True)
    by_number = sorted(zip(how_often.tolist(), sizes.tolist(), strict=True), key=lambda row: (-row[0], row[1]))
    return Statistics(
        classes.names, counted(connection, content), tuple(objects.tolist()), tuple(shown.tolist()), _per_image(images[:, 3]),
        _histogram(boxes.aspect, ASPECTS), _histogram(boxes.side, SIDES), tuple((width, height, number) for number, (width, height) in by_number),
        boxes.heat(), {number: boxes.heat(number) for number in most if (boxes.classes == number).any()}, boxes.points(),
        _together(connection, classes), _pixel_shares(connection, classes))


@dataclass(frozen=True)
class _Boxes:
    """All boxes: `corners` f64[N,4] as shares of their image, `classes` i64[N], `sides` f64[N,2] in pixels, `scale` f64[N] to the reference side."""

    corners: np.ndarray
    classes: np.ndarray
    sides: np.ndarray
    scale: np.ndarray

    @classmethod
    def load(cls, connection: sqlite3.Connection, classes: Classes, images: np.ndarray) -> _Boxes:
        shapes = _table(connection.execute("SELECT image_id, class_id, x1, y1, x2, y2 FROM shapes"), 6, np.float64)
        numbers = np.full(max(classes.ids, default=0) + 1, GONE)
        numbers[list(classes.ids)] = list(classes.ids.values())
        at = np.searchsorted(images[:, 0], shapes[:, 0])
        there = at < len(images)
        there[there] = images[at[there], 0] == shapes[there, 0]
        ids = numbers[shapes[:, 1].astype(np.int64)]
        keep = there & (ids != GONE)
        shapes, at, ids = shapes[keep], at[keep], ids[keep]
        size = images[at, 1:3].astype(np.float64)
        return cls(np.clip(shapes[:, 2:] / np.tile(size, 2), 0, 1), ids, shapes[:, 4:] - shapes[:, 2:4], REFERENCE_SIDE / size.max(1, initial=1))

    @property
    def aspect(self) -> np.ndarray:
        """Width over height."""
        return self.sides[:, 0] / np.maximum(self.sides[:, 1], 1e-6)

    @property
    def side(self) -> np.ndarray:
        """Side of the square with the box's area, in pixels of the image at its reference size."""
        return np.sqrt(np.maximum(self.sides.prod(1), 0)) * self.scale

    def heat(self, class_id: int | None = None) -> np.ndarray:
        """u32[G,G]: boxes over each cell. Every box adds 1 at one corner and takes it back beyond the others; two sums do the rest."""
        corners = self.corners if class_id is None else self.corners[self.classes == class_id]
        low = np.minimum(np.floor(corners[:, :2] * GRID), GRID - 1).astype(np.int64)
        high = np.maximum(np.ceil(corners[:, 2:] * GRID).astype(np.int64), low + 1)
        width = GRID + 1
        flat = np.zeros(width * width, np.int64)
        for x, y, sign in ((low, low, 1), (high, high, 1), (low, high, -1), (high, low, -1)):
            flat += sign * np.bincount(y[:, 1] * width + x[:, 0], minlength=width * width)
        return flat.reshape(width, width).cumsum(0).cumsum(1)[:GRID, :GRID].astype(np.uint32)

    def points(self) -> np.ndarray:
        """f32[N,3] of at most MOST_POINTS boxes, the same ones every time."""
        chosen = np.arange(len(self.classes))
        if len(chosen) > MOST_POINTS:
            chosen = np.sort(np.random.default_rng(0).choice(len(chosen), MOST_POINTS, replace=False))
        sides = self.corners[chosen, 2:] - self.corners[chosen, :2]
        return np.column_stack([sides, self.classes[chosen]]).astype(np.float32)


def _table(found: sqlite3.Cursor, columns: int, kind: type) -> np.ndarray:
    """[N, columns] from numbers alone. Raises TypeError where there is something else."""
    return np.fromiter(chain.from_iterable(found), kind).reshape(-1, columns)


def _per_image(objects: np.ndarray) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """A bin for every number as long as there are few, then wider ones."""
    top = int(objects.max(initial=0))
    step = max(1, -(-(top + 1) // MOST_BINS))
    edges = np.arange(0, top + step + 1, step)
    return tuple(edges.tolist()), tuple(np.histogram(objects, edges)[0].tolist())


def _histogram(values: np.ndarray, edges: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return tuple(edges), tuple(np.bincount(bins, minlength=len(edges) - 1).tolist())


def _together(connection: sqlite3.Connection, classes: Classes) -> np.ndarray | None:
    """u32[C,C] where there are tags."""
    if connection.execute("SELECT value FROM meta WHERE key = 'task'").fetchone()[0] != "classify":
        return None
    rows = _table(connection.execute("""SELECT c.image_id, c.class_id FROM content c JOIN images i ON i.id = c.image_id
        WHERE i.trashed IS NULL ORDER BY c.image_id"""), 2, np.int64)
    numbers = np.array([classes.ids[key] for key in rows[:, 1].tolist()], np.int64)
    _, image = np.unique(rows[:, 0], return_inverse=True)
    count, total = len(classes.names), int(image.max(initial=-1)) + 1
    result = np.zeros((count, count), np.float64)
    for start in range(0, total, BLOCK):
        here = (image >= start) & (image < start + BLOCK)
        shown = np.zeros((BLOCK, count), np.float32)
        shown[image[here] - start, numbers[here]] = 1
        result += shown.T @ shown
    return result.astype(np.uint32)


def _pixel_shares(connection: sqlite3.Connection, classes: Classes) -> tuple[float, ...] | None:
    """Of all pixels of the images that have a mask."""
    area = connection.execute("""SELECT sum(width * height) FROM images WHERE trashed IS NULL
        AND id IN (SELECT image_id FROM content WHERE pixels IS NOT NULL)""").fetchone()[0]
    if not area:
        return None
    shares = np.zeros(len(classes.names))
    for key, pixels in connection.execute("""SELECT c.class_id, sum(c.pixels) FROM content c JOIN images i ON i.id = c.image_id
            WHERE i.trashed IS NULL AND c.pixels IS NOT NULL GROUP BY c.class_id"""):
        shares[classes.ids[key]] += pixels / area
    return tuple(shares.tolist())


# ---- in the cache

def _packed(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, Statistics):
        return {each.name: _packed(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, np.ndarray):
        return {"array": base64.b64encode(value.tobytes()).decode(), "kind": value.dtype.str, "shape": value.shape}
    return {str(key): _packed(each) for key, each in value.items()} if isinstance(value, dict) else value


def _unpacked(packed: dict[str, Any]) -> Statistics:
    def array(value: dict[str, Any] | None) -> np.ndarray | None:
        return None if value is None else np.frombuffer(base64.b64decode(value["array"]), value["kind"]).reshape(value["shape"])

    histograms = {name: tuple(map(tuple, packed[name])) for name in ("per_image", "aspects", "sides")}
    arrays = {name: array(packed[name]) for name in ("heat", "points", "together")}
    lists = {name: packed[name] and tuple(packed[name]) for name in ("classes", "objects", "images", "pixels")}
    return Statistics(**{**packed, **histograms, **arrays, **lists, "sizes": tuple(map(tuple, packed["sizes"])),
                         "class_heat": {int(key): array(value) for key, value in packed["class_heat"].items()}})

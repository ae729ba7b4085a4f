"""Labels to and from the rows of labels.sqlite."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import cv2
import numpy as np

from engine.datasets.outlines import mask_of, rle_of_mask
from engine.datasets.packed import PackedClasses, pack
from engine.datasets.store_classes import GONE, Classes
from engine.types import RLE, UNCERTAIN, Instances, Labels, Polygons, SemanticMask, Shape, Tags

SHAPE_COLUMNS = "image_id, class_id, x1, y1, x2, y2, score, crowd, outline"
ShapeRow = tuple[Any, ...]
_compact = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # made once: json.dumps makes one for every outline


def state_of(labels: Labels | None) -> str:
    """"unlabeled", "background" (looked at, nothing there), "suggested" (scores: nobody has confirmed them) or "labeled"."""
    if labels is None:
        return "unlabeled"
    if isinstance(labels, Instances):
        if labels.scores is not None and not (len(labels) and np.isnan(labels.scores).all()):
            return "suggested"
        return "labeled" if len(labels) else "background"
    return "labeled"


# ---- objects

def shape_rows(image_id: int, labels: Labels | None, classes: Classes) -> Iterator[ShapeRow]:
    if not isinstance(labels, Instances):
        return
    numbers = labels.classes.tolist()
    keys = numbers if classes.same else [classes.keys[number] for number in numbers]
    for index, (box, key) in enumerate(zip(labels.boxes.tolist(), keys, strict=True)):
        score = None if labels.scores is None else float(labels.scores[index])  # NaN is kept as NULL
        crowd = int(labels.crowd is not None and labels.crowd[index])
        yield image_id, key, *box, score, crowd, outline_text(labels.shapes[index] if labels.shapes is not None else None)


def instances_of(rows: Sequence[ShapeRow], classes: Classes) -> Instances:
    """From rows of SHAPE_COLUMNS without the image id. Objects of deleted classes are gone. Among suggestions, an object without a score is truth."""
    numbers = [classes.ids[row[0]] for row in rows]
    if GONE in numbers:
        rows = [row for row, number in zip(rows, numbers, strict=True) if number != GONE]
        numbers = [number for number in numbers if number != GONE]
    if not rows:
        return Instances.empty()
    _, x1, y1, x2, y2, scores, crowd, outlines = zip(*rows, strict=True)
    shapes = tuple(shape_of_text(text) for text in outlines) if any(outlines) else None
    return Instances(np.array([x1, y1, x2, y2], np.float32).T, np.array(numbers, np.int64),
                     np.array(scores, np.float32) if any(score is not None for score in scores) else None, shapes,
                     np.array(crowd, bool) if any(crowd) else None)


def outline_text(shape: Shape) -> str | None:
    if isinstance(shape, Polygons):
        rings = {"rings": [ring.ravel().tolist() for ring in shape.rings]}
        return _compact({**rings, "holes": [ring.ravel().tolist() for ring in shape.holes]} if shape.holes else rings)
    if isinstance(shape, RLE):
        return _compact({"size": shape.size, "counts": shape.counts.decode("ascii")})
    return None


def shape_of_text(text: str | None) -> Shape:
    if not text:
        return None
    value = json.loads(text)
    if "counts" in value:
        return RLE(value["counts"].encode("ascii"), tuple(value["size"]))
    rings, holes = (tuple(np.array(ring, np.float64).reshape(-1, 2) for ring in value.get(key, ())) for key in ("rings", "holes"))
    return Polygons(rings, holes)


# ---- everything that is no list of objects

def extra_of(labels: Labels | None, classes: Classes) -> tuple[str | None, bytes | None]:
    """(kind, content) for the image's own row. Masks lose their probabilities: the store keeps truth."""
    if isinstance(labels, Tags):
        values = [None if np.isnan(value) else round(float(value), 6) for value in labels.values]
        return "tags", json.dumps(_by_key(values, classes, None)).encode()
    if isinstance(labels, SemanticMask) and labels.layers is not None:
        layers = [outline_text(rle_of_mask(layer)) for layer in labels.layers]
        return "layers", zlib.compress(json.dumps(_by_key(layers, classes, None)).encode())
    if isinstance(labels, SemanticMask) and labels.classes is not None:
        pixels = labels.classes.astype(np.uint16)
        return "mask", cv2.imencode(".png", pixels if classes.same else classes.pixel_keys[pixels])[1].tobytes()
    return ("objects" if labels is not None else None), None


def labels_of(kind: str | None, extra: bytes | None, rows: Sequence[ShapeRow], classes: Classes) -> Labels | None:
    if kind is None:
        return None
    if kind == "objects":
        return instances_of(rows, classes)
    if kind == "tags":
        return Tags(_tags_of(json.loads(extra or b"[]"), classes))
    if kind == "layers":
        return SemanticMask(layers=_layers_of(json.loads(zlib.decompress(extra or b"")), classes))
    return SemanticMask(classes=_packed(extra, classes).unpacked())


def packed_labels_of(kind: str | None, extra: bytes | None, rows: Sequence[ShapeRow], classes: Classes) -> Labels | None:
    """`labels_of`, masks still compressed: a whole data set of them fits into memory."""
    return _packed(extra, classes) if kind == "mask" else pack(labels_of(kind, extra, rows, classes))


def _packed(extra: bytes | None, classes: Classes) -> PackedClasses:
    return PackedClasses(extra or b"", None if classes.same else classes.pixel_ids)


PIXELS = ("layers", "mask")


def kind_of(kind: str | None, extra: bytes | None, classes: Classes) -> Labels | None:
    """Labels without objects and pixels, which take long to read."""
    return SemanticMask() if kind in PIXELS else labels_of(kind, extra, (), classes)


def _by_key(values: list[Any], classes: Classes, nothing: Any) -> list[Any]:
    """A list by class id as one by class key."""
    if classes.same:
        return values
    result = [nothing] * (max(classes.keys, default=-1) + 1)
    for key, value in zip(classes.keys, values, strict=False):
        result[key] = value
    return result


def _tags_of(values: list[float | None], classes: Classes) -> np.ndarray:
    """f32[C] by id. Of merged classes "there" outweighs "uncertain", that outweighs "not there", and anything outweighs "not mentioned"."""
    known = np.array([np.nan if value is None else value for value in values], np.float32)
    if classes.same:
        return np.pad(known, (0, max(0, len(classes.keys) - len(known))), constant_values=np.nan)
    result = np.full(len(classes.keys), np.nan, np.float32)
    for key, value in enumerate(known):
        if (number := classes.ids.get(key, GONE)) != GONE:
            result[number] = np.fmax(result[number], value)
    return result


def _layers_of(texts: list[str | None], classes: Classes) -> np.ndarray:
    """bool[C,H,W] by id; layers of merged classes lie over each other."""
    layers = {key: mask_of(shape_of_text(text), (0, 0)) for key, text in enumerate(texts) if text is not None}
    if not layers:
        raise ValueError("a stored mask is damaged")
    count = max(len(texts), len(classes.keys)) if classes.same else len(classes.keys)
    result = np.zeros((count, *next(iter(layers.values())).shape), bool)
    for key, layer in layers.items():
        if (number := key if classes.same else classes.ids.get(key, GONE)) != GONE:
            result[number] |= layer
    return result


# ---- what an image shows

def content_of(labels: Labels | None, count: int) -> list[tuple[int, int, int | None]]:
    """(class id, objects, pixels of a mask or None) for every class of `count` that is there."""
    if isinstance(labels, Instances):
        numbers, objects = np.unique(labels.classes, return_counts=True)
        return [(number, many, None) for number, many in zip(numbers.tolist(), objects.tolist(), strict=True)]
    if isinstance(labels, Tags):
        return [(number, 1, None) for number in np.flatnonzero(labels.values[:count] > UNCERTAIN).tolist()]
    if isinstance(labels, SemanticMask) and labels.layers is not None:
        return [(number, 1, pixels) for number, layer in enumerate(labels.layers[:count]) if (pixels := int(np.count_nonzero(layer)))]
    if isinstance(labels, SemanticMask) and labels.classes is not None:
        pixels_of = np.bincount(labels.classes.ravel(), minlength=count)[:count].tolist()
        return [(number, 1, pixels) for number, pixels in enumerate(pixels_of) if pixels]
    return []


def put_content(connection: sqlite3.Connection, image_id: int, labels: Labels | None, classes: Classes) -> None:
    found = content_of(labels, len(classes.keys))
    connection.executemany("INSERT INTO content (class_id, image_id, objects, pixels) VALUES (?,?,?,?)",
                           ((classes.keys[number], image_id, objects, pixels) for number, objects, pixels in found))


def count_shapes(connection: sqlite3.Connection) -> None:
    """Fills `content` from all objects at once; for a new table."""
    connection.execute("""INSERT INTO content (class_id, image_id, objects)
        SELECT class_id, image_id, count(*) FROM shapes GROUP BY class_id, image_id ORDER BY class_id, image_id""")


def put_labels(connection: sqlite3.Connection, image_id: int, labels: Labels | None, classes: Classes) -> None:
    """Replaces what is known of one image."""
    connection.execute("DELETE FROM shapes WHERE image_id = ?", (image_id,))
    connection.execute("DELETE FROM content WHERE image_id = ?", (image_id,))
    insert_shapes(connection, shape_rows(image_id, labels, classes))
    put_content(connection, image_id, labels, classes)
    connection.execute("UPDATE images SET state = ?, kind = ?, extra = ?, objects = ? WHERE id = ?",
                       (state_of(labels), *extra_of(labels, classes), objects_in(labels), image_id))


def objects_in(labels: Labels | None) -> int:
    return len(labels) if isinstance(labels, Instances) else 0


def insert_shapes(connection: sqlite3.Connection, rows: Iterable[ShapeRow]) -> None:
    connection.executemany(f"INSERT INTO shapes ({SHAPE_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)", rows)


def shapes_of(connection: sqlite3.Connection, image_ids: Sequence[int]) -> dict[int, list[ShapeRow]]:
    """{image id: rows of SHAPE_COLUMNS without it}."""
    marks = ",".join("?" * len(image_ids))
    found = connection.execute(f"SELECT {SHAPE_COLUMNS} FROM shapes WHERE image_id IN ({marks}) ORDER BY image_id, id", tuple(image_ids))
    return {image_id: [row[1:] for row in group] for image_id, group in groupby(found, key=lambda row: row[0])}


def snapshot(kind: str | None, extra: bytes | None, rows: Sequence[ShapeRow]) -> bytes:
    """The labels of one image before an edit, for the history. Classes stand in it by key, so later edits of classes cannot falsify it."""
    content = {"kind": kind, "extra": extra.hex() if extra else None, "rows": rows}
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 1)  # a person waits for it; smaller files take three times as long


def restored(content: bytes, classes: Classes) -> Labels | None:
    value = json.loads(zlib.decompress(content))
    return labels_of(value["kind"], bytes.fromhex(value["extra"]) if value["extra"] else None, [tuple(row) for row in value["rows"]], classes)

"""Labels to and from the rows of labels.sqlite."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine.datasets.outlines import mask_of, rle_of_mask
from engine.types import RLE, Instances, Labels, Polygons, SemanticMask, Shape, Tags

VERSION = 1
SCHEMA = f"""
PRAGMA user_version = {VERSION};
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE classes (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE images (id INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE, name TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    split TEXT NOT NULL, grp TEXT, state TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0, kind TEXT, extra BLOB);
CREATE TABLE shapes (id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL, class_id INTEGER NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL,
    x2 REAL NOT NULL, y2 REAL NOT NULL, score REAL, crowd INTEGER NOT NULL DEFAULT 0, outline TEXT);
CREATE TABLE problems (id INTEGER PRIMARY KEY, code TEXT NOT NULL, severity TEXT NOT NULL, place TEXT NOT NULL, details TEXT NOT NULL);
CREATE TABLE history (id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL, revision INTEGER NOT NULL, at TEXT NOT NULL, before BLOB NOT NULL);
CREATE INDEX images_split ON images (split, id);
CREATE INDEX images_state ON images (state, id);
CREATE INDEX shapes_image ON shapes (image_id);
CREATE INDEX shapes_class ON shapes (class_id, image_id);
CREATE INDEX history_image ON history (image_id);
"""
SHAPE_COLUMNS = "image_id, class_id, x1, y1, x2, y2, score, crowd, outline"
ShapeRow = tuple[Any, ...]


def state_of(labels: Labels | None) -> str:
    """"unlabeled", "background" (looked at, nothing there), "suggested" (scores: nobody has confirmed them) or "labeled"."""
    if labels is None:
        return "unlabeled"
    if isinstance(labels, Instances):
        return "suggested" if labels.scores is not None else "labeled" if len(labels) else "background"
    return "labeled"


def connect(path: Path) -> sqlite3.Connection:
    if os.access(path.parent, os.W_OK):
        connection = sqlite3.connect(path, timeout=30)
    else:  # the write-ahead log needs a file of its own beside the database
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


# ---- objects

def shape_rows(image_id: int, labels: Labels | None) -> Iterator[ShapeRow]:
    if not isinstance(labels, Instances):
        return
    for index, (box, class_id) in enumerate(zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True)):
        score = None if labels.scores is None else float(labels.scores[index])
        crowd = int(labels.crowd is not None and labels.crowd[index])
        yield image_id, class_id, *box, score, crowd, outline_text(labels.shapes[index] if labels.shapes is not None else None)


def instances_of(rows: Sequence[ShapeRow]) -> Instances:
    """From rows of SHAPE_COLUMNS without the image id."""
    if not rows:
        return Instances.empty()
    classes, x1, y1, x2, y2, scores, crowd, outlines = zip(*rows, strict=True)
    shapes = tuple(shape_of_text(text) for text in outlines) if any(outlines) else None
    return Instances(np.array([x1, y1, x2, y2], np.float32).T, np.array(classes, np.int64),
                     np.array(scores, np.float32) if scores[0] is not None else None, shapes,
                     np.array(crowd, bool) if any(crowd) else None)


def outline_text(shape: Shape) -> str | None:
    if isinstance(shape, Polygons):
        rings = {"rings": [ring.ravel().tolist() for ring in shape.rings]}
        return json.dumps({**rings, "holes": [ring.ravel().tolist() for ring in shape.holes]} if shape.holes else rings, separators=(",", ":"))
    if isinstance(shape, RLE):
        return json.dumps({"size": shape.size, "counts": shape.counts.decode("ascii")}, separators=(",", ":"))
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

def extra_of(labels: Labels | None) -> tuple[str | None, bytes | None]:
    """(kind, content) for the image's own row. Masks lose their probabilities: the store keeps truth."""
    if isinstance(labels, Tags):
        return "tags", json.dumps([None if np.isnan(value) else round(float(value), 6) for value in labels.values]).encode()
    if isinstance(labels, SemanticMask) and labels.layers is not None:
        layers = [outline_text(rle_of_mask(layer)) for layer in labels.layers]
        return "layers", zlib.compress(json.dumps(layers).encode())
    if isinstance(labels, SemanticMask) and labels.classes is not None:
        return "mask", cv2.imencode(".png", labels.classes.astype(np.uint16))[1].tobytes()
    return ("objects" if labels is not None else None), None


def labels_of(kind: str | None, extra: bytes | None, rows: Sequence[ShapeRow]) -> Labels | None:
    if kind is None:
        return None
    if kind == "objects":
        return instances_of(rows)
    if kind == "tags":
        return Tags(np.array([np.nan if value is None else value for value in json.loads(extra or b"[]")], np.float32))
    if kind == "layers":
        shapes = [shape_of_text(text) for text in json.loads(zlib.decompress(extra or b""))]
        return SemanticMask(layers=np.stack([mask_of(shape, (0, 0)) for shape in shapes]))
    picture = cv2.imdecode(np.frombuffer(extra or b"", np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ValueError("a stored mask is damaged")
    return SemanticMask(classes=picture.astype(np.uint16))


def put_labels(connection: sqlite3.Connection, image_id: int, labels: Labels | None) -> None:
    """Replaces what is known of one image."""
    connection.execute("DELETE FROM shapes WHERE image_id = ?", (image_id,))
    insert_shapes(connection, shape_rows(image_id, labels))
    connection.execute("UPDATE images SET state = ?, kind = ?, extra = ? WHERE id = ?", (state_of(labels), *extra_of(labels), image_id))


def insert_shapes(connection: sqlite3.Connection, rows: Iterable[ShapeRow]) -> None:
    connection.executemany(f"INSERT INTO shapes ({SHAPE_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)", rows)


def snapshot(kind: str | None, extra: bytes | None, rows: Sequence[ShapeRow]) -> bytes:
    """The labels of one image before an edit, for the history."""
    content = {"kind": kind, "extra": extra.hex() if extra else None, "rows": rows}
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode())


def restored(content: bytes) -> Labels | None:
    value = json.loads(zlib.decompress(content))
    return labels_of(value["kind"], bytes.fromhex(value["extra"]) if value["extra"] else None, [tuple(row) for row in value["rows"]])

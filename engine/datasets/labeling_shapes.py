"""Labels as the labeling canvas holds them: a JSON document of shapes and tags, to and from the types of the engine.

A document: {"looked": bool, "shapes": [...], "tags": [...] or None}. A shape has "kind" and "cls"; a suggested one "state" ("suggested") and
"score"; and "crowd" or "derived" where they are true. Geometry is in pixels of the original image:

- "box": "box" [x1, y1, x2, y2]
- "polygon": "rings" and "holes", each ring flat [x, y, x, y, ...]; "box" when it is not just the ring's own
- "mask": "size" [height, width] and "counts", COCO's compressed run lengths
- "strokes" (only towards the engine): "strokes" [{"points": [x, y, ...], "radius": r, "erase": bool}, ...], painted in this order

What a browser sends is checked here, once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from engine.datasets.outlines import box_of, mask_of, rle_of_mask, rle_of_runs, runs_of
from engine.types import IGNORE, NOTHING, RLE, Instances, Labels, Polygons, SemanticMask, Shape, Tags, UserError

MOST_SHAPES, MOST_POINTS = 20_000, 1_000_000
LARGEST_NUMBER = 1e300
VOID = -1  # the class of pixels that nobody may judge
BACKGROUND = "background"
SUGGESTED = "suggested"
KIND_OF_TASK = {"classify": "tags", "semantic": "mask"}
Document = dict[str, Any]


def kind_of(labels: Labels | None, task: str) -> str:
    """What the canvas edits: "objects", "mask" (one class a pixel), "layers" (classes may overlap) or "tags"."""
    if isinstance(labels, SemanticMask):
        return "mask" if labels.layers is None else "layers"
    if isinstance(labels, Tags):
        return "tags"
    return "objects" if labels is not None else KIND_OF_TASK.get(task, "objects")


# ---- to the canvas

def document(labels: Labels | None, classes: Sequence[str]) -> Document:
    """The labels of one image for the canvas. A class named "background" is what is left and has no shape."""
    shapes: list[dict[str, Any]] = []
    if isinstance(labels, Instances):
        shapes = [_object(labels, index) for index in range(len(labels))]
    elif isinstance(labels, SemanticMask):
        shapes = [_mask(number, area) for number, area in _areas(labels) if number == VOID or not _is_background(classes, number)]
    tags = [None if math.isnan(value) else value for value in labels.values.tolist()] if isinstance(labels, Tags) else None
    return {"looked": labels is not None, "shapes": shapes, "tags": tags}


def _object(labels: Instances, index: int) -> dict[str, Any]:
    score = labels.scores[index] if labels.scores is not None else None
    return told(int(labels.classes[index]), labels.boxes[index].tolist(), labels.shapes[index] if labels.shapes is not None else None,
                None if score is None or np.isnan(score) else float(score), labels.crowd is not None and bool(labels.crowd[index]))


def told(number: int, box: Sequence[float], shape: Shape, score: float | None = None, crowd: bool = False) -> dict[str, Any]:
    """One object for the canvas; with a score it is a suggestion."""
    made: dict[str, Any] = {"cls": number, "box": list(box)}
    if score is not None:
        made |= {"state": SUGGESTED, "score": round(score, 4)}
    if crowd:
        made["crowd"] = True
    if isinstance(shape, Polygons):
        return made | {"kind": "polygon", "rings": [ring.ravel().tolist() for ring in shape.rings],
                       "holes": [ring.ravel().tolist() for ring in shape.holes]}
    if isinstance(shape, RLE):
        return made | {"kind": "mask", "size": list(shape.size), "counts": shape.counts.decode("ascii")}
    return made | {"kind": "box"}


def _mask(number: int, area: np.ndarray) -> dict[str, Any]:
    shape = rle_of_mask(area)
    return {"kind": "mask", "cls": number, "box": list(box_of(shape)), "size": list(shape.size), "counts": shape.counts.decode("ascii")}


def _areas(mask: SemanticMask) -> list[tuple[int, np.ndarray]]:
    if mask.layers is not None:
        return [(number, layer) for number, layer in enumerate(mask.layers) if layer.any()]
    if mask.classes is None:
        return []
    found = np.flatnonzero(np.bincount(mask.classes.ravel())).tolist()
    return [(VOID if number == IGNORE else number, mask.classes == number) for number in found if number != NOTHING]


def _is_background(classes: Sequence[str], number: int) -> bool:
    return number < len(classes) and classes[number].strip().casefold() == BACKGROUND


# ---- from the canvas

def labels_of(sent: Any, kind: str, classes: Sequence[str], size: tuple[int, int]) -> Labels | None:
    """The document that a browser sent, as labels of an image of `size` = (width, height). Raises UserError for what is none.

    Suggestions come first among the objects: a set of objects has scores when its first one has, and NaN where there is none.
    """
    content = _object_of(sent, "document")
    if kind == "tags":
        tags = _tags(content.get("tags"), len(classes))
        return Tags(tags) if content.get("looked") is True or not np.isnan(tags).all() else None
    shapes = content.get("shapes")
    read = _read(shapes, kind, classes, size)
    if not read and content.get("looked") is not True:
        return None
    return _instances(read) if kind == "objects" else _painted(read, kind, classes, size)


def parted(sent: Any) -> tuple[Any, list[Any]]:
    """A document that a browser sent, without its suggestions, and those. Raises UserError for what is none."""
    content = _object_of(sent, "document")
    shapes = _listed(content.get("shapes", []))
    if len(shapes) > MOST_SHAPES:
        _refuse("shapes")
    truth, suggested = list[Any](), list[Any]()
    for each in shapes:
        (suggested if isinstance(each, dict) and each.get("state") == SUGGESTED else truth).append(each)
    return {**content, "shapes": truth}, suggested


def suggested_of(shapes: Sequence[Any], kind: str, classes: Sequence[str], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Suggested shapes that a browser sent, checked. Raises UserError for what is none."""
    return [told(each.known_class, each.box, each.shape, each.score, each.crowd) for each in _read(shapes, kind, classes, size)]


def suggested_tags_of(sent: Any, count: int) -> list[float | None] | None:
    """Probabilities of the tags that a browser sent, checked; None when there are none. Raises UserError."""
    found = None if sent is None else _tags(sent, count)
    return None if found is None or np.isnan(found).all() else [None if math.isnan(value) else round(value, 4) for value in found.tolist()]


def _read(shapes: Any, kind: str, classes: Sequence[str], size: tuple[int, int]) -> list[_Sent]:
    if not isinstance(shapes, list) or len(shapes) > MOST_SHAPES:
        _refuse("shapes")
    read = [_Sent(each, kind, len(classes), size) for each in shapes]
    if sum(each.points for each in read) > MOST_POINTS:
        _refuse("points")
    return read


def _instances(read: list[_Sent]) -> Instances:
    read = sorted(read, key=lambda each: each.score is None)
    scores = np.array([math.nan if each.score is None else each.score for each in read], np.float32)
    crowd = np.array([each.crowd for each in read], bool)
    shapes = tuple(each.shape for each in read)
    return Instances(np.array([each.box for each in read], np.float32).reshape(-1, 4), np.array([each.number for each in read], np.int64),
                     None if np.isnan(scores).all() else scores, shapes if any(shape is not None for shape in shapes) else None,
                     crowd if crowd.any() else None)


def _painted(read: list[_Sent], kind: str, classes: Sequence[str], size: tuple[int, int]) -> SemanticMask:
    """Areas as pixels; where each pixel has one class, the later shape wins."""
    if kind == "layers":
        layers = np.zeros((len(classes), size[1], size[0]), bool)
        for each in read:
            layers[each.number] |= mask_of(each.shape, size, each.box)
        return SemanticMask(layers=layers)
    ground = next((number for number in range(len(classes)) if _is_background(classes, number)), NOTHING)
    pixels = np.full((size[1], size[0]), ground, np.uint16)
    for each in read:
        pixels[mask_of(each.shape, size, each.box)] = IGNORE if each.number == VOID else each.number
    return SemanticMask(classes=pixels)


def _tags(sent: Any, count: int) -> np.ndarray:
    if not isinstance(sent, list) or len(sent) != count:
        _refuse("tags")
    if any(value is not None and (not _is_number(value) or not 0 <= value <= 1) for value in sent):
        _refuse("tags")
    return np.array([math.nan if value is None else value for value in sent], np.float32)


class _Sent:
    """One shape that a browser sent, checked: class, box and outline inside the image, score None = truth."""

    def __init__(self, sent: Any, kind: str, count: int, size: tuple[int, int]) -> None:
        content = _object_of(sent, "shape")
        self.size, self.points = size, 0
        self.number: Any = content.get("cls")
        if type(self.number) is not int or not (VOID if kind == "mask" else 0) <= self.number < count:
            raise UserError("class_unknown", id=str(self.number)[:20], count=count)
        score = content.get("score") if content.get("state") == SUGGESTED else None
        if score is not None and (not _is_number(score) or not 0 <= score <= 1):
            _refuse("score")
        self.score: float | None = 0.0 if score is None and content.get("state") == SUGGESTED else score
        self.crowd = content.get("crowd") is True
        self.shape = self._outline(content)
        derived = box_of(self.shape) if self.shape is not None else None
        self.box = self._box(content.get("box"), derived)

    @property
    def known_class(self) -> int:
        """The class, where pixels that nobody may judge are none. Raises UserError."""
        if self.number == VOID:
            _refuse("cls")
        return int(self.number)

    def _outline(self, content: dict[str, Any]) -> Shape:
        what = content.get("kind")
        if what == "polygon":
            rings, holes = (tuple(self._ring(ring) for ring in _listed(content.get(name, []))) for name in ("rings", "holes"))
            if not rings:
                _refuse("rings")
            return Polygons(rings, holes)
        if what == "mask":
            return self._not_empty(_runs(content, self.size))
        if what == "strokes":
            return self._not_empty(rle_of_mask(stroked(_listed(content.get("strokes")), self.size)))
        if what != "box":
            _refuse("kind")
        return None

    def _ring(self, sent: Any) -> np.ndarray:
        points = _numbers(sent)
        if len(points) < 6 or len(points) % 2:
            _refuse("ring")
        self.points += len(points) // 2
        return np.clip(np.array(points, np.float64).reshape(-1, 2), 0, self.size)

    def _not_empty(self, shape: RLE) -> RLE:
        left, top, right, bottom = box_of(shape)
        if right <= left or bottom <= top:
            _refuse("empty mask")
        return shape

    def _box(self, sent: Any, derived: Sequence[float] | None) -> tuple[float, ...]:
        values = _numbers(sent) if sent is not None else list(derived or ())
        if len(values) != 4:
            _refuse("box")
        x1, y1, x2, y2 = (min(max(value, 0.0), float(limit)) for value, limit in zip(values, (*self.size, *self.size), strict=True))
        if x2 <= x1 or y2 <= y1:
            _refuse("box")
        return x1, y1, x2, y2


def _runs(content: dict[str, Any], size: tuple[int, int]) -> RLE:
    counts = content.get("counts")
    if content.get("size") != [size[1], size[0]] or not isinstance(counts, str):
        _refuse("mask")
    try:
        return rle_of_runs(runs_of(counts), (size[1], size[0]))
    except ValueError as error:
        raise UserError("labels_unreadable", what="mask") from error


def stroked(strokes: Sequence[Any], size: tuple[int, int]) -> np.ndarray:
    """bool[H,W] of round brush strokes: pixels whose centre is at most a radius away from the path. Raises UserError."""
    width, height = size
    mask = np.zeros((height, width), bool)
    for stroke in strokes:
        content = _object_of(stroke, "stroke")
        radius: Any = content.get("radius")
        points = _numbers(content.get("points"))
        if not _is_number(radius) or not 0 < radius <= 2000 or len(points) < 2 or len(points) % 2 or len(points) > 20_000:
            _refuse("stroke")
        path = np.array(points, np.float64).reshape(-1, 2)
        for start, end in zip(path, path[1:] if len(path) > 1 else path, strict=False):
            _stamp(mask, start, end, float(radius), content.get("erase") is not True)
    return mask


def _stamp(mask: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float, value: bool) -> None:
    height, width = mask.shape
    low = np.clip(np.floor(np.minimum(start, end) - radius), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(np.maximum(start, end) + radius), 0, (width, height)).astype(int)
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    along = end - start
    length = float(along @ along)
    share = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length, 0, 1) if length else np.zeros_like(x)
    near = (x - start[0] - share * along[0]) ** 2 + (y - start[1] - share * along[1]) ** 2 <= radius ** 2
    mask[low[1]:high[1], low[0]:high[0]][near] = value


def _object_of(sent: Any, what: str) -> dict[str, Any]:
    if not isinstance(sent, dict):
        _refuse(what)
    return sent


def _listed(sent: Any) -> list[Any]:
    if not isinstance(sent, list):
        _refuse("list")
    return sent


def _numbers(sent: Any) -> list[float]:
    """Read in one sweep: outlines are long lists."""
    try:
        fine = isinstance(sent, list) and set(map(type, sent)) <= {int, float} and all(map(math.isfinite, sent))
    except OverflowError:  # a whole number beyond every float
        fine = False
    if not fine:
        _refuse("numbers")
    return list(sent)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


def _refuse(what: str) -> NoReturn:
    raise UserError("labels_unreadable", what=what)

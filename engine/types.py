"""The few types that everything shares. Validated once, here; trusted inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine import messages

Severity = Literal["error", "warning", "note"]
SPLITS = ("train", "valid", "test")
IGNORE = 0xFFFF  # in SemanticMask.classes: nobody may judge this pixel
NOTHING = 0xFFFE  # in SemanticMask.classes: looked at, and none of the classes
UNCERTAIN = 0.5  # in Tags.values: looked at, and left open


class UserError(Exception):
    """Something a person can mend. `key` names a text and its remedy in the locale catalogues; `values` fill them.

    The catalogues hold `error.<key>` (what came, what was wanted) and `error.<key>.remedy` (what to do).
    """

    def __init__(self, key: str, **values: Any) -> None:
        super().__init__(key)
        self.key, self.values = key, values

    def message(self, language: str | None = None) -> str:
        return messages.spoken(f"error.{self.key}", language, **self.values)

    def remedy(self, language: str | None = None) -> str:
        return messages.spoken(f"error.{self.key}.remedy", language, **self.values)

    def __str__(self) -> str:
        return f"{self.message()} {self.remedy()}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_user_error, (self.key, self.values)


def _rebuild_user_error(key: str, values: dict[str, Any]) -> UserError:
    return UserError(key, **values)


@dataclass(frozen=True)
class Problem:
    """A fault found in data: `code` names its texts (`problem.<code>`, `problem.<code>.remedy`), `where` is file[:line]."""

    code: str
    severity: Severity
    where: str
    values: dict[str, Any] = field(default_factory=dict)

    def message(self, language: str | None = None) -> str:
        return messages.spoken(f"problem.{self.code}", language, where=self.where, **self.values)

    def remedy(self, language: str | None = None) -> str:
        return messages.spoken(f"problem.{self.code}.remedy", language, where=self.where, **self.values)

    def as_dict(self, language: str | None = None) -> dict[str, str]:
        return {"code": self.code, "severity": self.severity, "where": self.where,
                "message": self.message(language), "remedy": self.remedy(language)}


@dataclass(frozen=True)
class Polygons:
    """Outlines in original pixels: rings f64[K,2]; `holes` are rings that are cut out. Every vertex is kept."""

    rings: tuple[np.ndarray, ...]
    holes: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class RLE:
    """COCO run lengths, column-major: `counts` compressed bytes, `size` = (height, width)."""

    counts: bytes
    size: tuple[int, int]


Shape = Polygons | RLE | None


@dataclass(frozen=True)
class Instances:
    """Objects of one image. Truth when `scores` is None, prediction otherwise.

    boxes f32[N,4] x1,y1,x2,y2 in pixels of the original image; classes i64[N], 0-based; shapes: None or one per object.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray | None = None
    shapes: tuple[Shape, ...] | None = None
    crowd: np.ndarray | None = None

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "classes", np.asarray(self.classes, np.int64).reshape(-1))
        if self.scores is not None:
            object.__setattr__(self, "scores", np.asarray(self.scores, np.float32).reshape(-1))
        if self.crowd is not None:
            object.__setattr__(self, "crowd", np.asarray(self.crowd, bool).reshape(-1))
        for name in ("classes", "scores", "shapes", "crowd"):
            value = getattr(self, name)
            if value is not None and len(value) != len(boxes):
                raise ValueError(f"{name} has {len(value)} entries for {len(boxes)} boxes")
        if not np.isfinite(boxes).all():
            raise ValueError("boxes hold NaN or infinity")
        if len(self.classes) and self.classes.min() < 0:
            raise ValueError(f"class id {self.classes.min()} is negative; ids start at 0")

    @classmethod
    def empty(cls) -> Instances:
        return cls(np.zeros((0, 4)), np.zeros(0))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: np.ndarray | slice) -> Instances:
        """The objects that a mask, an index array or a slice picks."""
        picked = np.arange(len(self))[index]
        return Instances(
            self.boxes[picked], self.classes[picked], None if self.scores is None else self.scores[picked],
            None if self.shapes is None else tuple(self.shapes[i] for i in picked), None if self.crowd is None else self.crowd[picked],
        )

    def above(self, threshold: float, only: Sequence[int] | None = None) -> Instances:
        """Predictions with score >= threshold, of the classes `only` (all when None), best first. Truth keeps all scores."""
        keep = np.ones(len(self), bool) if self.scores is None else self.scores >= threshold
        if only is not None:
            keep &= np.isin(self.classes, list(only))
        chosen = self[keep]
        return chosen if chosen.scores is None else chosen[np.argsort(-chosen.scores, kind="stable")]


@dataclass(frozen=True)
class SemanticMask:
    """A class per pixel u16[H,W] (IGNORE = not to be judged, NOTHING = none of them), or `layers` bool[C,H,W].

    Predictions keep probabilities f16[C,H,W]. A class named "background" stands for what is left when nothing is there.
    """

    classes: np.ndarray | None = None
    layers: np.ndarray | None = None
    probabilities: np.ndarray | None = None

    def above(self, threshold: float, only: Sequence[int] | None = None) -> SemanticMask:
        """A prediction's pixels whose class has at least this probability, of the classes `only` (all when None). Truth stays."""
        if self.probabilities is None:
            return self
        if self.layers is not None:
            layers = self.probabilities >= threshold
            if only is not None:
                layers[np.setdiff1d(np.arange(len(layers)), list(only))] = False
            return replace(self, layers=layers)
        best = self.probabilities.argmax(0).astype(np.uint16)
        wanted = self.probabilities.max(0) >= threshold
        if only is not None:
            wanted &= np.isin(best, list(only))
        return replace(self, classes=np.where(wanted, best, np.uint16(NOTHING)))


@dataclass(frozen=True)
class Tags:
    """Image-level labels: values f32[C], 1 = there, 0 = not there, UNCERTAIN = looked at and left open, NaN = not mentioned.

    In predictions they are probabilities.
    """

    values: np.ndarray

    def __post_init__(self) -> None:
        values = np.asarray(self.values, np.float32).reshape(-1)
        if np.nanmin(values, initial=0) < 0 or np.nanmax(values, initial=0) > 1:
            raise ValueError("tags lie outside 0..1")
        object.__setattr__(self, "values", values)

    def above(self, threshold: float, only: Sequence[int] | None = None) -> Tags:
        """The same tags, without those that are not `only`: a tag below the threshold is told as well, with its probability."""
        if only is None:
            return self
        return Tags(np.where(np.isin(np.arange(len(self.values)), list(only)), self.values, np.float32(np.nan)))


Labels = Instances | SemanticMask | Tags


@dataclass(frozen=True)
class Sample:
    """One image and what is known of it. `size` = (width, height) as seen, EXIF applied. labels None = nobody looked at it yet.

    `group` is a patient or video: splits never part it. `name` is how people know the image (path inside its data set).
    """

    image: Path
    size: tuple[int, int]
    labels: Labels | None = None
    split: str | None = None
    group: str | None = None
    name: str = ""

    def with_labels(self, labels: Labels | None) -> Sample:
        return replace(self, labels=labels)


@dataclass(frozen=True)
class Reading:
    """What a format file found: classes (index = id) and a stream of samples and problems, read lazily."""

    classes: tuple[str, ...]
    items: Iterator[Sample | Problem]
    task: str = "detect"

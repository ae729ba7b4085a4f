"""Writing masks: `{split}/images`, `{split}/masks` of class indices as gray PNG, and classes.txt, whose line i names index i."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from engine.datasets.formats import ImagePolicy
from engine.datasets.formats.mask_legends import text_of
from engine.datasets.outlines import mask_of
from engine.datasets.placing import Placer
from engine.datasets.tree import folded, split_of
from engine.types import IGNORE, Instances, Labels, Problem, Sample, SemanticMask

BACKGROUND = "background"
MAX_8_BIT = 255  # classes; 255 itself is void


def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """Void pixels are 255 (65535 where there are more than 255 classes). Images without labels get no mask.

    Objects become regions, later ones over earlier ones; what they leave free is background, which is added as index 0 if it is missing.
    """
    stream = iter(samples)
    waiting: list[Sample] = []
    for sample in stream:
        waiting.append(sample)
        if sample.labels is not None:
            break
    objects = bool(waiting) and (isinstance(waiting[-1].labels, Instances) or
                                 (isinstance(waiting[-1].labels, SemanticMask) and waiting[-1].labels.layers is not None))
    painter = _Painter(classes, objects)
    placer = Placer(root, images)
    groups = 0
    for sample in chain(waiting, stream):
        split = split_of(sample.split or "") or "train"
        file_name = yield from placer.place(sample, f"{split}/images")
        groups += sample.group is not None and file_name is not None
        if sample.labels is None or file_name is None:
            continue
        name = sample.name or sample.image.name
        mask = painter.paint(sample.labels, sample.size)
        if mask is None:
            yield Problem("labels_left_out", "error", name, {"format": "mask_png"})
            continue
        if painter.overlap:
            yield Problem("regions_overlap", "note", name, {"count": painter.overlap})
        _save(root / split / "masks" / f"{file_name.rpartition('.')[0]}.png", mask, painter)
    (root / "classes.txt").write_text(text_of(painter.names, painter.void if painter.void_used else None), encoding="utf-8")
    yield from painter.summary()
    if groups:
        yield Problem("groups_left_out", "note", ".", {"count": groups, "format": "mask_png"})


def _save(path: Path, mask: np.ndarray, painter: _Painter) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.where(mask >= len(painter.names), painter.void, mask).astype(np.uint8 if painter.void == MAX_8_BIT else np.uint16)
    painter.void_used |= bool((stored == painter.void).any())
    path.write_bytes(cv2.imencode(".png", stored)[1].tobytes())


@dataclass
class _Painter:
    """Makes one array of indices of any labels that cover pixels."""

    classes: tuple[str, ...]
    objects: bool
    names: list[str] = field(default_factory=list)
    nothing: int = IGNORE
    shift: int = 0
    void_used: bool = False
    overlap: int = 0  # pixels of the last mask that more than one object claimed
    merged: int = 0
    boxes: int = 0

    def __post_init__(self) -> None:
        known = [folded(name) for name in self.classes]
        self.names = list(self.classes)
        if BACKGROUND in known:
            self.nothing = known.index(BACKGROUND)
        elif self.objects:
            self.names, self.nothing, self.shift = [BACKGROUND, *self.classes], 0, 1

    @property
    def void(self) -> int:
        return MAX_8_BIT if len(self.names) <= MAX_8_BIT else IGNORE

    def paint(self, labels: Labels, size: tuple[int, int]) -> np.ndarray | None:
        """u16[H,W]; IGNORE = void. None for labels that cover no pixels."""
        self.overlap = 0
        if isinstance(labels, Instances):
            self.merged += len(labels)
            shapes = labels.shapes or (None,) * len(labels)
            self.boxes += sum(shape is None for shape in shapes)
            parts = ((mask_of(shape, size, box), number) for shape, box, number in
                     zip(shapes, labels.boxes.tolist(), labels.classes.tolist(), strict=True))
            return self._stacked(parts, size)
        if isinstance(labels, SemanticMask) and labels.classes is not None:
            mask = labels.classes.astype(np.uint16)
            return np.where(mask == IGNORE, IGNORE, mask + self.shift).astype(np.uint16) if self.shift else mask
        if isinstance(labels, SemanticMask) and labels.layers is not None:
            return self._stacked(((layer, number) for number, layer in enumerate(labels.layers)), size)
        return None

    def _stacked(self, parts: Iterable[tuple[np.ndarray, int]], size: tuple[int, int]) -> np.ndarray:
        mask = np.full(size[::-1], self.nothing, np.uint16)
        covered = np.zeros(size[::-1], np.uint8)
        for region, number in parts:
            index = number + self.shift
            if index != self.nothing:
                mask[region] = index
                covered[region] = np.minimum(covered[region] + 1, 2)
        self.overlap = int((covered > 1).sum())
        return mask

    def summary(self) -> Iterator[Problem]:
        """What became of objects, said once."""
        if self.shift:
            yield Problem("background_added", "note", "classes.txt")
        if self.merged:
            yield Problem("objects_became_regions", "note", ".", {"count": self.merged})
        if self.boxes:
            yield Problem("boxes_filled", "warning", ".", {"count": self.boxes})

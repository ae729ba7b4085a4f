"""What a model found in some images: kept with all candidates, so that filters need no second look."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gradio.utils import get_upload_folder

from engine import slicing
from engine.datasets.spacing import Spacing, spacing_of
from engine.types import Instances, Labels, SemanticMask, UserError

if TYPE_CHECKING:
    from engine.predict import Predictor
    from ui.pages.predict.models import Told

MOST_IMAGES = 200
DETECT, INSTANCE, SEMANTIC, CLASSIFY = TASKS = ("detect", "instance", "semantic", "classify")
OVERLAP = 0.8  # of masks, where a model does not say
THRESHOLD = 0.45  # where a model does not say


@dataclass(frozen=True)
class Held:
    """What a model says of itself: the task (None: it says nothing before it is loaded) and the classes, from which `threshold` on things are shown,
    the overlap of objects that it allows, whether classes exclude each other, and whether validation found a threshold for each class."""

    task: str | None = None
    classes: tuple[str, ...] = ()
    threshold: float = THRESHOLD
    nms: float = 1.0
    exclusive: bool = False
    by_class: bool = False

    @classmethod
    def of(cls, task: str, classes: Sequence[str], score: float, thresholds: Mapping[str, Any], *, exclusive: bool) -> Held:
        """`score`: the threshold of objects and areas; `thresholds`: all that the model holds."""
        cut = 0.5 if task == CLASSIFY else 0.0 if exclusive and task != DETECT else score
        return cls(task, tuple(classes), round(cut, 2), float(thresholds.get("nms", OVERLAP if task == INSTANCE else 1.0)), exclusive,
                   bool(thresholds.get("classes")) and not exclusive)


@dataclass(frozen=True)
class Shot:
    """One image and all candidates in it, in its own pixels. `spacing`: millimetres of a pixel (across, down), where the file says it."""

    file: Path
    name: str
    size: tuple[int, int]
    labels: Labels
    spacing: Spacing | None = None


@dataclass
class Result:
    """The answer of one model. `failures` are (file name, what was wrong).

    `threshold` is where the slider begins, `thresholds` those of the tags where validation found some; `exclusive`: one class an image or a pixel.
    `nms`: where the slider of overlapping objects begins. `source` is the file of the model and what was told of it: what it takes to ask it again;
    `look` is how the page asked, `files` what it asked about, unreadable ones too.
    """

    model: str
    task: str
    classes: tuple[str, ...]
    threshold: float
    shots: list[Shot] = field(default_factory=list)
    failures: list[tuple[str, UserError]] = field(default_factory=list)
    exclusive: bool = False
    thresholds: tuple[float, ...] = ()
    nms: float = 1.0
    source: tuple[Path, Told] | None = None
    look: tuple[Any, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def held(self) -> Held:
        """What the loaded model says of itself."""
        return Held(self.task, self.classes, round(self.threshold, 2), self.nms, self.exclusive, bool(self.thresholds))

    def place(self, file: Path | None) -> int:
        """Which of the images stands in this file; the first where none does."""
        return next((i for i, shot in enumerate(self.shots) if shot.file == file), 0)

    def shot(self, index: int) -> Shot:
        return self.shots[min(max(index, 0), len(self.shots) - 1)]

    def limits(self, chosen: Filter) -> list[float]:
        """Per class, from which probability on a tag counts as there."""
        if chosen.own and len(self.thresholds) == len(self.classes):
            return list(self.thresholds)
        return [chosen.threshold] * len(self.classes)


@dataclass(frozen=True)
class Filter:
    """What is shown: score at least `threshold`, of the classes `only` (all when None), drawn with `opacity` 0..1.

    `contours`: areas are edged, not filled. `own`: tags are judged by the thresholds of the model. `explain`: the class whose evidence is shown.
    `nms`: of objects that overlap more, the less sure one goes; among boxes, and with `every` class of an object on show, only of one class.
    """

    threshold: float = THRESHOLD
    only: tuple[int, ...] | None = None
    opacity: float = 1.0
    contours: bool = False
    own: bool = True
    explain: int | None = None
    nms: float = 1.0
    every: bool = False

    def __call__(self, labels: Labels) -> Labels:
        """An object gives way to surer ones alone, so the weak may go first; one of a class that is not shown still hides others."""
        if self.nms >= 1 or not isinstance(labels, Instances):
            return labels.above(self.threshold, self.only)
        from engine.tasks.suppression import suppressed

        return suppressed(labels.above(self.threshold), self.nms, by_class=self.every or labels.shapes is None).above(self.threshold, self.only)

    def objects(self, labels: Labels) -> Instances:
        """What passes, of an image with objects."""
        found = self(labels)
        if not isinstance(found, Instances):
            raise TypeError(f"objects are wanted, not {type(found).__name__}")
        return found


def filter_of(threshold: float, only: Sequence[int] | None, opacity: float, contours: bool, own: bool, explain: int | None, nms: float,
              every: bool) -> Filter:
    """As the controls of the page stand."""
    wanted = None if explain is None or int(explain) < 0 else int(explain)
    return Filter(float(threshold), tuple(only) if only else None, float(opacity), bool(contours), bool(own), wanted, float(nms), bool(every))


def prepared(predictor: Predictor, *, tta: bool, tiled: bool, every: bool = False, slices: str = "off") -> Predictor:
    """The same model, told how to look. The loaded one is shared, and stays as it is. Objects that overlap are all kept, for the filter to judge.

    `slices` is for objects; other models look at their images whole. Raises UserError for slices that make no sense.
    """
    own = copy.copy(predictor)
    own.slices = slicing.wanted(slices) if predictor.task.name in (DETECT, INSTANCE) else slicing.OFF
    own.tta, own.tiled = tta, tiled or predictor.tiled
    if predictor.task.name == INSTANCE:
        own.adjust(nms=1.0, every_class=every)
    elif predictor.task.name == DETECT:
        own.adjust(nms=1.0)
    return own


def held_by(predictor: Predictor) -> Held:
    """What a loaded model says of itself."""
    task = predictor.task
    exclusive = task.name != DETECT and predictor.exclusive
    return Held.of(task.name, predictor.classes, predictor.threshold, task.thresholds, exclusive=exclusive)


def overlap_of(predictor: Predictor) -> float:
    """The overlap of objects that a model allows; 1 where it allows any."""
    return held_by(predictor).nms


def find_objects(predictor: Predictor, files: Sequence[Path], report: Callable[[int, int], None]) -> Result:
    """Looks at every image; one that cannot be read is noted and the rest goes on. Raises UserError for too many."""
    if len(files) > MOST_IMAGES:
        raise UserError("too_many_images", count=len(files), limit=MOST_IMAGES)
    result = _without_images(predictor, files)
    report(0, len(files))
    for done, (file, size, labels) in enumerate(predictor.stream(files, 1), 1):
        if isinstance(labels, UserError):
            result.failures.append((file.name, labels))
        elif isinstance(labels, SemanticMask):
            result.shots.append(Shot(file, file.name, size, on_disk(labels), spacing_of(file)))
        else:
            result.shots.append(Shot(file, file.name, size, labels))
        report(done, len(files))
    return result


def _without_images(predictor: Predictor, files: Sequence[Path]) -> Result:
    held = held_by(predictor)
    found = tuple(predictor.tag_thresholds(None)) if held.by_class else ()
    return Result(predictor.name, predictor.task.name, held.classes, held.threshold, exclusive=held.exclusive, thresholds=found, files=tuple(files))


def on_disk(labels: SemanticMask) -> SemanticMask:
    """The same mask, whose arrays lie in files: probabilities of many images need more memory than there is.

    The files stand among the uploads, which are cleared away when nobody needs them any more.
    """
    if labels.probabilities is None:
        return labels
    uploads = Path(get_upload_folder())
    uploads.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="masks-", dir=uploads))
    kept = {}
    for name in ("classes", "layers", "probabilities"):
        values = getattr(labels, name)
        if values is not None:
            np.save(folder / f"{name}.npy", values)
            kept[name] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return replace(labels, **kept)

"""A video in, the same video out with what a model finds drawn on it, and a table of it; frame by frame, so that no length needs more memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from engine.datasets.faults import writing
from engine.datasets.images import resize
from engine.overlay_labels import draw_labels, scaled
from engine.predictions import harmless, of_frame
from engine.types import Instances, Labels, SemanticMask, Tags
from engine.video import Frame, Reader, Writer

COLUMNS = {
    "detect": ("frame", "time_s", "class", "score", "x", "y", "width", "height"),
    "instance": ("frame", "time_s", "class", "score", "x", "y", "width", "height"),
    "semantic": ("frame", "time_s", "class", "pixels", "share"),
    "classify": ("frame", "time_s", "class", "score", "present"),
}


class Sees(Protocol):
    """The part of a Predictor that is needed here."""

    name: str
    classes: tuple[str, ...]

    @property
    def exclusive(self) -> bool: ...

    def __call__(self, image: np.ndarray) -> Labels: ...


@dataclass(frozen=True)
class Outputs:
    """The files that are written: the video (MP4), and what was found in each frame that was looked at."""

    video: Path
    found: Path
    table: Path

    @classmethod
    def beside(cls, folder: Path, stem: str) -> Outputs:
        return cls(folder / f"{stem}.mp4", folder / f"{stem}.json", folder / f"{stem}.csv")


@dataclass(frozen=True)
class Choices:
    """`every` k-th frame is looked at, and what was found stays until the next one. `show` filters what was found; `opacity` 0..1 is that of
    fills and, of boxes, of their lines (None: 0.4 and 1); `contours`: areas and masks are edged, not filled; `thresholds` are those of the tags."""

    every: int = 1
    show: Callable[[Labels], Labels] = lambda labels: labels
    opacity: float | None = None
    contours: bool = False
    thresholds: tuple[float, ...] = ()


@dataclass
class Step:
    """How far it is, in frames; `total` 0 = the video does not say. `picture` u8[H,W,3] is the frame as drawn."""

    done: int
    total: int
    looked_at: int
    objects: int
    seconds: float
    fps: float
    size: tuple[int, int]
    picture: np.ndarray

    @property
    def breaks_off(self) -> bool:
        """Of the last step: whether far fewer frames came than the file says; a few are within what it may round."""
        return self.done < 0.9 * self.total


def annotate(predictor: Sees, task: str, source: Path, outputs: Outputs, choices: Choices) -> Generator[Step, None, None]:
    """A step for each frame; once exhausted, the files stand there. Whoever closes it before leaves none behind.

    Raises UserError for a video that cannot be read or written.
    """
    with Reader(source) as reader, _Files(outputs, reader) as files:
        files.begin(predictor, task, reader, choices)
        found, looked_at, objects = None, 0, 0
        for frame in reader:
            if found is None or frame.index % choices.every == 0:
                found = choices.show(predictor(frame.pixels))
                objects += files.note(frame, found, task, predictor, choices)
                looked_at += 1
            picture = drawn(frame.pixels, found, files.video.size, predictor.classes, choices)
            with writing(outputs.video):
                files.video.write(picture, frame.time)
            yield Step(frame.index + 1, max(reader.frames, frame.index + 1), looked_at, objects, frame.time, reader.fps, reader.size, picture)
        with writing(outputs.video):
            files.finish()


def drawn(pixels: np.ndarray, found: Labels, size: tuple[int, int], classes: Sequence[str], choices: Choices) -> np.ndarray:
    """A frame as it is written, of `size` = (width, height), with what was found in its own pixels."""
    across, down = size[0] / pixels.shape[1], size[1] / pixels.shape[0]
    shown = found if across == down == 1 else scaled(found, across, down)
    return overlaid(resize(pixels, size), shown, classes, choices)


def overlaid(plain: np.ndarray, found: Labels, classes: Sequence[str], choices: Choices) -> np.ndarray:
    """A new u8[H,W,3] with labels in its own pixels."""
    filled = isinstance(found, SemanticMask) or (isinstance(found, Instances) and found.shapes is not None)
    if isinstance(found, Tags) or choices.opacity is None or (filled and not choices.contours):
        return draw_labels(plain, found, classes, opacity=0.4 if choices.opacity is None else choices.opacity, contours=choices.contours,
                           thresholds=choices.thresholds or None)
    strength = min(1.0, 2 * choices.opacity) if filled else choices.opacity  # thin lines need more than areas do
    over = draw_labels(plain, found, classes, contours=choices.contours) if strength > 0 else plain
    return over if strength >= 1 else (plain * (1 - strength) + over * strength).round().astype(np.uint8)


class _Files:
    """The three files under names of their own until all is written."""

    def __init__(self, outputs: Outputs, reader: Reader) -> None:
        self.outputs = outputs
        self.parts = Outputs(*(file.with_name(f".{file.stem}.part{file.suffix}") for file in (outputs.video, outputs.found, outputs.table)))
        self.video = Writer(self.parts.video, reader.size, reader.fps)
        self.noted = 0
        try:
            with writing(outputs.found):
                self._found = self.parts.found.open("w", encoding="utf-8")
                self._table = self.parts.table.open("w", encoding="utf-8-sig", newline="")
        except BaseException:
            self.video.abandon()
            raise

    def begin(self, predictor: Sees, task: str, reader: Reader, choices: Choices) -> None:
        head = {"model": predictor.name, "task": task, "classes": list(predictor.classes), "file": reader.name, "width": reader.size[0],
                "height": reader.size[1], "fps": round(reader.fps, 4), "every": choices.every}
        self._found.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "frames": [')
        csv.writer(self._table).writerow(COLUMNS[task])

    def note(self, frame: Frame, found: Labels, task: str, predictor: Sees, choices: Choices) -> int:
        """One frame in both tables; returns how many rows it has."""
        size, at = (frame.pixels.shape[1], frame.pixels.shape[0]), round(frame.time, 3)
        told = of_frame(found, size, predictor.classes, choices.thresholds, single=predictor.exclusive and task == "classify")
        with writing(self.outputs.found):
            line = json.dumps({"frame": frame.index, "time_s": at, **told}, ensure_ascii=False)
            self._found.write((",\n" if self.noted else "\n") + line)
            rows = list(_rows(told, size))
            csv.writer(self._table).writerows([frame.index, at, harmless(row[0]), *row[1:]] for row in rows)
        self.noted += 1
        return len(rows)

    def finish(self) -> None:
        self.video.close()
        self._found.write("\n]}\n")
        self._close()
        for part, file in ((self.parts.video, self.outputs.video), (self.parts.found, self.outputs.found), (self.parts.table, self.outputs.table)):
            part.replace(file)

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        """What was not finished goes."""
        self._close()
        self.video.abandon()
        for part in (self.parts.found, self.parts.table):
            part.unlink(missing_ok=True)

    def _close(self) -> None:
        self._found.close()
        self._table.close()


def _rows(told: dict[str, Any], size: tuple[int, int]) -> Iterator[list[Any]]:
    """Class name first."""
    for each in told.get("instances", ()):
        yield [each["class"], each["score"], *each["box"]]
    for each in told.get("areas", ()):
        yield [each["class"], each["pixels"], round(each["pixels"] / (size[0] * size[1]), 6)]
    for each in told.get("tags", ()):
        yield [each["class"], each["score"], int(each["present"])]

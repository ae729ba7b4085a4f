"""Any data set to any other format, streamed; the result appears whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.datasets import source
from engine.datasets.collection import check_fractions, collect, with_splits
from engine.datasets.faults import writing
from engine.datasets.formats import Format, ImagePolicy, formats
from engine.messages import text
from engine.types import UNCERTAIN, Instances, Problem, Reading, Sample, Tags, UserError

Progress = Callable[[int], None]


@dataclass
class Summary:
    """What a conversion did. `skipped` = images that were there and could not be taken."""

    format_from: str
    format_to: str
    out: Path
    images: int = 0
    boxes: int = 0
    classes: tuple[str, ...] = ()
    splits: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    problems: list[Problem] = field(default_factory=list)

    def as_dict(self, language: str | None = None) -> dict[str, Any]:
        return {"format_from": self.format_from, "format_to": self.format_to, "images": self.images, "boxes": self.boxes,
                "classes": list(self.classes), "splits": self.splits, "skipped": self.skipped, "out": str(self.out),
                "problems": [problem.as_dict(language) for problem in self.problems]}


IMAGE_FAULTS = frozenset((
    "image_damaged", "image_empty", "not_an_image", "image_too_large", "image_file_too_large", "image_unsupported", "dicom_needs_pydicom",
    "dicom_codec_missing", "image_missing", "image_ambiguous", "image_name_ambiguous", "listed_image_missing", "listed_image_ambiguous",
    "coco_unsafe_file_name", "coco_bad_image_entry", "coco_duplicate_image_id"))
MORE_FAULTS = frozenset(("images_missing_more", "listed_images_missing", "listed_images_ambiguous"))  # with the count of what was not named
NOT_WRITTEN = frozenset(("tags_left_out", "image_missing"))  # what a writer says of an image that it could not take


def convert(src: Path, out: Path, *, to: str, source_format: str | None = None, split: Mapping[str, float] | None = None,
            images: ImagePolicy = "copy", progress: Progress | None = None, problems: list[Problem] | None = None) -> Summary:
    """Writes the data set `src` into `out` (absent or empty) in the format `to`.

    `problems` collects what was found even when a UserError ends the conversion; then `out` is as it was before.
    """
    target = formats.get(to)
    if target.write is None:
        raise UserError("format_read_only", name=to)
    if split is not None:
        check_fractions(split)
    summary = Summary("", to, out, problems=problems if problems is not None else [])
    _check_out(src, out)
    with source.opened(src, problems=summary.problems) as root:
        chosen, _ = source.recognise(root, source_format)
        summary.format_from, reading = chosen.name, chosen.read(root)
        _check_fits(reading, target)
        if split is not None:
            reading = _dealt(reading, split)
        summary.classes = reading.classes
        with _staged(out) as stage:
            stream = _counted(reading.items, summary, progress)
            for problem in _renames_counted(target.write(reading.classes, stream, stage, images)):
                summary.problems.append(problem)
                summary.skipped += problem.code in NOT_WRITTEN
                summary.images -= problem.code in NOT_WRITTEN
            if not summary.images:
                raise UserError("dataset_without_images", name=src.name, problems=len(summary.problems))
    return summary


def _check_fits(reading: Reading, target: Format) -> None:
    """Objects may become masks; nothing else turns into something of another kind by itself. Raises UserError naming the formats that fit."""
    kinds = {"semantic", "detect", "instance"} if reading.task in ("detect", "instance") else {reading.task}
    if reading.classes and target.tasks and not kinds & set(target.tasks):
        fitting = [entry.name for entry in formats.entries().values() if entry.write is not None and reading.task in entry.tasks]
        raise UserError("format_cannot_hold", format=target.name, task=text(f"task.{reading.task}"), known=", ".join(fitting))


def _dealt(reading: Reading, split: Mapping[str, float]) -> Reading:
    """The same samples with new splits; this needs all of them at once."""
    collection = with_splits(collect(reading), split)
    return Reading(reading.classes, iter([*collection.problems, *collection.samples]), reading.task)


def _counted(items: Iterable[Sample | Problem], summary: Summary, progress: Progress | None) -> Iterator[Sample]:
    """Passes the samples on and keeps the books."""
    for item in items:
        if isinstance(item, Problem):
            summary.problems.append(item)
            summary.skipped += item.values["count"] if item.code in MORE_FAULTS else item.code in IMAGE_FAULTS
            continue
        summary.images += 1
        split = item.split or "train"
        summary.splits[split] = summary.splits.get(split, 0) + 1
        if isinstance(item.labels, Instances):
            summary.boxes += len(item.labels)
        elif isinstance(item.labels, Tags):
            summary.boxes += int((item.labels.values > UNCERTAIN).sum())
        if progress is not None and summary.images % 100 == 0:
            progress(summary.images)
        yield item


def _renames_counted(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Passes problems on; images that had to take another name are told at the end, all at once."""
    first, count = None, 0
    for problem in problems:
        if problem.code == "image_renamed":
            first, count = first or problem, count + 1
        else:
            yield problem
    if first is not None:
        yield Problem("images_renamed", "note", ".", {"count": count, "name": first.where, **first.values})


def _check_out(src: Path, out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("out_not_empty", path=out.name or str(out))
    inside = out.resolve()
    if src.is_dir() and (inside == src.resolve() or src.resolve() in inside.parents):
        raise UserError("out_inside_source", path=out.name or str(out))


@contextlib.contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder to write into that becomes `out` at the end, or vanishes. Inside `out` where that exists: it may be a mount point."""
    there = out.exists()
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        stage = (out if there else out.parent) / f".partial-{uuid.uuid4().hex}"
        stage.mkdir()
        try:
            yield stage
            if there:
                for entry in list(stage.iterdir()):
                    entry.rename(out / entry.name)
            else:
                stage.rename(out)
        except BaseException:
            if there:
                for entry in out.iterdir():
                    shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
            raise
        finally:
            shutil.rmtree(stage, ignore_errors=True)

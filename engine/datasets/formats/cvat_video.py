"""CVAT for video: tracks of shapes over frames, and which image is which frame."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from engine.datasets.formats.boxed_objects import BoxedObjects
from engine.datasets.formats.cvat_documents import Document
from engine.datasets.formats.cvat_shapes import DRAWN, Drawn, add, between, drawn
from engine.datasets.objects import Classes, number, shown
from engine.datasets.tree import Tree, folded
from engine.types import Instances, Problem

MAX_SHOWN = 5
_LAST_NUMBER = re.compile(r"(\d{1,9})\D*$")


@dataclass
class Track:
    """One object over time: what its rows say frame by frame, and what lies between them.

    `full` = the file lists frames between keyframes too, as CVAT's exports do; then a track ends with its last row. Otherwise its last
    row holds until a row says that the object is outside.
    """

    label: str
    subset: str
    ref: str
    full: bool
    frames: list[int] = field(default_factory=list)
    rows: list[Drawn | None] = field(default_factory=list)  # None = outside
    _outside: dict[int, Drawn] = field(default_factory=dict)  # where the object leaves, towards which it moves

    def at(self, frame: int) -> Drawn | None:
        """The shape in a frame; None when the object is not there."""
        position = bisect_right(self.frames, frame) - 1
        if position < 0:
            return None
        row = self.rows[position]
        if row is None or self.frames[position] == frame:
            return row
        if position + 1 == len(self.frames):
            return None if self.full else row
        after = self.rows[position + 1] or self._outside.get(self.frames[position + 1])
        part = (frame - self.frames[position]) / (self.frames[position + 1] - self.frames[position])
        return between(row, after, part) if after is not None else row

    def append(self, frame: int, row: Drawn, *, outside: bool) -> None:
        """Frames have to come in order; of two rows for one frame the last counts."""
        if self.frames and self.frames[-1] == frame:
            self.frames.pop()
            self.rows.pop()
        self.frames.append(frame)
        self.rows.append(None if outside else row)
        if outside:
            self._outside[frame] = row


def tracks_of(document: Document, counts: Counter[str], kinds: Counter[str]) -> list[Track]:
    """The tracks whose shapes have an area. The others are counted by kind in `kinds`, attributes in `counts`."""
    elements = document.tracks()
    full = any(row.get("keyframe") == "0" for element in elements for row in element)
    tracks = []
    for position, element in enumerate(elements, 1):
        rows = [(frame, row) for row in element if row.tag in DRAWN and (frame := _frame(row)) is not None]
        if not rows:
            kinds[next((row.tag for row in element if row.tag not in ("attribute", "track")), "track")] += 1
            continue
        counts["cvat_attributes_left_out"] += any(row.find("attribute") is not None for _, row in rows)
        label = element.get("label", "")
        track = Track(label, element.get("subset", ""), f"{element.get('id', position)} ({shown(label)})", full)
        for frame, row in sorted(rows, key=lambda pair: pair[0]):
            shape = drawn(row)
            if shape is not None:
                track.append(frame, shape, outside=row.get("outside") == "1")
        tracks.append(track)
    return tracks


def _frame(row: Element) -> int | None:
    value = number(row.get("frame"))
    return int(value) if value is not None and value >= 0 else None


def instances(tracks: list[Track], frame: int, objects: BoxedObjects, classes: Classes, counts: Counter[str]) -> Instances | None:
    """The objects of one frame; None when there are some and none could be kept."""
    there = [(track, shape) for track in tracks if (shape := track.at(frame)) is not None]
    for track, shape in there:
        add(shape, classes.id_of(track.label), objects, track.ref, counts)
    return objects.instances() if len(objects) or not there else None


# ---- frames

@dataclass
class Frames:
    """The images of a video by the number of their frame; `folder` tells videos of one file apart."""

    folder: str
    images: dict[int, str]
    guessed: bool


def frames_of(tree: Tree, document: Document, images: list[str]) -> list[Frames]:
    """The images near a document, folder by folder: those in images/ beside it where there are some."""
    inside = f"{document.folder}/" if document.folder else ""
    near = [image for image in images if folded(image).startswith(folded(f"{inside}images/"))]
    near = near or [image for image in images if image.startswith(inside)]
    folders: dict[str, list[str]] = {}
    for image in near:
        folders.setdefault(image.rpartition("/")[0], []).append(image)
    return [_numbered(document, folder, paths, alone=len(folders) == 1) for folder, paths in folders.items()]


def _numbered(document: Document, folder: str, images: list[str], *, alone: bool) -> Frames:
    """By the number in the name that CVAT gives them, frame_000012; other names by their order where there is one for each frame."""
    stems = [image.rpartition("/")[2].rpartition(".")[0] for image in images]
    found = [_LAST_NUMBER.search(stem) for stem in stems]
    named = all(stem.casefold().startswith("frame_") for stem in stems)
    if alone and not named and len(images) == document.meta_number("size"):
        start, step = document.meta_number("start_frame") or 0, _step(document)
        return Frames(folder, {start + place * step: image for place, image in enumerate(images)}, True)
    numbered: dict[int, str] = {}
    for match, image in zip(found, images, strict=True):
        if match is not None:
            numbered.setdefault(int(match.group(1)), image)
    return Frames(folder, numbered, not named)


def _step(document: Document) -> int:
    text = next((element.text or "" for element in document.root.iterfind("meta//frame_filter")), "")
    match = re.search(r"step\s*=\s*(\d{1,6})", text)
    return max(1, int(match.group(1))) if match else 1


def missing_frames(document: Document, tracks: list[Track], frames: list[Frames]) -> Iterator[Problem]:
    """Frames in which the file shows an object and for which there is no image."""
    known = {number for one in frames for number in one.images}
    wanted = {frame for track in tracks for frame, row in zip(track.frames, track.rows, strict=True) if row is not None}
    lost = sorted(wanted - known)
    if lost:
        names = ", ".join(map(str, lost[:MAX_SHOWN])) + (", ..." if len(lost) > MAX_SHOWN else "")
        yield Problem("cvat_frames_missing", "warning" if known & wanted else "error", document.path, {"count": len(lost), "frames": names})

"""CVAT's XML: "for images" (read and written) and "for video" (read, a sample for each frame that exists as an image)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from xml.etree.ElementTree import Element

import numpy as np

from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, ImagePolicy
from engine.datasets.formats.boxed_objects import BoxedObjects
from engine.datasets.formats.cvat_documents import Document, classes_of, find_image, kinds_in, load, root_of
from engine.datasets.formats.cvat_shapes import DRAWN, LEFT_OUT, add, attribute, drawn, texts_for
from engine.datasets.formats.cvat_video import Frames, Track, frames_of, instances, missing_frames, tracks_of
from engine.datasets.formats.lookup import Lookup, size_differs
from engine.datasets.formats.voc_xml import plain
from engine.datasets.images import size_of
from engine.datasets.objects import Classes, clean_name, shown
from engine.datasets.placing import Placer
from engine.datasets.tree import Tree, split_of
from engine.datasets.turning import turn_for
from engine.types import UNCERTAIN, Instances, Labels, Problem, Reading, Sample, Tags, UserError

ANNOTATIONS = "annotations.xml"


# ---- recognising

def detects(root: Path) -> str | None:
    _, paths = root_of(root)
    return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "") if paths else None


# ---- reading

@dataclass
class _Set:
    """What is read, and what had to stay behind: `counts` by the code of its note, `kinds` of shapes by their names."""

    tree: Tree
    lookup: Lookup
    documents: list[Document]
    classes: Classes
    problems: list[Problem]
    tagged: bool
    alone: bool
    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    used: dict[str, str] = field(default_factory=dict)


def read(root: Path) -> Reading:
    """Loads the files, whose labels name the classes in order; looks at the images while streaming. Raises UserError when no file can be read."""
    tree, paths = root_of(root)
    if not paths:
        raise UserError("no_format", found="-", known="cvat")
    documents, problems = load(tree, paths)
    kinds = kinds_in(documents)
    tagged = "tag" in kinds and not kinds & (DRAWN | LEFT_OUT)
    classes = classes_of(documents, tagged=tagged)
    found = _Set(tree, Lookup(tree), documents, classes, problems, tagged, root.is_file())
    return Reading(classes.tuple, _items(found), "classify" if tagged else "instance" if kinds & (DRAWN - {"box"}) else "detect")


def _items(found: _Set) -> Iterator[Sample | Problem]:
    yield from found.problems
    while found.documents:
        document = found.documents.pop(0)
        for element in document.images():
            yield from _image(found, document, element)
            element.clear()
        if document.tracks():
            yield from _video(found, document)
    if not found.alone:
        for image in found.lookup.images():
            if image not in found.used:
                yield from _sample(found, image, None, split_of(*image.split("/")[:-1]), None)
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found.kinds.items()) if count)
    if kinds:
        yield Problem("cvat_shapes_left_out", "note", ".", {"kinds": kinds})
    yield from (Problem(code, "note", ".", {"count": count}) for code, count in found.counts.items() if count)
    yield from found.tree.problems


def _sample(found: _Set, image: str, labels: Labels | None, split: str | None, group: str | None) -> Iterator[Sample | Problem]:
    """An image with labels that are known already."""
    size = yield from _size(found, image)
    if size is not None:
        found.counts["images_without_labels"] += labels is None
        yield Sample(found.tree.path(image), size, labels, split, group, image)


def _size(found: _Set, image: str) -> Generator[Problem, None, tuple[int, int] | None]:
    try:
        return size_of(f"{found.tree.root}/{image}")
    except UserError as error:
        yield problem_of(error, image)
        return None


def _image(found: _Set, document: Document, element: Element) -> Iterator[Sample | Problem]:
    name, subset = element.get("name", ""), element.get("subset", "")
    image = find_image(found.lookup, document, name, subset) if name else None
    if image is None:
        yield found.lookup.missing(name or "-", document.path)
        return
    if image in found.used:
        yield Problem("image_labeled_twice", "error", document.path, {"image": shown(image), "first": found.used[image]})
        return
    found.used[image] = document.path
    size = yield from _size(found, image)
    if size is None:
        return
    claimed = (element.get("width"), element.get("height"))
    turn = turn_for(claimed, size, found.tree.path(image))
    found.counts["labels_turned"] += turn is not None
    yield from size_differs(claimed, turn.size if turn else size, image)
    labels: Labels | None = None
    if element.get("labeled") != "0":
        labels = _tags(found, element) if found.tagged else (yield from _objects(found, element, image, turn.size if turn else size))
    if turn and isinstance(labels, Instances):
        labels = turn.upright(labels)
    found.counts["images_without_labels"] += labels is None
    group = clean_name(element.get("group", "")) or document.video
    split = split_of(subset) or document.split or split_of(*image.split("/")[:-1])
    yield Sample(found.tree.path(image), size, labels, split, group, image)


def _tags(found: _Set, element: Element) -> Tags:
    values = np.zeros(len(found.classes.names), np.float32)
    for tag in element.iterfind("tag"):
        values[found.classes.id_of(tag.get("label", ""))] = 1
        found.counts["cvat_attributes_left_out"] += tag.find("attribute") is not None
    return Tags(values)


def _objects(found: _Set, element: Element, image: str, size: tuple[int, int]) -> Generator[Problem, None, Instances | None]:
    objects, there = BoxedObjects(image, size), 0
    for position, item in enumerate(element, 1):
        shape = drawn(item)
        if shape is not None:
            there += 1
            label = item.get("label", "")
            add(shape, found.classes.id_of(label), objects, f"{position} ({shown(label)})", found.counts)
        elif item.tag in LEFT_OUT:
            found.kinds[item.tag] += 1
        found.counts["cvat_tags_left_out"] += item.tag == "tag"
        found.counts["cvat_attributes_left_out"] += item.find("attribute") is not None
    yield from objects.problems
    found.counts["cvat_images_empty"] += len(element) == 0
    return objects.instances() if len(objects) or not there else None


def _video(found: _Set, document: Document) -> Iterator[Sample | Problem]:
    tracks = tracks_of(document, found.counts, found.kinds)
    frames = frames_of(found.tree, document, found.lookup.images())
    numbers = Counter(number for one in frames for number in one.images)
    if any(count > 1 for count in numbers.values()) and not all(track.subset for track in tracks):
        yield Problem("cvat_frames_ambiguous", "error", document.path, {"folders": ", ".join(one.folder or "." for one in frames[:5])})
        return
    yield from missing_frames(document, tracks, frames)
    for one in frames:
        own = [track for track in tracks if not track.subset or len(frames) == 1 or track.subset == one.folder.rpartition("/")[2]]
        if one.guessed and one.images:
            first = min(one.images)
            yield Problem("cvat_frames_guessed", "note", document.path, {"frame": first, "image": shown(one.images[first])})
        yield from _frames(found, document, one, own)


def _frames(found: _Set, document: Document, frames: Frames, tracks: list[Track]) -> Iterator[Sample | Problem]:
    split = split_of(*(track.subset for track in tracks[:1] if track.subset)) or document.split
    group = document.video if not frames.folder or not tracks or not tracks[0].subset else f"{document.video} {frames.folder}"
    last = document.meta_number("stop_frame")
    for frame, image in sorted(frames.images.items()):
        if image in found.used:
            continue
        found.used[image] = document.path
        size = yield from _size(found, image)
        if size is None:
            continue
        objects = BoxedObjects(image, size)
        inside = last is None or frame <= last
        labels = instances(tracks, frame, objects, found.classes, found.counts) if inside else None
        yield from objects.problems
        found.counts["images_without_labels"] += labels is None
        yield Sample(found.tree.path(image), size, labels, split or split_of(*image.split("/")[:-1]), group, image)


# ---- writing

def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """`annotations.xml` for images, which lie in `images/{split}/`; split as `subset`.

    What CVAT has no word for is written as attributes that other readers pass over: `labeled="0"` on an image that nobody has looked at,
    `group` for a patient or video, the corners of a box that is not the one around its outline.
    """
    placer, said = Placer(root, images), Counter[str]()
    with (root / ANNOTATIONS).open("w", encoding="utf-8", newline="\n") as file:
        _write_meta(file, classes)
        count = 0
        for sample in samples:
            split = split_of(sample.split or "") or "train"
            file_name = yield from placer.place(sample, f"images/{split}")
            if file_name is None:
                continue
            extra = "" if isinstance(sample.labels, Instances | Tags) else ' labeled="0"'
            extra += f" group={attribute(sample.group)}" if sample.group is not None else ""
            file.write(f'  <image id="{count}" name={attribute(f"{split}/{file_name}")} subset="{split}" '
                       f'width="{sample.size[0]}" height="{sample.size[1]}"{extra}>\n')
            file.writelines((yield from _written(sample, classes, said)))
            file.write("  </image>\n")
            count += 1
        file.write("</annotations>\n")
    if said["scores"]:
        yield Problem("scores_left_out", "note", ".", {"count": said["scores"]})


def _write_meta(file: TextIO, classes: tuple[str, ...]) -> None:
    file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
               "  <meta>\n    <task>\n      <mode>annotation</mode>\n      <labels>\n")
    for name in classes:
        file.write(f"        <label>\n          <name>{plain(name)}</name>\n          <attributes></attributes>\n        </label>\n")
    file.write("      </labels>\n    </task>\n  </meta>\n")


def _written(sample: Sample, classes: tuple[str, ...], said: Counter[str]) -> Generator[Problem, None, list[str]]:
    """Yields what CVAT cannot hold of an image, returns its shapes or tags."""
    name, labels = sample.name or sample.image.name, sample.labels
    if isinstance(labels, Tags):
        values = labels.values
        uncertain = int(np.isnan(values).sum() + (values == UNCERTAIN).sum())
        if uncertain:
            yield Problem("tags_uncertain_left_out", "warning", name, {"count": uncertain})
        return [f'    <tag label={attribute(classes[index])} source="manual"/>\n' for index in np.flatnonzero(values > UNCERTAIN)]
    if not isinstance(labels, Instances):
        if labels is not None:
            yield Problem("labels_not_objects", "error", name, {"format": "cvat"})
        return []
    own: Counter[str] = Counter()
    texts = list(texts_for(labels, classes, own))
    if own["crowd"]:
        yield Problem("crowd_left_out", "warning", name, {"count": own["crowd"]})
    if own["joined"]:
        yield Problem("outline_joined", "note", name)
    said["scores"] += len(labels) if labels.scores is not None else 0
    return texts


FORMATS = (Format("cvat", detects, read, write, files=(".xml",), tasks=("detect", "instance", "classify")),)

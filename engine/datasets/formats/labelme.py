"""labelme: one JSON of shapes for each image, beside it or in a folder of its own; labels.txt or flags.txt for the order of classes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets import plain_json, plain_text
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, ImagePolicy, json_head
from engine.datasets.formats.labelme_shapes import KEYS, add_shapes, drawn, kind_of, label_of, shapes_of
from engine.datasets.formats.lookup import Found, Lookup, samples, size_differs
from engine.datasets.objects import Classes, Objects, clean_name, shown
from engine.datasets.placing import Placer
from engine.datasets.tree import Tree, folded, split_of
from engine.datasets.turning import turn_for
from engine.types import UNCERTAIN, Instances, Problem, Reading, Sample, Tags, UserError

VERSION = "5.4.1"
MAX_JSON_BYTES = 256 << 20
MAX_CLASS_BYTES = 4 << 20
NO_CLASSES = frozenset(("__ignore__", "_background_"))  # what labelme's own scripts put on top of labels.txt


# ---- recognising

def detects(root: Path) -> str | None:
    if root.is_file():
        return root.name if _is_labelme(Tree(root.parent).head(root.name)) else None
    return next((path for path, head in json_head.documents(Tree(root)) if _is_labelme(head)), None)


def _is_labelme(head: bytes) -> bool:
    """An object with shapes (or the picture itself, which may come first and fill the head) and another of labelme's keys."""
    opening, keys = json_head.outer_keys(head)
    return opening == "{" and bool({"shapes", "imageData"} & keys) and (len(KEYS & keys) > 1 or keys == {"imageData"})


# ---- reading

@dataclass
class _Set:
    """What a first look at all files has found. `files` = label file of each image."""

    tree: Tree
    lookup: Lookup
    classes: Classes = field(default_factory=Classes)
    flags: Classes = field(default_factory=Classes)
    files: dict[str, str] = field(default_factory=dict)
    stems: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    embedded: int = 0
    drawn: bool = False
    outlined: bool = False

    @property
    def tagged(self) -> bool:
        return not self.drawn and bool(self.flags.names)


def read(root: Path) -> Reading:
    """Looks through all label files first, since nothing else names the classes; reads them again while streaming."""
    tree = Tree(root.parent if root.is_file() else root)
    found = _Set(tree, Lookup(tree))
    paths = [root.name] if root.is_file() else [f"{folder}/{name}" if folder else name for folder, listing in tree.walk()
                                                for name in listing.files if name.lower().endswith(".json")]
    for kind, classes in (("labels.txt", found.classes), ("flags.txt", found.flags)):
        for name in _listed(tree, kind, paths):
            classes.id_of(name)
    for path in paths:
        _look_at(found, path)
    classes = found.flags if found.tagged else found.classes
    return Reading(classes.tuple, _items(found, alone=root.is_file()), "classify" if found.tagged else "instance" if found.outlined else "detect")


def _listed(tree: Tree, kind: str, paths: Sequence[str]) -> list[str]:
    """The names in labels.txt or flags.txt: at the root, or beside the first label files."""
    folders = dict.fromkeys(("", *(path.rpartition("/")[0] for path in paths[:1])))
    found = next((path for path in (tree.find(f"{folder}/{kind}" if folder else kind) for folder in folders) if path), None)
    lines = plain_text.decoded(tree.read(found, MAX_CLASS_BYTES)).splitlines() if found else []
    return [line.strip() for line in lines if line.strip() and line.strip() not in NO_CLASSES]


def _look_at(found: _Set, path: str) -> None:
    """Classes and image of one label file, or the problem with it."""
    content, problem = _load(found.tree, path)
    if problem is not None:
        found.problems.append(problem)
        return
    for _, shape in drawn(content):
        found.drawn = True
        found.outlined |= kind_of(shape) != "rectangle"
        found.classes.id_of(label_of(shape))
    for name in _flags(content):
        found.flags.id_of(name)
    image = _image_of(found, path, content)
    if image is None:
        named = content.get("imagePath")
        found.problems.append(found.lookup.missing(named if isinstance(named, str) and named else path, path))
        found.embedded += bool(content.get("imageData"))
    elif found.files.setdefault(image, path) != path:
        found.problems.append(Problem("image_labeled_twice", "error", path, {"image": shown(image), "first": shown(found.files[image])}))


def _load(tree: Tree, path: str) -> tuple[dict[str, Any], Problem | None]:
    """The content of a label file; an empty one and a problem when it is none."""
    try:
        content = plain_json.parse(tree.read(path, MAX_JSON_BYTES), path)
    except UserError as error:
        return {}, problem_of(error, path)
    except OSError as error:
        return {}, Problem("file_unreadable", "error", path, {"reason": error.strerror or str(error)})
    if isinstance(content, dict) and isinstance(content.get("shapes"), list):
        return content, None
    if isinstance(content, dict) and "shapes" in content and len(KEYS & content.keys()) > 1:
        return {}, Problem("labelme_shapes_unreadable", "error", path, {"found": type(content["shapes"]).__name__})
    return {}, Problem("json_not_labels", "note", path, {"format": "labelme"})


def _flags(content: dict[str, Any]) -> dict[str, Any]:
    flags = content.get("flags")
    return flags if isinstance(flags, dict) else {}


def _twin(found: _Set, path: str, named: str) -> str | None:
    """The image beside a label file that shares its stem: the one that it names where there are several."""
    folder, _, name = path.rpartition("/")
    if folder not in found.stems:
        found.stems[folder] = {}
        for image in found.tree.folder(folder).images():
            found.stems[folder].setdefault(folded(image.rpartition(".")[0]), []).append(image)
    twins = found.stems[folder].get(folded(name.rpartition(".")[0]), [])
    wanted = folded(named.replace("\\", "/").rpartition("/")[2])
    twin = next((image for image in twins if folded(image) == wanted), twins[0] if twins else None)
    return f"{folder}/{twin}" if twin and folder else twin


def _image_of(found: _Set, path: str, content: dict[str, Any]) -> str | None:
    """The image that a label file belongs to. Copied files often name the image of the original: then the one of equal stem is meant."""
    named = content.get("imagePath") if isinstance(content.get("imagePath"), str) else ""
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0]
    twin = _twin(found, path, named or "")
    image = found.lookup.find(named, folder) if named else None
    if twin is not None and image not in (None, twin):
        found.problems.append(Problem("labelme_other_image", "warning", path, {"named": shown(named), "image": shown(twin)}))
    return twin or image or found.lookup.find(stem, folder)


def _items(found: _Set, *, alone: bool) -> Iterator[Sample | Problem]:
    yield from found.problems
    if found.embedded:
        yield Problem("labelme_embedded", "note", ".", {"count": found.embedded})
    counts: Counter[str] = Counter()
    groups: dict[str, str | None] = {}

    def labels_of(image: str, size: tuple[int, int]) -> Found:
        path = found.files.get(image)
        if path is None:
            return None
        content, problem = _load(found.tree, path)
        if problem is not None:
            yield problem
            return None
        groups[image] = clean_name(content["group"]) if isinstance(content.get("group"), str) else None
        return (yield from _labels(found, content, path, image, size, counts))
    yield from samples(found.tree, found.files if alone else found.lookup.images(), labels_of, counts,
                       about=lambda image: (None, groups.pop(image, None) or None))


def _labels(found: _Set, content: dict[str, Any], path: str, image: str, size: tuple[int, int], counts: Counter[str]) -> Found:
    claimed = (content.get("imageWidth"), content.get("imageHeight"))
    turn = turn_for(claimed, size, found.tree.path(image))
    yield from size_differs(claimed, turn.size if turn else size, path)
    flags = _flags(content)
    if found.tagged:
        values = np.full(len(found.flags.names), np.nan)
        for name, value in flags.items():
            values[found.flags.id_of(name)] = value is True
        return Tags(values) if flags else None
    counts["labelme_flags_left_out"] += any(value is True for value in flags.values())
    counts["labels_turned"] += turn is not None
    objects = Objects(path, turn.size if turn else size)
    named = add_shapes(content, objects, found.classes, counts)
    yield from objects.problems
    if named and not len(objects):
        return None
    return turn.upright(objects.instances()) if turn else objects.instances()


# ---- writing

def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """`{split}/` with images and, beside each that was looked at, its JSON; labels.txt (flags.txt for tags) for the order of classes.

    A crowd is a flag of its shape and a patient a key that labelme keeps, so nothing of an object is lost but holes.
    """
    placer = Placer(root, images)
    tagged, lost = False, Counter[str]()
    for sample in samples:
        split = split_of(sample.split or "") or "train"
        file_name = yield from placer.place(sample, split)
        if sample.labels is None or file_name is None:
            continue
        name = sample.name or sample.image.name
        content: dict[str, Any] = {"version": VERSION, "flags": {}, "shapes": [], "imagePath": file_name, "imageData": None,
                                   "imageHeight": sample.size[1], "imageWidth": sample.size[0]}
        if sample.group is not None:
            content["group"] = sample.group
        if isinstance(sample.labels, Instances):
            before = lost["outline_joined"]
            content["shapes"] = shapes_of(sample.labels, classes, lost)
            if lost["outline_joined"] > before:
                yield Problem("outline_joined", "note", name, {"count": lost["outline_joined"] - before})
        elif isinstance(sample.labels, Tags):
            tagged = True
            values = dict(zip(classes, sample.labels.values.tolist(), strict=True))
            content["flags"] = {each: value > UNCERTAIN for each, value in values.items() if value == value and value != UNCERTAIN}
            open_ones = list(values.values()).count(UNCERTAIN)
            if open_ones:
                yield Problem("tags_uncertain_left_out", "warning", name, {"count": open_ones})
        else:
            yield Problem("labels_not_objects", "error", name, {"format": "labelme"})
            continue
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        with open(folder / f"{file_name.rpartition('.')[0]}.json", "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            file.write(text)
    yield from (Problem(code, "note", ".", {"count": lost[code]}) for code in ("scores_left_out", "box_from_outline") if lost[code])
    (root / ("flags.txt" if tagged else "labels.txt")).write_text("".join(f"{name}\n" for name in classes), encoding="utf-8", newline="\n")


FORMATS = (Format("labelme", detects, read, write, files=(".json",), tasks=("detect", "instance", "classify")),)

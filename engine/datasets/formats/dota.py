"""DOTA: `labelTxt/*.txt` with four corners, a name and a mark for difficult ones on each line. Read only, as upright boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.datasets import plain_text
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, text_labels
from engine.datasets.formats.lookup import NOT_PICTURES, Found, Lookup, samples
from engine.datasets.objects import Classes, Objects, number, shown
from engine.datasets.tree import Tree
from engine.types import Problem, Reading, Sample, UserError

MAX_BYTES = 64 << 20


def detects(root: Path) -> str | None:
    return next((path for path, kind in text_labels.documents(Tree(root)) if kind == text_labels.DOTA), None)


@dataclass
class _Set:
    """`files` = label file of each image."""

    tree: Tree
    lookup: Lookup
    classes: Classes = field(default_factory=Classes)
    files: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read(root: Path) -> Reading:
    """Looks through all label files first, since nothing else says which classes there are."""
    tree = Tree(root)
    found = _Set(tree, Lookup(tree, NOT_PICTURES))
    folders = {path.rpartition("/")[0] for path, kind in text_labels.documents(tree) if kind == text_labels.DOTA}
    names: set[str] = set()
    for folder in sorted(folders):
        for name in tree.folder(folder).files:
            if name.lower().endswith(".txt"):
                names |= _look_at(found, folder, f"{folder}/{name}" if folder else name)
    for name in sorted(names):
        found.classes.id_of(name)
    return Reading(found.classes.tuple, _items(found), "detect")


def _look_at(found: _Set, folder: str, path: str) -> set[str]:
    """The names in a label file, which is given to the image of the same stem."""
    rows = list(_rows(found.tree, path, []))
    image = found.lookup.find(path.rpartition("/")[2].rpartition(".")[0], folder)
    if image is None and rows:
        found.problems.append(found.lookup.missing(path, path))
    elif image is not None and found.files.setdefault(image, path) != path:
        found.problems.append(Problem("image_labeled_twice", "error", path, {"image": shown(image), "first": found.files[image]}))
    return {fields[8] for _, fields in rows}


def _rows(tree: Tree, path: str, problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of the objects; what is neither an object nor a heading is a problem."""
    try:
        text = plain_text.decoded(tree.read(path, MAX_BYTES))
    except UserError as error:
        problems.append(problem_of(error, path))
        return
    for position, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if text_labels.is_quad(fields):
            yield position, fields
        elif fields and not text_labels.is_header(line.strip()):
            problems.append(Problem("dota_line", "error", f"{path}:{position}", {"text": shown(line)}))


def _items(found: _Set) -> Iterator[Sample | Problem]:
    yield from found.problems
    counts: Counter[str] = Counter()

    def labels_of(image: str, size: tuple[int, int]) -> Found:
        path = found.files.get(image)
        if path is None:
            return None
        objects, seen = Objects(path, size), 0
        for position, fields in _rows(found.tree, path, objects.problems):
            seen += 1
            counts["boxes_rotated"] += _is_turned(fields)
            counts["dota_difficult"] += fields[9:] not in ([], ["0"])
            numbers = [number(text) or 0.0 for text in fields[:8]]
            across, down = numbers[0::2], numbers[1::2]
            objects.add_box(found.classes.id_of(fields[8]), (min(across), min(down), max(across), max(down)), position)
        yield from objects.problems
        return objects.instances() if len(objects) or not (seen or objects.problems) else None
    yield from samples(found.tree, found.lookup.images(), labels_of, counts)


def _is_turned(fields: list[str]) -> bool:
    """Whether the four corners are those of no upright box."""
    return len(set(fields[0:8:2])) > 2 or len(set(fields[1:8:2])) > 2


FORMATS = (Format("dota", detects, read),)

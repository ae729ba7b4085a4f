"""What text files beside images hold, told by their first lines: labels of tools whose notation is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from engine.datasets import plain_text
from engine.datasets.images import is_image
from engine.datasets.objects import number
from engine.datasets.tree import Tree, folded

DOTA, VISDRONE, MOT, WIDER, KERAS = "DOTA", "VisDrone", "MOT (MOTChallenge)", "WIDER FACE", "YOLO Keras TXT"
MAX_PEEKED = 4  # text files of one folder
MAX_HEADS = 200  # of a tree
MAX_LINES = 20
YOLO_FIELDS = 5
PLACES = frozenset(("gt", "det", "annotations", "annotation", "labels", "label"))
_HEADERS = ("imagesource:", "gsd:", "acquisition date")
_COMMAS = re.compile(r"-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?){7,9}\s*,?")
_KERAS = re.compile(r"\S.*?\.\w{3,4}(?:\s+\d+(?:,\d+){4})+")


def documents(tree: Tree) -> Iterator[tuple[str, str]]:
    """(path, kind) of the text files that hold labels of a kind known here; of each folder a few are looked at."""
    for path, text in _texts(tree):
        kind = kind_of(text)
        if kind is not None and (kind not in (VISDRONE, MOT) or _is_placed(tree, path)):
            yield path, kind


def only_quads(tree: Tree) -> bool:
    """Whether there are labels of DOTA and none of YOLO, whose data.yaml may lie beside either."""
    quads = False
    for _, text in _texts(tree):
        fields = next((line.split() for line in text.splitlines() if line.strip() and not is_header(line.strip())), [])
        if len(fields) >= YOLO_FIELDS and all(map(_is_number, fields)):
            return False
        quads |= is_quad(fields)
    return quads


def _texts(tree: Tree) -> Iterator[tuple[str, str]]:
    """(path, beginning) of some of the text files."""
    asked = 0
    for folder, listing in tree.walk():
        for name in [name for name in listing.files if name.lower().endswith(".txt")][:MAX_PEEKED]:
            path = f"{folder}/{name}" if folder else name
            asked += 1
            yield path, plain_text.decoded(tree.head(path, plain_text.HEAD))
        if asked >= MAX_HEADS:
            return


def _is_placed(tree: Tree, path: str) -> bool:
    """Whether a list of numbers lies where labels do, or is called after an image; others may be measurements of any kind."""
    *folders, name = folded(path).split("/")
    stem = name.rpartition(".")[0]
    return stem in PLACES or not PLACES.isdisjoint(folders) or any(
        folded(image.rpartition(".")[0]) == stem for _, listing in tree.walk() for image in listing.images())


def kind_of(text: str) -> str | None:
    """None for a text of any other kind."""
    lines = list(islice(filter(None, map(str.strip, text.splitlines()[:4 * MAX_LINES])), MAX_LINES))
    rows = [line for line in lines if not is_header(line)]
    if not rows:
        return None
    if is_quad(rows[0].split()):
        return DOTA
    if _COMMAS.fullmatch(rows[0]):
        return VISDRONE if rows[0].strip(" ,").count(",") == 7 else MOT
    if len(rows) > 2 and is_image(rows[0]) and rows[1].isdecimal() and len(rows[2].split()) >= 4 and all(map(_is_number, rows[2].split())):
        return WIDER
    return KERAS if _KERAS.fullmatch(rows[0]) and is_image(rows[0].split(",")[0].rpartition(" ")[0].strip()) else None


def is_header(line: str) -> bool:
    return line.lower().startswith(_HEADERS)


def is_quad(fields: list[str]) -> bool:
    """Eight numbers, a name, and perhaps how difficult it is."""
    return len(fields) in (9, 10) and all(map(_is_number, fields[:8])) and not _is_number(fields[8]) and (len(fields) == 9 or _is_number(fields[9]))


def _is_number(text: str) -> bool:
    return number(text) is not None

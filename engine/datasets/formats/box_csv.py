"""Boxes in tables, read only: TensorFlow's and Roboflow's columns, RetinaNet's and make-sense's without headings, `bbox` columns of four numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, box_csv_order
from engine.datasets.formats.csv_columns import IMAGE_HEADS, LABEL_HEADS, SPLIT_HEADS
from engine.datasets.formats.csv_kinds import bare_boxes, is_retinanet, plain
from engine.datasets.formats.csv_missing import Missing, split_words_unknown
from engine.datasets.formats.csv_tables import SUFFIXES, Table, open_table, peek_table, quiet, tables_of
from engine.datasets.formats.image_index import ImageIndex, pictures, split_of_list
from engine.datasets.images import size_of
from engine.datasets.objects import Classes, Objects, number
from engine.datasets.tree import Tree, split_of
from engine.types import Problem, Reading, Sample, UserError

CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"), ("startx", "starty", "endx", "endy"))
WIDE = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"), ("xmin", "ymin", "width", "height"),
        ("bboxx", "bboxy", "bboxwidth", "bboxheight"), ("bboxx", "y", "w", "h"))
JOINT = ("bbox", "box", "boundingbox", "bboxxywh")
CHEST_BOXES, CHEST_LABELS = frozenset(("imageindex", "findinglabel")), frozenset(("imageindex", "findinglabels"))
FOREIGN = frozenset(("labelname", "source"))  # Open Images has a reader of its own
UNNAMED = "object"
PEEKED_ROWS = 200


@dataclass(frozen=True)
class _Columns:
    """Places: `image`, four numbers `box` (or one with all four), `label` and `split` if there are any; `wide` = x, y, width, height."""

    image: int
    box: tuple[int, ...]
    wide: bool
    label: int | None
    split: int | None = None
    heading: bool = True
    sized: bool = False  # make-sense's own order: label, box, image and the size of the image


@dataclass
class _Source:
    table: Table
    columns: _Columns
    split: str | None
    scaled: bool = False  # the numbers are fractions of the image


def detects(root: Path) -> str | None:
    """A table of which one column names images of the tree, and others hold the corners of boxes."""
    tree, paths = tables_of(root)
    index: ImageIndex | None = None
    heads: list[frozenset[str]] = []
    found: list[tuple[str, frozenset[str]]] = []
    for path in paths:
        rows = _first_rows(peek_table(tree, path))
        heads.append(frozenset(map(plain, rows[0])) if rows else frozenset())
        if rows and _by_heading(rows[0]) is None and len(rows[0]) not in (6, 8):
            continue
        index = index or pictures(tree)
        folder = path.rpartition("/")[0]
        columns = _columns(rows, index, folder)
        if columns is not None and any(index.find(row[columns.image], folder) for row in rows[columns.heading:] if len(row) > columns.image):
            found.append((path, heads[-1]))
    labeled = any(head >= CHEST_LABELS for head in heads)  # then the boxes are those of a few of its images
    return next((path for path, head in found if not (labeled and head >= CHEST_BOXES)), None)


def _first_rows(table: Table) -> list[list[str]]:
    return [cells for _, (_, cells) in zip(range(PEEKED_ROWS), quiet(table), strict=False)]


def _columns(rows: Sequence[list[str]], index: ImageIndex, folder: str) -> _Columns | None:
    """By the headings, else path, x1, y1, x2, y2, class as RetinaNet wants them, or another order of image, class and four numbers."""
    if not rows:
        return None
    found = _by_heading(rows[0])
    if found is None and is_retinanet(rows[0]) and index.find(rows[0][0], folder):
        return _Columns(0, (1, 2, 3, 4), False, 5, heading=False)
    return _bare(rows, index, folder) if found is None else found


def _bare(rows: Sequence[list[str]], index: ImageIndex, folder: str) -> _Columns | None:
    """Rows without headings, of which only all together can tell what the numbers are."""
    first = bare_boxes(rows[0])
    if first is None or not any(index.find(row[first.image], folder) for row in rows if len(row) > first.image):
        return None
    places = tuple(range(first.box, first.box + 4))
    last = first.image > places[-1]  # as make-sense orders them; RetinaNet's begin with the image and mean corners
    return _Columns(first.image, places, last, first.label, heading=False, sized=last and len(rows[0]) == 8)


def _by_heading(row: Sequence[str]) -> _Columns | None:
    heads: dict[str, int] = {}
    for place, cell in enumerate(row):
        heads.setdefault(plain(cell), place)
    image = next((heads[head] for head in IMAGE_HEADS if head in heads), None)
    if image is None or heads.keys() >= FOREIGN:
        return None
    names = ("classname", "labelname", "categoryname", "findinglabel", *(head for head in LABEL_HEADS if head != "y"), "name", "classid")
    label = next((heads[head] for head in names if heads.get(head, image) != image), None)
    split = next((heads[head] for head in SPLIT_HEADS if head in heads), None)
    for names, wide in (*((names, False) for names in CORNERS), *((names, True) for names in WIDE)):
        if all(name in heads for name in names):
            return _Columns(image, tuple(heads[name] for name in names), wide, label, split)
    joint = next((heads[head] for head in JOINT if head in heads), None)
    return _Columns(image, (joint,), True, label, split) if joint is not None else None


# ---- reading

@dataclass
class _Boxes:
    """The boxes of one image as they stand in a table: (line, class id, four texts)."""

    source: _Source
    rows: list[tuple[int, int, list[str]]] = field(default_factory=list)
    split: str | None = None


def read(root: Path) -> Reading:
    """Raises UserError when no table can be understood; anything less is a Problem in the stream."""
    tree, paths = tables_of(root)
    index = pictures(tree)
    sources: list[_Source] = []
    problems: list[Problem] = []
    for path in paths:
        table = open_table(tree, path)
        columns = _columns(_first_rows(table), index, path.rpartition("/")[0])
        if columns is not None and not columns.heading:
            columns, told = _ordered(tree, table, columns, index)
            problems += told
        if columns is not None:
            split = split_of_list(path.rpartition("/")[2]) or split_of(*path.split("/")[:-1])
            sources.append(_Source(table, columns, split))
    if not sources:
        raise UserError("no_format", found=", ".join(paths[:8]) or "-", known="box_csv")
    classes = Classes()
    for source in sources:
        _survey(source, classes)
    return Reading(classes.tuple, _Reader(tree, index, sources, classes, problems).items(), "detect")


def _ordered(tree: Tree, table: Table, columns: _Columns, index: ImageIndex) -> tuple[_Columns, list[Problem]]:
    """The columns with what all rows say of their numbers, compared with the sizes of the images."""
    sizes: dict[str, tuple[int, int] | None] = {}
    folder = table.path.rpartition("/")[0]

    def rows() -> Iterator[tuple[box_csv_order.Row, tuple[int, int] | None]]:
        for _, cells in table.rows():
            values = [number(cells[place]) for place in columns.box if place < len(cells)]
            if len(values) == 4 and None not in values:
                name = index.find(cells[columns.image], folder)
                if name is not None and name not in sizes:
                    with suppress(UserError):
                        sizes[name] = size_of(tree.path(name))
                a, b, c, d = (value for value in values if value is not None)
                yield (a, b, c, d), sizes.get(name or "")
    found = box_csv_order.gathered(rows())
    wide, problem = box_csv_order.decided(found, columns.wide, table.path)
    sure = columns.sized and problem.code == "box_order_assumed"
    return replace(columns, wide=wide), [problem] if found.rows and not sure else []


def _survey(source: _Source, classes: Classes) -> None:
    """All class names, and whether any number is too large for a fraction of the image."""
    names: set[str] = set()
    largest = 0.0
    for _, cells in _lines(source):
        texts = _box_texts(source.columns, cells)
        if any(texts):
            names.add(_label(source.columns, cells))
            largest = max(largest, *(number(text) or 0.0 for text in texts), 0.0)
    source.scaled = 0 < largest <= 1
    for name in sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)):
        classes.id_of(name)


def _lines(source: _Source) -> Iterator[tuple[int, list[str]]]:
    width = max(*source.columns.box, source.columns.image, source.columns.label or 0, source.columns.split or 0) + 1
    rows = source.table.rows()
    if source.columns.heading:
        next(rows, None)
    yield from ((line, cells + [""] * (width - len(cells))) for line, cells in rows)


def _box_texts(columns: _Columns, cells: list[str]) -> list[str]:
    if len(columns.box) == 1:
        return re.split(r"[\s,;]+", cells[columns.box[0]].strip("[](){} "))
    return [cells[place] for place in columns.box]


def _label(columns: _Columns, cells: list[str]) -> str:
    return cells[columns.label] if columns.label is not None and cells[columns.label] else UNNAMED


@dataclass
class _Reader:
    tree: Tree
    index: ImageIndex
    sources: list[_Source]
    classes: Classes
    problems: list[Problem]
    images: dict[str, _Boxes] = field(default_factory=dict)
    missing: Missing = field(init=False)

    def __post_init__(self) -> None:
        self.missing = Missing(self.index)

    def items(self) -> Iterator[Sample | Problem]:
        yield from self.problems
        for source in self.sources:
            yield from self._rows(source)
        yield from self.missing.rest()
        unlabeled = 0
        for name in [*self.images, *(path for path in self.index.images if path not in self.images)]:
            try:
                size = size_of(f"{self.tree.root}/{name}")
            except UserError as error:
                yield problem_of(error, name)
                continue
            known = self.images.get(name)
            unlabeled += known is None
            objects = self._objects(known, size) if known is not None else None
            yield from objects.problems if objects is not None else ()
            split = (known.split if known else None) or split_of(*name.split("/")[:-1])
            yield Sample(Path(self.tree.root, name), size, objects.instances() if objects is not None else None, split, None, name)
        if unlabeled:
            yield Problem("images_without_labels", "note", ".", {"count": unlabeled})
        yield from self.tree.problems

    def _rows(self, source: _Source) -> Iterator[Problem]:
        path, unknown = source.table.path, Counter[str]()
        for line, cells in _lines(source):
            text = cells[source.columns.image]
            image = self.index.find(text, path.rpartition("/")[0]) if text else None
            if image is None:
                yield from self.missing.entry(text, f"{path}:{line}")
                continue
            boxes = self.images.setdefault(image, _Boxes(source))
            word = cells[source.columns.split] if source.columns.split is not None else ""
            split = split_of(word) if source.columns.split is not None else source.split
            unknown[word] += bool(word) and split is None
            boxes.split = boxes.split or split
            texts = _box_texts(source.columns, cells)
            if any(texts):  # a line without numbers says that there is nothing in the image
                boxes.rows.append((line, self.classes.id_of(_label(source.columns, cells)), texts))
        if unknown.total():
            yield split_words_unknown(path, +unknown)

    def _objects(self, boxes: _Boxes, size: tuple[int, int]) -> Objects:
        objects = Objects(boxes.source.table.path, size)
        width, height = size if boxes.source.scaled else (1, 1)
        for line, class_id, texts in boxes.rows:
            numbers = [number(text) for text in texts]
            if len(numbers) == 4 and None not in numbers:
                a, b, c, d = (value * side for value, side in zip(numbers, (width, height, width, height), strict=True) if value is not None)
                numbers = [a, b, a + c, b + d] if boxes.source.columns.wide else [a, b, c, d]
            objects.add_box(class_id, [text if value is None else value for text, value in zip(texts, numbers, strict=True)], line)
        return objects


FORMATS = (Format("box_csv", detects, read, files=SUFFIXES),)

"""Image-level labels in tables: one column of names, one column a class, NIH ChestX-ray14, CheXpert; one table or one a split."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, open_images
from engine.datasets.formats.csv_columns import cells_of, columns_of, promises_labels
from engine.datasets.formats.csv_kinds import kind_of_rows
from engine.datasets.formats.csv_tables import SUFFIXES, open_table, peek_table, quiet, tables_of
from engine.datasets.formats.image_index import ImageIndex, lines_of, natural, pictures, split_of_list
from engine.datasets.formats.label_csv_rows import Reader, Source
from engine.datasets.formats.label_csv_write import write
from engine.datasets.objects import Classes
from engine.datasets.tree import Tree, split_of
from engine.types import Problem, Reading, UserError

CLASSES = "classes.txt"
PEEKED_ROWS = 200


# ---- recognising

def detects(root: Path) -> str | None:
    """A table of which one column names images of the tree and another one their classes."""
    tree, paths = tables_of(root)
    if not paths:
        return None
    index = pictures(tree)
    if not index.images:
        return None
    return next((path for path in paths if _is_about_labels(tree, path, index)), None)


def _is_about_labels(tree: Tree, path: str, index: ImageIndex) -> bool:
    """From the first rows; from all where the headings promise it and the first images are not there."""
    listed, folder = _listed_classes(tree, path), path.rpartition("/")[0]
    table = peek_table(tree, path)
    if open_images.table_kind(next((cells for _, cells in quiet(table)), [])):
        return False
    columns = columns_of((cells for _, cells in quiet(table)), index, listed, beside=folder)
    if columns is None and promises_labels(next((cells for _, cells in quiet(table)), [])):
        with suppress(UserError):
            columns = columns_of((cells for _, cells in open_table(tree, path).rows()), index, listed, beside=folder)
    return columns is not None and columns.labeled


def _listed_classes(tree: Tree, table: str) -> list[str]:
    """The lines of classes.txt beside the table."""
    folder = table.rpartition("/")[0]
    path = tree.find(f"{folder}/{CLASSES}" if folder else CLASSES)
    try:
        return [line for line in lines_of(tree, path) if line] if path else []
    except UserError:
        return []


# ---- reading

def read(root: Path) -> Reading:
    """Raises UserError when no table can be understood; anything less is a Problem in the stream."""
    tree, paths = tables_of(root)
    index = pictures(tree)
    sources, problems = _sources(tree, paths, index)
    if not sources:
        sources, problems = _sources(tree, paths, index, trusting=True)
    if not any(source.columns.labeled for source in sources):
        raise UserError("no_format", found=", ".join(paths[:8]) or "-", known="label_csv")
    classes = Classes()
    for source in sources:
        _collect_classes(source, classes)
    return Reading(classes.tuple, Reader(tree, index, sources, classes, problems).items(), "classify")


def _sources(tree: Tree, paths: list[str], index: ImageIndex, *, trusting: bool = False) -> tuple[list[Source], list[Problem]]:
    """The tables that are about labels or splits, and what is wrong with others. Raises UserError when the only table is damaged."""
    sources: list[Source] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            source = _source(tree, path, index, trusting=trusting)
        except UserError as error:
            if len(paths) == 1:
                raise
            problems.append(problem_of(error, path))
            continue
        if source is None:
            problems += _left_out(tree, path)
        sources += [source] if source is not None else []
    return sources, problems


def _left_out(tree: Tree, path: str) -> list[Problem]:
    """What a table holds instead of labels, where that can be told."""
    kind = kind_of_rows([cells for _, (_, cells) in zip(range(PEEKED_ROWS), quiet(peek_table(tree, path)), strict=False)])
    codes = {"boxes": "table_of_boxes_left_out", "rle": "table_of_runs_left_out"}
    return [Problem(codes[kind], "note", path)] if kind in codes else []


def _source(tree: Tree, path: str, index: ImageIndex, *, trusting: bool) -> Source | None:
    """None for a table that is about something else."""
    table, listed = open_table(tree, path), _listed_classes(tree, path)
    columns = columns_of((cells for _, cells in table.rows()), index, listed, beside=path.rpartition("/")[0], trusting=trusting)
    split = split_of_list(path.rpartition("/")[2]) or split_of(*path.split("/")[:-1])
    if columns is None or not (columns.labeled or split):
        return None
    cells = cells_of(columns.texts, listed) if columns.labels is not None else None
    return Source(table, columns, listed, split, cells)


def _collect_classes(source: Source, classes: Classes) -> None:
    """In the order of classes.txt or of the columns; names from a column in the order of the alphabet, numbers by size."""
    if source.columns.flags:
        for name in source.columns.flags.values():
            classes.id_of(name)
    elif source.cells is not None:
        found = {name for text in source.columns.texts for name in source.cells.names(text)}
        listed = source.listed if any(name in found for name in source.listed) or not found else []
        for name in [*listed, *sorted(found, key=natural)]:
            classes.id_of(name)


FORMATS = (Format("label_csv", detects, read, write, files=SUFFIXES, tasks=("classify",)),)

"""The rows of tables of labels, put together by image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.datasets.faults import problem_of
from engine.datasets.formats.csv_columns import ON_OFF, PATIENT, Cells, Columns, switched
from engine.datasets.formats.csv_missing import Missing, split_words_unknown
from engine.datasets.formats.csv_tables import Table
from engine.datasets.formats.image_index import ImageIndex
from engine.datasets.formats.label_csv_lists import split_lists
from engine.datasets.images import size_of
from engine.datasets.objects import Classes, shown
from engine.datasets.tree import Tree, split_of
from engine.types import UNCERTAIN, Problem, Sample, Tags, UserError

MAX_NAMED = 100  # uneven rows


@dataclass
class Source:
    """A table whose columns are understood; `listed` = the lines of classes.txt beside it, `split` = what its name tells."""

    table: Table
    columns: Columns
    listed: list[str]
    split: str | None
    cells: Cells | None = None


@dataclass
class _Entry:
    """What all rows say of one image: ids that are `there`, and the cells of one-column-a-class tables; `lines` = where."""

    where: str
    there: set[int] = field(default_factory=set)
    flags: dict[int, float] = field(default_factory=dict)
    labeled: bool = False  # a labels column spoke of it: what it does not name is not there
    split: str | None = None
    group: str | None = None
    rows: int = 0


@dataclass
class Reader:
    """Puts the rows of all tables together by image, then streams the samples."""

    tree: Tree
    index: ImageIndex
    sources: list[Source]
    classes: Classes
    problems: list[Problem]
    entries: dict[str, _Entry] = field(default_factory=dict)
    missing: Missing = field(init=False)
    repeated: int = 0
    joined: dict[str, None] = field(default_factory=dict)
    unknown_splits: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.missing = Missing(self.index)

    def items(self) -> Iterator[Sample | Problem]:
        yield from self.problems
        for source in self.sources:
            yield from self._rows(source)
        yield from self.missing.rest()
        lists = split_lists(self.tree, [source.table.path.rpartition("/")[0] for source in self.sources], self.index)
        yield from lists.problems
        uncertain = blank = unlabeled = 0
        for name in [*self.entries, *(path for path in self.index.images if path not in self.entries)]:
            try:
                size = size_of(f"{self.tree.root}/{name}")
            except UserError as error:
                yield problem_of(error, name)
                continue
            entry = self.entries.get(name) or _Entry(name)
            labels = self._labels(entry)
            unlabeled += labels is None
            if labels is not None:
                uncertain += int((labels.values == UNCERTAIN).sum())
                blank += int(np.isnan(labels.values).sum())
            split = entry.split or lists.splits.get(name) or split_of(*name.split("/")[:-1])
            yield Sample(Path(self.tree.root, name), size, labels, split, entry.group, name)
        for path, words in self.unknown_splits.items():
            yield split_words_unknown(path, words)
        yield from self._summary(uncertain, blank, unlabeled)

    def _labels(self, entry: _Entry) -> Tags | None:
        """None where no row says anything of any class."""
        if not entry.labeled and not entry.there and not entry.flags:
            return None
        values = np.full(len(self.classes.names), 0.0 if entry.labeled else np.nan, np.float32)
        for number, value in entry.flags.items():
            values[number] = value
        values[list(entry.there)] = 1.0
        return Tags(values)

    def _summary(self, uncertain: int, blank: int, unlabeled: int) -> Iterator[Problem]:
        if self.joined:
            few = len(self.joined) * 3 <= len(self.entries)  # in a table with one label a line it would be many
            names = ", ".join(shown(name) for name in list(self.joined)[:5]) + (", ..." if len(self.joined) > 5 else "")
            yield Problem("table_rows_joined", "warning" if few else "note", ".", {"count": len(self.joined), "names": names})
        counts = {"table_uncertain": uncertain, "table_blank": blank, "table_rows_repeated": self.repeated, "images_without_labels": unlabeled}
        yield from (Problem(code, "note", ".", {"count": count}) for code, count in counts.items() if count)
        for source in self.sources:
            if source.columns.ignored:
                heads = [shown(name) for name in source.columns.ignored]
                yield Problem("table_columns_ignored", "note", source.table.path, {"count": len(heads), "names": ", ".join(heads[:12])})
            if source.columns.probabilities:
                heads = [shown(name) for name in source.columns.probabilities]
                yield Problem("table_probabilities_left_out", "warning", source.table.path, {"count": len(heads), "names": ", ".join(heads[:12])})
        yield from self.tree.problems

    # ---- rows

    def _rows(self, source: Source) -> Iterator[Problem]:
        path, columns = source.table.path, source.columns
        folder = path.rpartition("/")[0]
        ids = {place: self.classes.id_of(name) for place, name in columns.flags.items()}
        uneven = 0
        rows = source.table.rows()
        if columns.heading:
            next(rows, None)
        for line, cells in rows:
            if len(cells) < columns.width or any(cells[columns.width:]):
                uneven += 1
                if uneven <= MAX_NAMED:
                    yield Problem("table_row_uneven", "warning", f"{path}:{line}", {"found": len(cells), "wanted": columns.width})
                cells += [""] * (columns.width - len(cells))
            text = cells[columns.image]
            image = self.index.find(text, folder) if text else None
            if image is None:
                yield from self.missing.entry(text, f"{path}:{line}")
                continue
            entry = self.entries.setdefault(image, _Entry(f"{path}:{line}"))
            yield from self._take(source, entry, cells, ids, image, f"{path}:{line}")

    def _take(self, source: Source, entry: _Entry, cells: list[str], ids: dict[int, int], image: str, where: str) -> Iterator[Problem]:
        columns = source.columns
        entry.rows += 1
        before = (set(entry.there), dict(entry.flags)) if entry.rows > 1 else None
        if columns.labels is not None and source.cells is not None:
            entry.there |= {self.classes.id_of(name) for name in source.cells.names(cells[columns.labels])}
            entry.labeled = True
        conflict = False
        for place, number in ids.items():
            value = ON_OFF.get(cells[place], np.nan)
            if value is not None and entry.flags.setdefault(number, value) != value:  # NaN differs from itself
                for problem in self._flag(entry, number, cells[place], image, where):
                    conflict = True
                    yield problem
        if before is not None and before != (entry.there, entry.flags):
            self.joined[image] = None
        elif before is not None and not conflict:
            self.repeated += 1
        split = split_of(cells[columns.split]) if columns.split is not None else source.split
        if split is None and columns.split is not None and cells[columns.split]:
            self.unknown_splits[source.table.path][cells[columns.split]] += 1
        entry.split = entry.split or split
        group = cells[columns.group] if columns.group is not None else _patient(cells[columns.image])
        entry.group = entry.group or group or None

    def _flag(self, entry: _Entry, number: int, text: str, image: str, where: str) -> Iterator[Problem]:
        """A cell that is written in an unusual way, means nothing, or contradicts an earlier row; then the first row counts."""
        if np.isnan(entry.flags[number]):
            del entry.flags[number]
        value = switched(text)
        name = self.classes.tuple[number]
        if value is not None and np.isnan(value):
            yield Problem("tag_value_unknown", "error", where, {"value": shown(text), "name": name})
        elif value is not None and entry.flags.setdefault(number, value) != value:
            values = {"name": name, "value": _said(value), "first": _said(entry.flags[number]), "place": entry.where}
            yield Problem("table_rows_conflict", "error", image, values)


def _patient(path: str) -> str | None:
    """The patient that CheXpert's paths name."""
    match = PATIENT.search(path)
    return match[1] if match else None


def _said(value: float) -> str:
    return {1.0: "1", 0.0: "0", UNCERTAIN: "-1"}[value]

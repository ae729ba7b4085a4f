"""Tables that nobody vouches for: encoding, separator and headings are found out, damage is named with its line.

Also the guard against formulas: a spreadsheet runs a cell that begins with = + - @ or a control character, so such texts
get an apostrophe in front when they are written, and lose it again when they are read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engine.datasets import plain_text
from engine.datasets.images import is_image
from engine.datasets.objects import shown
from engine.datasets.tree import Tree
from engine.types import UserError

SUFFIXES = (".csv", ".tsv")
MAX_BYTES = 512 << 20
MAX_TABLES = 50
SEPARATORS = (",", ";", "\t", "|")
SNIFFED_ROWS = 30
MAX_CELL = 1 << 20
HEAD_BYTES = 1 << 18
_DANGEROUS = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


@dataclass(frozen=True)
class Table:
    """A table at `path`: its `text`, the `separator` between cells, the lines to leave out before the first row."""

    path: str
    text: str
    separator: str
    skip: int = 0

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """(line, cells without blanks around them and without the guard); lines that hold nothing are left out.

        Raises UserError for a cell without end, or one that swallows the rows below it.
        """
        lines = _Lines(self.text)
        reader = csv.reader(lines, delimiter=self.separator, skipinitialspace=True)
        line = 1
        try:
            for number, cells in enumerate(reader):
                if (len(lines.read) > 1 or lines.ended) and _swallows(lines.read, self.separator):
                    raise UserError("table_quote_open", where=f"{self.path}:{line}", text=shown(lines.read[0].strip()), rows=len(lines.read) - 1)
                lines.read.clear()
                kept = [cell.strip() if cell[:1] != "'" else unguarded(cell) for cell in cells]
                if number >= self.skip and any(kept):
                    yield line, kept
                line = reader.line_num + 1
        except csv.Error as error:
            raise UserError("table_damaged", where=f"{self.path}:{line}", reason=str(error)) from error


class _Lines:
    """The lines of a text, and those that have been `read` since anybody cleared them; `ended` = there are no more."""

    def __init__(self, text: str) -> None:
        self._left = io.StringIO(text, newline="")
        self._size = len(text)
        self.read: list[str] = []

    @property
    def ended(self) -> bool:
        return self._left.tell() >= self._size

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._left)
        self.read.append(line)
        return line


def _swallows(lines: list[str], separator: str) -> bool:
    """Whether a cell that goes over several lines was never meant to: its mark is not closed, or the lines in it begin as rows do."""
    try:
        list(csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        if len(lines) > 1 or "end of data" in str(error):
            return True
    first = lines[0].partition(separator)[0].strip(' "')
    form = _form(first)
    return any(separator in line and _form(line.partition(separator)[0].strip(' "')) == form for line in lines[1:]) if form else False


def _form(cell: str) -> str:
    """What the first cells of rows have in common: the suffix of images, "x#" for x12 and x3; words without digits are "" (nothing)."""
    if is_image(cell):
        return f"image.{cell.rpartition('.')[2].lower()}"
    return re.sub(r"\d+", "#", cell) if re.search(r"[^\W\d_]\D*\d", cell) else ""


def tables_of(root: Path) -> tuple[Tree, list[str]]:
    """The tree and its tables, those nearest to the root first; a single file stands for itself among its neighbours."""
    if root.is_file():
        return Tree(root.parent), [root.name]
    tree, found = Tree(root), []
    for folder, listing in tree.walk():
        names = [name for name in listing.files if name.lower().endswith(SUFFIXES) and "submission" not in name.lower()]
        found += [f"{folder}/{name}" if folder else name for name in names[:MAX_TABLES]]
    return tree, sorted(found, key=lambda path: (path.count("/"), path))[:MAX_TABLES]


def quiet(table: Table) -> Iterator[tuple[int, list[str]]]:
    """The rows up to the first that is damaged."""
    with suppress(UserError):
        yield from table.rows()


def open_table(tree: Tree, path: str) -> Table:
    """Raises UserError when the file is too large."""
    return _table(path, decoded(tree.read(path, MAX_BYTES)))


def peek_table(tree: Tree, path: str) -> Table:
    """The beginning of a table, up to the last whole line."""
    data = tree.head(path, HEAD_BYTES)
    text = decoded(data)
    return _table(path, text[:text.rfind("\n") + 1] or text if len(data) == HEAD_BYTES else text)


def decoded(data: bytes) -> str:
    """The text in whatever encoding it was written."""
    return plain_text.decoded(data)


def _table(path: str, text: str) -> Table:
    csv.field_size_limit(MAX_CELL)
    first = text[:20].splitlines()[:1]
    if first and re.fullmatch(r"sep=.", first[0], re.IGNORECASE):
        return Table(path, text, first[0][4], 1)
    return Table(path, text, "\t" if path.lower().endswith(".tsv") and "\t" in text[:10_000] else _separator(text))


def _separator(text: str) -> str:
    """The one that parts the most rows into the same number of cells, of equals the one that gives more cells."""
    best, best_score = ",", (0.0, 0)
    for separator in SEPARATORS:
        try:
            reader = csv.reader(io.StringIO(text[:HEAD_BYTES], newline=""), delimiter=separator, skipinitialspace=True)
            widths = [len(cells) for cells in islice(reader, SNIFFED_ROWS) if cells]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            score = (round(widths.count(widths[0]) / len(widths), 1), widths[0])
            best, best_score = (separator, score) if score > best_score else (best, best_score)
    return best


def guarded(text: str) -> str:
    return f"'{text}" if _DANGEROUS.match(text) else text


def unguarded(text: str) -> str:
    return text[1:] if _GUARDED.match(text) else text

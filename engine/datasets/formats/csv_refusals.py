"""Why a table beside images cannot be read as labels, where no format has been recognised: what stands in it, and what was wanted."""

from __future__ import annotations

from engine.datasets.formats.csv_columns import LABEL_HEADS, OTHER_HEADS, Columns, columns_of
from engine.datasets.formats.csv_kinds import are_fractions, plain
from engine.datasets.formats.csv_tables import open_table
from engine.datasets.formats.image_index import ImageIndex
from engine.datasets.images import is_image
from engine.datasets.objects import shown
from engine.datasets.tree import Tree
from engine.types import UserError

NAMED, VALUES = 3, 3


def refusal(tree: Tree, path: str, index: ImageIndex) -> UserError | None:
    """None for a table that is about something else."""
    folder = path.rpartition("/")[0]
    try:
        rows = [cells for _, cells in open_table(tree, path).rows()]
    except UserError as error:
        return error
    columns = columns_of(rows, index, beside=folder, trusting=True)
    if columns is None or len(rows) < 2:
        return None
    images = [row[columns.image] for row in rows[columns.heading:] if len(row) > columns.image]
    if not any(index.find(text, folder) for text in images if text):
        return _without_images(path, rows[0], images)
    return None if columns.labeled else _without_labels(path, rows, columns)


def _without_images(path: str, heading: list[str], images: list[str]) -> UserError | None:
    promised = not {plain(cell) for cell in heading}.isdisjoint(LABEL_HEADS)
    example = next((text for text in images if text), "")
    if not example or not (promised or is_image(example)):
        return None
    return UserError("table_names_no_image", name=path, count=len(set(images)), example=shown(example))


def _without_labels(path: str, rows: list[list[str]], columns: Columns) -> UserError | None:
    """What stands in the columns that might have been classes."""
    found: dict[str, list[str]] = {}
    for place, name in enumerate(rows[0]):
        texts = list(dict.fromkeys(row[place] for row in rows[columns.heading:] if len(row) > place and row[place]))
        if texts and not columns.uses(place) and plain(name) not in OTHER_HEADS:
            found[name] = texts
    fractions = {name: texts for name, texts in found.items() if are_fractions(texts)}
    chosen = list((fractions or found).items())
    if not chosen:
        return None
    told = "; ".join(f"{shown(name)}: {', '.join(map(shown, texts[:VALUES]))}" for name, texts in chosen[:NAMED])
    told += "; ..." if len(chosen) > NAMED else ""
    return UserError("table_of_probabilities" if fractions else "table_without_labels", name=path, columns=told)

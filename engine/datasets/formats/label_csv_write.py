"""Writing tables of labels: `images/`, `labels.csv` and classes.txt, which keeps the classes in order, those without images too."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.datasets.formats import ImagePolicy
from engine.datasets.formats.csv_columns import NO_LABEL, NORMAL
from engine.datasets.formats.csv_tables import guarded
from engine.datasets.placing import Placer
from engine.datasets.tree import split_of
from engine.types import UNCERTAIN, Problem, Sample, Tags


@dataclass(frozen=True)
class _Row:
    """What is kept of a sample until its line can be written: the shape of the table shows only at the end. `values` None = unlabeled."""

    file: str
    values: np.ndarray | None
    split: str | None
    group: str | None


def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """`image,labels[,split][,group]` with `|` between the names when every tag is 1 or 0 and every image labeled.

    Else one column a class: 1, 0, -1 = uncertain, blank = not mentioned. Texts that a spreadsheet would run get an apostrophe in front.
    """
    placer = Placer(root, images)
    rows: list[_Row] = []
    for sample in samples:
        file_name = yield from placer.place(sample, "images")
        if file_name is None:
            continue
        values = sample.labels.values if isinstance(sample.labels, Tags) else None
        if sample.labels is not None and values is None:
            yield Problem("labels_left_out", "error", sample.name or sample.image.name, {"format": "label_csv"})
        if values is not None and len(values) and not np.isin(values, (0, 1, UNCERTAIN)).all():
            between = ~(np.isnan(values) | np.isin(values, (0, 1, UNCERTAIN)))
            if between.any():
                yield Problem("tags_rounded", "warning", sample.name or sample.image.name, {"count": int(between.sum())})
        rows.append(_Row(f"images/{file_name}", values, split_of(sample.split or ""), sample.group))
    names = [" ".join(name.split()) for name in classes]
    plain = all(row.values is not None and np.isin(row.values, (0, 1)).all() for row in rows) and not any(map(_is_special, names))
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    _write_table(root / "labels.csv", rows, names, plain=plain)


def _is_special(name: str) -> bool:
    """Names that a cell of names cannot hold without being misread."""
    return "|" in name or name.casefold() in NO_LABEL | NORMAL or (name.startswith("[") and name.endswith("]"))


def _write_table(path: Path, rows: Sequence[_Row], names: Sequence[str], *, plain: bool) -> None:
    extra = [(heading, [getattr(row, heading) or "" for row in rows]) for heading in ("split", "group")]
    extra = [(heading, texts) for heading, texts in extra if any(texts)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([guarded(cell) for cell in ("image", *(("labels",) if plain else names), *(heading for heading, _ in extra))])
        for place, row in enumerate(rows):
            values = row.values if row.values is not None else np.full(len(names), np.nan)
            chosen = "|".join(name for name, value in zip(names, values, strict=True) if value == 1)
            cells = [guarded(chosen)] if plain else [_cell(value) for value in values.tolist()]
            writer.writerow([guarded(row.file), *cells, *(guarded(texts[place]) for _, texts in extra)])


def _cell(value: float) -> str:
    if np.isnan(value):
        return ""
    return "-1" if value == UNCERTAIN else "1" if value > UNCERTAIN else "0"

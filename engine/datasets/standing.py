"""Which of the known problems still stand in a stored set: those of the import that were dealt with, and those a person ignores, do not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.datasets import store_report
from engine.datasets.health import TOLD_BY
from engine.types import Problem

if TYPE_CHECKING:
    from engine.datasets.store import Dataset

STAYS = frozenset(TOLD_BY.values())  # problems that the import meets and leaves as they are


@dataclass(frozen=True)
class Standing:
    """`open` are still wrong, `imported` were dealt with by the import, `ignored` are of kinds that a person put aside."""

    open: list[Problem]
    imported: list[Problem]
    ignored: list[Problem]


def standing(dataset: Dataset, problems: Sequence[Problem] | None = None) -> Standing:
    """Parts `problems`; by default those of the kept report, or of the import when nothing was checked."""
    imported = dataset.problems()
    if problems is None:
        report = dataset.report()
        problems = report.problems if report is not None else imported
    past = {(each.code, each.where) for each in imported if each.code not in STAYS}
    still = {each.code for each in problems if (each.code, each.where) not in past}
    aside = ignored(dataset)
    parts = Standing([], [], [])
    for each in problems:
        code = kind_of(each)
        done = (each.code, each.where) in past or (code != each.code and code not in still)
        (parts.ignored if code in aside else parts.imported if done else parts.open).append(each)
    return parts


def kind_of(problem: Problem) -> str:
    """The code that a problem counts under: "so many more" belong to the kind that they speak of."""
    return str(problem.values.get("kind", "")) if problem.code == "problems_more" else problem.code


def ignored(dataset: Dataset) -> set[str]:
    """The kinds of problems (codes) that are put aside in this set."""
    with dataset.connection() as connection:
        return store_report.ignored(connection)


def ignore(dataset: Dataset, code: str, on: bool = True) -> None:
    """Puts a kind of problem aside, or counts it again. Raises UserError where the set may only be read."""
    with dataset.transaction() as connection:
        kept = store_report.ignored(connection)
        store_report.keep_ignored(connection, kept | {code} if on else kept - {code})

"""Which images Browse shows: what a browser sent as filters, made harmless."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from engine.datasets.faults import grouped
from engine.datasets.store import Dataset
from engine.messages import outline
from ui.findings import MORE
from ui.i18n import t
from ui.pages.data.words import split_name

PAGE_SIZES = (24, 48, 96)
STATES = ("labeled", "unlabeled", "background", "suggested")
SIZES = ("small", "medium", "large")
SORTS = ("id", "name", "-name", "-objects", "objects", "-size", "size")
MOST_GROUPS = 500
Choices = list[tuple[str, str]]


@dataclass(frozen=True)
class Query:
    """Filters ("" = all), the order, the page from 1, and how many images it holds."""

    search: str = ""
    split: str = ""
    class_id: str = ""
    state: str = ""
    problem: str = ""
    group: str = ""
    size: str = ""
    trashed: bool = False
    sort: str = "id"
    per_page: int = PAGE_SIZES[0]
    page: int = 1

    @classmethod
    def of(cls, search: Any = "", split: Any = "", class_id: Any = "", state: Any = "", problem: Any = "", group: Any = "", size: Any = "",
           trashed: Any = False, sort: Any = "id", per_page: Any = PAGE_SIZES[0], page: Any = 1) -> Query:
        """From what a browser sent, in the order of the filters."""
        search, split, class_id, state, problem, group, size = (str(value or "") for value in (search, split, class_id, state, problem, group, size))
        number = int(str(per_page)) if str(per_page).isdecimal() else 0
        return cls(search, split, class_id, state, problem, group, size, trashed is True, str(sort) if sort in SORTS else SORTS[0],
                   number if number in PAGE_SIZES else PAGE_SIZES[0], page_of(page))

    @property
    def filters(self) -> dict[str, Any]:
        """The arguments of Dataset.page and Dataset.total."""
        return {"split": self.split or None, "class_id": int(self.class_id) if self.class_id.isdecimal() else None, "state": self.state or None,
                "problem": self.problem or None, "group": self.group or None, "search": self.search.strip() or None,
                "size": self.size if self.size in SIZES else None, "trashed": self.trashed}

    @property
    def sent(self) -> dict[str, Any]:
        """What a browser keeps of the filters and gives to `of` again."""
        return {name: getattr(self, name) for name in ("search", "split", "class_id", "state", "problem", "group", "size", "trashed")}

    @property
    def narrowed(self) -> bool:
        """Whether anything is filtered."""
        return any((self.search.strip(), self.split, self.class_id, self.state, self.problem, self.group, self.size, self.trashed))

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.per_page

    def pages(self, total: int) -> int:
        return max(1, -(-total // self.per_page))

    def within(self, total: int) -> Query:
        """On the page that exists nearest to the one asked for."""
        return replace(self, page=min(max(1, self.page), self.pages(total)))


def page_of(sent: Any) -> int:
    try:
        return int(sent)
    except (TypeError, ValueError, OverflowError):
        return 1


def everything(language: str) -> Choices:
    return [(t("data.all", language), "")]


def split_choices(dataset: Dataset | None, language: str) -> Choices:
    return everything(language) + [(split_name(name, language), name) for name in (dataset.counts() if dataset else ())]


def class_choices(dataset: Dataset | None, language: str) -> Choices:
    return everything(language) + [(name, str(number)) for number, name in enumerate(dataset.classes if dataset else ())]


def problem_choices(dataset: Dataset | None, language: str) -> Choices:
    """Every kind of problem that an image has, by what all of the kind have in common."""
    report = dataset.report() if dataset else None
    if report is None:
        return everything(language)
    firsts = [group[0] for group in grouped(each for each in report.problems if each.code != MORE)]
    kinds = [(clipped(f"{t(f'severity.{first.severity}', language)}: {outline(f'problem.{first.code}', language)}"), first.code) for first in firsts]
    return [*everything(language), (t("data.any_problem", language), "any"), *kinds]


def group_choices(dataset: Dataset | None, language: str) -> Choices:
    return everything(language) + [(name, name) for name in (dataset.groups(MOST_GROUPS) if dataset else ())]


def clipped(words: str, most: int = 64) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"

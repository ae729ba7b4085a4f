"""Problems found in data, for people: grouped by kind, errors first, each with where, how many and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.datasets.faults import counted, grouped
from engine.types import Problem
from ui import html
from ui.html import Html, join, tag
from ui.i18n import plural, t

PLACES = 5
MORE_PLACES = 200
MORE = "problems_more"  # stands for further problems of a kind, which are not listed
TONES = {"error": "bad", "warning": "warn", "note": "none"}
ICONS = {"error": "error", "warning": "warn", "note": "note"}
Place = Callable[[str], Html]


def findings(problems: Sequence[Problem], language: str, *, actions: Mapping[str, Html] | None = None, place: Place | None = None) -> Html:
    """One row a kind of problem. Nothing when there are none. `actions` stand beside the kind with that code; `place` draws a place to press."""
    if not problems:
        return Html("")
    more: dict[str, int] = {}
    for problem in problems:
        if problem.code == MORE:
            more[str(problem.values.get("kind"))] = more.get(str(problem.values.get("kind")), 0) + int(problem.values.get("count", 0))
    groups = grouped(problem for problem in problems if problem.code != MORE)
    rows = (_group(group, more.pop(group[0].code, 0), language, (actions or {}).get(group[0].code, Html("")), place or plain_place)
            for group in groups)
    return tag("div", *rows, class_="lb-findings")


def tally(problems: Sequence[Problem], language: str) -> str:
    """ "2 errors · 14 warnings" in words; what was looked at is fine when nothing was found."""
    counts = counted(problems)
    for problem in problems:
        if problem.code == MORE:
            counts[problem.severity] += int(problem.values.get("count", 1)) - 1
    words = [plural(f"findings.count.{severity}", n, language) for severity, n in counts.items() if n]
    return " · ".join(words) or t("findings.none", language)


def tone(problems: Sequence[Problem]) -> str:
    """The colour of the health dot: notes are no fault."""
    counts = counted(problems)
    return "bad" if counts["error"] else "warn" if counts["warning"] else "good"


def plain_place(where: str) -> Html:
    return tag("span", where)


def _group(group: Sequence[Problem], more: int, language: str, action: Html, place: Place) -> Html:
    first, places = group[0], list(dict.fromkeys(problem.where for problem in group if problem.where not in ("", ".")))
    severity = first.severity
    remedy = first.remedy(language)
    mark = tag("span", html.icon(ICONS[severity]), class_=f"lb-finding-mark lb-tone-{TONES[severity]}", title=t(f"severity.{severity}", language))
    times = tag("span", plural("findings.times", len(group) + more, language), class_="lb-muted")
    head = tag("div", tag("b", first.message(language)), times, class_="lb-between")
    advice = tag("p", remedy, class_="lb-muted") if remedy and not remedy.startswith("problem.") else ""
    foot = tag("div", action, class_="lb-finding-actions") if action else ""
    return tag("section", mark, tag("div", head, advice, _places(group, more, places, language, place), foot), class_="lb-finding")


def _places(group: Sequence[Problem], more: int, places: list[str], language: str, place: Place) -> Html:
    """Where: a few at once, more behind a fold. The first message stands above, so only others are repeated here."""
    shown = tag("p", _separated([place(where) for where in places[:PLACES]]), class_="lb-places") if places else Html("")
    total, listed = len(group) + more, len(places) <= PLACES and len(places) == len(group) and not more
    if len(group) <= 1 or (len(places) <= PLACES and len({problem.message(language) for problem in group}) == 1):
        return shown
    lines: list[Any] = [tag("li", place(problem.where), " ", problem.message(language)) for problem in group[:MORE_PLACES]]
    if total > len(lines):
        lines.append(tag("li", t("findings.more", language, n=html.number(total - len(lines)))))
    summary = t("findings.details", language) if listed else t("findings.all", language, n=html.number(total))
    return tag("div", shown, tag("details", tag("summary", summary), tag("ul", *lines)))


def _separated(parts: Sequence[Html]) -> Html:
    return join(part if i == 0 else join([" · ", part]) for i, part in enumerate(parts))

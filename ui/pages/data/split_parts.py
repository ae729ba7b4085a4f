"""The pieces of the Splits tab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.datasets.splits import Item
from engine.datasets.store import Dataset
from engine.types import SPLITS, UserError
from ui import html
from ui.html import Html, join, tag
from ui.i18n import plural, t
from ui.pages.data.words import SPLIT_COLOURS, split_name

MOST_CLASSES = 60
Counts = Mapping[str, Mapping[str, Any]]


def preview_html(classes: Sequence[str], before: Counts, after: Counts, moved: int, groups: str, *, alike_known: bool, language: str) -> Html:
    """Now and then as bars, then every class: how many of it would lie where."""
    notes = [] if alike_known else [_warning(t("data.alike_unknown", language), language)]
    notes += [_plain(t("data.split_lacks", language, split=split_name(split, language), classes=", ".join(names)))
              for split, names in lacking(classes, after).items()]
    move = tag("span", plural("data.would_move", moved, language), class_="lb-muted lb-small")
    head = tag("div", tag("h3", t("data.split_preview", language)), move, class_="lb-between lb-wrap")
    return tag("section", head, _bar("data.split_now", before, language), _bar("data.split_after", after, language),
               tag("p", groups, class_="lb-muted lb-small") if groups else "", *notes, _table(classes, after, language), class_="lb-card lb-stack")


def _bar(key: str, counts: Counts, language: str) -> Html:
    parts = [(split_name(split, language), counts[split]["images"], SPLIT_COLOURS.get(split, "var(--lb-edge)")) for split in _ordered(counts)]
    return tag("div", tag("p", t(key, language), class_="lb-small lb-muted"), html.share_bar(parts, t(key, language)))


def _ordered(counts: Counts) -> list[str]:
    return [split for split in SPLITS if split in counts] + [split for split in counts if split not in SPLITS]


def _table(classes: Sequence[str], after: Counts, language: str) -> Html:
    shown = _ordered(after)
    head = [t("data.class", language), t("data.all", language), *(split_name(split, language) for split in shown), t("data.split_share", language)]
    rows: list[Sequence[Any]] = [[tag("b", t("data.images", language)), *_numbers([after[split]["images"] for split in shown]), _shares(
        [after[split]["images"] for split in shown], shown)]]
    if any(after[split]["groups"] != after[split]["images"] for split in shown):
        rows.append([t("data.groups", language), *_numbers([after[split]["groups"] for split in shown]), ""])
    for number, name in list(enumerate(classes))[:MOST_CLASSES]:
        counts = [after[split]["classes"].get(name, 0) for split in shown]
        swatch = html.swatch(number)
        rows.append([tag("span", swatch, " ", name), *_numbers(counts), _shares(counts, shown)])
    more = tag("p", t("findings.more", language, n=html.number(len(classes) - MOST_CLASSES)), class_="lb-muted lb-small")
    return join([html.table(head, rows, numeric=range(1, len(shown) + 2)), more if len(classes) > MOST_CLASSES else ""])


def _numbers(counts: Sequence[int]) -> list[str]:
    return [html.number(sum(counts)), *(html.number(count) for count in counts)]


def _shares(counts: Sequence[int], splits: Sequence[str]) -> Html:
    """Where a class goes, as a small bar."""
    whole = sum(counts) or 1
    pieces = [tag("i", style=f"width:{100 * count / whole:.1f}%;background:{SPLIT_COLOURS.get(split, 'var(--lb-edge)')}",
                  title=f"{100 * count / whole:.0f} %") for count, split in zip(counts, splits, strict=True) if count]
    return tag("div", *pieces, class_="lb-share lb-share-small")


def lacking(classes: Sequence[str], counts: Counts) -> dict[str, list[str]]:
    """Classes that are somewhere, but not in a split that has images; at most a few names each."""
    known = [name for name in classes if any(row["classes"].get(name, 0) for row in counts.values())]
    found = {split: [name for name in known if not counts[split]["classes"].get(name, 0)] for split in _ordered(counts) if counts[split]["images"]}
    return {split: names[:5] for split, names in found.items() if names}


def group_words(items: Sequence[Item], rule: str, language: str) -> str:
    """By what the images are grouped, how many groups that makes and which is the largest, so that a wrong rule shows."""
    sizes = Counter(item.group for item in items if item.group is not None)
    if not sizes:
        return t("data.no_groups", language)
    name, most = sizes.most_common(1)[0]
    return plural("data.group_words", len(sizes), language, by=t(f"data.rule.{rule}", language), name=name, most=html.number(most))


def looked_at(dataset: Dataset) -> bool:
    """Whether look-alikes are known, so that they can be kept together."""
    return dataset.report() is not None and not dataset.report_is_stale()


def waiting(dataset: Dataset, language: str) -> Html:
    """For a large set the preview is made when it is asked for."""
    counts = dataset.counts()
    button = tag("button", t("data.split_preview", language), type="button", class_="lb-button", data_send="preview")
    title = tag("h3", t("data.split_preview", language))
    return tag("section", title, _bar("data.split_now", counts, language), tag("p", button), class_="lb-card lb-stack")


def pattern_wanted(dataset: Dataset, language: str) -> Html:
    """As it is now, until somebody has typed what names have in common."""
    return tag("section", tag("h3", t("data.split_preview", language)), _bar("data.split_now", dataset.counts(), language),
               _plain(t("data.pattern_wanted", language)), class_="lb-card lb-stack")


def trouble(error: UserError, language: str) -> Html:
    words = [html.icon("warn"), " ", error.message(language), tag("p", error.remedy(language), class_="lb-muted")]
    return tag("section", *words, class_="lb-card", role="alert")


def _warning(words: str, language: str) -> Html:
    button = tag("button", t("data.to_health", language), type="button", class_="lb-button", data_send="health")
    return tag("div", html.icon("warn"), tag("span", words), button, class_="lb-note-line")


def _plain(words: str) -> Html:
    return tag("div", html.icon("note"), tag("span", words), class_="lb-note-line lb-muted")

"""A data set in words and numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from engine.datasets.editing import Edit
from engine.datasets.standing import standing
from engine.datasets.store import Dataset
from ui import html
from ui.findings import tally, tone
from ui.html import Html, tag
from ui.i18n import plural, t

SPLIT_COLOURS = {"train": "var(--lb-accent)", "valid": "var(--lb-warn)", "test": "var(--lb-edge)"}
MOST_CHIPS = 14
OBJECT_TASKS = ("detect", "instance")


def totals(dataset: Dataset) -> tuple[int, int, int]:
    """Images, objects and unlabeled images."""
    rows = dataset.counts().values()
    return sum(row["images"] for row in rows), sum(row["boxes"] for row in rows), sum(row["unlabeled"] for row in rows)


def counts_in_words(dataset: Dataset, language: str) -> str:
    images, objects, _ = totals(dataset)
    parts = [plural("data.n_images", images, language)]
    if dataset.task in OBJECT_TASKS:
        parts.append(plural("data.n_objects", objects, language))
    return " · ".join([*parts, plural("data.n_classes", len(dataset.classes), language)])


def is_labeled(dataset: Dataset) -> bool:
    """Whether anybody has looked at one of the images."""
    images, _, unlabeled = totals(dataset)
    return images != unlabeled


def kind(dataset: Dataset, language: str) -> str:
    """The task of the labels, or that there are none yet."""
    return t(f"task.{dataset.task}", language) if is_labeled(dataset) else t("data.no_labels_yet", language)


def health(dataset: Dataset, language: str) -> tuple[str, str]:
    """State of the health dot, and what it means. Green only after a check: before it, nobody has opened the images."""
    report = dataset.report()
    problems = standing(dataset, report.problems if report is not None else None).open
    if report is None and tone(problems) == "good":
        return "none", t("data.unchecked", language)
    return tone(problems), tally(problems, language)


def class_counts(dataset: Dataset) -> list[int]:
    """Objects of each class over all splits, by class id."""
    rows = dataset.counts().values()
    return [sum(row["classes"].get(name, 0) for row in rows) for name in dataset.classes]


def edit_text(edit: Edit, language: str) -> str:
    """What an edit did, in words; splits by their names in that language."""
    named = {key: split_name(str(value), language) for key, value in edit.values.items() if key in ("split", "other_split")}
    return replace(edit, values={**edit.values, **named}).text(language)


def when(stamp: str, language: str) -> str:
    """A UTC time ("2026-11-21T07:09:00Z") as minutes, hours or days ago, or as its date."""
    try:
        then = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return stamp
    seconds = (datetime.now(UTC) - then).total_seconds()
    for limit, unit, key in ((90, 0, "just_now"), (3600, 60, "minutes"), (86400, 3600, "hours"), (14 * 86400, 86400, "days")):
        if seconds < limit:
            return plural(f"data.ago.{key}", max(1, round(seconds / unit)), language) if unit else t(f"data.ago.{key}", language)
    return then.strftime("%Y-%m-%d")


def header(dataset: Dataset, language: str, last: Edit | None = None, *, editable: bool = True) -> Html:
    """Name, numbers, splits and classes of the chosen set; `last` is the change that can be undone."""
    images, objects, unlabeled = totals(dataset)
    origin = t("data.origin", language, task=kind(dataset, language), format=format_name(dataset.format, language))
    title = tag("div", tag("h2", dataset.name, class_="lb-title lb-break"), tag("p", origin, class_="lb-muted lb-small"))
    head = tag("div", title, _buttons(dataset, language, editable), class_="lb-between lb-wrap")
    facts = {"images": images, "boxes": objects, "tags": sum(class_counts(dataset)), "classes": len(dataset.classes), "unlabeled": unlabeled}
    left_out = {"classify": ("boxes",), "semantic": ("boxes", "tags")}.get(dataset.task, ("tags",))
    numbers = html.stats(*(html.stat(t(f"data.{name}", language), html.number(count)) for name, count in facts.items() if name not in left_out))
    splits = html.share_bar([(split_name(name, language), row["images"], SPLIT_COLOURS.get(name, "var(--lb-edge)"))
                             for name, row in dataset.counts().items()], t("data.splits", language))
    return tag("section", head, tag("div", numbers, splits, class_="lb-set-numbers"), class_chips(dataset, language), _last_change(last, language),
               class_="lb-card lb-stack lb-set")


def _buttons(dataset: Dataset, language: str, editable: bool) -> Html:
    state, words = health(dataset, language)
    parts = [tag("button", html.dot(state, words), type="button", class_="lb-pill", data_send="health"),
             tag("button", t("data.export", language), type="button", class_="lb-button", data_send="export", id="lb-data-export")]
    if editable and not is_labeled(dataset):
        parts.insert(1, tag("button", t("data.to_label", language), type="button", class_="lb-button", data_send="label", id="lb-data-label"))
    if editable:
        parts.append(tag("button", t("data.delete", language), type="button", class_="lb-button", data_send="delete", id="lb-data-delete"))
    return tag("div", *parts, class_="lb-line")


def _last_change(last: Edit | None, language: str) -> Html:
    """The latest change that can still be taken back, with the button for it."""
    if last is None:
        return Html("")
    words = tag("span", t("data.last_change", language, what=edit_text(last, language)), " · ", when(last.at, language), class_="lb-muted lb-small")
    button = tag("button", html.icon("undo", 16), t("data.undo", language), type="button", class_="lb-button", data_send="undo", data_edit=last.id)
    return tag("div", words, button, class_="lb-last-change")


def format_name(name: str, language: str) -> str:
    """A format in words; one without words keeps its name."""
    words = t(f"format.{name}", language)
    return name if words.startswith("format.") else words


def split_name(split: str, language: str) -> str:
    """A split in words; one that a stranger invented stays as it is."""
    words = t(f"split.{split}", language)
    return split if words.startswith("split.") else words


def class_chips(dataset: Dataset, language: str) -> Html:
    names, counts = dataset.classes, class_counts(dataset)
    chips = [html.chip(html.join([tag("span", name, class_="lb-cut"), tag("b", html.number(count))]), number)
             for number, (name, count) in enumerate(zip(names, counts, strict=True))][:MOST_CHIPS]
    if len(names) > MOST_CHIPS:
        more = t("data.all_classes", language, n=html.number(len(names)))
        chips.append(tag("button", more, type="button", class_="lb-button lb-quiet lb-chip-button", data_send="classes"))
    return tag("div", *chips, class_="lb-chips")

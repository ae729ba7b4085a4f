"""A data set in words and numbers."""

from __future__ import annotations

from engine.datasets.store import Dataset
from engine.overlay import color_of
from ui import html
from ui.findings import tally, tone
from ui.html import Html, tag
from ui.i18n import plural, t

SPLIT_COLOURS = {"train": "var(--lb-accent)", "valid": "var(--lb-warn)", "test": "var(--lb-edge)"}
MOST_CHIPS = 40


def totals(dataset: Dataset) -> tuple[int, int, int]:
    """Images, objects and unlabeled images."""
    rows = dataset.counts().values()
    return sum(row["images"] for row in rows), sum(row["boxes"] for row in rows), sum(row["unlabeled"] for row in rows)


def counts_in_words(dataset: Dataset, language: str) -> str:
    images, objects, _ = totals(dataset)
    parts = [plural("data.n_images", images, language), plural("data.n_objects", objects, language),
             plural("data.n_classes", len(dataset.classes), language)]
    return " · ".join(parts)


def health(dataset: Dataset, language: str) -> tuple[str, str]:
    """State of the health dot, and what it means."""
    problems = dataset.problems()
    return tone(problems), tally(problems, language)


def class_counts(dataset: Dataset) -> list[int]:
    """Objects of each class over all splits, by class id."""
    rows = dataset.counts().values()
    return [sum(row["classes"].get(name, 0) for row in rows) for name in dataset.classes]


def header(dataset: Dataset, language: str) -> Html:
    """Name, numbers, splits and classes of the chosen set."""
    images, objects, unlabeled = totals(dataset)
    state, words = health(dataset, language)
    title = tag("div", tag("h2", dataset.name, class_="lb-title lb-break"), html.dot(state, words), class_="lb-between lb-wrap")
    numbers = html.stats(
        html.stat(t("data.images", language), html.number(images)), html.stat(t("data.boxes", language), html.number(objects)),
        html.stat(t("data.classes", language), html.number(len(dataset.classes))),
        html.stat(t("data.unlabeled", language), html.number(unlabeled)))
    splits = html.share_bar([(t(f"split.{name}", language), row["images"], SPLIT_COLOURS.get(name, "var(--lb-edge)"))
                             for name, row in dataset.counts().items()], t("data.splits", language))
    return tag("section", title, numbers, splits, class_chips(dataset, language), class_="lb-card lb-stack")


def class_chips(dataset: Dataset, language: str) -> Html:
    names, counts = dataset.classes, class_counts(dataset)
    chips = [html.chip(html.join([name, " ", tag("b", html.number(count))]), color_of(number))
             for number, (name, count) in enumerate(zip(names, counts, strict=True))][:MOST_CHIPS]
    if len(names) > MOST_CHIPS:
        chips.append(html.chip(t("data.more_classes", language, n=html.number(len(names) - MOST_CHIPS))))
    return tag("div", *chips, class_="lb-chips")

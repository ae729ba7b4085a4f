"""Statistics: what is in the set, as plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from engine.datasets.statistics import REFERENCE_SIDE, Statistics, statistics
from engine.datasets.store import Dataset
from engine.overlay import color_of
from ui import charts, html
from ui.charts import Cloud, Row
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import language_of, plural, t
from ui.pages.data.panel import LOOSE, Panel, Room, form, sent
from ui.pages.data.words import OBJECT_TASKS, SPLIT_COLOURS, split_name

IMBALANCED = 30  # most common class : rarest; beyond that the short bars need a log scale to be seen
SMALL_SIDE = 8  # pixels at the reference size
MOST_SIZES = 12
MOST_NAMES = 12
LARGE = 20_000  # images
ASPECT_TICKS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SIDE_TICKS = (8, 32, 96, 256)


@dataclass(frozen=True)
class View:
    """What a visitor has chosen to see: a class in the heat map ("" = all), and the scale of the class bars (None = whatever suits)."""

    heat: str = ""
    log: bool | None = None

    @classmethod
    def of(cls, data: dict[str, Any]) -> View:
        fields = data.get("form") if isinstance(data.get("form"), dict) else {}
        return cls(str((fields or {}).get("heat", "")), bool((fields or {}).get("log")))


def build(room: Room) -> Panel:
    plots = form("", elem_id="lb-statistics")

    def show(dataset: Dataset | None, language: str) -> tuple[Any, ...]:
        return ("" if dataset is None else plots_html(statistics(dataset), dataset.task, View(), language),)

    @guarded
    def choose(request: gr.Request, event: gr.EventData, wanted: str | None) -> Html:
        dataset, language = room.open(wanted), language_of(request)
        return plots_html(statistics(dataset), dataset.task, View.of(sent(event)), language) if dataset else Html("")

    plots.send(choose, room.app.dataset, plots, **LOOSE)
    return Panel([plots], show, slow=lambda dataset: dataset.total() > LARGE)


def plots_html(facts: Statistics, task: str, view: View, language: str) -> Html:
    """All plots that there is something to show for."""
    drawn = [_classes(facts, task, view, language)]
    if len(facts.points):
        drawn += [_heat(facts, view, language), _sizes(facts, language)]
    if task in OBJECT_TASKS:
        drawn.append(_per_image(facts, language))
    if len(facts.points):
        drawn += [_sides(facts, language), _aspects(facts, language)]
    if facts.together is not None and len(facts.classes) > 1:
        drawn.append(_together(facts, language))
    if facts.pixels is not None:
        drawn.append(_pixels(facts, language))
    drawn.append(_images(facts, language))
    return tag("div", *drawn, class_="lb-charts", data_form=True)


def imbalanced(counts: Sequence[int]) -> bool:
    there = [count for count in counts if count]
    return bool(there) and max(there) >= IMBALANCED * min(there)


def _classes(facts: Statistics, task: str, view: View, language: str) -> Html:
    """Each class by split, the most common first."""
    series = {split: (split_name(split, language), SPLIT_COLOURS.get(split, "var(--lb-edge)")) for split in facts.counts}
    order = sorted(range(len(facts.classes)), key=lambda number: -facts.objects[number])
    rows = [Row(facts.classes[number], {split: row["classes"].get(facts.classes[number], 0) for split, row in facts.counts.items()},
                html.number(facts.objects[number]), color_of(number)) for number in order]
    log = imbalanced(facts.objects) if view.log is None else view.log
    box = tag("label", tag("input", type="checkbox", name_="log", value="1", checked=log, data_send="log"), t("plot.log", language),
              class_="lb-check-line lb-small")
    words = t("plot.classes_objects" if task in OBJECT_TASKS else "plot.classes_images", language)
    more = t("findings.more", language, n=html.number(len(rows) - charts.MOST_ROWS))
    return charts.figure(words, charts.bars(rows, series, words, log=log, more=more), class_="lb-wide", action=box)


def _heat(facts: Statistics, view: View, language: str) -> Html:
    chosen = int(view.heat) if view.heat.isdecimal() and int(view.heat) in facts.class_heat else None
    options = [tag("option", t("data.all", language), value=""),
               *(tag("option", facts.classes[number], value=number, selected=number == chosen) for number in facts.class_heat)]
    select = tag("select", *options, name_="heat", data_send="heat", class_="lb-select", aria_label=t("data.class", language))
    grid = facts.heat if chosen is None else facts.class_heat[chosen]
    drawn = charts.heat(charts.coarse(grid), t("plot.heat", language), color="#EDEDED" if chosen is None else color_of(chosen),
                        unit=t("plot.heat_unit", language, n="{n}"))
    framed = tag("div", drawn, class_="lb-heat-frame", style=f"--lb-aspect:{usual_aspect(facts.sizes):.3f}")
    return charts.figure(t("plot.heat", language), framed, note=t("plot.heat_note", language), action=select)


def usual_aspect(sizes: Sequence[tuple[int, int, int]]) -> float:
    """The median of width : height over the images of (width, height, images), within what a page can show; 1 without images."""
    ratios = np.repeat([width / max(1, height) for width, height, _ in sizes], [images for _, _, images in sizes]) if sizes else np.ones(1)
    return float(np.clip(np.median(ratios), 0.4, 4.0))


def _sizes(facts: Statistics, language: str) -> Html:
    """Width and height of the objects, relative to their image; the most common classes lie below, so that the rare ones show."""
    numbers = facts.points[:, 2].astype(int)
    order = np.argsort(-np.bincount(numbers, minlength=len(facts.classes)), kind="stable").tolist()
    there = [(number, facts.points[numbers == number, :2].tolist()) for number in order]
    clouds = [Cloud(facts.classes[number], color_of(number), points) for number, points in there if points]
    small = SMALL_SIDE / REFERENCE_SIDE, t("plot.small", language, side=SMALL_SIDE, size=REFERENCE_SIDE)
    drawn = charts.scatter(clouds, t("plot.sizes", language), x_name=t("plot.width", language), y_name=t("plot.height", language), small=small)
    names = [tag("span", tag("i", class_="lb-swatch", style=f"background:{cloud.color}"), cloud.name) for cloud in clouds[:MOST_NAMES]]
    if len(clouds) > MOST_NAMES:
        names.append(tag("span", t("data.more_classes", language, n=html.number(len(clouds) - MOST_NAMES))))
    note = t("plot.sizes_note", language, small=small[1])
    return charts.figure(t("plot.sizes", language), drawn, tag("div", *names, class_="lb-legend"), note=note)


def _per_image(facts: Statistics, language: str) -> Html:
    edges, counts = facts.per_image
    names = [_span(low, high - 1, "") for low, high in zip(edges, edges[1:], strict=False)]
    ticks = [(at, f"{edges[min(len(counts) - 1, round(at * (len(counts) - 1)))]:g}") for at in _even(len(counts))]
    total = sum(counts)
    most = int(edges[-1] - 1) if counts else 0
    mean = sum(facts.objects) / total if total else 0.0
    note = t("plot.per_image_note", language, mean=f"{mean:.1f}", most=html.number(most))
    return charts.figure(t("plot.per_image", language), charts.columns(counts, names, note, ticks=_centred(ticks, len(counts))), note=note)


def _sides(facts: Statistics, language: str) -> Html:
    edges, counts = facts.sides
    names = [_span(low, high, " px") for low, high in zip(edges, edges[1:], strict=False)]
    ticks = [(edges.index(edge) / len(counts), f"{edge:g}") for edge in SIDE_TICKS if edge in edges]
    note = t("plot.sides_note", language, size=REFERENCE_SIDE)
    return charts.figure(t("plot.sides", language), charts.columns(counts, names, note, ticks=ticks), note=note)


def _aspects(facts: Statistics, language: str) -> Html:
    edges, counts = facts.aspects
    names = [_span(low, high, "") for low, high in zip(edges, edges[1:], strict=False)]
    ticks = [(edges.index(value) / len(counts), f"{value:g}:1" if value >= 1 else f"1:{1 / value:g}") for value in ASPECT_TICKS if value in edges]
    return charts.figure(t("plot.aspects", language), charts.columns(counts, names, t("plot.aspects", language), ticks=ticks),
                         note=t("plot.aspects_note", language))


def _together(facts: Statistics, language: str) -> Html:
    note = t("plot.together_note", language)
    more = ""
    if len(facts.classes) > charts.MOST_CELLS:
        more = " " + t("findings.more", language, n=html.number(len(facts.classes) - charts.MOST_CELLS))
    drawn = charts.matrix(facts.classes, facts.together if facts.together is not None else np.zeros((0, 0)), t("plot.together", language))
    return charts.figure(t("plot.together", language), drawn, note=note + more, class_="lb-wide")


def _pixels(facts: Statistics, language: str) -> Html:
    shares = facts.pixels or ()
    order = sorted(range(len(shares)), key=lambda number: -shares[number])
    rows = [Row(facts.classes[number], {"share": 100 * shares[number]}, f"{100 * shares[number]:.1f} %", color_of(number)) for number in order]
    words = t("plot.pixels", language)
    return charts.figure(words, charts.bars(rows, {"share": (words, "var(--lb-accent)")}, words), note=t("plot.pixels_note", language))


def _images(facts: Statistics, language: str) -> Html:
    """The image sizes there are, most common first."""
    rows = [Row(f"{width:,} × {height:,}", {"images": number}, html.number(number)) for width, height, number in facts.sizes[:MOST_SIZES]]
    words = t("plot.images", language)
    rest = sum(number for _, _, number in facts.sizes[MOST_SIZES:])
    note = plural("plot.images_rest", rest, language) if rest else ""
    return charts.figure(words, charts.bars(rows, {"images": (t("data.images", language), "var(--lb-accent)")}, words), note=note)


def _span(low: float, high: float, unit: str) -> str:
    return f"{low:.3g}{unit}" if low >= high else f"{low:.3g}-{high:.3g}{unit}"


def _even(count: int, most: int = 6) -> list[float]:
    """Places 0..1 of at most `most` ticks, spread over the columns."""
    shown = min(count, most)
    return [i / (shown - 1) for i in range(shown)] if shown > 1 else [0.0] * shown


def _centred(ticks: Sequence[tuple[float, str]], count: int) -> list[tuple[float, str]]:
    """From the places of columns (first = 0, last = 1) to those of their middles."""
    return [((round(at * (count - 1)) + 0.5) / count, text) for at, text in ticks] if count else []

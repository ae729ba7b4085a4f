"""Plots of data sets as inline drawings: colours are the page's variables, words are text of the page, so both themes and any width fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ui import html
from ui.html import Html, join, tag

MOST_ROWS, ONE_COLUMN = 60, 14
MOST_CELLS = 30
COLUMN, GAP = 10, 1.5
BAR = 7  # px, the height of one bar of a group
CELLS = 24  # a side of the heat map as it is drawn
FAINT = 0.10  # opacity of the least that is not nothing
SMALLEST = 1 / 512  # the left end of a relative axis
TICKS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Row:
    """One name with a value for each series; `text` stands at its end, `color` (CSS) as a swatch before it."""

    name: str
    values: Mapping[str, float]
    text: str = ""
    color: str = ""


@dataclass(frozen=True)
class Cloud:
    """Points of one class: x and y in 0..1."""

    name: str
    color: str
    points: Sequence[tuple[float, float]] = field(default_factory=tuple)


def figure(title: str, *content: Html | str, note: str = "", class_: str = "", action: Html | str = "") -> Html:
    """A card with a plot; `note` is the sentence that the plot shows."""
    head = tag("div", tag("h3", title), action, class_="lb-between") if action else tag("h3", title)
    foot = tag("figcaption", note, class_="lb-muted lb-small") if note else ""
    return tag("figure", head, *content, foot, class_=f"lb-card lb-chart {class_}".strip())


def bars(rows: Sequence[Row], series: Mapping[str, tuple[str, str]], label: str, *, log: bool = False, more: str = "") -> Html:
    """Horizontal bars, one group a row. `series`: key -> (its name, CSS colour). `more` says that rows were left out."""
    top = max((value for row in rows for value in row.values.values()), default=0)
    shown = [key for key in series if any(row.values.get(key) for row in rows)] or list(series)[:1]
    lines = [_group(row, {key: series[key] for key in shown}, top, log) for row in rows[:MOST_ROWS]]
    names = [tag("span", tag("i", class_="lb-swatch", style=f"background:{series[key][1]}"), series[key][0]) for key in shown]
    legend = tag("div", *names, class_="lb-legend") if len(shown) > 1 else ""
    rest = tag("p", more, class_="lb-muted lb-small") if more and len(rows) > MOST_ROWS else ""
    two = len(lines) > ONE_COLUMN
    listed = tag("div", *lines, class_="lb-bars lb-two" if two else "lb-bars", style=f"--lb-rows:{-(-len(lines) // 2)}" if two else None, role="list",
                 aria_label=label)
    return tag("div", legend, listed, rest)


def _group(row: Row, series: Mapping[str, tuple[str, str]], top: float, log: bool) -> Html:
    drawn = [tag("rect", tag("title", f"{row.name} · {name}: {_figure(row.values.get(key, 0))}"), x=0, y=i * (BAR + 1), rx=1.5, height=BAR,
                 width=f"{100 * _length(row.values.get(key, 0), top, log):.2f}%", fill=color)
             for i, (key, (name, color)) in enumerate(series.items())]
    picture = tag("svg", *drawn, width="100%", height=len(series) * (BAR + 1) - 1, aria_hidden="true")
    swatch = tag("i", class_="lb-swatch", style=f"background:{row.color}") if row.color else ""
    return tag("div", tag("span", swatch, tag("span", row.name, class_="lb-cut"), class_="lb-bars-name", title=row.name), picture,
               tag("b", row.text), role="listitem")


def _length(value: float, top: float, log: bool) -> float:
    """0..1; on a log scale one object is still to be seen."""
    if value <= 0 or top <= 0:
        return 0.0
    return (math.log10(value) + 0.3) / (math.log10(max(top, 1)) + 0.3) if log and value >= 1 else max(0.002, value / top)


def columns(counts: Sequence[int], names: Sequence[str], label: str, *, ticks: Sequence[tuple[float, str]] = (),
            color: str = "var(--lb-accent)") -> Html:
    """A histogram. `names` say what each column is (in its hover title); `ticks` are (place 0..1, text) below the axis."""
    top = max(counts, default=0) or 1
    whole = max(1, len(counts)) * COLUMN
    drawn = [tag("rect", tag("title", f"{name}: {html.number(count)}"), x=i * COLUMN + GAP / 2, y=f"{100 - 100 * count / top:.2f}",
                 width=COLUMN - GAP, height=f"{100 * count / top:.2f}", fill=color)
             for i, (count, name) in enumerate(zip(counts, names, strict=True)) if count]
    picture = tag("svg", *drawn, viewBox=f"0 0 {whole} 100", preserveAspectRatio="none", role="img", aria_label=label)
    return _plot(picture, ticks, [(1.0, html.number(top)), (0.0, "0")])


def heat(grid: np.ndarray, label: str, *, color: str = "#EDEDED", unit: str = "{n}") -> Html:
    """Counts [H,W] as a picture of where things lie; `unit` ("{n} objects") is the hover title of a cell. Dark in both themes, like the images."""
    cells = np.asarray(grid, np.float64)
    top = cells.max(initial=0) or 1.0
    low = cells.min() if cells.size and cells.min() > top / 4 else 0.0  # where every place is covered, only the differences tell something
    drawn = [tag("rect", tag("title", unit.replace("{n}", html.number(round(value)))), x=column, y=row, width=1, height=1, fill=color,
                 fill_opacity=f"{FAINT + (1 - FAINT) * (value - low) / max(top - low, 1e-9):.2f}")
             for (row, column), value in np.ndenumerate(cells) if value > 0]
    picture = tag("svg", *drawn, viewBox=f"0 0 {cells.shape[1]} {cells.shape[0]}", preserveAspectRatio="none", role="img", aria_label=label,
                  shape_rendering="crispEdges")
    return tag("div", picture, class_="lb-heat")


def curves(found: Sequence[Cloud], label: str, *, x_name: str, y_name: str, diagonal: str = "", marks: bool = False) -> Html:
    """Lines through points in 0..1, one a class, in a square. `diagonal` is "up" or "" (none); `marks` sets a dot at each point."""
    grid = [tag("path", d="".join(f"M{at} 0v100M0 {at}h100" for at in (20, 40, 60, 80)), class_="lb-chart-grid")]
    if diagonal:
        grid.append(tag("path", d="M0 100L100 0", class_="lb-chart-diagonal"))
    lines = [_curve(each, marks) for each in found if len(each.points)]
    picture = tag("svg", *grid, *lines, viewBox="0 0 100 100", preserveAspectRatio="none", role="img", aria_label=label)
    ticks = [(at, f"{at:g}") for at in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    return _plot(picture, ticks, ticks, x_name=x_name, y_name=y_name, class_="lb-scatter lb-square")


def _curve(line: Cloud, marks: bool) -> Html:
    places = [(100 * min(max(x, 0.0), 1.0), 100 - 100 * min(max(y, 0.0), 1.0)) for x, y in line.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = tag("path", d="".join(f"M{x:.1f} {y:.1f}h0" for x, y in places), stroke=line.color, class_="lb-chart-marks") if marks else ""
    casing = tag("path", d=path, class_="lb-chart-case")  # so that a pale colour stands out from a pale page
    return join([casing, tag("path", tag("title", line.name), d=path, stroke=line.color, class_="lb-chart-line"), dots])


def legend(named: Sequence[tuple[str, str, str]]) -> Html:
    """(name, CSS colour, figure) of each line of a plot."""
    return tag("div", *(tag("span", tag("i", class_="lb-swatch", style=f"background:{color}"), name, " ", tag("b", text) if text else "")
                        for name, color, text in named), class_="lb-legend")


def confusion(names: Sequence[str], counts: np.ndarray, label: str, corner: str = "") -> Html:
    """Counts [C,C], truth down and answer across, as a table; a cell is tinted by its share of its row."""
    names = names[:MOST_CELLS]
    table = np.asarray(counts)[: len(names), : len(names)]
    head = tag("tr", tag("th", corner), *(tag("th", i + 1, title=name, scope="col") for i, name in enumerate(names)))
    rows = []
    for i, name in enumerate(names):
        whole = max(1, int(table[i].sum()))
        cells = [tag("td", html.number(int(value)) if value else "", title=f"{name} > {names[j]}: {html.number(int(value))} ({value / whole:.0%})",
                     style=_tint(value / whole, right=i == j)) for j, value in enumerate(table[i])]
        rows.append(tag("tr", tag("th", tag("span", f"{i + 1} ", class_="lb-muted"), name, scope="row", title=name), *cells))
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows), class_="lb-matrix"), class_="lb-table-frame", tabindex=0, role="region",
               aria_label=label)


def _tint(share: float, *, right: bool) -> str | None:
    color = "var(--lb-accent)" if right else "var(--lb-bad)"
    return f"background:color-mix(in srgb, {color} {round(10 + 45 * share)}%, transparent)" if share else None


def coarse(grid: np.ndarray, cells: int = CELLS) -> np.ndarray:
    """At most `cells` a side: the mean of each block, so that the numbers stay those of single cells."""
    step = max(1, -(-grid.shape[0] // cells))
    edge = np.arange(0, grid.shape[0], step)
    sums = np.add.reduceat(np.add.reduceat(grid.astype(np.float64), edge, axis=0), edge, axis=1)
    lengths = np.diff(np.append(edge, grid.shape[0]))
    return sums / np.outer(lengths, lengths)


def scatter(clouds: Sequence[Cloud], label: str, *, x_name: str, y_name: str, small: tuple[float, str] | None = None) -> Html:
    """Widths and heights relative to the image on log axes, one colour a class. `small` = (share, words) marks what is tiny."""
    parts = [_cloud(cloud) for cloud in clouds if len(cloud.points)]
    band: list[Html] = []
    if small is not None:
        edge = round(100 * _place(small[0]), 1)
        corners = f"M0 0H{edge}V{100 - edge}H100V100H0z"
        band.append(tag("path", tag("title", small[1]), d=corners, class_="lb-chart-band"))
    grid = [tag("path", d="".join(f"M{100 * _place(at):.1f} 0v100M0 {100 - 100 * _place(at):.1f}h100" for at in TICKS), class_="lb-chart-grid"),
            tag("path", d="M0 100L100 0", class_="lb-chart-grid")]
    picture = tag("svg", *band, *grid, *parts, viewBox="0 0 100 100", preserveAspectRatio="none", role="img", aria_label=label)
    ticks = [(_place(at), _percent(at)) for at in TICKS]
    return _plot(picture, ticks, ticks, x_name=x_name, y_name=y_name, class_="lb-scatter")


def _cloud(cloud: Cloud) -> Html:
    """One path of dots: a line without length has round ends, which a stretched picture leaves round."""
    dots = "".join(f"M{100 * _place(x):.1f} {100 - 100 * _place(y):.1f}h0" for x, y in cloud.points)
    return tag("path", tag("title", cloud.name), d=dots, stroke=cloud.color, class_="lb-chart-dots")


def _place(share: float) -> float:
    """0..1 on the log axis that begins at SMALLEST."""
    return min(1.0, max(0.0, 1 - math.log(max(share, 1e-9)) / math.log(SMALLEST)))


def matrix(names: Sequence[str], counts: np.ndarray, label: str, corner: str = "") -> Html:
    """How often each pair comes together, as a table whose cells are tinted; the diagonal is how often each comes at all."""
    names = names[:MOST_CELLS]
    table = np.asarray(counts)[: len(names), : len(names)]
    pairs = table[~np.eye(len(names), dtype=bool)]
    top = max(1, int(pairs.max(initial=0)))
    head = tag("tr", tag("th", corner), *(tag("th", i + 1, title=name, scope="col") for i, name in enumerate(names)))
    rows = [tag("tr", tag("th", tag("span", f"{i + 1} ", class_="lb-muted"), name, scope="row", title=name),
                *(_cell(names, i, j, int(value), top) for j, value in enumerate(table[i]))) for i, name in enumerate(names)]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows), class_="lb-matrix"), class_="lb-table-frame", tabindex=0, role="region",
               aria_label=label)


def _cell(names: Sequence[str], i: int, j: int, value: int, top: int) -> Html:
    if i == j:
        return tag("td", html.number(value), class_="lb-diagonal", title=f"{names[i]}: {html.number(value)}")
    share = round(70 * math.sqrt(value / top)) if value else 0
    return tag("td", html.number(value) if value else "", title=f"{names[i]} + {names[j]}: {html.number(value)}",
               style=f"background:color-mix(in srgb, var(--lb-accent) {share}%, transparent)" if share else None)


def _plot(picture: Html, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], *, x_name: str = "", y_name: str = "",
          class_: str = "") -> Html:
    """A stretched drawing with its axes as text around it, so that the text keeps its size."""
    below = [tag("span", text, style=f"left:{100 * at:.1f}%") for at, text in x_ticks]
    beside = [tag("span", text, style=f"bottom:{100 * at:.1f}%") for at, text in y_ticks]
    return tag("div", tag("div", *beside, class_="lb-axis-y"), tag("div", picture, class_="lb-plot-area"), tag("div", *below, class_="lb-axis-x"),
               join([tag("span", y_name, class_="lb-axis-name-y") if y_name else "", tag("span", x_name, class_="lb-axis-name-x") if x_name else ""]),
               class_=f"lb-plot-frame {class_}".strip())


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _figure(value: float) -> str:
    return html.number(int(value)) if float(value).is_integer() else f"{value:,.2f}"

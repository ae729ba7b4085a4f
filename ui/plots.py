"""Rows of a run -> long-form frames for line plots, with few points and colours that stay, and the picture of a schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gradio as gr
import pandas as pd

from engine import schedule
from engine.config import TrainConfig
from engine.metrics import names as metric_names
from engine.metrics.names import loss_family as family
from engine.recipe import ema_decay, warmup_steps
from engine.stages import flat_share, plain_from
from ui import timeline
from ui.html import Html, join, tag
from ui.i18n import label, t

Row = Mapping[str, Any]
Points = list[tuple[float, float]]
LIMIT = 300
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#C0689B", "#A87400", "#7A8691", "#3E8FCB", "#8E6BBF")
LOSS_COLOURS = {"total": "#7A8691", "class": "#D55E00", "bbox": "#0072B2", "giou": "#C0689B", "local": "#009E73", "mask": "#A87400",
                "dice": "#8E6BBF"}
PICTURE_STEPS = 240


def slim(row: Row) -> dict[str, Any]:
    """The row with one term per family: all that the plots need, in a fifth of the room."""
    if row.get("split") != "train":
        return dict(row)
    kept = {name: value for name, value in row.items() if not name.startswith("loss_")}
    for name, value in row.items():
        if name.startswith("loss_") and _number(value) is not None:
            kept[f"loss_{family(name)}"] = kept.get(f"loss_{family(name)}", 0.0) + float(value)
    return kept


def loss_series(rows: Iterable[Row]) -> dict[str, Points]:
    """Total and families by step. The terms of a family add up over layers and denoising groups; a family that is all there is has no curve."""
    series: dict[str, Points] = {}
    for row in rows:
        if row.get("split") != "train" or _number(row.get("loss")) is None:
            continue
        sums: dict[str, float] = {"total": float(row["loss"])}
        for name, value in row.items():
            if name.startswith("loss_") and _number(value) is not None:
                sums[family(name)] = sums.get(family(name), 0.0) + float(value)
        for name, value in sums.items():
            series.setdefault(name, []).append((float(row["step"]), value))
    return series if len(series) > 2 else {name: points for name, points in series.items() if name == "total"}


def metric_series(rows: Iterable[Row], names: Sequence[str]) -> dict[str, Points]:
    """Validation metrics by epoch; an undefined value leaves a gap."""
    valid = [row for row in rows if row.get("split") == "valid"]
    series = {name: [(float(row["epoch"]), float(row[name])) for row in valid if _number(row.get(name)) is not None] for name in names}
    return {name: points for name, points in series.items() if points}


def rate_series(rows: Iterable[Row]) -> Points:
    return [(float(row["step"]), float(row["lr"])) for row in rows if row.get("split") == "train" and _number(row.get("lr")) is not None]


def fewer(points: Points, limit: int = LIMIT, *, mean: bool = False) -> Points:
    """At most `limit` points, first and last kept. `mean` averages each stretch (noisy curves), else its last point stands for it."""
    if len(points) <= limit:
        return points
    edges = [round(i * (len(points) - 1) / (limit - 1)) for i in range(limit)]
    if not mean:
        return [points[i] for i in edges]
    stretches = (points[low + 1 : high + 1] for low, high in zip(edges, edges[1:], strict=False))
    return [points[0], *((stretch[-1][0], sum(value for _, value in stretch) / len(stretch)) for stretch in stretches)]


def frame(series: Mapping[str, Points], x: str, *, mean: bool = False) -> pd.DataFrame:
    """Long form: columns `x`, value, series."""
    rows = [(at, value, name) for name, points in series.items() for at, value in fewer(points, mean=mean)]
    return pd.DataFrame(rows, columns=[x, "value", "series"]).astype({x: float, "value": float, "series": str})


Drawn = tuple[str, ...] | None
UNKNOWN: Drawn = ("?",)


def loss_update(rows: Sequence[Row], language: str, drawn: Drawn) -> tuple[gr.LinePlot, Drawn]:
    """The loss plot's next value, see `update`."""
    found = loss_series(rows)
    called = {name: _name(f"loss.{name}", name, language) for name in found}
    colours = {called[name]: colour for name, colour in loss_colours(list(found)).items()}
    return update({called[name]: points for name, points in found.items()}, colours, "step", drawn, mean=True)


def loss_colours(families: Sequence[str]) -> dict[str, str]:
    """A colour for each family: its own where it has one, else one that no other has."""
    known = {name: LOSS_COLOURS[name] for name in families if name in LOSS_COLOURS}
    free = [colour for colour in PALETTE if colour not in known.values()] or list(PALETTE)
    others = [name for name in families if name not in known]
    return {**known, **{name: free[i % len(free)] for i, name in enumerate(others)}}


def metric_update(rows: Sequence[Row], task: str, language: str, drawn: Drawn, epochs: int = 0) -> tuple[gr.LinePlot, Drawn]:
    """The metric plot's next value, see `update`. Its axis spans the whole run, so that one sees how much is still to come."""
    shown = metric_names.shown(task)
    series = {metric_name(name, language): points for name, points in metric_series(rows, shown).items()}
    colours = {metric_name(name, language): colour for name, colour in colours_of(shown).items()}
    return update(series, colours, "epoch", drawn, x_lim=[0, epochs] if epochs > 1 else None)


def metric_name(name: str, language: str) -> str:
    """What a metric is called: "dice_global" -> "Dice of all pixels"."""
    return _name(f"metric.{name}", name, language)


def rate_update(rows: Sequence[Row]) -> gr.LinePlot:
    points = rate_series(rows)
    return gr.LinePlot(value=frame({"lr": points}, "step") if points else None)


def comparison_update(runs: Mapping[str, Sequence[Row]], metric: str, drawn: Drawn) -> tuple[gr.LinePlot, Drawn]:
    """One curve per run: a validation metric, or the total loss, by epoch."""
    if metric == "loss":
        series = {name: _loss_by_epoch(rows) for name, rows in runs.items()}
    else:
        series = {name: metric_series(rows, (metric,)).get(metric, []) for name, rows in runs.items()}
    return update(series, colours_of(list(runs)), "epoch", drawn, mean=metric == "loss")


def update(series: Mapping[str, Points], colours: Mapping[str, str], x: str, drawn: Drawn, *, mean: bool = False,
           x_lim: list[float | None] | None = None) -> tuple[gr.LinePlot, Drawn]:
    """A plot's next value, and the names of the curves that it then shows. `drawn` are those that it shows now, None when it is empty.

    gr.LinePlot fixes its curves and colours when it is first drawn and moves only its points afterwards. So a plot that shows other curves is
    emptied; the next update draws it.
    """
    shown = {name: points for name, points in series.items() if points}
    if not shown or (drawn is not None and drawn != tuple(shown)):
        return gr.LinePlot(value=None), None
    return gr.LinePlot(value=frame(shown, x, mean=mean), color_map={name: colours[name] for name in shown}, x_lim=x_lim), tuple(shown)


def _loss_by_epoch(rows: Sequence[Row]) -> Points:
    gathered: dict[int, list[float]] = {}
    for row in rows:
        if row.get("split") == "train" and _number(row.get("loss")) is not None:
            gathered.setdefault(int(row["epoch"]), []).append(float(row["loss"]))
    return [(float(epoch), sum(values) / len(values)) for epoch, values in sorted(gathered.items())]


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each of a few curves, by position."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def line_plot(name: str, x: str, *, legend: bool = True, y_lim: list[float | None] | None = None) -> gr.LinePlot:
    """An empty plot called `plot.<name>`; its value and its colours come with an update."""
    return gr.LinePlot(
        None, x=x, y="value", color="series" if legend else None, x_title=" ", y_title=" ", color_title=" ", y_lim=y_lim, height=320,
        label=label(f"plot.{name}"), elem_id=f"lb-plot-{name}", elem_classes="lb-plot", buttons=["fullscreen"], tooltip="all",
        x_axis_format=",~f",
    )


def best(rows: Iterable[Row], metric: str) -> tuple[float, int] | None:
    """The best value of a validation metric so far and its epoch."""
    points = metric_series(rows, (metric,)).get(metric)
    if not points:
        return None
    epoch, value = max(points, key=lambda point: point[1])
    return value, int(epoch)


def schedule_picture(config: TrainConfig, total_steps: int, epochs: int, end: str, language: str, *, known: bool = True) -> Html:
    """The learning rate over the run as a drawing: warm-up, flat, falling and plain tail are marked and named, with the decay of the average.

    Below it the stages as bars. `end` labels the right edge; `known`: the length of the run is, not only its shares.
    """
    parts = _parts(config, total_steps, epochs)
    width, height, top = 640, 120, 10
    count = max(1, min(PICTURE_STEPS, total_steps - 1))
    curve = [schedule.factor(config, round(i * (total_steps - 1) / count), total_steps=total_steps, epochs=epochs) for i in range(count + 1)]
    points, average = (" ".join(f"{i * width / count:.1f},{height - (height - top) * value:.1f}" for i, value in enumerate(values))
                       for values in (curve, timeline.ema_curve(config, total_steps, count)))
    bands = join(Html(f'<rect class="lb-band lb-band-{name}" x="{a * width:.1f}" y="0" width="{max(0.0, b - a) * width:.1f}" height="{height}"/>')
                 for name, a, b in parts)
    line = Html(f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="2" vector-effect="non-scaling-stroke"/>')
    dashed = Html(f'<polyline class="lb-ema" points="{average}" fill="none" stroke-width="1.5" stroke-dasharray="5 4" '
                  'vector-effect="non-scaling-stroke"/>')
    drawing = Html(f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{_escaped(t("plot.schedule", language))}">'
                   f"{bands}{dashed}{line}</svg>")
    legend = [tag("span", tag("i", class_=f"lb-swatch lb-band-{name}"), t(f"schedule.{name}", language), " ", tag("b", f"{_share(a)}-{_share(b)} %"))
              for name, a, b in parts if b > a]
    axis = tag("div", tag("span", "0"), tag("span", end), class_="lb-schedule-axis")
    decay = f"{ema_decay(config, total_steps):.5g}" if known else ""
    rates = f"{config.lr:.3g} → {config.lr * curve[-1]:.3g}" if config.lr else ""
    lines = [tag("span", tag("i", class_="lb-key lb-key-rate"), t("schedule.rate", language), *((" ", tag("b", rates)) if rates else ())),
             tag("span", tag("i", class_="lb-key lb-key-ema"), t("schedule.ema", language), *((" ", tag("b", decay)) if decay else ()))]
    stages = timeline.bars(config, epochs, language, known=known)
    return tag("figure", drawing, axis, stages, tag("figcaption", *lines, *legend, class_="lb-legend"), class_="lb-schedule")


def _parts(config: TrainConfig, total_steps: int, epochs: int) -> list[tuple[str, float, float]]:
    """(name, from, to) as shares of the run, as engine.schedule walks through them."""
    warm = warmup_steps(config, total_steps) / total_steps
    if config.schedule in ("cosine", "plateau"):
        return [("warmup", 0.0, warm), ("cosine" if config.schedule == "cosine" else "flat", warm, 1.0)]
    tail = (plain_from(config, epochs) - 1) / max(1, epochs)
    flat = min(max(warm, flat_share(config, epochs)), tail)
    return [("warmup", 0.0, warm), ("flat", warm, flat), ("cosine", flat, tail), ("tail", max(warm, tail), 1.0)]


def _name(key: str, name: str, language: str) -> str:
    """The text of `key`, or the bare name when the catalogue has none."""
    text = t(key, language)
    return name if text == key else text


def _share(value: float) -> str:
    return f"{100 * value:.0f}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value else None

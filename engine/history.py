"""The course of a run as one picture, training_history.png beside its other files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.metrics.names import shown

INK, TRAIN, COLOURS = "#333333", "#0072B2", ("#D55E00", "#009E73", "#CC79A7")
SIZE_INCHES, DPI = (11, 3.6), 120
MARGINS = (0.045, 0.14, 0.985, 0.91)  # left, bottom, right, top


def draw_history(rows: Sequence[dict[str, Any]], task: str, file: Path) -> None:
    """Loss, validation metrics and learning rate over the epochs, from the rows of metrics.jsonl."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(SIZE_INCHES, dpi=DPI)
    figure.subplots_adjust(*MARGINS, wspace=0.24)  # found by matplotlib itself, they take as long as the drawing
    FigureCanvasAgg(figure)
    loss, metrics, rate = figure.subplots(1, 3)
    steps = _epochs_by_step(rows)
    train = [row for row in rows if row.get("split") == "train"]
    valid = [row for row in rows if row.get("split") == "valid"]
    _curve(loss, [(steps[row["step"]], row.get("loss")) for row in train], TRAIN, "train")
    for name, colour in zip(shown(task), COLOURS, strict=False):
        _curve(metrics, [(float(row["epoch"]), row.get(name)) for row in valid], colour, name)
    _curve(rate, [(steps[row["step"]], row.get("lr")) for row in train], TRAIN, "")
    for axes, title in ((loss, "loss"), (metrics, "validation"), (rate, "learning rate")):
        axes.set_title(title, fontsize=11, color=INK, loc="left")
        axes.set_xlabel("epoch", fontsize=9, color=INK)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    rate.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # a power of ten beside the axis would stand in the title
    if rate.lines:
        rate.set_ylim(bottom=0)
    if metrics.lines:
        metrics.set_ylim(0, 1)
        metrics.legend(fontsize=8, frameon=False)
    temporary = file.with_name(f".{file.name}")
    figure.savefig(temporary, format="png")
    temporary.replace(file)


def _epochs_by_step(rows: Sequence[dict[str, Any]]) -> dict[int, float]:
    """How many epochs had passed at each step: steps of an epoch lie evenly in it."""
    last: dict[int, int] = {}
    for row in rows:
        last[row["epoch"]] = max(last.get(row["epoch"], 0), row["step"])
    found = {}
    for row in rows:
        begun = last.get(row["epoch"] - 1, 0)
        length = max(1, last[row["epoch"]] - begun)
        found[row["step"]] = row["epoch"] - 1 + (row["step"] - begun) / length
    return found


def _curve(axes: Any, points: Sequence[tuple[float, float | None]], colour: str, label: str) -> None:
    known = [(x, y) for x, y in points if y is not None]
    if known:
        axes.plot(*zip(*known, strict=True), color=colour, label=label, linewidth=1.6, marker="." if len(known) < 30 else None)

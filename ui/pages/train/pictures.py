"""The monitor's parts as HTML: headline, previews, what went wrong, the log."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from engine.metrics import names
from engine.runs import Run
from ui import html, plots
from ui.html import Html, join, tag
from ui.i18n import t
from ui.pages.train import words
from ui.pages.train.watch import epoch_of
from ui.selection import name_of

PREVIEW_WIDTH = 400
LOG_LINES = 40


def title(run: Run, state: dict[str, Any], language: str) -> Html:
    """The run's name and what it is doing."""
    phase = state["phase"]
    chip = tag("span", html.dot(words.tone(phase), t(f"phase.{phase}", language)), class_="lb-chip")
    return tag("div", tag("h2", name_of(run.id), class_="lb-title", title=run.id), chip,
               tag("span", words.begun(state), class_="lb-muted lb-small"), class_="lb-run-title")


def headline(state: dict[str, Any], rows: Sequence[dict[str, Any]], language: str, task: str = "detect") -> Html:
    """Progress, and the four numbers that one looks for first."""
    phase, epochs = state["phase"], int(state["epochs"] or 0)
    metric = names.headline(task)
    found = plots.best(rows, metric)
    best = html.stat(t("train.best_so_far" if words.is_active(phase) else "train.best", language),
                     f"{plots.metric_name(metric, language)} {found[0]:.2f}" if found else "–",
                     t("train.best_note", language, words=words.quality(found[0], language, task), epoch=found[1]) if found else
                     t("train.best_none", language))
    epoch = html.stat(t("train.epoch", language), t("train.epoch_of", language, epoch=state["epoch"], epochs=epochs) if epochs else "–",
                      t("train.step", language, step=html.number(int(state["step"] or 0))))
    speed = state["images_per_s"]
    memory = state.get("memory_gib")
    pace = html.stat(t("train.speed", language), t("train.images_per_s", language, n=f"{speed:.1f}") if speed else "–",
                     t("train.memory", language, n=f"{memory:.1f}") if memory else " ")
    if words.is_active(phase):
        time = html.stat(t("train.left", language), words.duration(state["eta_s"], language), " ")
    else:
        time = html.stat(t("train.took", language), words.duration(elapsed(rows), language), " ")
    return tag("div", html.progress(progress(state), progress_text(state, language)), html.stats(best, epoch, time, pace), class_="lb-headline")


def progress(state: dict[str, Any]) -> float | None:
    """Finished epochs of all, or the share of a download that has come; None while that is not known.

    The epoch that a run is in, or was stopped in, is not finished.
    """
    if state["phase"] == "done":
        return 1.0
    if found := words.fetching(state):
        return found[0]
    if not state["epochs"]:
        return None if words.is_active(state["phase"]) else 0.0
    return max(0.0, (state["epoch"] - 1) / state["epochs"])


def progress_text(state: dict[str, Any], language: str) -> str:
    """One sentence: what is happening now, and what it means for the visitor."""
    if state["phase"] == "stopped" and not state["epochs"]:
        return t("train.now_stopped_before", language)
    return words.fetching_text(state, language, "train.fetching") or t(f"train.now_{state['phase']}", language)


def elapsed(rows: Sequence[dict[str, Any]]) -> float | None:
    """Seconds that a run has trained: what its last row says of them, and the validation that was written after it. Pauses do not count.

    Rows of earlier versions do not say it: there it is the time between the first and the last, gaps of ten minutes and more left out.
    """
    told = next((place for place in reversed(range(len(rows))) if "trained_s" in rows[place]), None)
    if told is not None:
        return float(rows[told]["trained_s"]) + max(0.0, float(rows[-1].get("time", 0)) - float(rows[told].get("time", 0)))
    times = [float(row["time"]) for row in rows if "time" in row]
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    return sum(gap for gap in gaps if gap < 600) if gaps else None


def previews(files: Sequence[Path], language: str) -> tuple[Html, bool]:
    """The strip of validation pictures, and whether all of them could be read (one may be half written)."""
    shown = [(file, _thumbnail(file)) for file in files]
    if not files:
        return tag("div", tag("p", t("train.previews_none", language), class_="lb-muted"), class_="lb-previews lb-previews-empty"), True
    epoch = epoch_of(files[-1])
    cells = [tag("div", tag("img", src=source, alt=t("train.preview_alt", language, n=i, epoch=epoch), decoding="sync"), class_="lb-well")
             for i, (_, source) in enumerate(shown, 1) if source]
    caption = tag("p", t("train.previews", language, epoch=epoch), class_="lb-muted lb-small")
    return join([caption, tag("div", *cells, class_="lb-previews")]), all(source for _, source in shown)


def _thumbnail(file: Path) -> str:
    """A picture as a data address, "" when it cannot be read right now."""
    try:
        with Image.open(file) as picture:
            picture.draft("RGB", (PREVIEW_WIDTH * 2, PREVIEW_WIDTH * 2))
            small = picture.convert("RGB")
            small.thumbnail((PREVIEW_WIDTH, PREVIEW_WIDTH))
    except (OSError, UnidentifiedImageError, SyntaxError):
        return ""
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def failure(run: Run, state: dict[str, Any], language: str) -> Html:
    """Cause, remedy and the end of the log of a run that failed; nothing for any other."""
    if state["phase"] not in ("failed", "interrupted"):
        return Html("")
    error = words.error_of(state)
    if state["phase"] == "interrupted":
        message, remedy = t("train.interrupted", language), t("train.interrupted.remedy", language)
    elif error:
        message, remedy = error.message(language), error.remedy(language)
    else:
        message, remedy = t("train.failed", language), t("train.failed.remedy", language)
    lines = run.log(LOG_LINES)
    log = tag("details", tag("summary", t("train.last_lines", language, n=LOG_LINES)), _tail(lines),
              open=state["phase"] == "failed") if lines else ""
    head = tag("h3", html.icon("error"), tag("span", message), class_=f"lb-tone-{words.tone(state['phase'])}")
    return tag("section", head, tag("p", remedy), log, class_="lb-card lb-failure", role="alert")


def log(run: Run, language: str) -> Html:
    lines = run.log(200)
    return _tail(lines) if lines else tag("p", t("train.log_empty", language), class_="lb-muted")


def _tail(lines: str) -> Html:
    """Scrolls, and shows its end first."""
    return tag("div", html.code(lines), class_="lb-tail")

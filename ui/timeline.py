"""The stages of a run as bars under its learning rate: when each kind of augmentation is active, and what changes else."""

from __future__ import annotations

import math

from engine import stages
from engine.config import TrainConfig
from engine.recipe import ema_decay
from ui.html import Html, join, tag
from ui.i18n import t

PUBLISHED = ("strong", "mosaic", "mixup", "copy_blend", "multi_scale", "matcher_change", "reload")
OTHERS = ("strong", "matcher_change")
CHANGES = ("matcher_change", "reload")  # not of the images: drawn in another colour


def bars(config: TrainConfig, epochs: int, language: str, *, known: bool = True) -> Html:
    """One bar for each stage that the run has. `known`: `epochs` is its length, so that epochs can be named; shares of the run otherwise."""
    plan, published = stages.timeline(config, epochs), stages.published(config) is not None
    rows = []
    for name in PUBLISHED if published else OTHERS:
        if not plan.spans.get(name):
            continue
        first, last = plan.shares(name)
        called = t(f"stage.{name}" if published or name != "strong" else "stage.strong_any", language)
        span = plan.spans[name]
        counted = t("stage.epoch" if span.first == span.last else "stage.epochs", language, epochs=span)
        when = counted if known else f"{100 * first:.0f}-{100 * last:.0f} %"
        kind = "lb-stage-bar lb-stage-change" if name in CHANGES else "lb-stage-bar"
        bar = tag("i", class_=kind, style=f"left:{100 * first:.2f}%;width:{100 * (last - first):.2f}%")
        rows.append(tag("li", tag("span", called, " ", tag("b", when)), tag("div", bar, class_="lb-stage-track"), class_="lb-stage"))
    return tag("ul", join(rows), class_="lb-stages", aria_label=t("stage.all", language)) if rows else Html("")


def ema_curve(config: TrainConfig, total_steps: int, count: int) -> list[float]:
    """The decay of the average at `count` + 1 steps of the run, as a share of its full value."""
    forgets = 1 - ema_decay(config, total_steps)
    return [1 - math.exp(-(1 + i * (total_steps - 1) / count) * forgets) for i in range(count + 1)]

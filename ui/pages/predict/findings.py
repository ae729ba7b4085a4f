"""What was found on one image, in words and figures: areas of masks, tags with their bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.overlay_labels import HEAT
from engine.predictions import Spacing, mask_areas
from engine.types import SemanticMask, Tags
from ui import html
from ui.html import Html, join, tag
from ui.i18n import t

MOST_TAGS = 60


def areas(found: SemanticMask, classes: Sequence[str], size: tuple[int, int], spacing: Spacing | None, language: str) -> Html:
    """A row for each class that shows: pixels, share of the image, and mm2 where the file says how large a pixel is."""
    rows, pixels = mask_areas(found, classes, spacing), size[0] * size[1]
    if not rows:
        return tag("p", t("predict.nothing_area", language), class_="lb-muted")
    names = ["class", "pixels", "share", *(["mm2"] if spacing else [])]
    head = [t(f"predict.{name}", language) for name in names]
    cells = [[tag("span", html.swatch(row["class_id"]), row["class"], class_="lb-dotted"), html.number(row["pixels"]),
              f"{100 * row['pixels'] / pixels:.1f} %", *([millimetres(row["mm2"])] if spacing else [])] for row in rows]
    said = t("predict.spacing", language, x=f"{spacing[0]:.4g}", y=f"{spacing[1]:.4g}") if spacing else t("predict.no_spacing", language)
    return join([html.table(head, cells, (1, 2, 3), t("predict.areas", language)), tag("p", said, class_="lb-muted lb-small")])


def millimetres(area: float) -> str:
    """Enough digits for a cell, and no more than a lung needs."""
    return f"{area:,.0f}" if area >= 1000 else f"{area:.4g}"


def tags(found: Tags, classes: Sequence[str], limits: Sequence[float], chosen: int | None, language: str) -> Html:
    """Every class, the surest first, with a bar and the threshold marked in it. A press on one shows where the model sees it."""
    order = _surest(found)
    if not order:
        return tag("p", t("predict.nothing_tag", language), class_="lb-muted")
    rows = [_tag(i, classes[i], float(found.values[i]), limits[i], i == chosen, language) for i in order[:MOST_TAGS]]
    return join([tag("div", *rows, class_="lb-tags", role="group", aria_label=t("predict.tags", language)),
                 tag("p", t("predict.tags.help", language), class_="lb-muted lb-small")])


def answer(found: Tags, classes: Sequence[str], chosen: int | None, language: str) -> Html:
    """The one class that the image shows, and the runners-up."""
    order = _surest(found)
    if not order:
        return tag("p", t("predict.nothing_tag", language), class_="lb-muted")
    best = order[0]
    name = tag("span", html.swatch(best), tag("b", classes[best]), class_="lb-dotted")
    head = tag("p", name, " ", percent(float(found.values[best])), class_="lb-answer")
    rows = [_tag(i, classes[i], float(found.values[i]), None, i == chosen, language, first=i == best) for i in order[:MOST_TAGS]]
    return join([head, tag("div", *rows, class_="lb-tags", role="group", aria_label=t("predict.tags", language)),
                 tag("p", t("predict.answer.help", language), class_="lb-muted lb-small")])


def _tag(i: int, name: str, value: float, limit: float | None, chosen: bool, language: str, *, first: bool = False) -> Html:
    there = first if limit is None else value >= limit
    mark = tag("i", class_="lb-limit", style=f"left:{100 * min(max(limit, 0), 1):.1f}%") if limit is not None else ""
    bar = tag("span", tag("i", style=f"width:{100 * value:.1f}%"), mark, class_="lb-tagbar")
    said = t("predict.present" if there else "predict.absent", language)
    against = "" if limit is None else f" · {t('predict.limit', language, limit=percent(limit))}"
    return tag("button", tag("span", html.swatch(i), tag("span", name), class_="lb-dotted"), bar, tag("span", percent(value), class_="lb-number"),
               type="button", data_class=i, aria_pressed="true" if chosen else "false", class_="lb-tagrow" + (" lb-there" if there else ""),
               title=f"{name}: {percent(value)} · {said}{against}")


def scale(name: str, empty: bool, language: str) -> Html:
    """What the colours of a heat map mean, or that there is nothing to see."""
    if empty:
        return tag("p", t("predict.heat_empty", language, name=name), class_="lb-muted lb-small")
    steps = [tag("i", style=f"background:{colour}") for colour in HEAT]
    return tag("p", t("predict.heat", language, name=name), tag("span", t("predict.heat_low", language), tag("span", *steps, class_="lb-heatscale"),
               t("predict.heat_high", language), class_="lb-heatkey"), class_="lb-small lb-heatline")


def percent(value: float) -> str:
    """No certainty that is none: 99.97 % is not 100 %."""
    return ">99.9 %" if value >= 0.9995 else "<0.1 %" if value < 0.0005 else f"{100 * value:.1f} %"


def _surest(found: Tags) -> list[int]:
    return [int(i) for i in np.argsort(-np.nan_to_num(found.values, nan=-1), kind="stable") if not np.isnan(found.values[i])]

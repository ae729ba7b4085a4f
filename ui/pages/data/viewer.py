"""One image large, with its facts, its objects and what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.datasets.store import Dataset, Row
from engine.types import IGNORE, SPLITS, UNCERTAIN, Instances, SemanticMask, Tags, UserError
from ui import html
from ui.html import Html, join, tag
from ui.i18n import t
from ui.pages.data.pictures import large
from ui.pages.data.query import Query
from ui.pages.data.words import split_name

MOST_OBJECTS = 300
MOST_PROBLEMS = 20


def at_index(dataset: Dataset, query: Query, index: int, language: str, **options: Any) -> Html:
    """The image that stands at `index` within what the filters leave. Nothing when it is not there any more."""
    rows = dataset.page(index, 1, sort=query.sort, **query.filters) if index >= 0 else []
    if not rows:
        return Html("")
    return viewer(dataset, rows[0], language, index=index, last=dataset.total(**query.filters) - 1, trashed=query.trashed, **options)


def viewer(dataset: Dataset, row: Row, language: str, *, index: int = -1, last: int = -1, bare: bool = False, trashed: bool = False,
           editable: bool = True) -> Html:
    """`index` of `last` says which neighbours there are; -1: none. `bare` hides the labels."""
    classes = dataset.classes
    place = tag("span", _place(index, last, language), class_="lb-muted lb-small")
    title = tag("div", tag("b", row.name, class_="lb-break"), place, class_="lb-viewer-title")
    buttons = tag("div", _bare(row, index, bare, language), _icon("zoom", language, data_zoom=True, aria_pressed="false"),
                  _step("back", index - 1, index > 0, language), _step("next", index + 1, 0 <= index < last, language),
                  _icon("close", language, data_close=True), class_="lb-controls")
    side = tag("div", _facts(row, language), _labels(row, classes, language), _problems(dataset, row, language),
               _actions(row, index, trashed, language) if editable else "", class_="lb-viewer-side")
    box = tag("div", tag("div", title, buttons, class_="lb-between"), _picture(row, classes, language, bare), side, class_="lb-viewer-box")
    return tag("div", box, class_="lb-viewer", role="dialog", aria_modal="true", aria_label=row.name)


def _picture(row: Row, classes: tuple[str, ...], language: str, bare: bool) -> Html:
    try:
        shown = large(row, classes, t("data.image_alt", language, name=row.name, objects=""), bare=bare)
    except UserError as error:
        return tag("div", tag("p", error.message(language), class_="lb-unreadable"), class_="lb-well lb-viewer-picture")
    width, height = row.size
    frames = [tag("rect", x=f"{x1:.1f}", y=f"{y1:.1f}", width=f"{max(0.0, x2 - x1):.1f}", height=f"{max(0.0, y2 - y1):.1f}", data_object=i)
              for i, (x1, y1, x2, y2) in _ordered(row)]
    layer = tag("svg", *frames, viewBox=f"0 0 {width} {height}", aria_hidden="true")
    sheet = tag("div", shown, layer, class_="lb-sheet", style=f"--lb-width:{width}px;--lb-height:{height}px")
    return tag("div", sheet, class_="lb-well lb-viewer-picture")


def _ordered(row: Row) -> list[tuple[int, list[float]]]:
    """(index, box) of the objects that are listed, large ones first, so that small ones lie on top and can be pointed at."""
    if not isinstance(row.labels, Instances):
        return []
    boxes = row.labels.boxes[:MOST_OBJECTS]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return [(int(i), boxes[i].tolist()) for i in np.argsort(-areas, kind="stable")]


def _place(index: int, last: int, language: str) -> str:
    return t("data.place", language, index=html.number(index + 1), total=html.number(last + 1)) if index >= 0 else ""


def _icon(name: str, language: str, **attributes: Any) -> Html:
    words = t(f"data.{name}", language)
    return tag("button", html.icon(name), type="button", class_="lb-icon-button", aria_label=words, title=words, **attributes)


def _step(name: str, index: int, possible: bool, language: str) -> Html:
    return _icon(name, language, data_step=index, disabled=not possible, **{f"data_{name}": True})


def _bare(row: Row, index: int, bare: bool, language: str) -> Html:
    if row.labels is None:
        return Html("")
    return _icon("hide", language, data_bare=row.id, data_index=index, aria_pressed="true" if bare else "false")


def _facts(row: Row, language: str) -> Html:
    facts = [("data.image_size", f"{row.size[0]:,} × {row.size[1]:,} px"), ("data.split", split_name(row.split, language)),
             ("data.labels", t(f"data.state.{row.state}", language))]
    if row.group:
        facts.append(("data.group", row.group))
    return tag("dl", *(join([tag("dt", t(key, language)), tag("dd", value)]) for key, value in facts), class_="lb-facts")


def _labels(row: Row, classes: tuple[str, ...], language: str) -> Html:
    """Objects with their sizes, tags with their state, or the areas of a mask with their shares."""
    if isinstance(row.labels, Instances) and len(row.labels):
        return _listed("data.objects", len(row.labels), _objects(row.labels, classes, language), language)
    if isinstance(row.labels, Tags):
        there = [(i, value) for i, value in enumerate(row.labels.values.tolist()) if value >= UNCERTAIN]
        lines = [_line(i, classes, t("data.uncertain", language) if value == UNCERTAIN else "") for i, value in there]
        return _listed("data.tags", len(lines), lines, language)
    if isinstance(row.labels, SemanticMask):
        lines = [_line(i, classes, f"{100 * share:.1f} %") for i, share in areas(row.labels)]
        return _listed("data.areas", len(lines), lines, language)
    return Html("")


def _listed(key: str, count: int, lines: list[Html], language: str) -> Html:
    return tag("section", tag("h4", t(key, language), " ", tag("span", html.number(count), class_="lb-muted")), tag("ul", *lines, class_="lb-lines"))


def _objects(labels: Instances, classes: tuple[str, ...], language: str) -> list[Html]:
    sides = (labels.boxes[:, 2:] - labels.boxes[:, :2])[:MOST_OBJECTS]
    crowd = labels.crowd if labels.crowd is not None else np.zeros(len(labels), bool)
    notes = [f"{w:.0f} × {h:.0f}" + (f" · {t('data.crowd', language)}" if many else "") for (w, h), many in zip(sides, crowd, strict=False)]
    lines = [_line(int(labels.classes[i]), classes, notes[i], i) for i in np.argsort(labels.classes[:MOST_OBJECTS], kind="stable").tolist()]
    if len(labels) > MOST_OBJECTS:
        lines.append(tag("li", t("data.more_classes", language, n=html.number(len(labels) - MOST_OBJECTS)), class_="lb-muted"))
    return lines


def _line(number: int, classes: tuple[str, ...], note: str, index: int | None = None) -> Html:
    name = classes[number] if number < len(classes) else "-" if number == IGNORE else f"#{number}"
    swatch = html.swatch(number)
    return tag("li", swatch, tag("span", name, class_="lb-cut"), tag("span", note, class_="lb-muted"), data_object=index,
               tabindex=0 if index is not None else None)


def areas(mask: SemanticMask) -> list[tuple[int, float]]:
    """(class id, share of the pixels) of every class that shows, largest first."""
    if mask.layers is not None:
        shares = {number: float(layer.mean()) for number, layer in enumerate(mask.layers)}
    elif mask.classes is not None:
        shares = dict(enumerate((np.bincount(mask.classes.ravel()) / max(1, mask.classes.size)).tolist()))
    else:
        shares = {}
    return sorted(((number, share) for number, share in shares.items() if share > 0), key=lambda pair: -pair[1])


def _problems(dataset: Dataset, row: Row, language: str) -> Html:
    if not row.problems:
        return Html("")
    report = dataset.report()
    found = report.problems if report is not None else dataset.problems()
    own = [problem for problem in found if problem.where == row.name or problem.where.rpartition(":")[0] == row.name]
    messages = list(dict.fromkeys(problem.message(language) for problem in own))[:MOST_PROBLEMS]
    lines = [tag("li", html.icon("warn", 16), tag("span", words)) for words in messages]
    return _listed("data.problems", len(row.problems), lines, language) if lines else Html("")


def _actions(row: Row, index: int, trashed: bool, language: str) -> Html:
    """To another split, and to the trash or out of it."""
    options = [tag("option", t("data.move_to", language), value=""),
               *(tag("option", split_name(split, language), value=split) for split in SPLITS if split != row.split)]
    away = "restore" if trashed else "trash"
    here: dict[str, Any] = {"data_id": row.id, "data_index": index}
    select = tag("select", *options, data_move=True, class_="lb-select", aria_label=t("data.move_to", language))
    go = tag("button", t("data.move", language), type="button", class_="lb-button", data_move_go=True, disabled=True, **here)
    leave = tag("button", t(f"data.{away}", language), type="button", class_="lb-button", data_act=away, **here)
    return tag("div", tag("span", select, go, class_="lb-pair"), leave, class_="lb-viewer-actions")

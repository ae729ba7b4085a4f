"""A page of thumbnails with what can be done to them. Their pictures come afterwards, when they are in view."""

from __future__ import annotations

import json
from typing import Any

from engine.datasets.store import Dataset, Row
from engine.types import SPLITS, UNCERTAIN, Instances, Tags, UserError
from engine.workspace import Workspace
from ui import html
from ui.html import Html, tag
from ui.i18n import plural, t
from ui.pages.data.panel import ids_of
from ui.pages.data.pictures import thumbnail
from ui.pages.data.query import Query
from ui.pages.data.words import SPLIT_COLOURS, split_name

MOST_TAGS = 3
MOST_PICTURES = 24


def grid(dataset: Dataset, query: Query, language: str, *, editable: bool = True) -> tuple[Html, Query]:
    """The page that fits `query`, which comes back with the number of the page that exists."""
    total = dataset.total(**query.filters)
    query = query.within(total)
    rows = dataset.page(query.offset, query.per_page, sort=query.sort, brief=True, **query.filters) if total else []
    if not rows:
        words = t("data.trash_empty" if query.trashed else "data.nothing_fits", language)
        button = tag("button", t("data.clear_filters", language), type="button", class_="lb-button", data_reset=True) if query.narrowed else ""
        nothing = tag("section", html.empty_state(words), tag("p", button, class_="lb-empty-button"), class_="lb-card")
        return tag("div", nothing, data_set=dataset.id), query
    classes, revision = dataset.classes, dataset.revision
    tiles = (_tile(row, query.offset + i, f"{revision}.{row.revision}", classes, language) for i, row in enumerate(rows))
    parts = [_bar(query, len(rows), total, language, editable), tag("div", *tiles, class_="lb-grid"), _pager(query, total, language)]
    return tag("div", *parts, data_set=dataset.id, data_query=json.dumps(query.sent)), query


def _bar(query: Query, shown: int, total: int, language: str, editable: bool) -> Html:
    """What is shown, and, once something is selected, what can be done with it."""
    place = t("data.shown", language, first=html.number(query.offset + 1), last=html.number(query.offset + shown), total=html.number(total))
    parts = [tag("span", place, class_="lb-muted lb-small", role="status")]
    if editable:
        count = tag("b", data_count=True, data_one=t("data.picked.one", language), data_many=t("data.picked", language), role="status")
        acts = [_button("data.restore", language, data_act="restore")] if query.trashed else [
            _move(language), _button("data.trash", language, data_act="trash")]
        parts.append(tag("span", count, *acts, _button("data.pick_none", language, data_clear=True), class_="lb-picked-bar", hidden=True,
                         data_when_picked=True))
        parts.append(_button("data.pick_page", language, data_pick_page=True, aria_pressed="false"))
        if total > shown:
            words = t("data.pick_fitting" if query.narrowed else "data.pick_all", language, n=html.number(total))
            parts.append(tag("button", words, type="button", class_="lb-button", data_pick_all=True))
        if query.trashed:
            sure = plural("data.empty_trash_sure", total, language)
            parts.append(_button("data.empty_trash", language, data_act="empty", data_confirm=sure))
    return tag("div", *parts, class_="lb-grid-bar", role="toolbar", aria_label=t("data.actions", language))


def _move(language: str) -> Html:
    options = [tag("option", t("data.move_to", language), value=""), *(tag("option", split_name(split, language), value=split) for split in SPLITS)]
    select = tag("select", *options, data_move=True, class_="lb-select", aria_label=t("data.move_to", language))
    return tag("span", select, _button("data.move", language, data_move_go=True, disabled=True), class_="lb-pair")


def _button(key: str, language: str, **attributes: Any) -> Html:
    return tag("button", t(key, language), type="button", class_="lb-button", **attributes)


def _pager(query: Query, total: int, language: str) -> Html:
    pages = query.pages(total)
    if pages == 1:
        return Html("")
    back = _button("data.previous_page", language, data_turn=query.page - 1, disabled=query.page <= 1)
    forward = _button("data.next_page", language, data_turn=query.page + 1, disabled=query.page >= pages)
    number = tag("input", type="number", min=1, max=pages, value=query.page, data_page=True, aria_label=t("data.page_number", language))
    before, _, after = t("data.page_of_pages", language, pages=html.number(pages)).partition("#")
    return tag("nav", back, tag("label", before, number, after), forward, class_="lb-pager", aria_label=t("data.pages", language))


def _tile(row: Row, index: int, key: str, classes: tuple[str, ...], language: str) -> Html:
    note = note_of(row, language)
    name = row.name.rpartition("/")[2]
    colour, kinds = SPLIT_COLOURS.get(row.split, "var(--lb-edge)"), plural("data.n_kinds", len(row.problems), language)
    dot = tag("i", class_="lb-split-dot", style=f"background:{colour}", title=split_name(row.split, language))
    marks = tag("span", html.icon("warn", 16), class_="lb-tile-mark", title=kinds) if row.problems else ""
    picture = tag("img", alt=t("data.image_alt", language, name=row.name, objects=note), draggable="false")
    torn = tag("span", html.icon("image", 24), tag("span", t("data.unreadable", language)), class_="lb-tile-unread")
    caption = tag("span", dot, tag("span", name, class_="lb-tile-name"), tag("span", note, class_="lb-tile-note"), class_="lb-tile-caption")
    well = tag("span", picture, torn, marks, class_="lb-well")
    button = tag("button", well, caption, _tags(row, classes, language), type="button", class_="lb-tile-open", title=row.name)
    box = tag("label", tag("input", type="checkbox", aria_label=t("data.pick", language, name=row.name)), class_="lb-tile-pick")
    return tag("div", button, box, class_="lb-tile", data_id=row.id, data_index=index, data_key=key)


def note_of(row: Row, language: str) -> str:
    """How many objects, or the state when there are none."""
    if row.state == "unlabeled":
        return t("data.state.unlabeled", language)
    if isinstance(row.labels, Tags):
        return ""
    if row.state == "background":
        return t("data.state.background", language)
    return html.number(row.objects) if isinstance(row.labels, Instances) else ""


def _tags(row: Row, classes: tuple[str, ...], language: str) -> Html:
    """Image-level labels as chips; classes that are not there are not shown, and that none is there is said."""
    if not isinstance(row.labels, Tags):
        return Html("")
    there = [number for number, value in enumerate(row.labels.values.tolist()) if value >= UNCERTAIN and number < len(classes)]
    chips = [html.chip(classes[number] + (" ?" if row.labels.values[number] == UNCERTAIN else ""), number) for number in there[:MOST_TAGS]]
    if not there:
        chips.append(tag("span", t("data.no_class", language), class_="lb-chip lb-muted"))
    if len(there) > MOST_TAGS:
        chips.append(html.chip(f"+{len(there) - MOST_TAGS}"))
    return tag("span", *chips, class_="lb-chips lb-tile-tags")


def fitting(workspace: Workspace, sent: Any) -> list[int]:
    """The ids of all images that fit the filters of a grid."""
    asked = sent.get("query") if isinstance(sent, dict) else None
    try:
        query = Query.of(**{name: asked.get(name) for name in Query().sent}) if isinstance(asked, dict) else Query()
        return workspace.dataset(str(sent.get("dataset"))).ids(**query.filters) if asked is not None else []
    except UserError:
        return []


def pictures_for(workspace: Workspace, sent: Any) -> dict[str, str | None]:
    """{image id: the thumbnail with its labels as a data: URL, None when it cannot be read} for what a grid asks for."""
    wanted = ids_of(sent.get("ids"))[:MOST_PICTURES] if isinstance(sent, dict) else []
    try:
        dataset = workspace.dataset(str(sent.get("dataset"))) if wanted else None
        return {str(number): thumbnail(dataset, number) for number in wanted} if dataset is not None else {}
    except UserError:
        return {}

"""Browse: filters on the left, a page of thumbnails on the right, and one image large."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from engine.datasets import editing
from engine.datasets.editing import Edit
from engine.datasets.store import Dataset
from engine.types import UserError
from ui import html
from ui.guard import guarded
from ui.html import Html, join, tag
from ui.i18n import label, language_of, plural, static, t
from ui.pages.data import grid as grid_parts
from ui.pages.data import viewer
from ui.pages.data.grid import grid, pictures_for
from ui.pages.data.panel import LOOSE, Panel, Room, ids_of, now, sent
from ui.pages.data.query import PAGE_SIZES, SIZES, SORTS, STATES, Query, class_choices, group_choices, page_of, problem_choices, split_choices
from ui.pages.data.words import edit_text

FILTERS = ("search", "split", "class", "labels", "problem", "group", "size", "trash", "sort", "per_page")
CHANGING = ("split", "class", "problem", "group")  # lists that depend on the set
GRID_JS = Path(__file__).with_name("browse.js")
FOLD_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button) button.setAttribute('aria-expanded', element.closest('.lb-filters').classList.toggle('lb-open'));
});
"""
TOAST_SECONDS = 4
VIEWER_JS = Path(__file__).with_name("viewer.js")


def build(room: Room) -> Panel:
    with gr.Row(elem_classes=["lb-split", "lb-browse"]):
        filters = _filters()
        with gr.Column(elem_classes="lb-main"):
            def pictures(sent: Any) -> dict[str, str | None]:
                return pictures_for(room.app.workspace, sent)

            def fitting(sent: Any) -> list[int]:
                return grid_parts.fitting(room.app.workspace, sent)

            tiles = gr.HTML("", elem_id="lb-data-grid", js_on_load=GRID_JS.read_text(encoding="utf-8"), server_functions=[pictures, fitting])
    page = gr.State(1)
    _wire_grid(room, filters, tiles, page)
    _wire_viewer(room, filters)
    editable = not room.app.demo

    def reset(dataset: Dataset | None, language: str) -> tuple[Any, ...]:
        return *_choices(dataset, language, {}), *_grid(dataset, Query(), language, editable)

    def show(dataset: Dataset | None, language: str, *values: Any) -> tuple[Any, ...]:
        query = Query.of(*values)
        kept = dict(zip(FILTERS, values, strict=False))
        return *_choices(dataset, language, kept), *_grid(dataset, query, language, editable)

    def clear(dataset: Dataset | None, language: str) -> tuple[Any, ...]:
        return *_choices(dataset, language, {}), "", 1

    return Panel([*filters.values(), tiles, page], show, [*filters.values(), page], reset, clear)


def viewer_part() -> gr.HTML:
    """The layer over the page that shows one image; every tab may open it."""
    return gr.HTML("", elem_id="lb-viewer", js_on_load=VIEWER_JS.read_text(encoding="utf-8"))


def _filters() -> dict[str, Any]:
    lists = {"labels": [(label(f"data.state.{name}"), name) for name in STATES], "size": [(label(f"data.size.{name}"), name) for name in SIZES]}
    with gr.Column(elem_classes=["lb-side", "lb-card", "lb-plain-form", "lb-filters"]):
        gr.HTML(static(_filters_title), elem_classes="lb-filters-title", js_on_load=FOLD_JS)
        parts: dict[str, Any] = {"search": gr.Textbox(label=label("data.search"), max_lines=1, elem_id="lb-filter-search")}
        for name in ("split", "class", "labels", "problem", "group", "size"):
            parts[name] = gr.Dropdown([(label("data.all"), ""), *lists.get(name, [])], value="", label=label(f"data.{name}"),
                                      elem_id=f"lb-filter-{name}", visible=name != "group")
        parts["trash"] = gr.Checkbox(False, label=label("data.trash_shown"), container=False, elem_id="lb-filter-trash")
        parts["sort"] = gr.Dropdown([(label(f"data.sort.{name}"), name) for name in SORTS], value="id", label=label("data.sort"),
                                    elem_id="lb-filter-sort")
        parts["per_page"] = gr.Dropdown([(str(size), str(size)) for size in PAGE_SIZES], value=str(PAGE_SIZES[0]), label=label("data.per_page"),
                                        elem_id="lb-filter-per_page")
    return {name: parts[name] for name in FILTERS}


def _filters_title(language: str) -> Html:
    """On a narrow screen a button that unfolds the filters."""
    button = tag("button", t("data.filters", language), type="button", class_="lb-button", aria_expanded="false")
    return join([tag("h3", t("data.show", language)), button])


def _choices(dataset: Dataset | None, language: str, kept: dict[str, Any]) -> tuple[Any, ...]:
    """The filters as they fit the set. `kept` are the values to keep where they still exist; without them all are cleared."""
    lists = {"split": split_choices(dataset, language), "class": class_choices(dataset, language), "problem": problem_choices(dataset, language),
             "group": group_choices(dataset, language)}
    updates: list[Any] = []
    for name in FILTERS:
        if name in lists:
            known = [value for _, value in lists[name]]
            value = kept.get(name) if kept.get(name) in known else ""
            hidden = {"visible": len(known) > 1} if name == "group" else {}
            updates.append(gr.Dropdown(choices=[*lists[name]], value=value, **hidden))
        elif kept:
            updates.append(gr.skip())
        else:
            updates.append({"search": "", "trash": False, "sort": "id", "per_page": gr.skip()}.get(name, ""))
    return tuple(updates)


def _grid(dataset: Dataset | None, query: Query, language: str, editable: bool) -> tuple[Html, int]:
    if dataset is None:
        return Html(""), 1
    shown, query = grid(dataset, query, language, editable=editable)
    return shown, query.page


def _wire_grid(room: Room, filters: dict[str, Any], tiles: gr.HTML, page: gr.State) -> None:
    chosen, editable = [room.app.dataset, *filters.values()], not room.app.demo

    @guarded
    def first(request: gr.Request, wanted: str | None, *values: Any) -> tuple[Any, ...]:
        return _grid(room.open(wanted), Query.of(*values), language_of(request), editable)

    @guarded
    def turn(request: gr.Request, event: gr.EventData, wanted: str | None, *values: Any) -> tuple[Any, ...]:
        return _grid(room.open(wanted), replace(Query.of(*values), page=page_of(sent(event).get("page"))), language_of(request), editable)

    @guarded
    def clear(request: gr.Request, wanted: str | None) -> tuple[Any, ...]:
        dataset, language = room.open(wanted), language_of(request)
        return *_choices(dataset, language, {}), *_grid(dataset, Query(), language, editable)

    @guarded
    def grant(request: gr.Request, wanted: str | None, wish: dict[str, Any]) -> tuple[Any, ...]:
        dataset, language = room.open(wanted), language_of(request)
        kept = {"problem": str(wish.get("problem", "")), "class": str(wish.get("class", "")), "group": ""}
        query = Query.of(problem=kept["problem"], class_id=kept["class"])
        fresh = dict(zip(FILTERS, _choices(dataset, language, {}), strict=True))
        lists = dict(zip(FILTERS, _choices(dataset, language, kept), strict=True))
        updates = [lists[name] if name in CHANGING else fresh[name] for name in FILTERS]
        return gr.Tabs(selected="browse"), *updates, *_grid(dataset, query, language, editable)

    @guarded
    def act(request: gr.Request, event: gr.EventData, wanted: str | None) -> float:
        dataset, language = room.to_edit(wanted), language_of(request)
        if sent(event).get("action") == "empty":
            said(plural("data.trash_emptied", editing.empty_trash(dataset), language), language)
        else:
            done(edit(dataset, sent(event)), language)
        return now()

    view = [tiles, page]
    for part in filters.values():
        part.input(first, chosen, view, **LOOSE, trigger_mode="always_last")
    filters["search"].submit(first, chosen, view, **LOOSE, trigger_mode="always_last")
    tiles.turn(turn, chosen, view, **LOOSE)
    tiles.reset(clear, room.app.dataset, [*filters.values(), *view], **LOOSE)
    tiles.act(act, room.app.dataset, room.changed, **LOOSE)
    room.wish.change(grant, [room.app.dataset, room.wish], [room.views, *filters.values(), *view], **LOOSE)
    tiles.open(_opener(room), chosen, room.viewer, **LOOSE)


def _opener(room: Room) -> Any:
    @guarded
    def enlarge(request: gr.Request, event: gr.EventData, wanted: str | None, *values: Any) -> Html:
        dataset, language = room.open(wanted), language_of(request)
        if dataset is None:
            return Html("")
        data, editable = sent(event), not room.app.demo
        bare, index = data.get("bare") is True, data.get("index")
        if isinstance(index, int) and index >= 0:
            return viewer.at_index(dataset, Query.of(*values), index, language, bare=bare, editable=editable)
        return viewer.viewer(dataset, dataset.row(int(data.get("id", 0))), language, bare=bare, editable=editable)

    return enlarge


def _wire_viewer(room: Room, filters: dict[str, Any]) -> None:
    chosen = [room.app.dataset, *filters.values()]

    @guarded
    def act(request: gr.Request, event: gr.EventData, wanted: str | None, *values: Any) -> tuple[Any, ...]:
        """Then the next image that fits stands at the same place."""
        dataset, language = room.to_edit(wanted), language_of(request)
        done(edit(dataset, sent(event)), language)
        index = sent(event).get("index")
        index = index if isinstance(index, int) else -1
        return now(), viewer.at_index(dataset, Query.of(*values), index, language)

    room.viewer.step(_opener(room), chosen, room.viewer, **LOOSE)
    room.viewer.act(act, chosen, [room.changed, room.viewer], **LOOSE)


def edit(dataset: Dataset, asked: dict[str, Any]) -> Edit:
    """What a browser asks for the selected images. Raises UserError."""
    action, image_ids = asked.get("action"), ids_of(asked.get("ids"))
    if not image_ids:
        raise UserError("nothing_selected")
    if action == "move":
        return editing.move(dataset, image_ids, str(asked.get("value")))
    if action == "restore":
        return editing.restore(dataset, image_ids)
    if action == "trash":
        return editing.trash(dataset, image_ids)
    raise UserError("nothing_selected")


def done(change: Edit, language: str, *, undone: bool = False) -> None:
    """Says what has been changed, or taken back."""
    words = edit_text(change, language)
    said(t("data.undone_what", language, what=words) if undone else words, language)


def said(words: str, language: str) -> None:
    """A message of success that goes by itself. Messages show their text as HTML, so `words` are escaped."""
    gr.Success(html.esc(words), duration=TOAST_SECONDS, title=t("ui.toast.success", language))

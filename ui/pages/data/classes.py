"""Classes: rename, merge and delete them, and merge this set with another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.datasets import editing
from engine.datasets.editing import Edit
from engine.datasets.store import Dataset
from engine.types import SPLITS, UserError
from ui import html
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import language_of, plural, t
from ui.pages.data import merging
from ui.pages.data.browse import done
from ui.pages.data.panel import LOOSE, Panel, Room, form, now, sent, together, wish
from ui.pages.data.words import split_name

LONGEST_NAME = 120


@dataclass(frozen=True)
class Line:
    """One class in the table: how many objects (or images that show it) there are, over all and by split."""

    id: int
    name: str
    counts: dict[str, int]

    @property
    def whole(self) -> int:
        return sum(self.counts.values())


def build(room: Room) -> Panel:
    table = form("", elem_id="lb-classes")
    other = merging.build(room)

    def show(dataset: Dataset | None, language: str, *values: Any) -> tuple[Any, ...]:
        mine = "" if dataset is None else table_html(lines(dataset), language, editable=not room.app.demo)
        return mine, *other.show(dataset, language)

    @guarded
    def pressed(request: gr.Request, event: gr.EventData, wanted: str | None) -> tuple[Any, ...]:
        data, language = sent(event), language_of(request)
        if data.get("send") == "show":
            return gr.skip(), gr.skip(), wish(**{"class": str(data.get("class", ""))})
        dataset = room.to_edit(wanted)
        if data.get("send") == "ask":
            chosen = picked(dataset, data)
            return table_html(lines(dataset), language, asked=chosen, affected=affected(dataset, chosen)), *(gr.skip(),) * 2
        if data.get("send") == "cancel":
            return table_html(lines(dataset), language), *(gr.skip(),) * 2
        done(change(dataset, data), language)
        return gr.skip(), now(), gr.skip()

    table.send(pressed, room.app.dataset, [table, room.changed, room.wish], **LOOSE)
    return Panel([table, *other.outputs], show)


def lines(dataset: Dataset) -> list[Line]:
    counts = dataset.counts()
    return [Line(number, name, {split: row["classes"].get(name, 0) for split, row in counts.items()}) for number, name in enumerate(dataset.classes)]


def picked(dataset: Dataset, data: dict[str, Any]) -> list[int]:
    """Class ids that are checked. Raises UserError when none is."""
    wanted = (data.get("form") or {}).get("class") or str(data.get("classes", "")).split(",")
    known = [number for number in range(len(dataset.classes)) if str(number) in wanted]
    if not known:
        raise UserError("nothing_selected")
    return known


def affected(dataset: Dataset, class_ids: Sequence[int]) -> int:
    """Images that show one of the classes, at most: one that shows two counts twice."""
    return min(dataset.total(), sum(dataset.total(class_id=number) for number in class_ids))


def change(dataset: Dataset, data: dict[str, Any]) -> Edit:
    """What was pressed in the table. Raises UserError."""
    if data.get("send") == "rename":
        number = str(data.get("class", ""))
        name = str((data.get("form") or {}).get(f"name-{number}", "")).strip()[:LONGEST_NAME]
        if not number.isdecimal() or not name:
            raise UserError("class_without_name")
        return editing.rename_class(dataset, int(number), name)
    chosen = picked(dataset, data)
    if data.get("send") == "merge":
        into = str(data.get("value") or (data.get("form") or {}).get("into", ""))
        if not into.isdecimal() or int(into) >= len(dataset.classes):
            raise UserError("nothing_selected")
        return editing.merge_classes(dataset, [number for number in chosen if number != int(into)], int(into))
    if len(chosen) == 1:
        return editing.delete_class(dataset, chosen[0])
    names = [dataset.classes[number] for number in chosen]

    def all_of_them() -> None:
        for number in sorted(chosen, reverse=True):  # from the end, since the ids behind a deleted class move up
            editing.delete_class(dataset, number)

    return together(dataset, "classes_deleted", {"names": ", ".join(names), "classes": len(names)}, all_of_them)


def table_html(known: Sequence[Line], language: str, *, editable: bool = True, asked: Sequence[int] = (), affected: int = 0) -> Html:
    """The table; `asked` are the classes whose deletion waits for a yes."""
    shown = [split for split in SPLITS if any(split in line.counts for line in known)]
    shown += sorted({split for line in known for split in line.counts} - set(shown))
    head: list[Any] = [tag("input", type="checkbox", data_check_all=True, aria_label=t("data.pick_all", language))] if editable else []
    head += [t("data.class", language), t("data.boxes", language), *(_by_split(split_name(split, language)) for split in shown), ""]
    rows = [_row(line, shown, language, editable, line.id in asked) for line in known]
    first = 2 if editable else 1
    body = html.table(head, rows, numeric=range(first, first + 1 + len(shown)), label=t("data.classes", language)) if known else Html("")
    foot = Html("")
    if editable and known:
        foot = _question(known, asked, affected, language) if asked else _tools(known, language)
    words = ("data.classes_lead" if known else "data.classes_none") if editable or not known else ""
    lead = tag("p", t(words, language), class_="lb-muted lb-small") if words else ""
    return tag("section", tag("h3", t("data.classes", language)), lead, body, foot, class_="lb-card lb-stack lb-class-table", data_form=True)


def _row(line: Line, splits: Sequence[str], language: str, editable: bool, asked: bool) -> list[Any]:
    swatch = html.swatch(line.id)
    see = tag("button", t("data.show_class", language), type="button", class_="lb-button lb-quiet", data_send="show", data_class=line.id,
              disabled=not line.whole)
    numbers = [html.number(line.whole), *(_by_split(html.number(line.counts.get(split, 0))) for split in splits), see]
    if not editable:
        return [tag("span", swatch, " ", line.name), *numbers]
    box = tag("input", type="checkbox", name_="class", value=line.id, checked=asked, data_counts=line.whole,
              aria_label=t("data.pick", language, name=line.name))
    field = tag("input", type="text", name_=f"name-{line.id}", value=line.name, class_="lb-input lb-inline", maxlength=LONGEST_NAME,
                aria_label=t("data.rename_class", language, name=line.name))
    save = tag("button", t("data.rename", language), type="button", class_="lb-button", data_send="rename", data_class=line.id, data_default=True,
               data_when_changed=True, hidden=True)
    return [box, tag("span", swatch, field, save, class_="lb-line", data_row=True), *numbers]


def _by_split(content: str) -> Html:
    """In a column for which a narrow screen has no room."""
    return tag("span", content, class_="lb-by-split")


def _tools(known: Sequence[Line], language: str) -> Html:
    """What can be done with the checked classes."""
    count = tag("span", data_count=True, data_one=t("data.classes_chosen.one", language), data_many=t("data.classes_chosen", language),
                class_="lb-muted lb-small")
    options = [tag("option", t("data.merge_into", language), value=""), *(tag("option", line.name, value=line.id) for line in known)]
    into = tag("select", *options, class_="lb-select", name_="into", data_needs=1, aria_label=t("data.merge_into", language))
    merge = tag("button", t("data.merge_go", language), type="button", class_="lb-button", data_send="merge", data_merges="into", disabled=True,
                data_bare=t("data.merge_go", language), data_one=t("data.merge_go_n.one", language), data_many=t("data.merge_go_n", language))
    delete = tag("button", t("data.class_delete", language), type="button", class_="lb-button", data_send="ask", data_needs=1)
    return tag("div", count, tag("span", into, merge, class_="lb-pair"), delete, class_="lb-foot")


def _question(known: Sequence[Line], asked: Sequence[int], images: int, language: str) -> Html:
    """What would go."""
    gone = [line for line in known if line.id in asked]
    words = t("data.class_delete_question", language, names=", ".join(line.name for line in gone[:6]) + ("…" if len(gone) > 6 else ""),
              objects=plural("data.n_objects", sum(line.whole for line in gone), language), images=plural("data.n_images", images, language))
    ids = ",".join(str(number) for number in asked)
    yes = tag("button", t("data.class_delete", language), type="button", class_="lb-button lb-danger", data_send="delete", data_classes=ids)
    no = tag("button", t("data.cancel", language), type="button", class_="lb-button", data_send="cancel")
    return tag("div", tag("p", words), yes, no, class_="lb-foot lb-asked", role="alert")

"""Two sets into a new one: which class of the other set becomes which of this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from engine.datasets import merging
from engine.datasets.store import Dataset
from engine.types import UserError
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, t
from ui.pages.data.browse import said
from ui.pages.data.panel import LONG, LOOSE, QUIET, Panel, Room, form, sent
from ui.pages.data.stops import Stopped, Stops
from ui.progress import Work
from ui.selection import choose_dataset, dataset_choices

LONGEST_NAME = 120
MOST_CLASSES = 1000
WHOLE = 100


def build(room: Room) -> Panel:
    with gr.Accordion(label("data.merge"), open=False, elem_id="lb-merge"):
        other = gr.Dropdown([], value=None, label=label("data.merge_other"), elem_id="lb-merge-other")
        table = form("", elem_id="lb-merge-table")
        stop = gr.Button(label("data.cancel"), variant="secondary", size="sm", visible=False, elem_id="lb-merge-stop")
    _wire(room, other, table, stop)

    def show(dataset: Dataset | None, language: str, *values: Any) -> tuple[Any, ...]:
        known = [choice for choice in dataset_choices(room.app.workspace) if dataset is None or choice[1] != dataset.id]
        words = tag("p", t("data.merge_lead" if known else "data.merge_none", language), class_="lb-muted lb-small")
        return gr.Dropdown(choices=[*known], value=None, visible=bool(known)), words

    return Panel([other, table], show)


def _wire(room: Room, other: gr.Dropdown, table: gr.HTML, stop: gr.Button) -> None:
    stops = Stops()

    @guarded
    def look(request: gr.Request, wanted: str | None, second: str | None) -> Html:
        first, added, language = room.open(wanted), room.open(second), language_of(request)
        return mapping_html(first, added, language, editable=not room.app.demo) if first and added else Html("")

    @guarded
    def merge(request: gr.Request, event: gr.EventData, wanted: str | None, second: str | None) -> Iterator[tuple[Any, ...]]:
        first, added, language = room.to_edit(wanted), room.to_edit(second), language_of(request)
        mapping, name = mapping_of(added.classes, sent(event)), name_of(sent(event), first, added)

        def job(report: Any) -> Dataset:
            told = stops.begin(request, report)
            return merging.merge(room.app.workspace, first, added, mapping, name, lambda share: told(round(WHOLE * share), WHOLE))

        work = Work(job, language, t("data.merging", language))
        for bar in work:
            yield bar, gr.Button(visible=True, interactive=True), gr.skip()
        try:
            made = work.result
        except Stopped:
            yield mapping_html(first, added, language), gr.Button(visible=False), gr.skip()
            return
        said(t("data.merged", language), language)
        yield "", gr.Button(visible=False), choose_dataset(room.app.workspace, made.id, language)

    @guarded
    def end(request: gr.Request) -> gr.Button:
        stops.stop(request)
        return gr.Button(interactive=False)

    both = [room.app.dataset, other]
    other.input(look, both, table, **LOOSE)
    table.send(merge, both, [table, stop, room.app.dataset], **LONG).failure(look, both, table, **LOOSE).then(
        lambda: gr.Button(visible=False), None, stop, **QUIET)
    stop.click(end, None, stop, queue=False, **QUIET)


def mapping_html(first: Dataset, added: Dataset, language: str, *, editable: bool = True) -> Html:
    """One line for each class of the other set: take it or not, and as what. Proposed are equal names, however written."""
    proposed = merging.propose(first.classes, added.classes)
    options = tag("datalist", *(tag("option", value=name) for name in first.classes[:MOST_CLASSES]), id="lb-merge-names")
    rows = [_line(number, name, proposed.get(name, name), first.classes, language) for number, name in enumerate(added.classes[:MOST_CLASSES])]
    head = tag("div", tag("span", t("data.merge_take", language)), tag("span", t("data.merge_from", language, name=added.name)),
               tag("span", t("data.merge_as", language)), class_="lb-merge-line lb-muted lb-small")
    name = tag("input", type="text", name_="name", value=f"{first.name} + {added.name}"[:LONGEST_NAME], class_="lb-input", maxlength=LONGEST_NAME,
               aria_label=t("data.merge_name", language))
    start = tag("button", t("data.merge_start", language), type="button", class_="lb-button lb-primary", data_send="merge", disabled=not editable)
    return tag("div", tag("p", t("data.merge_how", language), class_="lb-muted lb-small"), head, *rows, options,
               tag("label", tag("span", t("data.merge_name", language), class_="lb-small lb-muted"), name, class_="lb-field"),
               tag("div", start, class_="lb-foot"), class_="lb-stack lb-merge-form", data_form=True)


def _line(number: int, name: str, to: str, known: Sequence[str], language: str) -> Html:
    box = tag("input", type="checkbox", name_="take", value=number, checked=True, aria_label=t("data.merge_take_class", language, name=name))
    field = tag("input", type="text", name_=f"to-{number}", value=to, list="lb-merge-names", class_="lb-input", maxlength=LONGEST_NAME,
                aria_label=t("data.merge_as_class", language, name=name))
    new = tag("span", t("data.merge_new", language), class_="lb-muted lb-small") if to not in known else ""
    return tag("div", box, tag("span", name, class_="lb-break"), field, new, class_="lb-merge-line")


def mapping_of(classes: Sequence[str], data: dict[str, Any]) -> dict[str, str | None]:
    """{class of the other set: its name in the new set, None = left out} from what a browser sent. Raises UserError."""
    fields = data.get("form") if isinstance(data.get("form"), dict) else {}
    taken = {str(each) for each in fields.get("take") or []} if fields else set()
    mapping: dict[str, str | None] = {}
    for number, name in enumerate(classes):
        to = str((fields or {}).get(f"to-{number}", name)).strip()[:LONGEST_NAME]
        if str(number) in taken and not to:
            raise UserError("class_without_name")
        mapping[name] = to if str(number) in taken else None
    return mapping


def name_of(data: dict[str, Any], first: Dataset, added: Dataset) -> str:
    fields = data.get("form") if isinstance(data.get("form"), dict) else {}
    return str((fields or {}).get("name", "")).strip()[:LONGEST_NAME] or f"{first.name} + {added.name}"

"""Health: what is wrong with the set, what could mend it, and what has been changed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from engine.datasets import editing, health, repairs
from engine.datasets.health import Report
from engine.datasets.repairs import Repair
from engine.datasets.standing import ignore, ignored
from engine.datasets.store import Dataset
from engine.types import UserError
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, t
from ui.pages.data import health_parts as parts
from ui.pages.data import viewer
from ui.pages.data.browse import done
from ui.pages.data.panel import LONG, LOOSE, QUIET, Panel, Room, form, now, sent, wish
from ui.pages.data.stops import Stopped, Stops
from ui.progress import Work

IMAGE_SIZE = health.IMAGE_SIZE
QUICK, LARGE = 5_000, 20_000  # images


def build(room: Room) -> Panel:
    with gr.Row(elem_classes=["lb-split", "lb-health"]):
        with gr.Column(elem_classes=["lb-side", "lb-card", "lb-check"]):
            head = form("", elem_id="lb-health-head")
            start = gr.Button(label("data.check"), variant="primary", elem_id="lb-health-check")
            stop = gr.Button(label("data.cancel"), variant="secondary", visible=False, elem_id="lb-health-stop")
            bar = gr.HTML("", elem_id="lb-health-bar")
            with gr.Accordion(label("data.check_options"), open=False, elem_classes="lb-fold"):
                size = gr.Number(IMAGE_SIZE, label=label("data.check_size"), precision=0, minimum=32, maximum=4096, elem_id="lb-health-size")
                capacity = gr.Number(None, label=label("data.check_capacity"), precision=0, minimum=1, elem_id="lb-health-capacity",
                                     placeholder=str(health.CAPACITY))
        with gr.Column(elem_classes="lb-main"):
            mend = form("", elem_id="lb-health-repairs")
            preview = gr.HTML("", elem_id="lb-health-preview")
            found = form("", elem_id="lb-health-problems")
            past = form("", elem_id="lb-health-history")
    _wire_check(room, (start, stop, bar), size, capacity)
    _wire_repairs(room, mend, preview, found, [size, capacity])

    def show(dataset: Dataset | None, language: str) -> tuple[Any, ...]:
        if dataset is None:
            return "", "", "", "", "", gr.skip()
        report, editable = dataset.report(), not room.app.demo
        aside = ignored(dataset)
        mends = [repair for repair in proposals(dataset, report) if repair.problem not in aside] if editable else []
        return (parts.head(dataset, report, language), parts.repairs_html(mends, language), "",
                parts.problems_html(dataset, report, mends, language, editable=editable),
                parts.history_html(editing.edits(dataset), language, editable=editable),
                gr.Button(value=t("data.check" if report is None else "data.check_again", language)))

    _wire_undo(room, past)
    return Panel([head, mend, preview, found, past, start], show, slow=lambda dataset: dataset.total() > LARGE)


def _wire_check(room: Room, controls: tuple[gr.Button, gr.Button, gr.HTML], size: gr.Number, capacity: gr.Number) -> None:
    stops = Stops()
    start, stop, bar = controls

    @guarded
    def check(request: gr.Request, chosen: str | None, side: float | None, most: float | None) -> Iterator[tuple[Any, ...]]:
        dataset, language = room.open(chosen), language_of(request)
        if dataset is None:
            raise UserError("nothing_chosen")

        def job(report: Callable[..., None]) -> None:
            told = stops.begin(request, report)
            proposals(dataset, health.examine(dataset, **options_of(side, most), reading=lambda *n: told(*n, t("data.reading_labels", language)),
                                              progress=lambda *n: told(*n, t("data.checking", language))))

        work = Work(job, language, t("data.checking", language))
        for drawn in work:
            yield gr.Button(interactive=False), gr.Button(visible=True, interactive=True), drawn, gr.skip()
        try:
            words = work.result or ""
        except Stopped:
            words = tag("p", t("data.check_stopped", language), class_="lb-muted lb-small")
        yield gr.Button(interactive=True), gr.Button(visible=False), words, now()

    @guarded
    def end(request: gr.Request) -> gr.Button:
        stops.stop(request)
        return gr.Button(interactive=False)

    outputs = [start, stop, bar, room.changed]
    start.click(check, [room.app.dataset, size, capacity], outputs, **LONG).failure(
        lambda: (gr.Button(interactive=True), gr.Button(visible=False), ""), None, [start, stop, bar], **QUIET)
    stop.click(end, None, stop, queue=False, **QUIET)


def _wire_repairs(room: Room, mend: gr.HTML, preview: gr.HTML, found: gr.HTML, options: list[gr.Number]) -> None:
    def of(dataset: Dataset, fits: Callable[[Repair], bool]) -> list[Repair]:
        return [repair for repair in proposals(dataset, dataset.report()) if fits(repair)]

    def apply(dataset: Dataset, chosen: list[Repair], language: str, *options: float | None) -> float:
        """The list may have changed since it was shown: only what is still proposed is done."""
        if not chosen:
            raise UserError("nothing_selected")
        done(repairs.apply(dataset, chosen), language)
        look_again(dataset, *options)
        return now()

    @guarded
    def mended(request: gr.Request, event: gr.EventData, wanted: str | None, *options: float | None) -> tuple[Any, ...]:
        data, language = sent(event), language_of(request)
        if data.get("send") == "preview":
            dataset = room.open(wanted)
            chosen = of(dataset, lambda repair: parts.key_of(repair) == data.get("key")) if dataset else []
            return gr.skip(), parts.preview_html(dataset, chosen[0], language) if dataset and chosen else ""
        keys = (data.get("form") or {}).get("repair") or []
        dataset = room.to_edit(wanted)
        return apply(dataset, of(dataset, lambda repair: parts.key_of(repair) in keys), language, *options), gr.skip()

    @guarded
    def pressed(request: gr.Request, event: gr.EventData, wanted: str | None, *options: float | None) -> tuple[Any, ...]:
        data, language = sent(event), language_of(request)
        if data.get("send") == "fix":
            dataset = room.to_edit(wanted)
            return apply(dataset, of(dataset, lambda repair: repair.problem == data.get("code")), language, *options), gr.skip(), gr.skip()
        if data.get("send") in ("ignore", "heed"):
            ignore(room.to_edit(wanted), str(data.get("code", "")), data.get("send") == "ignore")
            return now(), gr.skip(), gr.skip()
        if data.get("send") == "images":
            return gr.skip(), wish(problem=str(data.get("code", ""))), gr.skip()
        return gr.skip(), gr.skip(), opened(room, wanted, str(data.get("place", "")), language)

    inputs = [room.app.dataset, *options]
    mend.send(mended, inputs, [room.changed, preview], **LOOSE)
    found.send(pressed, inputs, [room.changed, room.wish, room.viewer], **LOOSE)


def proposals(dataset: Dataset, report: Report | None) -> tuple[Repair, ...]:
    """The repairs that are proposed; found once for a state of the set and a report."""
    if report is None:
        return ()
    mark = zlib.crc32(repr((report.splits, sorted((problem.code, problem.where) for problem in report.problems))).encode())
    return _proposed(dataset.folder, dataset.revision, mark)


@lru_cache(maxsize=8)
def _proposed(folder: Path, revision: int, mark: int) -> tuple[Repair, ...]:
    dataset = Dataset(folder)
    report = dataset.report()
    return tuple(repairs.proposed(dataset, report)) if report is not None else ()


def opened(room: Room, wanted: str | None, place: str, language: str) -> Html:
    """The image that a place of a problem names, large; says so when the set does not hold it."""
    dataset = room.open(wanted)
    row = parts.image_at(dataset, place) if dataset else None
    if dataset is None or row is None:
        gr.Info(t("data.place_gone", language))
        return Html("")
    return viewer.viewer(dataset, row, language, editable=not room.app.demo)


def _wire_undo(room: Room, past: gr.HTML) -> None:
    @guarded
    def undo(request: gr.Request, event: gr.EventData, wanted: str | None) -> float:
        return take_back(room, wanted, sent(event).get("edit"), language_of(request))

    past.send(undo, room.app.dataset, room.changed, **LOOSE)


def take_back(room: Room, wanted: str | None, edit: Any, language: str) -> float:
    """Undoes one edit and says so."""
    dataset = room.to_edit(wanted)
    fresh = not dataset.report_is_stale()
    done(editing.undo(dataset, int(edit) if str(edit).isdigit() else -1), language, undone=True)
    if fresh:
        look_again(dataset)
    return now()


def look_again(dataset: Dataset, side: float | None = None, most: float | None = None) -> None:
    """Brings the report up to date after a change, where that is quick: what the files look like is known already."""
    report = dataset.report()
    if report is not None and dataset.total() <= QUICK:
        health.examine(dataset, **(report.extras.get("options") or options_of(side, most)), decode=False)


def options_of(side: float | None, most: float | None) -> dict[str, Any]:
    """What a check compares with, from what the form says."""
    return {"image_size": int(side or IMAGE_SIZE), "capacity": int(most) if most else None}

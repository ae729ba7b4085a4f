"""The chosen set as a zip in any format that can hold its labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.datasets.formats import formats
from engine.datasets.store import Dataset
from engine.types import UserError
from ui import html
from ui.findings import findings, tally
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, plural, t
from ui.pages.data.panel import LONG, LOOSE, QUIET, Room
from ui.pages.data.words import format_name, is_labeled
from ui.pages.tools import convert_to_zip
from ui.progress import Work

COMMON = {"semantic": "mask_png", "classify": "label_csv"}  # what most tools read of a task; of objects "coco"


@dataclass
class Export:
    """Its parts: the frame that opens below the set's header, and what it holds."""

    frame: gr.Column
    to: gr.Dropdown
    start: gr.Button
    close: gr.Button
    status: gr.HTML
    download: gr.DownloadButton

    @property
    def opened(self) -> list[Any]:
        """What changes when it opens, in the order of `unfolded`."""
        return [self.frame, self.to, self.status, self.download]


def build() -> Export:
    with gr.Column(visible=False, elem_classes=["lb-card", "lb-export"]) as frame:
        with gr.Row(elem_classes="lb-export-line"):
            to = gr.Dropdown([], label=label("data.export_to"), elem_id="lb-export-to")
            start = gr.Button(label("data.export_start"), variant="primary", elem_id="lb-export-start")
            download = gr.DownloadButton(label("tools.convert.download"), visible=False, elem_id="lb-export-download")
            close = gr.Button(label("data.close"), variant="secondary", elem_id="lb-export-close")
        status = gr.HTML("", elem_id="lb-export-status")
    return Export(frame, to, start, close, status, download)


def choices(dataset: Dataset, language: str) -> list[tuple[str, str]]:
    """(name, id) of the formats that can hold what this set has, the one without labels last."""
    able = [name for name, entry in formats.entries().items() if entry.write is not None and (not entry.tasks or dataset.task in entry.tasks)]
    return [(format_name(name, language), name) for name in sorted(able, key=lambda name: name == "images")]


def first_of(dataset: Dataset, known: list[str]) -> str | None:
    """The format that comes first to mind: that in which the set came, unless it has labels by now which that cannot hold."""
    wanted = [dataset.format, COMMON.get(dataset.task, "coco"), *known]
    return next((name for name in wanted if name in known and (formats.get(name).tasks or not is_labeled(dataset))), None)


def unfolded(dataset: Dataset | None, language: str) -> tuple[Any, ...]:
    """The open frame for a set."""
    known = choices(dataset, language) if dataset else []
    first = first_of(dataset, [name for _, name in known]) if dataset else None
    return gr.Column(visible=dataset is not None), gr.Dropdown(choices=[*known], value=first), "", gr.DownloadButton(visible=False)


def wire(room: Room, parts: Export) -> None:
    @guarded
    def export(request: gr.Request, wanted: str | None, to: str | None) -> Iterator[tuple[Any, ...]]:
        dataset, language = room.open(wanted), language_of(request)
        if dataset is None or not to:
            raise UserError("nothing_chosen")
        work = Work(lambda report: convert_to_zip(dataset.folder, str(to), report, language), language, t("tools.convert.converting", language))
        for bar in work:
            yield bar, gr.DownloadButton(visible=False), gr.Button(interactive=False)
        summary, packed = work.result
        yield told(summary, language), gr.DownloadButton(value=str(packed), visible=True), gr.Button(interactive=True)

    outputs = [parts.status, parts.download, parts.start]
    parts.close.click(lambda: gr.Column(visible=False), None, parts.frame, queue=False, **QUIET)
    parts.to.input(lambda: ("", gr.DownloadButton(visible=False)), None, [parts.status, parts.download], queue=False, **LOOSE)
    parts.start.click(export, [room.app.dataset, parts.to], outputs, **LONG).failure(
        lambda: ("", gr.Button(interactive=True)), None, [parts.status, parts.start], **QUIET)


def told(summary: Any, language: str) -> Html:
    """What lies in the zip, and what the format could not hold."""
    words = t("data.exported", language, images=plural("data.n_images", summary.images, language), format=format_name(summary.format_to, language))
    mark = tag("span", html.icon("check"), class_="lb-tone-good")
    lost = [tag("p", tally(summary.problems, language), class_="lb-muted lb-small"), findings(summary.problems, language)] if summary.problems else []
    return tag("div", tag("p", mark, tag("span", words), class_="lb-note-line", role="status"), *lost, class_="lb-exported")

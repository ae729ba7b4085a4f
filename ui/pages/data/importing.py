"""The drop zone: says what it recognises and why, imports it, and keeps the upload when that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from engine.datasets import source
from engine.datasets.formats import formats
from engine.types import UserError
from engine.workspace import Import, Workspace
from ui import html
from ui.findings import tally
from ui.html import Html, tag
from ui.i18n import label, plural, static, t
from ui.sources import ARCHIVES, chosen_source, stem_of

LOOK_AHEAD_BYTES = 300 << 20
ASK_FORMAT = frozenset(("several_formats", "no_format", "format_not_found"))
WHOLE = 100


@dataclass
class DropZone:
    """Its parts, for the page to wire."""

    frame: gr.Accordion
    file: gr.File
    path: gr.Textbox
    name: gr.Textbox
    format: gr.Dropdown
    seen: gr.HTML
    start: gr.Button

    @property
    def inputs(self) -> list[Any]:
        return [self.file, self.path, self.name, self.format]


def build(*, demo: bool, opened: bool) -> DropZone:
    with gr.Accordion(label("data.add"), open=opened, elem_id="lb-data-add") as frame:
        file = gr.File(label=label("data.file"), file_types=ARCHIVES, height=160, elem_id="lb-data-file")
        path = gr.Textbox(label=label("data.path"), placeholder=label("data.path_example"), visible=not demo, max_lines=1, elem_id="lb-data-path")
        name = gr.Textbox(label=label("data.name"), max_lines=1, elem_id="lb-data-name")
        choice = gr.Dropdown([(label("data.format_auto"), ""), *((label(f"format.{each}"), each) for each in formats.names())], value="",
                             label=label("data.format"), visible=False, elem_id="lb-data-format")
        seen = gr.HTML(static(nothing_seen), elem_id="lb-data-seen")
        start = gr.Button(label("data.import"), variant="primary", elem_id="lb-data-import")
    return DropZone(frame, file, path, name, choice, seen, start)


def look(file: str | None, path: str, choice: str, language: str) -> tuple[Html, bool]:
    """What the chosen thing is and why, and whether to ask for the format. Large archives are recognised while they are imported."""
    if not file and not path.strip():
        return nothing_seen(language), False
    try:
        src = chosen_source(file, path)
        if src.is_file() and src.stat().st_size > LOOK_AHEAD_BYTES:
            return seen_html(t("data.seen_later", language, name=src.name)), False
        with source.opened(src) as root:
            found, evidence = source.recognise(root, choice or None)
    except UserError as error:
        return failure(error, language), error.key in ASK_FORMAT
    return seen_html(t("data.seen", language, format=t(f"format.{found.name}", language), evidence=evidence), "good"), bool(choice)


def suggested_name(file: str | None, path: str) -> str:
    return stem_of(Path(file)) if file else Path(path.strip().strip("\"'")).name


def run(workspace: Workspace, src: Path, name: str, choice: str, report: Callable[..., None], language: str) -> Import:
    """Imports, telling how much of the archive is unpacked and then that it is read."""
    def progress(share: float) -> None:
        known = 0 < share < 1
        report(round(WHOLE * share) if known else 0, WHOLE if known else 0, t("data.unpacking" if known else "data.importing", language))

    return workspace.import_dataset(src, name.strip() or stem_of(src), progress, source_format=choice or None)[1]


def done(report: Import, language: str) -> Html:
    """What came in, as what it was recognised, and where to see what is wrong."""
    images = sum(row["images"] for row in report.splits.values())
    words = t("data.imported", language, images=plural("data.n_images", images, language), format=t(f"format.{report.format}", language),
              evidence=report.evidence)
    faults = tag("p", f"{tally(report.problems, language)}: {t('data.see_health', language)}", class_="lb-muted") if report.problems else ""
    mark = tag("span", html.icon("check"), class_="lb-tone-good")
    return tag("section", mark, tag("div", tag("b", words), faults), class_="lb-notice lb-notice-good", role="status")


def failure(error: UserError, language: str) -> Html:
    """The message in the page itself, since a pop-up goes away."""
    mark = tag("span", html.icon("error"), class_="lb-tone-bad")
    return tag("section", mark, tag("div", tag("b", error.message(language)), tag("p", error.remedy(language), class_="lb-muted")),
               class_="lb-notice", role="alert")


def nothing_seen(language: str) -> Html:
    return seen_html(t("data.seen_nothing", language))


def seen_html(words: str, state: str = "none") -> Html:
    return tag("div", html.dot(state, words), class_="lb-seen lb-small", role="status")

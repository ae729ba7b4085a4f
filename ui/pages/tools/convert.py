"""Tools > Convert: a data set from any format to any other."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from engine.datasets.convert import Summary, convert
from engine.datasets.formats import formats
from ui import html
from ui.findings import findings, tally
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, static, t
from ui.progress import Work
from ui.selection import App
from ui.sources import ARCHIVES, chosen_source, stem_of

MOST_CHIPS = 60
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(app: App) -> None:
    with gr.Row(elem_classes="lb-split"):
        with gr.Column(elem_classes="lb-side"):
            gr.HTML(static(_intro))
            file = gr.File(label=label("tools.convert.file"), file_types=ARCHIVES, elem_id="lb-convert-file", height=160)
            path = gr.Textbox(label=label("data.path"), placeholder=label("data.path_example"), visible=not app.demo, elem_id="lb-convert-path")
            to = gr.Radio([(label(f"format.{name}"), name) for name in writable()], value="coco", label=label("tools.convert.to"),
                          elem_id="lb-convert-to")
            start = gr.Button(label("tools.convert.start"), variant="primary", elem_id="lb-convert-start")
        with gr.Column(elem_classes="lb-main"):
            result = gr.HTML(static(_nothing_yet), elem_id="lb-convert-result")
            download = gr.DownloadButton(label("tools.convert.download"), visible=False, elem_id="lb-convert-download", elem_classes="lb-lone-button")
            details = gr.HTML("", elem_id="lb-convert-details")
    _wire(app, (file, path, to), start, (result, download, details))


def _wire(app: App, inputs: tuple[Any, ...], start: gr.Button, outputs: tuple[gr.HTML, gr.DownloadButton, gr.HTML]) -> None:
    @guarded
    def run(file: str | None, path: str, to: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        language = language_of(request)
        src = chosen_source(file, "" if app.demo else path)
        work = Work(lambda report: convert_to_zip(src, to, report, language), language, t("tools.convert.reading", language))
        for bar in work:
            yield tag("section", bar, class_="lb-card"), gr.DownloadButton(visible=False), "", gr.Button(interactive=False)
        summary, packed = work.result
        yield (summary_html(summary, language), gr.DownloadButton(value=str(packed), visible=True), details_html(summary, src, language),
               gr.Button(interactive=True))

    @guarded
    def failed(request: gr.Request) -> tuple[Any, ...]:
        return _nothing_yet(language_of(request)), gr.Button(interactive=True)

    start.click(run, list(inputs), [*outputs, start], **PRIVATE).failure(failed, None, [outputs[0], start], **PRIVATE)


def writable() -> list[str]:
    return [name for name, entry in formats.entries().items() if entry.write is not None]


def convert_to_zip(src: Path, to: str, report: Callable[..., None], language: str) -> tuple[Summary, Path]:
    """Converts beside the uploads and packs the result; only the zip stays."""
    room = Path(tempfile.mkdtemp(prefix="converted-", dir=uploads()))
    name = f"{stem_of(src)}-{to}"
    try:
        summary = convert(src, room / name, to=to, progress=lambda images: report(images, 0, t("tools.convert.converting", language)))
        packed = pack(room / name, room / f"{name}.zip", lambda done, total: report(done, total, t("tools.convert.packing", language)))
    except BaseException:
        shutil.rmtree(room, ignore_errors=True)
        raise
    shutil.rmtree(room / name)
    return summary, packed


def pack(folder: Path, file: Path, progress: Callable[[int, int], None]) -> Path:
    """A zip of `folder`. Images are stored as they are, since they do not get smaller; labels are compressed."""
    entries = sorted(path for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(file, "w") as packed:
        for done, path in enumerate(entries, 1):
            kind = zipfile.ZIP_DEFLATED if path.suffix in (".txt", ".json", ".yaml", ".xml", ".csv") else zipfile.ZIP_STORED
            packed.write(path, path.relative_to(folder), kind)
            progress(done, len(entries))
    return file


def uploads() -> Path:
    """The folder that people may download from."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def summary_html(summary: Summary, language: str) -> Html:
    """What came out, in numbers."""
    title = t("tools.convert.done", language, source=t(f"format.{summary.format_from}", language), target=t(f"format.{summary.format_to}", language))
    numbers = html.stats(
        html.stat(t("data.images", language), html.number(summary.images)), html.stat(t("data.boxes", language), html.number(summary.boxes)),
        html.stat(t("data.classes", language), html.number(len(summary.classes))),
        html.stat(t("tools.convert.skipped", language), html.number(summary.skipped)))
    return html.card(title, numbers)


def details_html(summary: Summary, src: Path, language: str) -> Html:
    """Splits and classes, what was skipped and why, and the command that does the same."""
    splits = html.table([t("data.split", language), t("data.images", language)],
                        [(t(f"split.{name}", language), html.number(count)) for name, count in summary.splits.items()], numeric=(1,))
    chips = tag("div", *(html.chip(name) for name in summary.classes[:MOST_CHIPS]), class_="lb-chips")
    command = f"python -m engine convert {shlex.quote(src.name)} {shlex.quote(f'{stem_of(src)}-{summary.format_to}')} --to {summary.format_to}"
    return tag("div", splits, html.card(t("data.classes", language), chips),
               html.card(tally(summary.problems, language), findings(summary.problems, language)),
               html.card(t("command.same", language), html.code(command)), class_="lb-stack")


def _intro(language: str) -> Html:
    return tag("div", tag("h2", t("tools.convert.title", language), class_="lb-heading"),
               tag("p", t("tools.convert.text", language), class_="lb-muted"))


def _nothing_yet(language: str) -> Html:
    return tag("section", html.empty_state(t("tools.convert.empty", language), "convert"), class_="lb-card")

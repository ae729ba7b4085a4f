"""Tools > Weights: what a weights file holds, whether it can be loaded, and the file mended or converted. Nothing in it is ever run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from engine.models import models
from engine.types import UserError
from engine.weights_reading.report import inspect
from ui import html
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, static, t
from ui.pages.tools.convert import PRIVATE, uploads
from ui.pages.tools.weights_view import outcome_html, proof_html, report_html
from ui.progress import Work
from ui.selection import App
from ui.sources import chosen_source

if TYPE_CHECKING:
    from engine.weights_mending.converting import Outcome

Result = TypeVar("Result")
SUFFIXES = [".pth", ".pt", ".pkl", ".safetensors", ".bin", ".ckpt", ".npz"]
ENDINGS = {"detectron2": ".pkl", "timm": ".safetensors", "timm-features": ".safetensors", "native": ".pth", "safetensors": ".safetensors"}
ANY = ""  # no model to compare with


def build(app: App) -> None:
    with gr.Row(elem_classes="lb-split"):
        with gr.Column(elem_classes="lb-side"):
            gr.HTML(static(_intro))
            file = gr.File(label=label("tools.weights.file"), file_types=SUFFIXES, elem_id="lb-weights-file", height=160)
            path = gr.Textbox(label=label("tools.weights.path"), placeholder="/models/model_final.pth", visible=not app.demo,
                              elem_id="lb-weights-path")
            model = gr.Dropdown([(label("tools.weights.no_model"), ANY), *((name, name) for name in models.names())], value=ANY,
                                label=label("tools.weights.model"), info=label("tools.weights.model.help"), elem_id="lb-weights-model")
            look = gr.Button(label("tools.weights.look"), variant="primary", elem_id="lb-weights-look")
            with gr.Column(visible=False, elem_id="lb-weights-actions") as actions:
                repair = gr.Button(label("tools.weights.repair"), elem_id="lb-weights-repair")
                to = gr.Radio([(label(f"tools.weights.to.{name}"), name) for name in ENDINGS], value="detectron2", label=label("tools.weights.to"),
                              elem_id="lb-weights-to")
                convert = gr.Button(label("tools.weights.convert"), elem_id="lb-weights-convert")
        with gr.Column(elem_classes="lb-main"):
            result = gr.HTML("", elem_id="lb-weights-result")
            download = gr.DownloadButton(label("tools.weights.download"), visible=False, elem_id="lb-weights-download", elem_classes="lb-lone-button")
            report = gr.HTML(static(_nothing_yet), elem_id="lb-weights-report")
    _wire_look(app, (file, path, model), look, (result, download, report, actions))
    _wire_deeds(app, (file, path), (repair, convert), to, (result, download))


def _wire_look(app: App, inputs: tuple[Any, ...], look: gr.Button, outputs: tuple[Any, ...]) -> None:
    @guarded
    def run(file: str | None, path: str, model: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        language = language_of(request)
        src = chosen_source(file, "" if app.demo else path)
        work = Work(lambda report: _by_name(src, lambda: told(src, model, language)), language, t("tools.weights.reading", language))
        for bar in work:
            yield "", gr.DownloadButton(visible=False), tag("section", bar, class_="lb-card"), gr.Column(visible=False), gr.Button(interactive=False)
        shown, usable = work.result
        yield "", gr.DownloadButton(visible=False), shown, gr.Column(visible=usable), gr.Button(interactive=True)

    @guarded
    def failed(request: gr.Request) -> tuple[Any, ...]:
        return _nothing_yet(language_of(request)), gr.Column(visible=False), gr.Button(interactive=True)

    look.click(run, list(inputs), [*outputs, look], **PRIVATE).failure(failed, None, [*outputs[2:], look], **PRIVATE)


def _wire_deeds(app: App, inputs: tuple[Any, ...], buttons: tuple[gr.Button, gr.Button], to: gr.Radio, outputs: tuple[Any, ...]) -> None:
    repair, convert = buttons

    def work_on(file: str | None, path: str, to: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        language = language_of(request)
        src = chosen_source(file, "" if app.demo else path)
        work = Work(lambda report: _by_name(src, lambda: converted(src, to) if to else repaired(src)), language, t("tools.weights.writing", language))
        for bar in work:
            yield tag("section", bar, class_="lb-card"), gr.DownloadButton(visible=False), *(gr.Button(interactive=False) for _ in buttons)
        outcome = work.result
        there = gr.DownloadButton(value=str(outcome.file), visible=True) if outcome.file else gr.DownloadButton(visible=False)
        yield outcome_html(outcome, language), there, *(gr.Button(interactive=True) for _ in buttons)

    @guarded
    def run_repair(file: str | None, path: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        yield from work_on(file, path, "", request)

    @guarded
    def run_convert(file: str | None, path: str, wanted: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        yield from work_on(file, path, wanted, request)

    @guarded
    def failed() -> tuple[Any, ...]:
        return "", *(gr.Button(interactive=True) for _ in buttons)

    done = [outputs[0], *buttons]
    repair.click(run_repair, list(inputs), [*outputs, *buttons], **PRIVATE).failure(failed, None, done, **PRIVATE)
    convert.click(run_convert, [*inputs, to], [*outputs, *buttons], **PRIVATE).failure(failed, None, done, **PRIVATE)


def told(src: Path, model: str, language: str) -> tuple[Html, bool]:
    """The report on a file, with what `model` makes of it when one is chosen; and whether something can be made of the file."""
    report = inspect(src)
    parts = [report_html(report, model, language)]
    if model and not report.failed:
        from engine.weights_mending.verifying import verify

        parts.insert(0, proof_html(verify(src, model, {}), language))
    return tag("div", *parts, class_="lb-stack"), not report.failed


def repaired(src: Path) -> Outcome:
    """Beside the uploads, where it can be downloaded from; nothing is left there when nothing was wrong."""
    from engine.weights_mending.repairing import repair, repaired_name

    return _in_a_room(lambda room: repair(src, only_if_wrong=room / repaired_name(_inner(src)).name))


def converted(src: Path, to: str) -> Outcome:
    from engine.weights_mending.converting import convert

    return _in_a_room(lambda room: convert(src, room / f"{_inner(src).stem}-{to}{ENDINGS.get(to, '.pth')}", to))


def _by_name(src: Path, deed: Callable[[], Result]) -> Result:
    """What an upload is called where it is kept tells a person nothing: errors name the file alone."""
    try:
        return deed()
    except UserError as error:
        raise UserError(error.key, **{**error.values, **({"path": src.name} if "path" in error.values else {})}) from error


def _inner(src: Path) -> Path:
    """A run folder stands for its best.pt."""
    return src / "best.pt" if src.is_dir() else src


def _in_a_room(deed: Callable[[Path], Outcome]) -> Outcome:
    room = Path(tempfile.mkdtemp(prefix="weights-", dir=uploads()))
    try:
        outcome = deed(room)
    except BaseException:
        shutil.rmtree(room, ignore_errors=True)
        raise
    if outcome.file is None:
        shutil.rmtree(room, ignore_errors=True)
    return outcome


def _intro(language: str) -> Html:
    return tag("div", tag("h2", t("tools.weights.title", language), class_="lb-heading"),
               tag("p", t("tools.weights.text", language), class_="lb-muted"))


def _nothing_yet(language: str) -> Html:
    return tag("section", html.empty_state(t("tools.weights.empty", language), "model"), class_="lb-card")

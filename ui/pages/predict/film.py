"""A video on the page: looked at frame by frame while the page shows how far it is, then played and downloaded."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gradio as gr
from gradio.utils import get_upload_folder

from engine.types import UserError
from engine.video import VIDEO_SUFFIXES
from engine.workspace import Workspace
from ui import html
from ui.guard import guarded
from ui.html import Html, join, tag
from ui.i18n import label, language_of, static, t
from ui.pages.predict import models
from ui.pages.predict.asking import Look
from ui.pages.predict.controls import Begun
from ui.pages.predict.pictures import encoded, fitted
from ui.pages.predict.result import CLASSIFY, Filter, filter_of, held_by
from ui.progress import Step as Progress
from ui.selection import App

if TYPE_CHECKING:
    from engine.predict import Predictor
    from engine.predict_video import Step
    from ui.pages.predict.layout import Parts as Page

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
QUEUED: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_id": "model", "concurrency_limit": 1}
SHOWN_EVERY_S = 0.5
PREVIEW = 960
FILES = ("video", "found", "table")  # as in Outputs
LOOKS, FILTERS = 7, 8  # of the values that the page sends: those that say how to look, then those that say what passes


@dataclass(frozen=True)
class Asked:
    """How to look and what passes, as the controls of the page stand, and where the page had put them."""

    look: Look
    passes: Filter
    begun: Begun

    @classmethod
    def of(cls, values: Sequence[Any]) -> Asked:
        """Of `Parts.moving` of the page. Raises TypeError and ValueError for values that no page sends."""
        return cls(Look(*values[:LOOKS]), filter_of(*values[LOOKS : LOOKS + FILTERS]), *values[LOOKS + FILTERS :])

    def loaded(self, workspace: Workspace) -> Predictor:
        """Raises UserError for models that are not there or cannot be loaded."""
        return models.predictors(models.file_of(workspace, self.look.chosen), self.look.told)

    def chosen(self, loaded: Predictor) -> Filter:
        """What passes: what the visitor did not move is as the loaded model has it."""
        return self.begun.settled(held_by(loaded), self.passes)


@dataclass(frozen=True)
class Parts:
    file: gr.File
    every: gr.Slider
    start: gr.Button
    stop: gr.Button
    well: gr.HTML
    downloads: tuple[gr.DownloadButton, ...]


class Stops:
    """Who pressed Stop, by the visit that asked for a video."""

    def __init__(self) -> None:
        self._lock, self._flags = threading.Lock(), dict[str, threading.Event]()

    def begin(self, visit: str) -> threading.Event:
        with self._lock:
            return self._flags.setdefault(visit, threading.Event())

    def end(self, visit: str) -> None:
        with self._lock:
            self._flags.pop(visit, None)

    def stop(self, visit: str) -> None:
        with self._lock:
            if visit in self._flags:
                self._flags[visit].set()


stops = Stops()


def controls() -> dict[str, Any]:
    return {
        "file": gr.File(label=label("predict.video.file"), file_types=sorted(VIDEO_SUFFIXES), height=150, elem_id="lb-predict-video-file"),
        "every": gr.Slider(1, 30, 1, step=1, label=label("predict.video.every"), info=label("predict.video.every.help"),
                           elem_id="lb-predict-video-every"),
        "start": gr.Button(label("predict.video.start"), variant="primary", elem_id="lb-predict-video-start"),
        "stop": gr.Button(label("predict.video.stop"), variant="stop", visible=False, elem_id="lb-predict-video-stop"),
    }


def results(begun: dict[str, Any]) -> Parts:
    well = gr.HTML(static(empty), js_on_load=None, apply_default_css=False, elem_id="lb-predict-video")
    with gr.Row(elem_classes="lb-pair"):
        files = tuple(gr.DownloadButton(label(f"predict.video.{name}"), size="sm", interactive=False, elem_id=f"lb-predict-video-{name}")
                      for name in FILES)
    return Parts(**begun, well=well, downloads=files)


def wire(app: App, page: Page) -> None:
    parts = page.film
    outputs, asked = [parts.well, parts.start, parts.stop, *parts.downloads, page.only], [parts.file, parts.every, *page.moving]

    @guarded
    def find(request: gr.Request, file: str | None, every: float, *values: Any) -> Iterator[list[Any]]:
        if not file:
            raise UserError("video_missing")
        language, visit = language_of(request), str(request.session_hash)
        stopped = stops.begin(visit)
        try:
            yield from _found(app, Path(file), int(every), values, stopped, language)
        finally:
            stops.end(visit)

    def failed(request: gr.Request) -> list[Any]:
        return state(empty(language_of(request)), busy=False)

    def halt(request: gr.Request) -> None:
        stops.stop(str(request.session_hash))

    parts.start.click(find, asked, outputs, **QUEUED).failure(failed, None, outputs, **QUIET)
    parts.stop.click(halt, None, None, **QUIET)


def _found(app: App, file: Path, every: int, values: tuple[Any, ...], stopped: threading.Event, language: str) -> Iterator[list[Any]]:
    """States of the page until the files are written, or somebody stops it."""
    from engine.predict_video import Outputs, annotate

    progress = Progress(t("predict.loading", language))
    yield state(working(None, progress, language), busy=True)
    asked = Asked.of(values)
    look, loaded = asked.look, asked.loaded(app.workspace)
    outputs, progress, last = Outputs.beside(_folder(), file.stem[:80] or "video"), Progress(t("predict.video.finding", language)), 0.0
    steps = annotate(look.prepare(loaded), loaded.task.name, file, outputs, choices_of(loaded, every, asked.chosen(loaded)))
    step = None
    try:
        for step in steps:
            progress.done, progress.total = step.done, step.total
            if stopped.is_set():
                yield state(working(step, None, language), busy=False)
                return
            if time.monotonic() - last >= SHOWN_EVERY_S:
                last = time.monotonic()
                yield state(working(step, progress, language), busy=True)
    finally:
        steps.close()
    if step is not None:
        *shown, _ = state(played(file.name, outputs.video, step, language), busy=False, files=[outputs.video, outputs.found, outputs.table])
        yield [*shown, gr.Dropdown(choices=[(name, i) for i, name in enumerate(loaded.classes)])]


def choices_of(predictor: Predictor, every: int, chosen: Filter) -> Any:
    """The controls of the page, as the video is drawn with them."""
    from engine.predict_video import Choices

    held = held_by(predictor)
    own = held.task == CLASSIFY and chosen.own and (held.exclusive or held.by_class)
    limits = tuple(predictor.tag_thresholds(None if own else chosen.threshold))
    return Choices(every, chosen, opacity=chosen.opacity, contours=chosen.contours, thresholds=limits)


def state(well: Html, *, busy: bool, files: list[Path] | None = None) -> list[Any]:
    """Updates of the well, of both buttons, of the files and, here none, of the list of classes."""
    given = [gr.DownloadButton(value=str(file), interactive=True) for file in files or ()]
    return [well, gr.Button(interactive=not busy), gr.Button(visible=busy),
            *(given or [gr.DownloadButton(value=None, interactive=False) for _ in FILES]), gr.skip()]


def empty(language: str) -> Html:
    return tag("div", tag("p", t("predict.video.empty", language)), class_="lb-well lb-result lb-result-empty")


def working(step: Step | None, progress: Progress | None, language: str) -> Html:
    """The last frame as it is drawn, and how far it is; without a progress it was stopped."""
    bar = progress.bar(language) if progress else tag("p", t("predict.video.stopped", language), class_="lb-muted lb-small", role="status")
    if step is None:
        return tag("div", tag("div", bar, class_="lb-result-busy"), class_="lb-well lb-result")
    image = tag("img", src=encoded(fitted(step.picture, PREVIEW)), alt=t("predict.video.alt", language), decoding="sync")
    return join([tag("div", image, class_="lb-well lb-result lb-film"), tag("div", bar, class_="lb-film-bar")])


def played(name: str, video: Path, step: Step, language: str) -> Html:
    film = tag("video", src=f"gradio_api/file={quote(str(video))}", controls=True, playsinline=True, muted=True, preload="auto")
    told = t("predict.video.done", language, name=name, frames=html.number(step.done), looked=html.number(step.looked_at),
             rows=html.number(step.objects))
    broken = t("predict.video.breaks_off", language, frames=html.number(step.done), total=html.number(step.total))
    warned = [tag("p", html.icon("warn"), broken, class_="lb-tone-warn lb-small")] if step.breaks_off else []
    return join([tag("div", film, class_="lb-well lb-result lb-film"), tag("p", told, class_="lb-muted lb-small", role="status"), *warned,
                 tag("p", t("predict.video.codec", language), class_="lb-muted lb-small")])


def _folder() -> Path:
    """A new one among the uploads, which are cleared away when nobody needs them any more."""
    uploads = Path(get_upload_folder())
    uploads.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="video-", dir=uploads))

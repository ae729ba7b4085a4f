"""Predict: an image in, what the model finds on it in one large well. Threshold, classes and opacity act on what is already found."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from engine.models import models as registry
from engine.types import UserError
from engine.workspace import Workspace
from ui.guard import guarded
from ui.html import tag
from ui.i18n import label, language_of, static, t
from ui.pages.predict import downloads, models, view
from ui.pages.predict.result import Filter, Result, find_objects
from ui.pages.train.data import WEIGHT_SUFFIXES
from ui.pages.train.data import find as find_dataset
from ui.progress import Work
from ui.selection import App, go_to

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
QUEUED: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_id": "model", "concurrency_limit": 1}
PLAIN: dict[str, Any] = {"apply_default_css": False}
DEFAULT_THRESHOLD = 0.45


@dataclass(frozen=True)
class Parts:
    """The components of the page. `found` holds the Result, `index` which of its images is shown."""

    model: gr.Dropdown
    kind: gr.Dropdown
    train: gr.Button
    upload: gr.UploadButton
    files: gr.File
    sample: gr.Button
    threshold: gr.Slider
    only: gr.Dropdown
    opacity: gr.Slider
    json: gr.Button
    csv: gr.Button
    json_file: gr.DownloadButton
    csv_file: gr.DownloadButton
    well: gr.HTML
    strip: gr.HTML
    found: gr.State
    index: gr.State

    @property
    def filters(self) -> list[Any]:
        return [self.threshold, self.only, self.opacity]


def build(app: App) -> None:
    parts = _layout(app)
    _wire_models(app, parts)
    _wire_finding(app, parts)
    _wire_view(parts)
    _wire_downloads(parts)


def _layout(app: App) -> Parts:
    found, index = gr.State(None), gr.State(0)
    with gr.Row(elem_classes="lb-split", elem_id="lb-predict"):
        with gr.Column(elem_classes="lb-side", scale=0, min_width=320):
            gr.HTML(static(lambda language: tag("h2", t("predict.title", language), class_="lb-heading")), js_on_load=None, **PLAIN)
            model = gr.Dropdown([], label=label("predict.model"), interactive=True, elem_id="lb-predict-model")
            kind = gr.Dropdown([], label=label("predict.kind"), info=label("predict.kind.help"), visible=False, elem_id="lb-predict-kind")
            train = gr.Button(label("runs.start"), variant="primary", visible=False, elem_id="lb-predict-train")
            upload = gr.UploadButton(label("predict.add_weights"), file_types=list(WEIGHT_SUFFIXES), size="sm", visible=not app.demo)
            files = gr.File(label=label("predict.files"), file_count="multiple", file_types=["image"], height=190, elem_id="lb-predict-files")
            sample = gr.Button(label("predict.sample"), size="sm", elem_id="lb-predict-sample")
            with gr.Group():
                threshold = gr.Slider(0.0, 1.0, DEFAULT_THRESHOLD, step=0.01, label=label("predict.threshold"), elem_id="lb-predict-threshold")
                only = gr.Dropdown([], multiselect=True, label=label("predict.only"), info=label("predict.only.help"), elem_id="lb-predict-only")
                opacity = gr.Slider(0.0, 1.0, 1.0, step=0.05, label=label("predict.opacity"), elem_id="lb-predict-opacity")
            with gr.Row(elem_classes="lb-pair"):
                json_button = gr.Button(label("predict.json"), size="sm", interactive=False, elem_id="lb-predict-json")
                csv_button = gr.Button(label("predict.csv"), size="sm", interactive=False, elem_id="lb-predict-csv")
            json_file = gr.DownloadButton("JSON", visible="hidden", elem_id="lb-predict-json-file")
            csv_file = gr.DownloadButton("CSV", visible="hidden", elem_id="lb-predict-csv-file")
        with gr.Column(elem_classes="lb-main"):
            strip = gr.HTML("", js_on_load=view.STRIP_JS, visible=False, elem_id="lb-predict-strip", **PLAIN)
            well = gr.HTML(static(view.empty), js_on_load=view.JS, elem_id="lb-predict-result", **PLAIN)
    return Parts(model, kind, train, upload, files, sample, threshold, only, opacity, json_button, csv_button, json_file, csv_file, well, strip,
                 found, index)


def _wire_models(app: App, parts: Parts) -> None:
    """The list of models follows the workspace, and the header's run."""
    workspace = app.workspace

    def listed(language: str, run: str | None, now: str | None) -> tuple[Any, ...]:
        found = models.choices(workspace)
        chosen = models.pick(found, run, now)
        choices = found or [(t("predict.no_model", language), "")]
        return gr.Dropdown(choices=choices, value=chosen or ""), _kind(chosen), gr.Button(visible=not found)

    @guarded
    def entered(run: str | None, now: str | None, request: gr.Request) -> tuple[Any, ...]:
        return listed(language_of(request), run, now)

    @guarded
    def followed(run: str | None, request: gr.Request) -> tuple[Any, ...]:
        return listed(language_of(request), run, None)

    @guarded
    def added(upload: str, request: gr.Request) -> tuple[Any, ...]:
        if app.demo:
            raise UserError("demo_upload")
        return listed(language_of(request), None, models.add_weights(workspace, upload))

    lists = [parts.model, parts.kind, parts.train]
    app.tab["predict"].select(entered, [app.run, parts.model], lists, **QUIET)
    app.run.change(followed, app.run, lists, **QUIET)
    parts.upload.upload(added, parts.upload, lists, **QUIET)
    parts.model.input(_kind, parts.model, parts.kind, **QUIET)
    parts.train.click(lambda: go_to("train"), None, app.tabs, **QUIET)


def _kind(chosen: str | None) -> gr.Dropdown:
    """Which architecture a bare weights file is for: asked only where it may be needed."""
    if not models.needs_name(chosen):
        return gr.Dropdown(visible=False)
    return gr.Dropdown(choices=[(label("predict.kind_itself"), ""), *((name, name) for name in registry.names())], value="", visible=True)


def _wire_finding(app: App, parts: Parts) -> None:
    workspace = app.workspace
    outputs = [parts.well, parts.strip, parts.found, parts.index, parts.threshold, parts.only, parts.json, parts.csv]

    def find(paths: Sequence[Path], chosen: str | None, kind: str | None, opacity: float, language: str) -> Iterator[list[Any]]:
        weights = models.file_of(workspace, chosen)
        work = Work(lambda report: _search(weights, kind or None, paths, report, language), language, t("predict.loading", language))
        for bar in work:
            yield [view.busy(bar), *[gr.skip()] * 7]
        result: Result = work.result
        shown, ready = view.result_html(result, 0, Filter(result.threshold, None, opacity), language), gr.Button(interactive=bool(result.shots))
        strip = gr.HTML(view.strip(result, language), visible=len(result.shots) > 1)
        yield [shown, strip, result, 0, round(result.threshold, 2), _classes(result), ready, ready]

    @guarded
    def uploaded(request: gr.Request, files: list[str] | None, chosen: str | None, kind: str | None, opacity: float) -> Iterator[list[Any]]:
        if files:
            yield from find([Path(file) for file in files], chosen, kind, opacity, language_of(request))

    @guarded
    def again(request: gr.Request, files: list[str] | None, chosen: str | None, kind: str | None, opacity: float, before: Any) -> Iterator[list[Any]]:
        paths = [Path(file) for file in files or []] or [shot.file for shot in before.shots] if before or files else []
        if paths:
            yield from find(paths, chosen, kind, opacity, language_of(request))

    @guarded
    def sampled(request: gr.Request, dataset: str | None, chosen: str | None, kind: str | None, opacity: float) -> Iterator[list[Any]]:
        yield from find([sample_image(workspace, dataset)], chosen, kind, opacity, language_of(request))

    def failed(request: gr.Request) -> Any:
        return view.empty(language_of(request))

    asked = [parts.model, parts.kind, parts.opacity]
    for event in (parts.files.upload(uploaded, [parts.files, *asked], outputs, **QUEUED),
                  parts.sample.click(sampled, [app.dataset, *asked], outputs, **QUEUED),
                  gr.on([parts.model.input, parts.kind.input], again, [parts.files, *asked, parts.found], outputs, **QUEUED)):
        event.failure(failed, None, parts.well, **QUIET)


def _search(weights: Path, kind: str | None, paths: Sequence[Path], report: Any, language: str) -> Result:
    predictor = models.predictors(weights, kind)
    return find_objects(predictor, paths, lambda done, total: report(done, total, t("predict.finding", language)))


def _classes(result: Result) -> gr.Dropdown:
    return gr.Dropdown(choices=[(name, i) for i, name in enumerate(result.classes)], value=[])


def sample_image(workspace: Workspace, dataset: str | None) -> Path:
    """Some image of the data set that was not trained on, where there is one. Raises UserError without a data set."""
    found = find_dataset(workspace, dataset)
    if found is None:
        raise UserError("no_dataset_chosen")
    split = next((split for split in ("test", "valid", "train") if found.total(split=split)), None)
    if split is None:
        raise UserError("no_dataset_chosen")
    return found.page(random.randrange(found.total(split=split)), 1, split=split)[0].path


def _wire_view(parts: Parts) -> None:
    @guarded
    def show(request: gr.Request, found: Result | None, index: int, threshold: float, only: list[int], opacity: float) -> Any:
        return gr.skip() if found is None else view.result_html(found, index, _filter(threshold, only, opacity), language_of(request))

    @guarded
    def pick(event: gr.EventData) -> int:
        return int(event.index)

    looked_at = [parts.found, parts.index, *parts.filters]
    gr.on([part.input for part in parts.filters], show, looked_at, parts.well, trigger_mode="always_last", **QUIET)
    parts.strip.pick(pick, None, parts.index, **QUIET).then(show, looked_at, parts.well, **QUIET)


def _filter(threshold: float, only: list[int] | None, opacity: float) -> Filter:
    return Filter(float(threshold), tuple(only) if only else None, float(opacity))


def _wire_downloads(parts: Parts) -> None:
    """A press writes the file for the filter as it stands, then the browser fetches it."""
    for button, file, write in ((parts.json, parts.json_file, downloads.json_file), (parts.csv, parts.csv_file, downloads.csv_file)):
        @guarded
        def make(found: Result | None, threshold: float, only: list[int], opacity: float, write: Any = write) -> Any:
            return gr.skip() if found is None else str(write(found, _filter(threshold, only, opacity)))

        fetch = f"() => {{ document.querySelector('#{file.elem_id} a, a#{file.elem_id}, button#{file.elem_id}')?.click(); }}"
        button.click(make, [parts.found, *parts.filters], file, **QUIET).then(None, None, None, js=fetch, **QUIET)

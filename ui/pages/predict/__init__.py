"""Predict: an image in, what the model finds on it in one large well. Threshold, classes and opacity act on what is already found.

Objects, areas and tags share the page; `controls` says which controls each of them needs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from engine.types import UserError
from engine.workspace import Workspace
from ui.guard import guarded
from ui.i18n import language_of, t
from ui.pages.predict import asking, camera, controls, downloads, film, models, view
from ui.pages.predict.asking import Look
from ui.pages.predict.layout import IMAGES, SOURCES, VIDEO, Parts, layout
from ui.pages.predict.result import Filter, Result, filter_of, find_objects, overlap_of
from ui.pages.train.data import find as find_dataset
from ui.progress import Work
from ui.selection import App, go_to
from ui.weights_files import add_weights

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
QUEUED: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_id": "model", "concurrency_limit": 1}
WRITERS = {"json": downloads.json_file, "csv": downloads.csv_file, "zip": downloads.zip_file}


def build(app: App) -> None:
    parts = layout(app)
    _wire_sources(parts)
    _wire_models(app, parts)
    _wire_finding(app, parts)
    _wire_view(parts)
    _wire_downloads(parts)
    film.wire(app, parts)
    camera.wire(app, parts)


def _wire_sources(parts: Parts) -> None:
    """Images, a video or the camera: each has its own controls and its own room."""
    def chose(source: str) -> list[Any]:
        sides = [gr.Column(visible=source == IMAGES), gr.Column(visible=source == VIDEO), gr.Column(visible=source == IMAGES)]
        return [*sides, *(gr.Column(visible=source == each) for each in SOURCES)]

    parts.source.change(chose, parts.source, [*parts.sides, *parts.rooms], **QUIET)


def _wire_models(app: App, parts: Parts) -> None:
    """The list of models follows the workspace, and the header's run."""
    workspace = app.workspace

    def controls_of(chosen: str | None, language: str) -> list[Any]:
        task, overlap = models.trained_as(workspace, chosen)
        return controls.for_task(task, language, overlap)

    def listed(language: str, run: str | None, now: str | None) -> tuple[Any, ...]:
        found = models.choices(workspace)
        chosen = models.pick(found, run, now)
        choices = found or [(t("predict.no_model", language), "")]
        shown = controls_of(chosen, language)
        return gr.Dropdown(choices=choices, value=chosen or ""), *asking.asked(chosen), gr.Button(visible=not found), *shown

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
        return listed(language_of(request), None, add_weights(workspace, upload, models.SUFFIXES))

    lists = [parts.model, parts.kind, parts.inside, parts.train, *parts.by_model]
    app.tab["predict"].select(entered, [app.run, parts.model], lists, **QUIET)
    app.run.change(followed, app.run, lists, **QUIET)
    parts.upload.upload(added, parts.upload, lists, **QUIET)

    @guarded
    def chose(chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        return *asking.asked(chosen), *controls_of(chosen, language_of(request))

    parts.model.input(chose, parts.model, [parts.kind, parts.inside, *parts.by_model], **QUIET)
    parts.kind.input(asking.inside, parts.kind, parts.inside, **QUIET)
    parts.train.click(lambda: go_to("train"), None, app.tabs, **QUIET)


def _wire_finding(app: App, parts: Parts) -> None:
    workspace = app.workspace
    buttons = [button for button, _ in parts.downloads]
    outputs = [parts.well, parts.strip, parts.found, parts.index, *parts.by_task, *buttons]

    def find(paths: Sequence[Path], look: Look, before: Result | None, language: str) -> Iterator[list[Any]]:
        weights = models.file_of(workspace, look.chosen)
        work = Work(lambda report: _search(weights, look, paths, report, language), language, t("predict.loading", language))
        for bar in work:
            yield [view.busy(bar), *[gr.skip()] * (len(outputs) - 1)]
        result: Result = work.result
        opacity = look.opacity if before and before.task == result.task else controls.OPACITY.get(result.task, 1.0)
        shown = view.result_html(result, 0, Filter(result.threshold, None, opacity, look.contours, nms=result.nms, every=look.every), language)
        strip = gr.HTML(view.strip(result, language), visible=len(result.shots) > 1)
        ready = [gr.Button(interactive=bool(result.shots)) for _ in buttons]
        yield [shown, strip, result, 0, *controls.for_result(result, opacity, look.contours, language), *ready]

    def nothing() -> Iterator[list[Any]]:
        """An event that yields nothing at all would empty its outputs."""
        yield [gr.skip()] * len(outputs)

    @guarded
    def uploaded(request: gr.Request, files: list[str] | None, before: Result | None, *look: Any) -> Iterator[list[Any]]:
        yield from find([Path(file) for file in files], Look(*look), before, language_of(request)) if files else nothing()

    @guarded
    def again(request: gr.Request, files: list[str] | None, before: Result | None, *look: Any) -> Iterator[list[Any]]:
        paths, wanted = [shot.file for shot in before.shots] if before else [Path(file) for file in files or []], Look(*look)
        changed = before is None or before.look != wanted.way  # a list tells its choice twice: when it is made and when it is left
        yield from find(paths, wanted, before, language_of(request)) if paths and changed else nothing()

    @guarded
    def sampled(request: gr.Request, dataset: str | None, before: Result | None, *look: Any) -> Iterator[list[Any]]:
        yield from find([sample_image(workspace, dataset)], Look(*look), before, language_of(request))

    def failed(request: gr.Request) -> Any:
        return view.empty(language_of(request))

    asked = [parts.found, *parts.looks, parts.opacity, parts.contours]
    changes = [part.input for part in parts.looks]
    for event in (parts.files.upload(uploaded, [parts.files, *asked], outputs, **QUEUED),
                  parts.sample.click(sampled, [app.dataset, *asked], outputs, **QUEUED),
                  gr.on(changes, again, [parts.files, *asked], outputs, **QUEUED)):
        event.failure(failed, None, parts.well, **QUIET)


def _search(weights: Path, look: Look, paths: Sequence[Path], report: Any, language: str) -> Result:
    loaded = models.predictors(weights, look.told)
    result = find_objects(look.prepare(loaded), paths, lambda done, total: report(done, total, t("predict.finding", language)))
    result.source, result.look, result.nms = (weights, look.told), look.way, overlap_of(loaded)
    return result


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
    def show(request: gr.Request, found: Result | None, index: int, *chosen: Any) -> Any:
        return gr.skip() if found is None else view.result_html(found, index, filter_of(*chosen), language_of(request))

    @guarded
    def pick(event: gr.EventData) -> int:
        return int(event.index)

    @guarded
    def explain(event: gr.EventData) -> int:
        return int(event.index)

    looked_at = [parts.found, parts.index, *parts.filters]
    quick = [part.input for part in parts.filters if part not in (parts.explain, parts.own, parts.every)]
    gr.on(quick, show, looked_at, parts.well, trigger_mode="always_last", **QUIET)
    parts.own.input(lambda own: gr.Slider(visible=not own), parts.own, parts.threshold, **QUIET).then(show, looked_at, parts.well, **QUIET)
    parts.explain.input(show, looked_at, parts.well, **QUEUED)
    parts.well.pick(explain, None, parts.explain, **QUIET).then(show, looked_at, parts.well, **QUEUED)
    parts.strip.pick(pick, None, parts.index, **QUIET).then(show, looked_at, parts.well, **QUEUED)


def _wire_downloads(parts: Parts) -> None:
    """A press writes the file for the filter as it stands, then the browser fetches it."""
    for (button, file), write in zip(parts.downloads, WRITERS.values(), strict=True):
        @guarded
        def make(found: Result | None, *chosen: Any, write: Any = write) -> Any:
            return gr.skip() if found is None else str(write(found, filter_of(*chosen)))

        fetch = f"() => {{ document.querySelector('#{file.elem_id} a, a#{file.elem_id}, button#{file.elem_id}')?.click(); }}"
        button.click(make, [parts.found, *parts.filters], file, **QUEUED).then(None, None, None, js=fetch, **QUIET)

"""Predict: an image in, what the model finds on it in one large well. Threshold, classes and opacity act on what is already found.

Objects, areas and tags share the page; `controls` says which controls each of them needs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from engine.types import UserError
from engine.workspace import Workspace
from ui.guard import guarded
from ui.i18n import language_of, t
from ui.latest import latest
from ui.pages.predict import asking, camera, controls, downloads, film, models, view
from ui.pages.predict.asking import Look
from ui.pages.predict.controls import Begun
from ui.pages.predict.layout import IMAGES, SOURCES, VIDEO, Parts, layout
from ui.pages.predict.result import Result, filter_of, find_objects, overlap_of
from ui.pages.train.data import find as find_dataset
from ui.progress import Work
from ui.selection import App, go_to
from ui.weights_files import add_weights

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
QUEUED: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_id": "model", "concurrency_limit": 1}
ON_SHOW = "(source, ...rest) => [document.querySelector('#lb-predict')?.offsetParent ? source : null, ...rest]"  # no source on another page
WRITERS = {"json": downloads.json_file, "csv": downloads.csv_file, "zip": downloads.zip_file}


def build(app: App) -> None:
    parts = layout(app)
    _wire_sources(parts)
    fresh, chosen = _wire_lists(app, parts)
    _wire_finding(app, parts, fresh, [*chosen, *_wire_choice(app, parts)])
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


def _controls_of(app: App, chosen: str | None, kind: str | None, begun: Begun, language: str) -> list[Any]:
    return controls.for_model(models.held(app.workspace, chosen, kind), begun, (chosen, kind or None), language)


def _asked_of(app: App, parts: Parts, chosen: str | None, begun: Begun, language: str) -> list[Any]:
    """Nothing where the same model is chosen again: a list tells its choice twice, when it is made and when it is left."""
    if begun.model and begun.model[0] == chosen:
        return [gr.skip()] * (2 + len(parts.by_model))
    return [*asking.asked(chosen), *_controls_of(app, chosen, None, begun, language)]


def _wire_lists(app: App, parts: Parts) -> tuple[Callable[[Any], Any], list[Any]]:
    """The list of models follows the workspace, and the header's run.

    Returns how any event can have the list made first, and the events after which another model may be chosen.
    """
    def listed(language: str, begun: Begun, run: str | None, now: str | None) -> list[Any]:
        found = models.choices(app.workspace)
        chosen = models.pick(found, run, now)
        choices = found or [(t("predict.no_model", language), "")]
        return [gr.Dropdown(choices=choices, value=chosen or ""), gr.Button(visible=not found), *_asked_of(app, parts, chosen, begun, language)]

    @guarded
    def entered(begun: Begun, run: str | None, now: str | None, request: gr.Request) -> list[Any]:
        return listed(language_of(request), begun, run, now)

    @guarded
    def followed(begun: Begun, run: str | None, request: gr.Request) -> list[Any]:
        return listed(language_of(request), begun, run, None)

    @guarded
    def added(begun: Begun, upload: str, request: gr.Request) -> list[Any]:
        if app.demo:
            raise UserError("demo_upload")
        return listed(language_of(request), begun, None, add_weights(app.workspace, upload, models.SUFFIXES))

    lists = [parts.model, parts.train, parts.kind, parts.inside, *parts.by_model]

    def fresh(event: Any) -> Any:
        return event(entered, [parts.begun, app.run, parts.model], lists, **QUIET)

    return fresh, [fresh(app.tab["predict"].select), app.run.change(followed, [parts.begun, app.run], lists, **QUIET),
                   parts.upload.upload(added, [parts.begun, parts.upload], lists, **QUIET)]


def _wire_choice(app: App, parts: Parts) -> list[Any]:
    """What is asked of the chosen model, and where the controls begin. Returns the events after which it is another one."""
    @guarded
    def chose(chosen: str | None, begun: Begun, request: gr.Request) -> list[Any]:
        return _asked_of(app, parts, chosen, begun, language_of(request))

    @guarded
    def told(kind: str | None, chosen: str | None, begun: Begun, request: gr.Request) -> list[Any]:
        return [asking.inside(kind), *_controls_of(app, chosen, kind, begun, language_of(request))]

    parts.train.click(lambda: go_to("train"), None, app.tabs, **QUIET)
    return [parts.model.input(chose, [parts.model, parts.begun], [parts.kind, parts.inside, *parts.by_model], **QUIET),
            parts.kind.input(told, [parts.kind, parts.model, parts.begun], [parts.inside, *parts.by_model], **QUIET)]


def _wire_finding(app: App, parts: Parts, fresh: Callable[[Any], Any], chosen: Sequence[Any]) -> None:
    """Images are looked at when they come, and anew once something else is asked while they are on show.

    `fresh`: images may come before the page has its list of models. `chosen`: events that choose a model.
    """
    workspace = app.workspace
    buttons = [button for button, _ in parts.downloads]
    outputs = [parts.well, parts.strip, parts.found, parts.index, *buttons]

    def find(paths: Sequence[Path], look: Look, shown: Path | None, language: str) -> Iterator[list[Any]]:
        weights = models.file_of(workspace, look.chosen)
        work = Work(lambda report: _search(weights, look, paths, report, language), language, t("predict.loading", language))
        for bar in work:
            yield [view.busy(bar), *[gr.skip()] * (len(outputs) - 1)]
        result: Result = work.result
        index = result.place(shown)
        strip = gr.HTML(view.strip(result, index, language), visible=len(result.shots) > 1)
        yield [gr.skip(), strip, result, index, *(gr.Button(interactive=bool(result.shots)) for _ in buttons)]

    @guarded
    def uploaded(request: gr.Request, files: list[str] | None, before: Result | None, index: int, *look: Any) -> Iterator[list[Any]]:
        yield from find([Path(file) for file in files], Look(*look), _shown(before, index), language_of(request)) if files else _nothing(outputs)

    @guarded
    def again(request: gr.Request, source: str | None, files: list[str] | None, before: Result | None, index: int, *look: Any) -> Iterator[list[Any]]:
        paths, wanted = before.files if before else [Path(file) for file in files or []], Look(*look)
        stale = source == IMAGES and (before is None or before.look != wanted.way)
        yield from find(paths, wanted, _shown(before, index), language_of(request)) if paths and stale else _nothing(outputs)

    @guarded
    def sampled(request: gr.Request, dataset: str | None, before: Result | None, index: int, *look: Any) -> Iterator[list[Any]]:
        yield from find([sample_image(workspace, dataset)], Look(*look), _shown(before, index), language_of(request))

    asked = [parts.found, parts.index, *parts.looks]
    anew: dict[str, Any] = {"fn": again, "inputs": [parts.source, parts.files, *asked], "outputs": outputs, "js": ON_SHOW, **QUEUED}
    changes = [parts.source.change, *(part.input for part in parts.looks if part not in (parts.model, parts.kind))]
    for event in (fresh(parts.files.upload).then(uploaded, [parts.files, *asked], outputs, **QUEUED),
                  fresh(parts.sample.click).then(sampled, [app.dataset, *asked], outputs, **QUEUED),
                  latest(changes, **anew), *(event.then(trigger_mode="always_last", **anew) for event in chosen)):
        _wire_settling(parts, event)


def _wire_settling(parts: Parts, event: Any) -> None:
    """What was found is drawn as the controls stand by then; those that nobody moved go to where the model has them."""
    def failed(request: gr.Request) -> Any:
        return view.empty(language_of(request))

    @guarded
    def settle(request: gr.Request, found: Result | None, index: int, begun: Begun, *values: Any) -> list[Any]:
        look, language = Look(*values[: len(parts.looks)]), language_of(request)
        if found is None or found.look != look.way:  # it will be looked at anew
            return [gr.skip()] * (1 + len(parts.by_model))
        chosen, updates = controls.for_result(found, begun, filter_of(*values[len(parts.looks):]), language)
        return [view.result_html(found, index, chosen, language), *updates]

    event.failure(failed, None, parts.well, **QUIET)
    event.success(settle, [parts.found, parts.index, parts.begun, *parts.looks, *parts.filters], [parts.well, *parts.by_model], **QUEUED)


def _nothing(outputs: Sequence[Any]) -> Iterator[list[Any]]:
    """An event that yields nothing at all would empty its outputs."""
    yield [gr.skip()] * len(outputs)


def _shown(found: Result | None, index: int) -> Path | None:
    """The file of the image that is on show."""
    return found.shot(index).file if found and found.shots else None


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

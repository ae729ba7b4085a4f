"""The drop zone: says what it recognises and why, imports it, and keeps the upload when that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from engine.datasets import looking, source
from engine.datasets.convert import IMAGE_FAULTS
from engine.datasets.formats import formats
from engine.datasets.images import IMAGE_SUFFIXES, is_image
from engine.types import Problem, UserError
from engine.workspace import Import, Workspace
from ui import html
from ui.findings import tally
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, plural, static, t
from ui.pages.data.panel import QUIET, Room, sent
from ui.pages.data.stops import Stopped, Stops
from ui.progress import Work
from ui.selection import choose_dataset, go_to
from ui.sources import ARCHIVES, chosen_source, stem_of

LOOK_AHEAD_BYTES = 300 << 20
MOST_FOLDERS, MOST_FILES = 2_000, 100_000  # looked at before Import is pressed
ASK_FORMAT = frozenset(("several_formats", "no_format", "format_not_found"))


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
    stop: gr.Button

    @property
    def inputs(self) -> list[Any]:
        return [self.file, self.path, self.name, self.format]


def build(*, demo: bool, opened: bool) -> DropZone:
    with gr.Accordion(label("data.add"), open=opened, elem_id="lb-data-add") as frame, gr.Row(elem_classes="lb-import", equal_height=True):
        with gr.Column(elem_classes="lb-plain-form", min_width=280):
            file = gr.File(label=label("data.file"), file_types=file_types(), file_count="multiple", height=188, elem_id="lb-data-file")
        with gr.Column(elem_classes=["lb-plain-form", "lb-stacked"], min_width=280):
            path = gr.Textbox(label=label("data.path"), placeholder=label("data.path_example"), visible=not demo, max_lines=1,
                              elem_id="lb-data-path")
            name = gr.Textbox(label=label("data.name"), max_lines=1, elem_id="lb-data-name")
            choice = gr.Dropdown([(label("data.format_auto"), ""), *((label(f"format.{each}"), each) for each in formats.names())], value="",
                                 label=label("data.format"), visible=False, elem_id="lb-data-format")
            seen = gr.HTML(static(nothing_seen), elem_id="lb-data-seen")
            with gr.Row(elem_classes="lb-pair"):
                start = gr.Button(label("data.import"), variant="primary", elem_id="lb-data-import")
                stop = gr.Button(label("data.cancel"), variant="secondary", visible=False, elem_id="lb-data-stop")
    return DropZone(frame, file, path, name, choice, seen, start, stop)


def file_types() -> list[str]:
    """Archives, label files, and images dropped one by one or with their label files."""
    return list(dict.fromkeys([*ARCHIVES, *sorted(source.label_file_suffixes()), *sorted(IMAGE_SUFFIXES), ".txt"]))


def wire(room: Room, zone: DropZone, status: gr.HTML) -> None:
    app, stops = room.app, Stops()

    @guarded
    def see(file: list[str] | None, path: str, choice: str, request: gr.Request) -> tuple[Any, ...]:
        seen, ask = look(file, "" if app.demo else path, choice, language_of(request))
        return seen, gr.Dropdown(visible=ask), suggested_name(file, path, language_of(request))

    @guarded
    def bring_in(file: list[str] | None, path: str, name: str, choice: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        language = language_of(request)
        try:
            src = chosen_source(file, "" if app.demo else path)
            work = Work(lambda report: run(app.workspace, src, name, choice, stops.begin(request, report), language), language,
                        t("data.importing", language))
            for bar in work:
                yield tag("section", bar, class_="lb-card"), gr.Button(interactive=False), gr.Button(visible=True, interactive=True), *unchanged
            report = work.result
        except Stopped:
            yield "", gr.Button(interactive=True), gr.Button(visible=False), *unchanged[1:], stopped(language)
            return
        except UserError as error:
            ask = error.key in ASK_FORMAT or bool(choice)
            again = gr.Button(label("data.try_again"), interactive=True)
            yield failure(error, language), again, gr.Button(visible=False), gr.Dropdown(visible=ask), *unchanged[2:], nothing_seen(language)
            return
        yield (done(report, language), gr.Button(label("data.import"), interactive=True), gr.Button(visible=False),
               gr.Dropdown(visible=False, value=""), choose_dataset(app.workspace, report.dataset, language), gr.Accordion(open=False),
               None, "", "", nothing_seen(language))

    @guarded
    def pressed(event: gr.EventData) -> tuple[Any, Any]:
        what = sent(event).get("send")
        return gr.Tabs(selected="health") if what == "health" else gr.skip(), go_to("label") if what == "label" else gr.skip()

    @guarded
    def end(request: gr.Request) -> gr.Button:
        stops.stop(request)
        return gr.Button(interactive=False)

    outputs = [status, zone.start, zone.stop, zone.format, app.dataset, zone.frame, zone.file, zone.path, zone.name, zone.seen]
    unchanged = (gr.skip(),) * (len(outputs) - 3)
    looks = [event(see, [zone.file, zone.path, zone.format], [zone.seen, zone.format, zone.name], **QUIET)
             for event in (zone.file.upload, zone.file.clear, zone.path.submit, zone.path.blur, zone.format.input)]
    zone.start.click(bring_in, zone.inputs, outputs, **{**QUIET, "concurrency_limit": 4}, cancels=looks).failure(
        lambda: ("", gr.Button(interactive=True), gr.Button(visible=False)), None, outputs[:3], **QUIET)
    zone.stop.click(end, None, zone.stop, queue=False, **QUIET)
    app.dataset.input(lambda: "", None, status, queue=False, **QUIET)
    for edited in (zone.file.upload, zone.file.clear, zone.path.input, zone.format.input):  # another try, and not the same again
        edited(lambda: (gr.Button(label("data.import")), ""), None, [zone.start, status], queue=False, **QUIET)
    status.send(pressed, None, [room.views, app.tabs], queue=False, **QUIET)


def look(file: list[str] | None, path: str, choice: str, language: str) -> tuple[Html, bool]:
    """What the chosen thing is and why, and whether to ask for the format. Large archives are recognised while they are imported."""
    if not file and not path.strip():
        return nothing_seen(language), False
    try:
        src = chosen_source(file, path)
        if src.is_file() and src.stat().st_size > LOOK_AHEAD_BYTES:
            return seen_html(t("data.seen_later", language, name=src.name)), False
        with looking.bounded(folders=MOST_FOLDERS, files=MOST_FILES), source.opened(src) as root:
            found, evidence = source.recognise(root, choice or None)
    except UserError as error:
        if error.key == "too_much_to_look_at":
            return seen_html(t("data.seen_later", language, name=src.name)), False
        return failure(error, language), error.key in ASK_FORMAT
    return seen_html(t("data.seen", language, format=t(f"format.{found.name}", language), evidence=evidence), "good"), bool(choice)


def suggested_name(file: list[str] | None, path: str, language: str | None = None) -> str:
    if file and (len(file) > 1 or is_image(file[0])):
        return t("data.dropped_name", language)
    return stem_of(Path(file[0])) if file else Path(path.strip().strip("\"'")).name


def run(workspace: Workspace, src: Path, name: str, choice: str, report: Callable[..., None], language: str) -> Import:
    """Imports, telling what is being done and how much of it."""
    def told(stage: str, done: int, total: int) -> None:
        report(done, total, t(f"data.{stage}", language))

    return workspace.import_dataset(src, name.strip() or stem_of(src), source_format=choice or None, report=told)[1]


def done(report: Import, language: str) -> Html:
    """What came in, as what it was recognised, how many images did not, and the way to what is wrong."""
    images = sum(row["images"] for row in report.splits.values())
    words = t("data.imported", language, images=plural("data.n_images", images, language), format=t(f"format.{report.format}", language))
    missing = sum(left_out(problem) for problem in report.problems)
    notes = [plural("data.import_left_out", missing, language)] if missing else []
    notes += [t("data.renamed", language, wanted=report.renamed_from, name=report.name)] if report.renamed_from else []
    found = tag("p", tally(report.problems, language), " ", tag("button", t("data.to_health", language), type="button", class_="lb-button lb-quiet",
                                                              data_send="health"), class_="lb-muted") if report.problems else ""
    bare = images and all(row.get("unlabeled") == row["images"] for row in report.splits.values())
    on = tag("p", tag("button", t("data.to_label", language), type="button", class_="lb-button", data_send="label")) if bare else ""
    mark = tag("span", html.icon("check"), class_="lb-tone-good")
    return tag("section", mark, tag("div", tag("b", words), *(tag("p", note, class_="lb-muted") for note in notes), found, on),
               class_="lb-notice lb-notice-good", role="status")


def left_out(problem: Problem) -> int:
    """How many images a problem has cost."""
    return int(problem.values["count"]) if problem.code == "images_missing_more" else int(problem.code in IMAGE_FAULTS)


def failure(error: UserError, language: str) -> Html:
    """The message in the page itself, since a pop-up goes away."""
    mark = tag("span", html.icon("error"), class_="lb-tone-bad")
    return tag("section", mark, tag("div", tag("b", error.message(language)), tag("p", error.remedy(language), class_="lb-muted")),
               class_="lb-notice", role="alert")


def stopped(language: str) -> Html:
    return seen_html(t("data.import_stopped", language))


def nothing_seen(language: str) -> Html:
    return seen_html(t("data.seen_nothing", language))


def seen_html(words: str, state: str = "none") -> Html:
    return tag("div", html.dot(state, words), class_="lb-seen lb-small", role="status")

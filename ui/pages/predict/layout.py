"""The components of the page: what it looks at, the model, how to look, and what is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ui.html import tag
from ui.i18n import label, static, t
from ui.pages.predict import camera, film, view
from ui.pages.predict.controls import Begun
from ui.pages.predict.models import SUFFIXES
from ui.pages.predict.result import OVERLAP, THRESHOLD
from ui.selection import App

PLAIN: dict[str, Any] = {"apply_default_css": False}
FILES = ("json", "csv", "zip")
IMAGES, VIDEO, CAMERA = SOURCES = ("images", "video", "camera")
SLICES = ("320", "480", "640", "960", "1280")


@dataclass(frozen=True)
class Parts:
    """The components of the page. `found` holds the Result, `index` which of its images is shown, `begun` where the sliders were put;
    `sides` what each of SOURCES is asked with, `rooms` where its answer stands."""

    model: gr.Dropdown
    kind: gr.Dropdown
    inside: gr.Dropdown
    train: gr.Button
    upload: gr.UploadButton
    source: gr.Radio
    files: gr.File
    sample: gr.Button
    threshold: gr.Slider
    only: gr.Dropdown
    opacity: gr.Slider
    contours: gr.Checkbox
    own: gr.Checkbox
    explain: gr.Dropdown
    nms: gr.Slider
    tta: gr.Checkbox
    tiled: gr.Checkbox
    every: gr.Checkbox
    slices: gr.Dropdown
    downloads: tuple[tuple[gr.Button, gr.DownloadButton], ...]
    well: gr.HTML
    strip: gr.HTML
    film: film.Parts
    camera: gr.HTML
    sides: tuple[gr.Column, ...]
    rooms: tuple[gr.Column, ...]
    found: gr.State
    index: gr.State
    begun: gr.State

    @property
    def filters(self) -> list[Any]:
        return [self.threshold, self.only, self.opacity, self.contours, self.own, self.explain, self.nms, self.every]

    @property
    def looks(self) -> list[Any]:
        """How the model is asked to look: a change asks it again."""
        return [self.model, self.kind, self.inside, self.tta, self.tiled, self.every, self.slices]

    @property
    def by_model(self) -> list[Any]:
        """What `controls` sets, shows and hides when a model is chosen, and when it has looked."""
        return [self.threshold, self.only, self.opacity, self.contours, self.own, self.explain, self.nms, self.tta, self.tiled, self.every,
                self.slices, self.begun]

    @property
    def moving(self) -> list[Any]:
        """What a video and the camera are looked at with; see `film.Asked`."""
        return [*self.looks, *self.filters, self.begun]


def layout(app: App) -> Parts:
    found, index, begun = gr.State(None), gr.State(0), gr.State(Begun())
    with gr.Row(elem_classes="lb-split", elem_id="lb-predict"):
        with gr.Column(elem_classes="lb-side", scale=0, min_width=320):
            gr.HTML(static(lambda language: tag("h2", t("predict.title", language), class_="lb-heading")), js_on_load=None, **PLAIN)
            asked = _model(app)
            source = gr.Radio([(label(f"predict.source.{name}"), name) for name in SOURCES], value=IMAGES, label=label("predict.source"),
                              elem_id="lb-predict-source")
            with gr.Column(elem_classes="lb-stacked") as images:
                files = gr.File(label=label("predict.files"), file_count="multiple", file_types=["image"], height=190, elem_id="lb-predict-files")
                sample = gr.Button(label("predict.sample"), size="sm", elem_id="lb-predict-sample")
            with gr.Column(elem_classes="lb-stacked", visible=False) as video:
                film_controls = film.controls()
            with gr.Column(elem_classes="lb-stacked", elem_id="lb-predict-settings"):
                shown, looks = _filters(), _looks()
                with gr.Column(elem_classes="lb-stacked") as files_side, gr.Row(elem_classes="lb-pair"):
                    files_of = tuple(_download(name) for name in FILES)
        with gr.Column(elem_classes="lb-main"):
            with gr.Column() as still:
                strip = gr.HTML("", js_on_load=view.STRIP_JS, visible=False, elem_id="lb-predict-strip", **PLAIN)
                well = gr.HTML(static(view.empty), js_on_load=view.JS, elem_id="lb-predict-result", **PLAIN)
            with gr.Column(visible=False) as moving:
                filmed = film.results(film_controls)
            with gr.Column(visible=False) as live:
                seen = camera.component(app.workspace)
    return Parts(**asked, source=source, files=files, sample=sample, **shown, **looks, downloads=files_of, well=well, strip=strip, film=filmed,
                 camera=seen, sides=(images, video, files_side), rooms=(still, moving, live), found=found, index=index,
                 begun=begun)


def _model(app: App) -> dict[str, Any]:
    return {
        "model": gr.Dropdown([], label=label("predict.model"), interactive=True, elem_id="lb-predict-model"),
        "kind": gr.Dropdown([], label=label("predict.kind"), info=label("predict.kind.help"), visible=False, elem_id="lb-predict-kind"),
        "inside": gr.Dropdown([], label=label("predict.inside"), info=label("predict.inside.help"), visible=False, allow_custom_value=True,
                              elem_id="lb-predict-inside"),
        "train": gr.Button(label("runs.start"), variant="primary", visible=False, elem_id="lb-predict-train"),
        "upload": gr.UploadButton(label("predict.add_weights"), file_types=list(SUFFIXES), size="sm", visible=not app.demo),
    }


def _filters() -> dict[str, Any]:
    """What passes, and how it is drawn."""
    with gr.Group():
        return {
            "own": gr.Checkbox(True, label=label("predict.own"), info=label("predict.own.help"), visible=False, elem_id="lb-predict-own"),
            "threshold": gr.Slider(0.0, 1.0, THRESHOLD, step=0.01, label=label("predict.threshold"), elem_id="lb-predict-threshold"),
            "nms": gr.Slider(0.0, 1.0, OVERLAP, step=0.05, label=label("predict.nms"), info=label("predict.nms.help"), visible=False,
                             elem_id="lb-predict-nms"),
            "only": gr.Dropdown([], multiselect=True, label=label("predict.only"), info=label("predict.only.help"), elem_id="lb-predict-only"),
            "explain": gr.Dropdown([], label=label("predict.explain"), info=label("predict.explain.help"), visible=False,
                                   elem_id="lb-predict-explain"),
            "opacity": gr.Slider(0.0, 1.0, 1.0, step=0.05, label=label("predict.opacity"), elem_id="lb-predict-opacity"),
            "contours": gr.Checkbox(False, label=label("predict.contours"), visible=False, elem_id="lb-predict-contours"),
        }


def _looks() -> dict[str, Any]:
    """How the model looks."""
    slices = [*((label(f"predict.slices.{name}"), name) for name in ("off", "auto")), *((f"{side} px", side) for side in SLICES)]
    with gr.Group():
        return {
            "tta": gr.Checkbox(False, label=label("predict.tta"), info=label("predict.tta.help"), elem_id="lb-predict-tta"),
            "tiled": gr.Checkbox(False, label=label("predict.tiled"), info=label("predict.tiled.help"), visible=False, elem_id="lb-predict-tiled"),
            "every": gr.Checkbox(False, label=label("predict.every"), info=label("predict.every.help"), visible=False, elem_id="lb-predict-every"),
            "slices": gr.Dropdown(slices, value="off", label=label("predict.slices"), info=label("predict.slices.help"),
                                  elem_id="lb-predict-slices"),
        }


def _download(name: str) -> tuple[gr.Button, gr.DownloadButton]:
    """A button that a person presses, and the hidden one that holds the file."""
    return (gr.Button(label(f"predict.{name}"), size="sm", interactive=False, elem_id=f"lb-predict-{name}"),
            gr.DownloadButton(name.upper(), visible="hidden", elem_id=f"lb-predict-{name}-file"))

"""What the page asks before it looks: the model, what a bare weights file does not tell of itself, and how to look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from engine.models import models as registry
from ui.i18n import label
from ui.pages.predict import models
from ui.pages.predict.result import prepared

if TYPE_CHECKING:
    from engine.predict import Predictor


@dataclass(frozen=True)
class Look:
    """What the page says of the model when images are to be looked at."""

    chosen: str | None
    kind: str | None
    inside: str | None
    tta: bool
    tiled: bool
    every: bool
    slices: str | None

    @property
    def way(self) -> tuple[Any, ...]:
        return self.chosen, self.told, self.tta, self.tiled, self.every, self.slices

    def prepare(self, predictor: Predictor) -> Predictor:
        """The loaded model, told to look this way. Raises UserError for slices that make no sense."""
        return prepared(predictor, tta=self.tta, tiled=self.tiled, every=self.every, slices=self.slices or "off")

    @property
    def told(self) -> models.Told:
        return models.told(self.kind, self.inside)


def asked(chosen: str | None) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Which architecture a bare weights file is for: asked only where it may be needed."""
    if not models.needs_name(chosen):
        return gr.Dropdown(visible=False), gr.Dropdown(value=None, visible=False)
    choices = [(label("predict.kind_itself"), ""), *((name, name) for name in registry.names())]
    return gr.Dropdown(choices=choices, value="", visible=True), gr.Dropdown(value=None, visible=False)


def inside(kind: str | None) -> gr.Dropdown:
    """The encoder or backbone, where the architecture has the choice of one."""
    option, common = models.inside_of(kind)
    return gr.Dropdown(choices=list(common), value=None, visible=bool(option))

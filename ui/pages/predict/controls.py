"""Which controls a task needs, and where they stand: as a model has them when it is chosen, then as the visitor leaves them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from ui.i18n import t
from ui.pages.predict.result import CLASSIFY, DETECT, INSTANCE, OVERLAP, SEMANTIC, THRESHOLD, Filter, Held, Result

OPACITY = {DETECT: 1.0, INSTANCE: 0.45, SEMANTIC: 0.45, CLASSIFY: 0.6}
FILLED = (INSTANCE, SEMANTIC)
NOBODY = -1  # in the list of classes to explain
CONTROLS = 11  # of Parts.by_model, before what they began with


@dataclass(frozen=True)
class Begun:
    """Where the page itself put its sliders last, and for which model and architecture: a slider that stands elsewhere was moved by the visitor."""

    model: tuple[str | None, str | None] | None = None
    threshold: float = THRESHOLD
    nms: float = OVERLAP
    opacity: float = 1.0

    def settled(self, held: Held, chosen: Filter) -> Filter:
        """As the page stands, but what the visitor did not move as the loaded model has it."""
        own: dict[str, Any] = {"threshold": held.threshold, "nms": held.nms, "opacity": OPACITY.get(held.task or DETECT, 1.0)}
        return replace(chosen, **{name: value for name, value in own.items() if getattr(chosen, name) == getattr(self, name)})

    def after(self, held: Held, model: tuple[str | None, str | None] | None) -> Begun:
        """Once the page has put its sliders to what this model has."""
        return Begun(model, held.threshold, held.nms, OPACITY.get(held.task or DETECT, 1.0))


def for_model(held: Held, begun: Begun, model: tuple[str | None, str | None], language: str) -> list[Any]:
    """Updates of `Parts.by_model` when a model is chosen: all begins anew, but how strongly is drawn where the task wants no other strength.

    A model that is chosen again changes nothing. A bare file shows the controls of objects until it has been loaded.
    """
    if begun.model == model:
        return [gr.skip()] * (CONTROLS + 1)
    after = begun.after(held, model)
    values: dict[str, Any] = {"threshold": after.threshold, "only": [], "own": True, "explain": NOBODY, "nms": after.nms}
    if after.opacity != begun.opacity:
        values["opacity"] = after.opacity
    return [*_updates(held, True, values, language), after]


def for_result(result: Result, begun: Begun, chosen: Filter, language: str) -> tuple[Filter, list[Any]]:
    """What passes, and updates of `Parts.by_model`, once images have been looked at: what the visitor did not move is as the model has it."""
    settled = begun.settled(result.held, chosen)
    moved = {name: getattr(settled, name) for name in ("threshold", "nms", "opacity") if getattr(settled, name) != getattr(chosen, name)}
    return settled, [*_updates(result.held, chosen.own, moved, language), begun.after(result.held, begun.model)]


def _updates(held: Held, own: bool, values: dict[str, Any], language: str) -> list[Any]:
    """What shows of `Parts.by_model` and what it offers; a control keeps its value unless there is one in `values`."""
    task, ids = held.task or DETECT, [(name, i) for i, name in enumerate(held.classes)]
    tags, boxes = task == CLASSIFY, task in (DETECT, INSTANCE)
    set_to = {name: {"value": value} for name, value in values.items()}

    def control(kind: Any, name: str, **shown: Any) -> Any:
        return kind(**shown, **set_to.get(name, {}))

    return [
        control(gr.Slider, "threshold", visible=not tags or not (held.exclusive or (own and held.by_class)),
                label=t("predict.threshold" if boxes else "predict.probability", language)),
        control(gr.Dropdown, "only", choices=ids, multiselect=True),
        control(gr.Slider, "opacity", label=t("predict.opacity_heat" if tags else "predict.opacity", language)),
        control(gr.Checkbox, "contours", visible=task in FILLED),
        control(gr.Checkbox, "own", visible=tags and held.by_class),
        control(gr.Dropdown, "explain", choices=[(t("predict.explain_none", language), NOBODY), *ids], visible=tags),
        control(gr.Slider, "nms", visible=boxes),
        control(gr.Checkbox, "tta", visible=True), control(gr.Checkbox, "tiled", visible=task == SEMANTIC),
        control(gr.Checkbox, "every", visible=task == INSTANCE), control(gr.Dropdown, "slices", visible=boxes),
    ]

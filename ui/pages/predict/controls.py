"""Which controls a task needs, and where they stand when a result comes."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.i18n import t
from ui.pages.predict.result import CLASSIFY, DETECT, INSTANCE, OVERLAP, SEMANTIC, Result

OPACITY = {DETECT: 1.0, INSTANCE: 0.45, SEMANTIC: 0.45, CLASSIFY: 0.6}
FILLED = (INSTANCE, SEMANTIC)
NOBODY = -1  # in the list of classes to explain


def for_task(task: str | None, language: str, overlap: float | None = None) -> list[Any]:
    """Updates of `Parts.by_model` when a model is chosen. A bare file shows the controls of objects until it has been loaded.

    `overlap` is what a run was told (TrainConfig.nms); without it boxes may overlap as they like.
    """
    task = task or DETECT
    allowed = OVERLAP if task == INSTANCE else 1.0 if overlap is None or overlap < 0 else overlap
    return [
        gr.Slider(visible=task != CLASSIFY, label=_threshold(task, language)),
        gr.Checkbox(visible=task in FILLED), gr.Checkbox(visible=task == CLASSIFY), gr.Dropdown(visible=task == CLASSIFY),
        gr.Slider(value=allowed, visible=task in (DETECT, INSTANCE)), *_looks(task),
    ]


def for_result(result: Result, opacity: float, contours: bool, language: str) -> list[Any]:
    """Updates of `Parts.by_task` when images have been looked at: every filter begins at its default again."""
    task, ids = result.task, [(name, i) for i, name in enumerate(result.classes)]
    tags, several = task == CLASSIFY, not result.exclusive
    return [
        gr.Slider(value=round(result.threshold, 2), visible=not tags, label=_threshold(task, language)), gr.Dropdown(choices=ids, value=[]),
        gr.Slider(value=opacity, label=t("predict.opacity_heat" if tags else "predict.opacity", language)),
        gr.Checkbox(value=contours, visible=task in FILLED), gr.Checkbox(value=True, visible=tags and several),
        gr.Dropdown(choices=[(t("predict.explain_none", language), NOBODY), *ids], value=NOBODY, visible=tags),
        gr.Slider(value=result.nms, visible=task in (DETECT, INSTANCE)), *_looks(task),
    ]


def _looks(task: str) -> list[Any]:
    return [gr.Checkbox(visible=True), gr.Checkbox(visible=task == SEMANTIC), gr.Checkbox(visible=task == INSTANCE),
            gr.Dropdown(visible=task in (DETECT, INSTANCE))]


def _threshold(task: str, language: str) -> str:
    return t("predict.threshold" if task in (DETECT, INSTANCE) else "predict.probability", language)

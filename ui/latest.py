"""Events that may come faster than they are answered: the newest is answered, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ui.selection import App


def latest(app: App, triggers: Sequence[Any], fn: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> Any:
    """As `gr.on(..., trigger_mode="always_last")`, for several listeners of one event.

    Gradio repeats the whole event for a listener that was busy when it came, and with it all its other listeners; two of them keep each other
    going for ever. Here each listens to a counter of its own, which the browser moves on. One of the listeners may keep the event itself.
    """
    count = app.out_of_sight("0")
    gr.on(list(triggers), None, count, count, js="(count) => String(Number(count) + 1)", queue=False, api_visibility="private")
    return count.change(fn, inputs, outputs, trigger_mode="always_last", **options)

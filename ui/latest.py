"""Events that may come faster than they are answered: the newest is answered, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr


def latest(triggers: Sequence[Any], fn: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> Any:
    """As `gr.on(..., trigger_mode="always_last")`, for several listeners of one event.

    Gradio repeats the whole event for a listener that was busy when it came, and with it all its other listeners; two of them keep each other
    going for ever. What follows another listener is repeated alone, so here `fn` follows one that the browser answers at once, with nothing.
    One of the listeners may keep the event itself.
    """
    heard = gr.on(list(triggers), None, None, None, js="() => []", queue=False, show_progress="hidden", api_visibility="private")
    return heard.then(fn, inputs, outputs, trigger_mode="always_last", **options)

"""What the tabs of the Data page share: the room they stand in, and the shape of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from engine.datasets import editing
from engine.datasets.editing import Edit
from engine.datasets.store import Dataset
from engine.types import UserError
from ui.selection import UNCHECKED, App

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
LOOSE: dict[str, Any] = {**QUIET, **UNCHECKED}
LONG: dict[str, Any] = {**LOOSE, "concurrency_limit": 4}  # work that takes its time must not keep other visitors waiting


@dataclass
class Room:
    """`changed` holds when the chosen set was last changed here: who writes it has everything shown anew. `wish` asks Browse for images.

    `viewer` shows one image large; `views` are the tabs.
    """

    app: App
    changed: gr.State
    wish: gr.State
    views: gr.Tabs
    viewer: gr.HTML

    def open(self, chosen: str | None) -> Dataset | None:
        """The chosen set, None when there is none or it is gone. Raises UserError when it is damaged."""
        try:
            return self.app.workspace.dataset(str(chosen)) if chosen else None
        except UserError as error:
            if error.key == "dataset_unknown":
                return None
            raise

    def to_edit(self, chosen: str | None) -> Dataset:
        """The chosen set for a change. Raises UserError when there is none, or when this is a demo."""
        if self.app.demo:
            raise UserError("demo_only_shows")
        return self.app.workspace.dataset(str(chosen or ""))


@dataclass
class Panel:
    """A tab: `show(dataset, language, *values of inputs)` gives one value for each of `outputs`; `reset` does so for another set.

    `clear`: the same for a tab that is not open, where that must not wait until it is. `slow` says for which sets `show` takes its time:
    then the first output shows a bar meanwhile.
    """

    outputs: Sequence[Any]
    show: Callable[..., tuple[Any, ...]]
    inputs: Sequence[Any] = ()
    reset: Callable[..., tuple[Any, ...]] | None = None
    clear: Callable[..., tuple[Any, ...]] | None = None
    slow: Callable[[Dataset], bool] = lambda dataset: False

    def cleared(self, dataset: Dataset | None, language: str) -> tuple[Any, ...]:
        return self.clear(dataset, language) if self.clear else tuple(gr.skip() for _ in self.outputs)

    def afresh(self, dataset: Dataset | None, language: str) -> tuple[Any, ...]:
        return (self.reset or self.show)(dataset, language)


def form(value: Any = "", **options: Any) -> gr.HTML:
    """A piece of HTML whose buttons and fields (`data-send`) raise the event `send`; see form.js."""
    return gr.HTML(value, js_on_load=Path(__file__).with_name("form.js").read_text(encoding="utf-8"), **options)


def sent(event: gr.EventData) -> dict[str, Any]:
    """What a browser sent with an event."""
    return dict(event._data) if isinstance(event._data, dict) else {}


def together(dataset: Dataset, action: str, values: dict[str, Any], edits: Callable[[], None]) -> Edit:
    """Several edits as one entry of the journal, which comes back; "nothing" when there was nothing to change."""
    before = [edit.id for edit in editing.edits(dataset, 1)]
    with editing.combined(dataset, action, values):
        edits()
    newest = editing.edits(dataset, 1)
    return newest[0] if newest and [newest[0].id] != before else Edit(0, "", "nothing", {}, 0, False, False)


def now() -> float:
    """A new value for `changed`."""
    return time.time()


def wish(**filters: Any) -> dict[str, Any]:
    """A new value for `wish`: the filters that Browse is to show."""
    return {**filters, "at": time.time()}


def ids_of(sent: Any) -> list[int]:
    """Image ids from what a browser sent."""
    return [int(each) for each in sent if isinstance(each, int) and not isinstance(each, bool)] if isinstance(sent, list) else []

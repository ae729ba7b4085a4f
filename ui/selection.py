"""What the pages act on: the workspace, the chosen data set and run. Rules in plain functions, without a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from engine.runs import Run
from engine.types import UserError
from engine.workspace import Workspace
from ui.i18n import t

Choices = list[tuple[str, str]]
STAMP = re.compile(r"^\d{8}-\d{6}-")
PAGES = ("home", "data", "label", "train", "runs", "predict", "tools")


# For events on lists whose choices change under the visitor's hands: a value that is gone reaches the handler, which looks ids up
# anyway, instead of a message of Gradio's own. Their values are whatever a browser sent.
UNCHECKED: dict[str, Any] = {"preprocess": False}


@dataclass
class App:
    """What a page gets. `dataset` and `run` hold ids ("" = none); a page that adds one returns `choose_dataset(...)` to it.

    `show_run(id)` gives what the components of `run_view` (the monitor on Train) need to show a run; `late` is done once all pages stand.
    """

    workspace: Workspace
    blocks: gr.Blocks
    dataset: gr.Dropdown
    run: gr.Dropdown
    tabs: gr.Tabs
    pulse: gr.HTML
    demo: bool = False
    tab: dict[str, gr.Tab] = field(default_factory=dict)
    run_view: list[Any] = field(default_factory=list)
    show_run: Callable[[str], tuple[Any, ...]] = lambda run: ()
    late: list[Callable[[], None]] = field(default_factory=list)


def dataset_choices(workspace: Workspace) -> Choices:
    """(name, id) of every data set, newest first; ids tell apart sets of the same name. One that is just being deleted is left out."""
    found: list[tuple[str, str, str]] = []
    for each in workspace.datasets():
        with suppress(UserError, FileNotFoundError):
            found.append((each.created, each.name, each.id))
    return _told_apart([(name, key) for _, name, key in sorted(found, reverse=True)])


def run_choices(workspace: Workspace, language: str | None = None) -> Choices:
    """(name and state, id) of every run, newest first. A finished run needs no word."""
    runs = sorted(((Run(folder).state(), Run(folder)) for folder in workspace.runs()), key=lambda pair: pair[0].get("created") or 0, reverse=True)
    return _told_apart([(_run_label(run, state["phase"], language), run.id) for state, run in runs])


def name_of(run_id: str) -> str:
    """The run's id without the time that a workspace puts before it."""
    return STAMP.sub("", run_id) or run_id


def _run_label(run: Run, phase: str, language: str | None) -> str:
    return name_of(run.id) if phase == "done" else f"{name_of(run.id)} · {t(f'phase.{phase}', language)}"


def _told_apart(choices: Choices) -> Choices:
    names = [name for name, _ in choices]
    return [(name if names.count(name) == 1 else f"{name} ({key})", key) for name, key in choices]


def pick(choices: Choices, wanted: str | None) -> str:
    """`wanted` when it is still there, else the newest, else ""."""
    ids = [key for _, key in choices]
    return wanted if wanted in ids else ids[0] if ids else ""


def will_change(app: App, wanted: str | None, request: gr.Request) -> bool:
    """While the page opens: whether the header is about to choose another set than `wanted`. What is shown of `wanted` might come after the other."""
    return pick(dataset_choices(app.workspace), dict(request.query_params).get("dataset")) != (wanted or "")


def choose_dataset(workspace: Workspace, wanted: str | None = None, language: str | None = None) -> gr.Dropdown:
    """The header's data set list as it is now, with `wanted` (an id) chosen."""
    return _dropdown(dataset_choices(workspace), wanted, t("header.no_dataset", language))


def choose_run(workspace: Workspace, wanted: str | None = None, language: str | None = None) -> gr.Dropdown:
    """The header's run list as it is now, with `wanted` (an id) chosen."""
    return _dropdown(run_choices(workspace, language), wanted, t("header.no_run", language))


def refresh_dataset(workspace: Workspace, now: str | None, language: str) -> gr.Dropdown:
    """The header's data set list as it is now; what is chosen stays as it is unless it is gone."""
    return _dropdown(dataset_choices(workspace), now, t("header.no_dataset", language), keep=True)


def refresh_run(workspace: Workspace, now: str | None, language: str) -> gr.Dropdown:
    """The header's run list as it is now; what is chosen stays as it is unless it is gone."""
    return _dropdown(run_choices(workspace, language), now, t("header.no_run", language), keep=True)


def _dropdown(choices: Choices, wanted: str | None, nothing: str, *, keep: bool = False) -> gr.Dropdown:
    """`keep` leaves a choice that is still there to the page, where an event may have changed it meanwhile."""
    if keep and wanted in [key for _, key in choices]:
        return gr.Dropdown(choices=[*choices])
    return gr.Dropdown(choices=[*choices] or [(nothing, "")], value=pick(choices, wanted))


def go_to(page: str) -> gr.Tabs:
    """For the output `app.tabs`: opens a page."""
    return gr.Tabs(selected=page)


def signature(workspace: Workspace, language: str) -> tuple[Any, ...]:
    """Changes when the header's lists have to change."""
    return tuple(dataset_choices(workspace)), tuple(run_choices(workspace, language)), language

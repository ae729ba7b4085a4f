"""Stopping long work of a page: the work asks whether it is still wanted whenever it tells how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import gradio as gr


class Stopped(Exception):
    """The visitor pressed Cancel."""


class Stops:
    """One switch a visitor for one kind of work."""

    def __init__(self) -> None:
        self._switches: dict[str, threading.Event] = {}

    def begin(self, request: gr.Request, report: Callable[..., None] | None = None) -> Callable[..., None]:
        """What the work is to call with its progress, which goes on to `report`. It raises Stopped once `stop` has been called."""
        switch = self._switches[_visitor(request)] = threading.Event()

        def asked(*values: Any, **named: Any) -> None:
            if switch.is_set():
                raise Stopped
            if report is not None:
                report(*values, **named)

        return asked

    def stop(self, request: gr.Request) -> None:
        switch = self._switches.get(_visitor(request))
        if switch is not None:
            switch.set()


def _visitor(request: gr.Request) -> str:
    return str(getattr(request, "session_hash", "") or "")

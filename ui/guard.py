"""The border between pages and engine: every event handler is guarded, so that no traceback reaches a person."""

from __future__ import annotations

import functools
import html
import inspect
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import gradio as gr

from engine import messages
from engine.types import UserError
from ui.i18n import language_of, t

log = logging.getLogger("lightbox.ui")
SECONDS = 15
Handler = TypeVar("Handler", bound=Callable[..., Any])


def guarded(handler: Handler) -> Handler:
    """An event handler, function or generator, whose UserError becomes a message with its remedy; anything else an apology and a log entry."""
    guard = _guarded_generator if inspect.isgeneratorfunction(handler) else _guarded_function
    return guard(handler)  # type: ignore[return-value]


def _guarded_function(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def guard(*args: Any, **kwargs: Any) -> Any:
        with _mending(handler, _visitor_language(args)):
            return handler(*args, **kwargs)

    return guard


def _guarded_generator(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Each step may run in another thread, so each step sets the language anew."""

    @functools.wraps(handler)
    def guard(*args: Any, **kwargs: Any) -> Iterator[Any]:
        language, steps = _visitor_language(args), handler(*args, **kwargs)
        try:
            while True:
                try:
                    with _mending(handler, language):
                        step = next(steps)
                except StopIteration:
                    return
                yield step
        finally:
            steps.close()

    return guard


@contextmanager
def _mending(handler: Callable[..., Any], language: str) -> Iterator[None]:
    messages.set_language(language)
    try:
        yield
    except (StopIteration, gr.Error):
        raise
    except UserError as error:
        log.info("%s: %s", getattr(handler, "__qualname__", handler), error.key)
        raise user_error(error, language) from error
    except Exception as error:
        number = secrets.token_hex(3)
        log.exception("error %s in %s", number, getattr(handler, "__qualname__", handler))
        raise _toast(t("ui.bug", language, id=number), "", language) from error


def user_error(error: UserError, language: str) -> gr.Error:
    """The message that pops up in the page: what came, what was wanted, what to do."""
    return _toast(error.message(language), error.remedy(language), language)


def _toast(message: str, remedy: str, language: str) -> gr.Error:
    """The page shows the text of a message as HTML, so what people named is escaped."""
    text = html.escape(message) + (f"<br>{html.escape(remedy)}" if remedy else "")
    return gr.Error(text, duration=SECONDS, title=t("ui.toast.error", language), print_exception=False)


def _visitor_language(args: tuple[Any, ...]) -> str:
    return language_of(next((value for value in args if isinstance(value, gr.Request)), None))

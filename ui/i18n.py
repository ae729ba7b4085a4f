"""The one catalogue in the page: labels that the browser resolves, and texts that the server makes for a visitor."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from gradio.i18n import I18nData

from engine import messages

COOKIE = "lightbox_lang"
NAMES = {"en": "English", "zh-CN": "简体中文", "zh-TW": "繁體中文"}
SERVER_ONLY = ("cli.", "error.", "problem.")


_pieces: dict[str, dict[str, str]] = {language: {} for language in messages.LANGUAGES}


def catalogues() -> gr.I18n:
    """What the browser gets once the pages are built; texts that only the server makes stay here."""
    return gr.I18n(**{language: {**_for_browser(messages.catalogue(language)), **_pieces[language]} for language in messages.LANGUAGES})


def _for_browser(texts: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in texts.items() if not key.startswith(SERVER_ONLY)}


def static(render: Callable[[str], str]) -> str:
    """The value of a gr.HTML that shows `render(language)` from the first paint on, without a question to the server."""
    made = {language: str(render(language)) for language in messages.LANGUAGES}
    key = f"html.{zlib.crc32(repr(made).encode()):08x}"
    for language, piece in made.items():
        _pieces[language][key] = piece
    return str(I18nData(key))


def label(key: str) -> I18nData:
    """A label, title or choice that shows in the language of the browser. For texts without {placeholders}."""
    return I18nData(key)


def language_of(request: gr.Request | None = None) -> str:
    """?lang= of the page, then the cookie, then Accept-Language. None means: the request that is being answered, if any."""
    request = request or LocalContext.request.get(None)
    if request is None:
        return messages.current_language()
    for chosen in (_field(request, "query_params").get("lang"), _field(request, "cookies").get(COOKIE)):
        if chosen:
            return messages.best_language(chosen)
    return messages.best_language(_field(request, "headers").get("accept-language") or "")


def _field(request: gr.Request, name: str) -> Any:
    """A mapping of the request; a request made without a browser has none of them."""
    try:
        return getattr(request, name) or {}
    except (AttributeError, KeyError, ValueError):
        return {}


def t(key: str, visitor: gr.Request | str | None = None, **values: Any) -> str:
    """A text for HTML, tables and toasts. `visitor` is a request or a language; None means the request being answered."""
    return messages.text(key, visitor if isinstance(visitor, str) else language_of(visitor), **values)


def plural(key: str, n: int, visitor: gr.Request | str | None = None, **values: Any) -> str:
    """The text for a number of things; `key.one` is the text for one."""
    return t(f"{key}.one" if n == 1 else key, visitor, n=f"{n:,}", **values)

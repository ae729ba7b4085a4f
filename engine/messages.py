"""Texts by key in three languages, from assets/locales. The one catalogue behind page, command line and errors."""

from __future__ import annotations

import json
import locale
import os
import re
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh-CN", "zh-TW")
LOCALES = Path(__file__).resolve().parent.parent / "assets" / "locales"
SPLIT_VALUES = ("split", "other_split", "splits")
_SPLIT = re.compile(r"(?:^|(?<=, ))(train|valid|test)(?=$|,| \()")
_current: ContextVar[str] = ContextVar("language", default="en")


@cache
def catalogue(language: str) -> dict[str, str]:
    return json.loads((LOCALES / f"{language}.json").read_text(encoding="utf-8"))


def text(key: str, language: str | None = None, **values: Any) -> str:
    """The text of `key` with {placeholders} filled. A missing translation falls back to English, a missing key shows itself."""
    language = language or _current.get()
    template = catalogue(language).get(key) or catalogue("en").get(key) or key
    try:
        return template.format(**values)
    except (KeyError, IndexError, ValueError):
        return template


def spoken(key: str, language: str | None = None, **values: Any) -> str:
    """As `text`, for sentences about data: splits by their names in that language, and `<key>.one` for a count of one where there is such a text."""
    if values.get("count", values.get("images")) == 1 and f"{key}.one" in catalogue("en"):
        key = f"{key}.one"
    return text(key, language, **{name: _spoken_value(name, value, language) for name, value in values.items()})


def outline(key: str, language: str | None = None) -> str:
    """The first sentence of a text without its values: what all problems of a kind have in common."""
    sentence = re.split(r"(?<=[.!])\s|(?<=。)", text(key, language))[0]
    return re.sub(r"\{[^{}]*\}", "…", sentence).rstrip(".。")


def _spoken_value(name: str, value: Any, language: str | None) -> Any:
    if not isinstance(value, str):
        return value
    if name in SPLIT_VALUES:
        return _SPLIT.sub(lambda found: text(f"split.{found[1]}", language), value)
    if name == "kind" and f"problem.{value}" in catalogue("en"):
        return outline(f"problem.{value}", language)
    if name == "kind" and value[:1] in ("'", '"'):  # the first bytes of a file: they tell a person nothing
        return text("image_kind.unknown", language)
    return value


def set_language(language: str) -> None:
    _current.set(language if language in LANGUAGES else "en")


def current_language() -> str:
    return _current.get()


def best_language(preferences: str) -> str:
    """The catalogue that fits an Accept-Language header or a locale name best: 'zh-Hant-HK,en' -> 'zh-TW'."""
    for part in preferences.replace("_", "-").split(","):
        tag = part.split(";")[0].split(".")[0].strip().lower()
        if tag.startswith("zh"):
            return "zh-TW" if any(mark in tag for mark in ("hant", "tw", "hk", "mo")) else "zh-CN"
        if tag.startswith("en"):
            return "en"
    return "en"


def system_language() -> str:
    name = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or locale.getlocale()[0] or ""
    return best_language(name)

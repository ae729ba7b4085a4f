"""JSON that nobody vouches for: damage is named with its place, depth and size are limited."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.datasets import plain_text
from engine.datasets.faults import printable
from engine.types import UserError

MAX_SUSPECTS = 20  # keys of the outermost object that are looked for a second time


def parse(data: bytes, where: str, each: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The content of a JSON file in UTF-8, -16, -32 or a Chinese encoding. Raises UserError with the file and, where known, line and column.

    `each` may replace every object as soon as it has been read, so that the whole of a large file never fills the memory. A key that the
    outermost object holds twice is refused, since only one of its values could be read; further inside the last one counts.
    """
    try:
        text = _text(data)
        del data
        with _unswept():
            return _loaded(text, where, each)
    except json.JSONDecodeError as error:
        raise UserError("json_damaged", where=f"{where}:{error.lineno}:{error.colno}", reason=error.msg) from error
    except RecursionError as error:
        raise UserError("json_too_deep", name=where) from error
    except ValueError as error:
        raise UserError("json_damaged", where=where, reason=str(error)[:200]) from error


def _loaded(text: str, where: str, each: Callable[[dict[str, Any]], Any] | None) -> Any:
    outermost: list[tuple[str, Any]] = []

    def remember(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal outermost
        outermost = pairs
        return dict(pairs) if each is None else {}
    if each is None:
        content = json.loads(text, object_pairs_hook=remember)
    else:
        content = json.loads(text, object_hook=each)
        suspects = list(content)[:MAX_SUSPECTS] if isinstance(content, dict) else []
        if any(text.count(f'"{key}"') > 1 for key in suspects):  # the word may as well stand further inside
            json.loads(text, object_pairs_hook=remember)
    if isinstance(content, dict):
        for key, count in Counter(key for key, _ in outermost).items():
            if count > 1:
                raise UserError("json_key_twice", where=where, name=printable(key[:60]))
    return content


def _text(data: bytes) -> str:
    """Raises UnicodeDecodeError."""
    try:
        return data.decode(json.detect_encoding(data), "surrogatepass")
    except UnicodeDecodeError:
        encoding = plain_text.encoding_of(data)
        if encoding not in plain_text.SHOWN:  # Latin-1 would make text of any damage
            raise
        return data.decode(encoding)


@contextmanager
def _unswept() -> Iterator[None]:
    """No garbage collection: parsing makes millions of objects and no garbage, and looking for it takes most of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def kind_of(data: bytes) -> str:
    """The first characters of a JSON file as text, to tell what it is without reading all of it."""
    return data.decode(json.detect_encoding(data), "replace").lstrip("\ufeff \t\r\n")

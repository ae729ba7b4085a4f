"""JSON that nobody vouches for: damage is named with its place, depth and size are limited."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.datasets import plain_text
from engine.types import UserError


def parse(data: bytes, where: str, each: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The content of a JSON file in UTF-8, -16, -32 or a Chinese encoding. Raises UserError with the file and, where known, line and column.

    `each` may replace every object as soon as it has been read, so that the whole of a large file never fills the memory.
    """
    try:
        text = _text(data)
        del data
        with _unswept():
            return json.loads(text, object_hook=each)
    except json.JSONDecodeError as error:
        raise UserError("json_damaged", where=f"{where}:{error.lineno}:{error.colno}", reason=error.msg) from error
    except RecursionError as error:
        raise UserError("json_too_deep", name=where) from error
    except ValueError as error:
        raise UserError("json_damaged", where=where, reason=str(error)[:200]) from error


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

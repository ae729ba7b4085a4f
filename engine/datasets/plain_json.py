"""JSON that nobody vouches for: damage is named with its place, depth and size are limited."""

from __future__ import annotations

import json
from typing import Any

from engine.types import UserError


def parse(data: bytes, where: str) -> Any:
    """The content of a JSON file in UTF-8, -16 or -32. Raises UserError with the file and, where known, line and column."""
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise UserError("json_damaged", where=f"{where}:{error.lineno}:{error.colno}", reason=error.msg) from error
    except RecursionError as error:
        raise UserError("json_too_deep", name=where) from error
    except ValueError as error:
        raise UserError("json_damaged", where=where, reason=str(error)[:200]) from error


def kind_of(data: bytes) -> str:
    """The first characters of a JSON file as text, to tell what it is without reading all of it."""
    return data.decode(json.detect_encoding(data), "replace").lstrip("\ufeff \t\r\n")

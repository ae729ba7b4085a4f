"""What a weights file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.types import UserError
from engine.weights_reading.containers import reading

TOLD = ("model_name", "classes", "options")


def told_by(path: Path | str) -> dict[str, Any]:
    """What a file of Lightbox says beside its tensors, which stay on the disk: `model_name`, `classes` and `options`; {} for any other file."""
    try:
        with reading(Path(path)) as content:
            found = {name: content.root[name] for name in TOLD}
    except (UserError, LookupError, TypeError, AttributeError, OSError):
        return {}
    known = isinstance(found["model_name"], str) and isinstance(found["classes"], (list, tuple)) and isinstance(found["options"], dict)
    return found if known else {}

"""What a weights file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.types import UserError
from engine.weights_reading.containers import reading

TOLD: dict[str, tuple[type, ...]] = {"model_name": (str,), "classes": (list, tuple), "options": (dict,)}
ALSO: dict[str, tuple[type, ...]] = {"task": (str,), "thresholds": (dict,)}  # of a model that is ready to predict


def told_by(path: Path | str) -> dict[str, Any]:
    """What a file of Lightbox says beside its tensors, which stay on the disk: TOLD, and of ALSO what is there; {} for any other file."""
    try:
        with reading(Path(path)) as content:
            root = content.root
            found = {name: root[name] for name in (*TOLD, *(each for each in ALSO if each in root))}
    except (UserError, LookupError, TypeError, AttributeError, OSError):
        return {}
    kinds = {**TOLD, **ALSO}
    return found if all(isinstance(value, kinds[name]) for name, value in found.items()) else {}

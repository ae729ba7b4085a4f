"""What a weights file says of itself."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from engine.types import UserError
from engine.weights_reading.containers import HEAD, kind_of

FAULTS = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, OSError, AssertionError,
          ArithmeticError, UserError)


def told_by(path: Path | str) -> dict[str, Any]:
    """What a file of Lightbox says beside its tensors, which stay on the disk: `model_name`, `classes` and `options`; {} for any other file."""
    try:
        with Path(path).open("rb") as file:
            if kind_of(file.read(HEAD), Path(path)) != "torch_zip":
                return {}
        content = torch.load(str(path), mmap=True, map_location="cpu", weights_only=True)
    except FAULTS:
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("model_name"), str):
        return {}
    return {name: content[name] for name in ("model_name", "classes", "options") if name in content}

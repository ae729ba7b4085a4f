"""Weights files that people add to the workspace, to predict with or to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.types import UserError
from engine.workspace import Workspace, slug

MAX_WEIGHTS_NAME = 60


def add_weights(workspace: Workspace, upload: str, suffixes: Sequence[str]) -> str:
    """Copies an uploaded weights file into the workspace and returns its id. Raises UserError for a name with another of the `suffixes`."""
    source = Path(upload)
    suffix = source.suffix.lower()
    if suffix not in suffixes:
        raise UserError("weights_suffix", name=source.name, known=", ".join(suffixes))
    stem, number = slug(source.stem)[:MAX_WEIGHTS_NAME] or "weights", 1
    target = workspace.weights / f"{stem}{suffix}"
    while target.exists():
        number += 1
        target = workspace.weights / f"{stem}-{number}{suffix}"
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(source.read_bytes())
    part.replace(target)
    return f"weights/{target.name}"

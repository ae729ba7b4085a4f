"""Where data comes from: an upload, or a path on the machine that runs the app."""

from __future__ import annotations

from pathlib import Path

from engine.types import UserError

ARCHIVES = [".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".json"]
PACKED = (".tar.gz", ".tar.bz2", ".tar.xz")


def chosen_source(file: str | None, path: str) -> Path:
    """The upload, else the path. Raises UserError when there is neither, or nothing at the path."""
    if file:
        return Path(file)
    if not path.strip():
        raise UserError("nothing_chosen")
    typed = Path(path.strip().strip("\"'")).expanduser()
    if not typed.exists():
        raise UserError("path_missing", path=str(typed))
    return typed


def stem_of(path: Path) -> str:
    """The name without its archive suffixes: "Scissors.tar.gz" -> "Scissors"."""
    packed = next((suffix for suffix in PACKED if path.name.lower().endswith(suffix)), "")
    return (path.name[: -len(packed)] if packed else path.stem) or "data"

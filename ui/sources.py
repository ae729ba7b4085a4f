"""Where data comes from: an upload, or a path on the machine that runs the app."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from engine.datasets.images import is_image
from engine.types import UserError

ARCHIVES = [".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".json"]
PACKED = (".tar.gz", ".tar.bz2", ".tar.xz")


def chosen_source(file: str | list[str] | None, path: str) -> Path:
    """The upload, else the path; files that only make a data set together are gathered in a folder of their own.

    Raises UserError when there is neither an upload nor a path, or nothing at the path.
    """
    files = [Path(each) for each in ([file] if isinstance(file, str) else file or []) if each]
    if len(files) == 1 and not is_image(files[0]):
        return files[0]
    if files:
        return _gathered(files)
    if not path.strip():
        raise UserError("nothing_chosen")
    typed = Path(path.strip().strip("\"'")).expanduser()
    if not typed.exists():
        raise UserError("path_missing", path=str(typed))
    return typed


def _gathered(files: list[Path]) -> Path:
    """A folder beside the uploads that holds these files; asked again, the same one."""
    mark = hashlib.sha256("\n".join(map(str, files)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    folder = files[0].parent.parent / f"dropped-{mark}"
    folder.mkdir(exist_ok=True)
    for number, file in enumerate(files):
        target = folder / file.name
        if target.exists() and not target.samefile(file) and target.stat().st_size != file.stat().st_size:
            target = folder / f"{file.stem}_{number}{file.suffix}"
        if not target.exists():
            shutil.copyfile(file, target)
    return folder


def stem_of(path: Path) -> str:
    """The name without its archive suffixes: "Scissors.tar.gz" -> "Scissors"."""
    packed = next((suffix for suffix in PACKED if path.name.lower().endswith(suffix)), "")
    return (path.name[: -len(packed)] if packed else path.stem) or "data"

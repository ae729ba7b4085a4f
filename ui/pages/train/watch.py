"""What a page has already seen of a run, so that each look reads only what is new."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.runs import Run
from ui.plots import UNKNOWN, Drawn, slim

MEANINGLESS = ("heartbeat", "pid_started")
HISTORY = "training_history.png"


@dataclass
class Watch:
    """One page's view of one run: the rows read so far, where to read on, and what was shown last (`loss`, `metrics`: the curves drawn)."""

    run: str
    task: str = "detect"
    offset: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    log: tuple[int, int] = (-1, -1)
    validation: tuple[int, int] = (-1, -1)
    history: tuple[int, int] = (-1, -1)
    previews: tuple[str, ...] = ("?",)
    loss: Drawn = UNKNOWN
    metrics: Drawn = UNKNOWN

    @property
    def emptied(self) -> bool:
        """A plot was emptied by the last look and waits to be drawn."""
        measured = any(row.get("split") == "valid" for row in self.rows)
        return bool(self.rows) and (self.loss is None or (measured and self.metrics is None))


@dataclass(frozen=True)
class News:
    """What changed since the last look. `previews` is None when the pictures are the same."""

    state: dict[str, Any]
    state_changed: bool
    rows: bool
    log: bool
    previews: tuple[Path, ...] | None
    validation: bool = False
    history: bool = False


def look(watch: Watch, run: Run) -> News:
    """Reads the folder on from where `watch` stands and moves it there."""
    first = not watch.state
    rows, offset = run.metrics(watch.offset)
    if offset < watch.offset or (rows and watch.rows and rows[0].get("step", 0) < watch.rows[-1].get("step", 0)):
        rows, offset = run.metrics()  # a resumed run has dropped what came after its checkpoint
        watch.rows.clear()
    watch.offset = offset
    watch.rows.extend(map(slim, rows))
    state = {name: value for name, value in run.state().items() if name not in MEANINGLESS}
    state_changed, watch.state = state != watch.state, state
    log = stamp(run.folder / "log.txt")
    log_changed, watch.log = log != watch.log, log
    validation = stamp(run.folder / "validation.json")
    validated, watch.validation = validation != watch.validation, validation
    history = stamp(run.folder / HISTORY)
    drawn, watch.history = history != watch.history, history
    pictures = newest_previews(run)
    names = tuple(each.name for each in pictures)
    new_pictures, watch.previews = names != watch.previews, names
    return News(state, state_changed or bool(rows), bool(rows) or first, log_changed, pictures if new_pictures else None, validated, drawn)


def newest_previews(run: Run) -> tuple[Path, ...]:
    """The pictures of the newest epoch, in order."""
    files = sorted((run.folder / "previews").glob("epoch_*.jpg"))
    return tuple(each for each in files if _epoch(each) == _epoch(files[-1]))


def epoch_of(picture: Path) -> int:
    """The epoch in a preview's name, 0 when there is none."""
    number = _epoch(picture)
    return int(number) if number.isdigit() else 0


def _epoch(picture: Path) -> str:
    return picture.stem.split("_")[1] if "_" in picture.stem else ""


def stamp(file: Path) -> tuple[int, int]:
    """Changes when the file does; (0, 0) while there is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)

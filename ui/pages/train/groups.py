"""Runs that were queued together to be compared: a note in each run's folder says to which comparison it belongs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from engine.runs import Run, write_json

FILE = "group.json"


@dataclass(frozen=True)
class Group:
    """A comparison: its key, the data set's name, and when it was queued (seconds since 1970)."""

    key: str
    name: str
    created: float

    def label(self) -> str:
        return f"{self.name} · {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.created))}"


def new(name: str) -> Group:
    now = time.time()
    return Group(f"{now:.3f}", name, now)


def mark(run: Run, group: Group) -> None:
    """Notes in the run's folder that it belongs to a comparison."""
    write_json(run.folder / FILE, {"key": group.key, "name": group.name, "created": group.created})


def group_of(run: Run) -> Group | None:
    """None for a run of its own, and for a note that cannot be read."""
    try:
        found = json.loads((run.folder / FILE).read_text(encoding="utf-8"))
        return Group(str(found["key"]), str(found["name"]), float(found["created"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def grouped(runs: Sequence[Run]) -> dict[str, tuple[Group, list[Run]]]:
    """The comparisons by key, newest first, each with its runs in the order in which they were queued."""
    found: dict[str, tuple[Group, list[Run]]] = {}
    for run in runs:
        group = group_of(run)
        if group is not None:
            found.setdefault(group.key, (group, []))[1].append(run)
    newest = sorted(found.items(), key=lambda pair: pair[1][0].created, reverse=True)
    return {key: (group, sorted(members, key=lambda run: (run.state()["created"] or 0, run.id))) for key, (group, members) in newest}

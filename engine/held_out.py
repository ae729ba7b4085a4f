"""Which images of a data set a model has not learnt, as far as that can be known.

A run keeps no list of its images: its config names the set, the seed and the share that is split off, its state says when it began. So the images
that are for validation or test now, and were then, have not been learnt; the journal of the set tells which ones were moved since. Where the set
had no validation part, the run has dealt one by its seed, and deals the same today as long as nothing was edited.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import TrainConfig
from engine.datasets.collection import with_valid
from engine.datasets.store import Dataset
from engine.datasets.store_journal import CLOSED, OPEN, UNDONE
from engine.types import UserError

HELD = ("valid", "test")
MOVING = ("moved", "splits_assigned", "repaired", "version_restored")  # edits that may give an image another split
LONGEST_CHAIN = 5  # runs that began from the weights of each other


@dataclass(frozen=True)
class _Trained:
    """How a model came about: `began` and `ended` are UTC as the journal writes it; "" for a file that does not tell, and began before all edits."""

    data: str
    weights: str
    valid_fraction: float
    seed: int
    began: str
    ended: str


def held_out(dataset: Dataset, model: Path) -> set[int] | None:
    """The ids of the images that the model has not learnt; None when it was not trained on this set.

    `model` is a run folder or a file of weights. What it began from counts too. Raises UserError when it was trained on the set, and nobody can
    tell on which images.
    """
    found: set[int] | None = None
    for trained in _origins(model):
        if _is_of(trained.data, dataset):
            own = _held(dataset, trained, model)
            found = own if found is None else found & own
    return found


def _origins(model: Path) -> list[_Trained]:
    """The model, the one that it began from, and so on."""
    found: list[_Trained] = []
    here: Path | None = model
    while here is not None and len(found) < LONGEST_CHAIN and (trained := _trained(here)) is not None:
        found.append(trained)
        before = Path(trained.weights)
        here = before if before.suffix and before.is_file() else None
    return found


def _trained(model: Path) -> _Trained | None:
    folder = model if model.is_dir() else model.parent
    try:
        config, state = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("config.json", "state.json"))
        return _told(config, _utc(state.get("created")), _utc(state.get("heartbeat")))
    except (OSError, ValueError, AttributeError):
        return _told(_config_in(model), "", "")


def _told(config: Any, began: str, ended: str) -> _Trained | None:
    """From a config of any version."""
    if not isinstance(config, dict) or not isinstance(config.get("data"), str) or not config["data"]:
        return None
    usual = TrainConfig()
    return _Trained(config["data"], str(config.get("weights", "")), float(config.get("valid_fraction", usual.valid_fraction)),
                    int(config.get("seed", usual.seed)), began, ended)


def _config_in(file: Path) -> Any:
    """What a checkpoint says of its training; somebody else's says nothing."""
    from engine import weights

    content: Any = weights.safe_load(file) if file.is_file() else None
    return content.get("config") if isinstance(content, dict) else None


def _utc(seconds: Any) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if isinstance(seconds, int | float) else ""


def _is_of(path: str, dataset: Dataset) -> bool:
    """A set whose workspace was moved is known by the name of its folder."""
    data = Path(path)
    return data.resolve() == dataset.folder.resolve() if data.exists() else data.name == dataset.id


def _held(dataset: Dataset, trained: _Trained, model: Path) -> set[int]:
    began, ended = trained.began, trained.ended
    with dataset.connection() as connection:
        def any_of(query: str, *values: Any) -> bool:
            return connection.execute(f"{query} LIMIT 1", values).fetchone() is not None

        undone = f"undone = {UNDONE} AND (at <= ? OR ? = '')"  # nobody knows when: perhaps after the run had begun
        moving = f"SELECT 1 FROM edits WHERE action IN {MOVING} AND ((undone = {CLOSED} AND at >= ?) OR ({undone}))"
        unclear = any_of(moving, began, ended, ended)
        edited = not began or any_of("SELECT 1 FROM history WHERE at >= ?", began) \
            or any_of(f"SELECT 1 FROM edits WHERE at >= ? OR ({undone})", began, ended, ended)
        validated = any_of("SELECT 1 FROM images WHERE split = 'valid'")
        kept = {image for image, in connection.execute(f"SELECT id FROM images WHERE trashed IS NULL AND split IN {HELD}")}
        kept -= {image for image, in connection.execute(f"""SELECT u.image_id FROM undo_images u JOIN edits e ON e.id = u.edit_id
            WHERE e.undone = {OPEN} AND e.at >= ? AND u.split NOT IN {HELD}""", (began,))}
    if not unclear and not validated and not edited:
        kept |= _dealt(dataset, trained)
    if unclear or not (kept or validated):
        raise UserError("held_out_unknown", model=name_of(model), name=dataset.name)
    return kept


def _dealt(dataset: Dataset, trained: _Trained) -> set[int]:
    """The validation part that a run makes of a set without one."""
    dealt = with_valid(dataset.collection(), trained.valid_fraction, trained.seed)
    held = {sample.image.name for sample in dealt.samples if sample.split == "valid"}
    with dataset.connection() as connection:
        return {image for image, file in connection.execute("SELECT id, file FROM images WHERE trashed IS NULL") if file in held}


def name_of(model: Path) -> str:
    """What people call it: the run, or the file."""
    return model.parent.name if model.name == "best.pt" else model.name

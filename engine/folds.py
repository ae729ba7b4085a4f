"""Models that have not learnt the labels they are asked about: the images of a set dealt to folds, a model for each trained on all others."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from engine.config import TrainConfig
from engine.datasets.splits import together
from engine.datasets.store import Dataset
from engine.datasets.store_file import is_dataset
from engine.types import Reading, Sample, UserError

WAY, MEASURED = "way.json", ("precision", "layout", "threads")


def dealt(dataset: Dataset, ids: Sequence[int], folds: int, seed: int = 0) -> list[list[int]]:
    """These images in `folds` parts of about one size, the same every time. Images of one group or look stay together.

    Raises UserError when there are fewer such groups than folds.
    """
    wanted = set(ids)
    clusters = together([item for item in dataset.items() if item.id in wanted])
    if type(folds) is not int or not 2 <= folds <= max(2, len(clusters)) or len(clusters) < 2:
        raise UserError("option_bounds", name="folds", value=folds, low=2, high=max(2, len(clusters)))
    random.Random(seed).shuffle(clusters)
    parts: list[list[int]] = [[] for _ in range(folds)]
    for cluster in sorted(clusters, key=len, reverse=True):
        min(parts, key=len).extend(int(str(item.id)) for item in cluster)
    return [sorted(part) for part in parts]


def trained(dataset: Dataset, ids: Sequence[int], held: Collection[int], config: TrainConfig, folder: Path, *,
            stop: Callable[[], bool] = lambda: False, share: Callable[[float], None] = lambda part: None) -> Path | None:
    """The run in `folder` of a model that was trained on `ids` without those that are `held` out; None when it was stopped.

    It goes on where it stood before. The images are linked, not copied. `share` is told how much of the training is done, 0..1, after every few
    steps. Of a run that is done only what predicts is kept.
    """
    from engine.train import train

    run, data = folder / "run", folder / "data"
    if not is_dataset(data):
        Dataset.create(data, dataset.name, Reading(dataset.classes, iter(_samples(dataset, ids, set(held))), dataset.task), images="link")
    if (run / "done").is_file():
        return run
    run.mkdir(parents=True, exist_ok=True)
    last, steps = "", 0
    for event in train(config.replace(data=str(data)), run, stop=stop):
        last = event.kind
        if last == "recorded":
            _write_way(run, event.values["config"])
        if last == "plan":
            steps = event.values["total_steps"]
        if last in ("step", "validated") and steps:
            share(min(1.0, event.step / steps))
    if last != "done":
        return None
    (run / "done").touch()
    (run / "last.pt").unlink(missing_ok=True)
    return run


def _write_way(run: Path, config: TrainConfig) -> None:
    (run / WAY).write_text(json.dumps({name: getattr(config, name) for name in MEASURED}), encoding="utf-8")


def as_measured(config: TrainConfig, run: Path) -> TrainConfig:
    """The config with the arithmetic that this run has found to be the fastest: the next one need not measure again."""
    try:
        return config.replace(**json.loads((run / WAY).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return config


def _samples(dataset: Dataset, ids: Sequence[int], held: set[int]) -> list[Sample]:
    """What is held out is the validation part."""
    rows = [dataset.row(image_id) for image_id in ids]
    return [Sample(row.path, row.size, row.labels, "valid" if row.id in held else "train", row.group, f"{row.id}/{row.name}") for row in rows]

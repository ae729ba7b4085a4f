"""`suggest`: a model suggests labels for the images of a stored data set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine import messages
from engine.types import UserError

if TYPE_CHECKING:
    from engine.datasets.store import Dataset
    from engine.predict import Predictor

IMAGES = ("unlabeled", "all")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("--images", default="unlabeled", metavar="N", help=messages.text("cli.help.suggest_images"))
    parser.add_argument("--threshold", type=float, default=0.25, help=messages.text("cli.help.suggest_threshold"))
    parser.add_argument("--accept-above", type=float, default=None, metavar="S", help=messages.text("cli.help.accept_above"))
    parser.add_argument("--json", action="store_true", help=messages.text("cli.help.json"))


def add_common(parser: argparse.ArgumentParser) -> None:
    """The data set and the model."""
    parser.add_argument("--data", required=True, metavar="DIR", help=messages.text("cli.help.stored"))
    parser.add_argument("--model", required=True, metavar="MODEL", help=messages.text("cli.help.trained"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help=messages.text("option.device.help"))


def run(arguments: argparse.Namespace) -> int:
    from engine import suggesting

    for name in ("threshold", "accept_above"):
        value = getattr(arguments, name)
        if value is not None and not 0 <= value <= 1:
            raise UserError("option_bounds", name=name.replace("_", "-"), value=value, low=0, high=1)
    dataset = stored(arguments.data)
    ids = ids_of(dataset, arguments.images)
    predictor, source = opened(arguments)
    found = suggesting.suggest(dataset, predictor, ids, source=source, threshold=arguments.threshold, progress=show)
    accepted = 0
    if arguments.accept_above is not None:
        accepted = suggesting.accept(dataset, ids, threshold=arguments.accept_above, who="engine suggest")
    if arguments.json:
        print(json.dumps({"images": found.images, "shapes": found.shapes, "failed": found.failed, "missing": found.missing, "accepted": accepted,
                          "unseen": suggesting.unseen(dataset)}, ensure_ascii=False))
        return 0
    print(messages.text("cli.suggested", images=found.images, shapes=found.shapes, failed=found.failed))
    if found.missing:
        print(messages.text("cli.suggested_missing", names=", ".join(f"{name} ({count})" for name, count in found.missing.items())))
    if arguments.accept_above is not None:
        print(messages.text("cli.accepted", images=accepted, unseen=suggesting.unseen(dataset)))
    return 0


def stored(path: str) -> Dataset:
    """A stored data set: suggestions need a place. Raises UserError for anything else."""
    from engine.datasets.store import Dataset, is_dataset

    if not Path(path).exists():
        raise UserError("path_missing", path=path)
    if not is_dataset(Path(path)):
        raise UserError("dataset_not_stored", path=path)
    return Dataset(Path(path))


def opened(arguments: argparse.Namespace) -> tuple[Predictor, str]:
    """The model, and what it is called."""
    from engine.predict import load

    path = Path(arguments.model)
    return load(path, device=arguments.device), path.resolve().parent.name if path.name == "best.pt" else path.resolve().name


def ids_of(dataset: Dataset, images: str) -> list[int]:
    """`unlabeled`, `all`, or the first N unlabeled images. Raises UserError for anything else."""
    from engine.suggesting import MOST_IMAGES, wanted_ids

    if images == "all":
        return dataset.ids()
    if images == "unlabeled":
        return wanted_ids(dataset, images)
    if not images.isdecimal() or not 1 <= int(images[:9]) <= MOST_IMAGES:
        raise UserError("option_choice", name="images", value=images[:80], choices=", ".join((*IMAGES, "N")))
    return wanted_ids(dataset, "next", count=int(images))


def show(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

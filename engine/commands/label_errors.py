"""`label-errors`: labels that may be wrong, the most suspicious first."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine import messages
from engine.commands.suggest import opened, show, stored
from engine.types import SPLITS, UserError

if TYPE_CHECKING:
    from engine.datasets.store import Dataset
    from engine.label_errors import Suspect

SHARES = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="DIR", help=messages.text("cli.help.stored"))
    parser.add_argument("--model", default="", metavar="MODEL", help=messages.text("cli.help.label_errors_model"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help=messages.text("option.device.help"))
    parser.add_argument("--split", choices=(*SPLITS, "all"), help=messages.text("cli.help.label_errors_split"))
    parser.add_argument("--folds", type=int, default=0, metavar="K", help=messages.text("cli.help.folds"))
    parser.add_argument("--minutes", type=float, default=10.0, help=messages.text("cli.help.folds_minutes"))
    parser.add_argument("--work", metavar="DIR", help=messages.text("cli.help.folds_work"))
    parser.add_argument("--count", type=int, default=50, metavar="N", help=messages.text("cli.help.label_errors_count"))
    parser.add_argument("--json", action="store_true", help=messages.text("cli.help.json"))


def run(arguments: argparse.Namespace) -> int:
    if arguments.count < 1:
        raise UserError("option_bounds", name="count", value=arguments.count, low=1, high=1_000_000)
    dataset = stored(arguments.data)
    found = _cross_checked(dataset, arguments) if arguments.folds else _seen(dataset, arguments)
    names = {each.image_id: dataset.row(each.image_id).name for each in found[:arguments.count]}
    classes = dataset.classes
    if arguments.json:
        print(json.dumps([{"image": each.image_id, "name": names[each.image_id], "kind": each.kind, "score": each.score, "box": each.box,
                           "class": classes[each.cls], "other": None if each.other is None else classes[each.other]}
                          for each in found[:arguments.count]], ensure_ascii=False))
        return 0
    for each in found[:arguments.count]:
        box = " ".join(f"{value:.0f}" for value in each.box) if each.box else "-"
        other = f" / {classes[each.other]}" if each.other is not None else ""
        kind = messages.text(f"suspect.{each.kind}")
        print(f"{each.image_id:>8}  {each.score:.3f}  {kind:<28}  {classes[each.cls]}{other}  [{box}]  {names[each.image_id]}")
    print(messages.text("cli.label_errors_found", count=len(found)))
    return 0


def _cross_checked(dataset: Dataset, arguments: argparse.Namespace) -> list[Suspect]:
    from engine import cross_checking, label_errors

    wanted = cross_checking.asked(dataset, model=arguments.model, folds=arguments.folds, minutes=arguments.minutes * arguments.folds)
    with tempfile.TemporaryDirectory(prefix="lightbox-") as scratch:
        if arguments.work:
            cross_checking.claim(Path(arguments.work), dataset, wanted)
        return label_errors.suspects_kfold(dataset, wanted.config().replace(device=arguments.device), Path(arguments.work or scratch),
                                           folds=arguments.folds, share=lambda part: show(int(SHARES * part), SHARES))


def _seen(dataset: Dataset, arguments: argparse.Namespace) -> list[Suspect]:
    from engine import label_errors

    if not arguments.model:
        raise UserError("label_errors_no_model")
    predictor, source = opened(arguments)
    ids = None if arguments.split is None else dataset.ids() if arguments.split == "all" else dataset.ids(split=arguments.split)
    return label_errors.suspects(dataset, predictor, ids, model=Path(arguments.model), source=source, progress=show)

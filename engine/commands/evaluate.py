"""`evaluate`: metrics of a model on one split of a data set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine import messages
from engine.commands.predict import add_bare, add_outlines, check_numbers, set_outlines
from engine.datasets.collection import load
from engine.datasets.faults import writing
from engine.settings import pairs
from engine.types import UserError

PER_CLASS = {"detect": ("AP", "AP50"), "instance": ("mask_AP", "mask_AP50", "boundary_AP", "AP", "AP50", "objects"),
             "semantic": ("dice", "iou", "dice_global", "iou_global"), "classify": ("auroc", "average_precision", "f1")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="MODEL", help=messages.text("cli.help.trained"))
    parser.add_argument("--data", required=True, help=messages.text("cli.help.data"))
    parser.add_argument("--split", default="valid", help=messages.text("cli.help.split"))
    add_bare(parser)
    parser.add_argument("--json", metavar="FILE", help=messages.text("cli.help.json_file"))
    parser.add_argument("--threshold", type=float, default=0.0, help=messages.text("cli.help.threshold_evaluate"))
    parser.add_argument("--tta", action="store_true", help=messages.text("cli.help.tta"))
    add_outlines(parser)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help=messages.text("option.device.help"))
    parser.add_argument("--batch", type=int, default=4, help=messages.text("cli.help.batch"))


def run(arguments: argparse.Namespace) -> int:
    from engine.evaluate import evaluate
    from engine.predict import load as load_model

    check_numbers(arguments)
    predictor = load_model(arguments.target, arguments.model, device=arguments.device, options=pairs(arguments.set),
                           image_size=arguments.image_size)
    predictor.tta = arguments.tta
    set_outlines(predictor, arguments)
    with TemporaryDirectory(prefix="lightbox-") as scratch:
        collection = load(Path(arguments.data), Path(scratch))
        samples = collection.split("valid" if arguments.split == "val" else arguments.split)
        if not samples:
            raise UserError("split_missing", split=arguments.split, known=", ".join(collection.counts()))
        samples = predictor.task.align(samples, collection.classes, predictor.classes)
        result = evaluate(predictor, samples, split=arguments.split, batch=arguments.batch, threshold=arguments.threshold, progress=_progress)
    if arguments.json:
        with writing(Path(arguments.json)):
            Path(arguments.json).write_text(json.dumps(result, ensure_ascii=False, indent=1), encoding="utf-8")
    _print_table(result)
    return 0


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _print_table(result: dict[str, Any]) -> None:
    print(messages.text("cli.evaluated", images=result["images"], split=result["split"]))
    for name, value in result["metrics"].items():
        print(f"  {name:<32}{_figure(value)}")
    for row in result["per_class"]:
        figures = "  ".join(f"{name} {_figure(row[name])}" for name in PER_CLASS[result["task"]] if name in row)
        print(f"  {row['name']:<24} {figures}")


def _figure(value: float | None) -> str:
    if isinstance(value, int):
        return str(value)
    return messages.text("word.undefined") if value is None else f"{value:.4f}"

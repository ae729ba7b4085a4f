"""`predict`: images in, overlays and predictions.json out."""

from __future__ import annotations

import argparse
import glob
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine import messages
from engine.datasets.faults import writing
from engine.datasets.images import is_image, open_image, save_image
from engine.types import Instances, Labels, UserError

if TYPE_CHECKING:
    from engine.predict import Predictor

Row = tuple[str, tuple[int, int], Labels]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="MODEL", help=messages.text("cli.help.trained"))
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help=messages.text("cli.help.inputs"))
    parser.add_argument("--out", required=True, metavar="DIR", help=messages.text("cli.help.out"))
    parser.add_argument("--model", help=messages.text("cli.help.official"))
    parser.add_argument("--threshold", type=float, default=0.45, help=messages.text("cli.help.threshold"))
    parser.add_argument("--classes", help=messages.text("cli.help.classes"))
    parser.add_argument("--only", help=messages.text("cli.help.only"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help=messages.text("option.device.help"))
    parser.add_argument("--tta", action="store_true", help=messages.text("cli.help.tta"))
    parser.add_argument("--batch", type=int, default=4, help=messages.text("cli.help.batch"))


def run(arguments: argparse.Namespace) -> int:
    from engine.predict import as_json, load

    check_numbers(arguments)
    files = found_images(arguments.inputs)
    names = _names(arguments.classes) if arguments.classes else None
    predictor = load(arguments.target, arguments.model, classes=names, device=arguments.device)
    predictor.tta = arguments.tta
    only = _class_ids(_names(arguments.only), predictor.classes) if arguments.only else None
    out = Path(arguments.out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    rows, failed = _predicted(predictor, files, only, arguments)
    with writing(out):
        (out / "predictions.json").write_text(
            json.dumps(as_json(predictor.name, predictor.task.name, predictor.classes, rows), ensure_ascii=False, indent=1), encoding="utf-8")
    return 2 if failed and not rows else 0


def _predicted(predictor: Predictor, files: list[Path], only: list[int] | None, arguments: argparse.Namespace) -> tuple[list[Row], int]:
    """Rows of what was found, each drawn already, and how many files could not be read."""
    rows: list[Row] = []
    failed = 0
    for file, size, labels in predictor.stream(files, arguments.batch):
        if isinstance(labels, UserError):
            print(labels, file=sys.stderr)
            failed += 1
            continue
        shown = labels.above(arguments.threshold, only) if isinstance(labels, Instances) else labels
        rows.append((str(file), size, shown))
        with writing(Path(arguments.out)):
            _draw(file, shown, predictor.classes, Path(arguments.out))
        if isinstance(shown, Instances):
            print(messages.text("cli.found", file=file.name, count=len(shown)))
    return rows, failed


def check_numbers(arguments: argparse.Namespace) -> None:
    """Raises UserError for a --batch or --threshold that makes no sense."""
    for name, low, high in (("batch", 1, 1024), ("threshold", 0, 1)):
        value = getattr(arguments, name)
        if not low <= value <= high:
            raise UserError("option_bounds", name=name, value=value, low=low, high=high)


def found_images(inputs: list[str]) -> list[Path]:
    """Files, folders (searched through) and globs, in order, each once. Raises UserError naming an input without images."""
    found: dict[Path, None] = {}
    for each in inputs:
        path = Path(each)
        if path.is_dir():
            matches = sorted(file for file in path.rglob("*") if is_image(file))
        elif path.is_file():
            matches = [path]
        else:
            matches = sorted(Path(match) for match in glob.glob(each, recursive=True) if is_image(Path(match)))  # noqa: PTH207
        if not matches:
            raise UserError("no_image_files", path=each)
        found.update(dict.fromkeys(matches))
    return list(found)


def _draw(file: Path, labels: Labels, classes: tuple[str, ...], out: Path) -> None:
    """The overlay as OUT/<stem>.jpg; a second file of the same stem gets a number."""
    from engine.overlay import draw

    target, number = out / f"{file.stem}.jpg", 2
    while target.resolve() == file.resolve() or target.exists():
        target, number = out / f"{file.stem}_{number}.jpg", number + 1
    if isinstance(labels, Instances):
        save_image(target, draw(open_image(file), labels, classes))


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.replace("，", ",").split(",") if each.strip()]


def _class_ids(wanted: list[str], classes: tuple[str, ...]) -> list[int]:
    for name in wanted:
        if name not in classes:
            raise UserError("unknown_class", name=name, known=", ".join(classes))
    return [classes.index(name) for name in wanted]

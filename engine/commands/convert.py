"""`convert SRC OUT --to FORMAT`: any data set format to any other."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from engine.datasets import faults
from engine.datasets.formats import formats
from engine.messages import text
from engine.types import Problem, UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    writable = [name for name, entry in formats.entries().items() if entry.write is not None]
    parser.add_argument("src", metavar="SRC", type=Path, help=text("cli.convert.src"))
    parser.add_argument("out", metavar="OUT", type=Path, help=text("cli.convert.out"))
    parser.add_argument("--to", required=True, metavar="FORMAT", help=text("cli.convert.to", known=", ".join(writable)))
    parser.add_argument("--from", dest="source_format", metavar="FORMAT", help=text("cli.convert.from"))
    parser.add_argument("--split", metavar="train=0.8,valid=0.2", help=text("cli.convert.split"))
    parser.add_argument("--images", choices=("copy", "link", "none"), default="copy", help=text("cli.convert.images"))
    parser.add_argument("--json", action="store_true", help=text("cli.convert.json"))


def run(arguments: argparse.Namespace) -> int:
    from engine.datasets.convert import convert

    problems: list[Problem] = []
    try:
        summary = convert(arguments.src, arguments.out, to=arguments.to, source_format=arguments.source_format, problems=problems,
                          split=parse_split(arguments.split) if arguments.split else None, images=arguments.images, progress=_progress())
    finally:
        for line in faults.lines(problems):
            sys.stderr.write(f"{line}\n")
    if arguments.json:
        sys.stdout.write(json.dumps(summary.as_dict(), indent=1) + "\n")
        return 0
    splits = ", ".join(f"{split} {count}" for split, count in summary.splits.items())
    counts = faults.counted(problems)
    sys.stdout.write(faults.printable(text("cli.convert.done", images=summary.images, boxes=summary.boxes, classes=len(summary.classes),
                                           splits=splits, source=summary.format_from, target=summary.format_to, out=arguments.out)) + "\n")
    if summary.skipped or counts["error"] or counts["warning"]:
        sys.stdout.write(text("cli.convert.faults", skipped=summary.skipped, errors=counts["error"], warnings=counts["warning"]) + "\n")
    return 0


def parse_split(value: str) -> dict[str, float]:
    """"train=0.8,valid=0.2" -> {"train": 0.8, "valid": 0.2}. Raises UserError."""
    fractions: dict[str, float] = {}
    for part in value.split(","):
        name, _, share = part.partition("=")
        try:
            fractions[{"val": "valid"}.get(name.strip(), name.strip())] = float(share)
        except ValueError as error:
            raise UserError("bad_split", value=value, known="train, valid, test") from error
    return fractions


def _progress() -> Callable[[int], None] | None:
    """A running count on a terminal; nothing in a log file."""
    def show(count: int) -> None:
        sys.stderr.write(f"\r{count}\r")
    return show if sys.stderr.isatty() else None

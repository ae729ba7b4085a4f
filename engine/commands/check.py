"""`check SRC`: the health of a data set."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from engine.datasets import faults
from engine.messages import text
from engine.types import Problem, UserError

MAX_CLASSES_SHOWN = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("src", metavar="SRC", type=Path, help=text("cli.check.src"))
    parser.add_argument("--json", metavar="FILE", help=text("cli.check.json"))
    parser.add_argument("--decode", action="store_true", help=text("cli.check.decode"))


def run(arguments: argparse.Namespace) -> int:
    from engine.datasets.collection import load
    from engine.datasets.health import Report, check

    problems: list[Problem] = []
    try:
        with tempfile.TemporaryDirectory(prefix="lightbox-") as scratch:
            collection = load(arguments.src, Path(scratch), problems=problems)
            report: Report = check(collection, decode=arguments.decode, progress=_progress())
            problems = report.problems
    finally:
        for line in faults.lines(problems):
            sys.stderr.write(f"{line}\n")
    if arguments.json:
        _write(arguments.json, json.dumps(report.as_dict(), indent=1, ensure_ascii=arguments.json == "-") + "\n")
        if arguments.json == "-":
            return 0
    sys.stdout.write(text("cli.check.head", format=report.format, task=report.task, classes=len(report.classes)) + "\n")
    for split, row in report.splits.items():
        sys.stdout.write(text("cli.check.split", split=split, images=row["images"], boxes=row["boxes"], unlabeled=row["unlabeled"]) + "\n")
        for name, count in list(row["classes"].items())[:MAX_CLASSES_SHOWN]:
            sys.stdout.write(faults.printable(f"  {count:>8}  {name[:80]}") + "\n")
    counts = faults.counted(report.problems)
    sys.stdout.write(text("cli.check.problems", errors=counts["error"], warnings=counts["warning"], notes=counts["note"]) + "\n")
    return 0


def _write(target: str, content: str) -> None:
    if target == "-":
        sys.stdout.write(content)
        return
    try:
        Path(target).write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError("cannot_write", path=target, reason=error.strerror or str(error)) from error


def _progress() -> Callable[[int, int], None] | None:
    """A running count on a terminal; nothing in a log file."""
    def show(done: int, total: int) -> None:
        sys.stderr.write(f"\r{done}/{total}\r")
    return show if sys.stderr.isatty() else None

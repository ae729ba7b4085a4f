"""`check SRC`: the health of a data set."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.datasets import faults
from engine.messages import text
from engine.types import Problem, UserError

if TYPE_CHECKING:
    from engine.datasets.health import Report

MAX_CLASSES_SHOWN = 30
OBJECT_TASKS = ("detect", "instance")
EVERY_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("src", metavar="SRC", type=Path, help=text("cli.check.src"))
    parser.add_argument("--json", metavar="FILE", help=text("cli.check.json"))
    parser.add_argument("--image-size", metavar="PIXELS", type=_positive, default=640, help=text("cli.check.image_size"))
    parser.add_argument("--capacity", metavar="N", type=_positive, default=300, help=text("cli.check.capacity"))
    parser.add_argument("--quick", action="store_true", help=text("cli.check.quick"))
    parser.add_argument("--decode", action="store_true", help=text("cli.check.decode"))


def _positive(value: str) -> int:
    number = int(value)
    if number < 1:
        raise ValueError(value)
    return number


def run(arguments: argparse.Namespace) -> int:
    from engine.datasets.collection import load
    from engine.datasets.health import check

    problems: list[Problem] = []
    opened = arguments.decode or not arguments.quick
    try:
        with tempfile.TemporaryDirectory(prefix="lightbox-") as scratch:
            collection = load(arguments.src, Path(scratch), problems=problems)
            report = check(collection, image_size=arguments.image_size, capacity=arguments.capacity, decode=opened, look=not arguments.quick,
                                   progress=_progress())
            problems = report.problems
    finally:
        for line in faults.lines(problems):
            sys.stderr.write(f"{line}\n")
    if arguments.json:
        _write(arguments.json, json.dumps(report.as_dict(), indent=1, ensure_ascii=arguments.json == "-") + "\n")
        if arguments.json == "-":
            return 0
    _show(report)
    return 0


def _show(report: Report) -> None:
    sys.stdout.write(text("cli.check.head", format=report.format, task=report.task, classes=len(report.classes)) + "\n")
    for split, row in report.splits.items():
        line = "cli.check.split" if report.task in OBJECT_TASKS else "cli.check.split_images"
        sys.stdout.write(text(line, split=split, images=row["images"], boxes=row["boxes"], unlabeled=row["unlabeled"]) + "\n")
        for name, count in list(row["classes"].items())[:MAX_CLASSES_SHOWN]:
            sys.stdout.write(faults.printable(f"  {count:>8}  {name[:80]}") + "\n")
    sizes = report.extras.get("sizes", {})
    if "images" in sizes:
        width, height = sizes["images"]["width"], sizes["images"]["height"]
        ends = {name: f"{width[name]:g} x {height[name]:g}" for name in ("min", "median", "max")}
        sys.stdout.write(text("cli.check.image_sizes", small=ends["min"], middle=ends["median"], large=ends["max"]) + "\n")
    if "boxes" in sizes:
        width, height, aspect = sizes["boxes"]["width"], sizes["boxes"]["height"], sizes["boxes"]["aspect"]
        sys.stdout.write(text("cli.check.box_sizes", middle=f"{width['median']:g} x {height['median']:g}",
                              narrow=f"{aspect.get('p05', 1):.2f}", wide=f"{aspect.get('p95', 1):.2f}") + "\n")
    counts = faults.counted(report.problems)
    sys.stdout.write(text("cli.check.problems", errors=counts["error"], warnings=counts["warning"], notes=counts["note"]) + "\n")


def _write(target: str, content: str) -> None:
    if target == "-":
        sys.stdout.write(content)
        return
    try:
        Path(target).write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError("cannot_write", path=target, reason=error.strerror or str(error)) from error


def _progress() -> Callable[[int, int], None] | None:
    """What and how much, on a terminal; nothing in a log file."""
    if not sys.stderr.isatty():
        return None
    started = shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if done == total:
            sys.stderr.write("\r\x1b[K")
        elif now - shown >= EVERY_SECONDS:
            shown, rate = now, done / max(now - started, 1e-3)
            sys.stderr.write("\r\x1b[K" + text("cli.check.progress", done=f"{done:,}", total=f"{total:,}", rate=f"{rate:,.0f}",
                                               left=f"{(total - done) / rate:,.0f}"))
        sys.stderr.flush()
    return show

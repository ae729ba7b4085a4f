"""`weights inspect FILE`: what a weights file holds, told without running anything in it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import messages
from engine.datasets import faults
from engine.messages import text

if TYPE_CHECKING:
    from engine.weights_reading.report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    deeds = parser.add_subparsers(dest="deed", required=True, metavar="WHAT")
    inspect = deeds.add_parser("inspect", help=text("cli.weights.inspect"), description=text("cli.weights.inspect"))
    inspect.add_argument("file", metavar="FILE", type=Path, help=text("cli.weights.file"))
    inspect.add_argument("--for", dest="model", metavar="MODEL", help=text("cli.weights.for"))
    inspect.add_argument("--lang", choices=messages.LANGUAGES, help=text("cli.help.lang"))
    inspect.add_argument("--json", action="store_true", help=text("cli.help.json"))


def run(arguments: argparse.Namespace) -> int:
    from engine.weights_reading.report import inspect

    report = inspect(arguments.file)
    if arguments.model:
        from engine.weights_reading.comparing import compare

        compare(report, arguments.model)
    if arguments.json:
        sys.stdout.write(json.dumps(report.as_dict(), ensure_ascii=True, indent=1) + "\n")
    else:
        _show(report)
    for line in faults.lines(report.told(everything=arguments.json)):
        sys.stderr.write(f"{line}\n")
    return 2 if report.failed else 0


def _show(report: Report) -> None:
    def say(key: str, **values: Any) -> None:
        sys.stdout.write(faults.printable(text(f"cli.weights.{key}", **values)) + "\n")
    say("container", container=report.content.container, layout=report.found.layout)
    dtypes = ", ".join(f"{name} × {count}" for name, count in report.dtypes.items()) or "-"
    say("tensors", tensors=f"{len(report.found.tensors):,}", parameters=f"{report.parameters:,}", dtypes=dtypes)
    if report.classes is not None:
        names = ", ".join(name[:40] for name in (report.class_names or [])[:10])
        say("classes", classes=report.classes, names=f": {names}" if names else "")
    if report.coverage is not None and "total" in report.coverage:
        say("coverage", model=report.coverage["model"], matched=report.coverage["matched"], total=report.coverage["total"])
    verdict = report.detectron2()
    say("detectron2", outcome=text(f"weights.outcome.{verdict['outcome']}"), message=verdict["message"])

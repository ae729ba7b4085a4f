"""`sample KIND OUT`: a generated sample data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from engine.messages import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", help=text("cli.help.sample_kind"))
    parser.add_argument("out", metavar="OUT", type=Path, help=text("cli.help.sample_out"))
    parser.add_argument("--images", metavar="N", type=int, default=120, help=text("cli.help.sample_images"))
    parser.add_argument("--seed", metavar="S", type=int, default=0, help=text("cli.help.sample_seed"))
    parser.add_argument("--objects", metavar="N", type=int, help=text("cli.help.sample_objects"))


def run(arguments: argparse.Namespace) -> int:
    from engine.datasets.samples import generate

    count = generate(arguments.kind, arguments.out, arguments.images, arguments.seed, _progress(), objects=arguments.objects)
    sys.stdout.write(text("cli.sample.done", images=count, out=arguments.out) + "\n")
    return 0


def _progress() -> Callable[[int, int], None] | None:
    """A running count on a terminal; nothing in a log file."""
    def show(done: int, wanted: int) -> None:
        sys.stderr.write(f"\r{done}/{wanted}\r")
    return show if sys.stderr.isatty() else None

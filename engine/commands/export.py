"""`export`: a trained model as one file for other programs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine import messages
from engine.commands.predict import add_bare
from engine.datasets.faults import printable
from engine.settings import pairs

if TYPE_CHECKING:
    from engine.export import Exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="MODEL", help=messages.text("cli.help.export_model"))
    parser.add_argument("out", metavar="OUT", type=Path, help=messages.text("cli.help.export_out"))
    parser.add_argument("--to", default="onnx", metavar="onnx", help=messages.text("cli.help.export_to"))
    parser.add_argument("--precision", default="fp32", metavar="fp32", help=messages.text("cli.help.export_precision"))
    add_bare(parser)
    parser.add_argument("--classes", help=messages.text("cli.help.classes"))
    parser.add_argument("--force", action="store_true", help=messages.text("cli.weights.force"))
    parser.add_argument("--json", action="store_true", help=messages.text("cli.help.json"))


def run(arguments: argparse.Namespace) -> int:
    from engine.export import export
    from engine.predictions import class_names

    made = export(arguments.target, arguments.out, to=arguments.to, precision=arguments.precision, name=arguments.model,
                  classes=class_names(arguments.classes) if arguments.classes else None, options=pairs(arguments.set),
                  image_size=arguments.image_size, force=arguments.force)
    if arguments.json:
        sys.stdout.write(json.dumps(made.as_dict(), ensure_ascii=True, indent=1) + "\n")
    else:
        _show(made)
    return 0


def _show(made: Exported) -> None:
    told = made.as_dict()
    lines = [
        messages.text("cli.export.written", file=str(made.file), size=f"{told['bytes'] / 1e6:.1f}"),
        messages.text("cli.export.input", shape=_shape(told["input"]["shape"]),
                      outputs=", ".join(f"{name} {_shape(shape)}" for name, shape in made.outputs.items())),
        messages.text("cli.export.verified", share=f"{100 * made.agreement.share:.1f}", largest=f"{made.agreement.largest:.1g}"),
    ]
    sys.stdout.write("".join(printable(line) + "\n" for line in lines))


def _shape(sides: list[int]) -> str:
    return " × ".join(str(side or "N") for side in sides)

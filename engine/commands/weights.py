"""`weights inspect|convert|repair|verify FILE`: what a weights file holds, and what has to be done so that it can be used. Nothing in it is run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import messages
from engine.datasets import faults
from engine.messages import text
from engine.types import Problem

if TYPE_CHECKING:
    from engine.weights_mending.converting import Outcome
    from engine.weights_mending.verifying import Proof
    from engine.weights_reading.report import Report

TARGETS = ("native", "detectron2", "timm", "timm-features", "safetensors")
SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    deeds = parser.add_subparsers(dest="deed", required=True, metavar="WHAT")
    inspect = _deed(deeds, "inspect")
    inspect.add_argument("--for", dest="model", metavar="MODEL", help=text("cli.weights.for"))
    convert = _deed(deeds, "convert")
    convert.add_argument("out", metavar="OUT", type=Path, help=text("cli.weights.out"))
    convert.add_argument("--to", required=True, choices=TARGETS, help=text("cli.weights.to"))
    repair = _deed(deeds, "repair")
    repair.add_argument("out", metavar="OUT", type=Path, nargs="?", help=text("cli.weights.out_repaired"))
    for each in (convert, repair):
        each.add_argument("--force", action="store_true", help=text("cli.weights.force"))
    verify = _deed(deeds, "verify")
    verify.add_argument("--for", dest="model", required=True, metavar="MODEL", help=text("cli.weights.verify_for"))
    verify.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help=text("cli.weights.set"))
    verify.add_argument("--backbone", action="store_true", help=text("cli.weights.backbone"))


def _deed(deeds: Any, name: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = deeds.add_parser(name, help=text(f"cli.weights.{name}"), description=text(f"cli.weights.{name}"))
    parser.add_argument("file", metavar="FILE", type=Path, help=text("cli.weights.file"))
    parser.add_argument("--lang", choices=messages.LANGUAGES, help=text("cli.help.lang"))
    parser.add_argument("--json", action="store_true", help=text("cli.help.json"))
    return parser


def run(arguments: argparse.Namespace) -> int:
    return {"inspect": _inspect, "convert": _convert, "repair": _repair, "verify": _verify}[arguments.deed](arguments)


def _inspect(arguments: argparse.Namespace) -> int:
    from engine.weights_reading.report import inspect

    report = inspect(arguments.file)
    if arguments.model:
        from engine.weights_reading.comparing import compare

        compare(report, arguments.model)
    _tell(arguments, report.as_dict(), lambda: _show(report), report.told(everything=arguments.json))
    return 2 if report.failed else 0


def _convert(arguments: argparse.Namespace) -> int:
    from engine.weights_mending.converting import convert

    outcome = convert(arguments.file, arguments.out, arguments.to, force=arguments.force)
    _tell(arguments, outcome.as_dict(), lambda: _show_outcome(outcome), outcome.problems)
    return 0


def _repair(arguments: argparse.Namespace) -> int:
    from engine.weights_mending.repairing import repair

    outcome = repair(arguments.file, arguments.out, force=arguments.force)
    _tell(arguments, outcome.as_dict(), lambda: _show_outcome(outcome), outcome.problems)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from engine.settings import pairs
    from engine.weights_mending.verifying import verify

    proof = verify(arguments.file, arguments.model, pairs(arguments.set), backbone=arguments.backbone)
    _tell(arguments, proof.as_dict(), lambda: _show_proof(proof), proof.problems)
    return 0 if proof.holds else 2


def _tell(arguments: argparse.Namespace, document: dict[str, Any], show: Any, problems: Iterable[Problem]) -> None:
    if arguments.json:
        sys.stdout.write(json.dumps(document, ensure_ascii=True, indent=1) + "\n")
    else:
        show()
    for line in faults.lines(problems):
        sys.stderr.write(f"{line}\n")


def _say(key: str, **values: Any) -> None:
    sys.stdout.write(faults.printable(text(f"cli.weights.{key}", **values)) + "\n")


def _show(report: Report) -> None:
    _say("container", container=report.content.container, layout=report.found.layout)
    if report.found.family:
        _say("family", family=text(f"weights.family.{report.found.family}"))
    dtypes = ", ".join(f"{name} × {count}" for name, count in report.dtypes.items()) or "-"
    _say("tensors", tensors=f"{len(report.found.tensors):,}", parameters=f"{report.parameters:,}", dtypes=dtypes)
    if report.classes is not None:
        names = ", ".join(name[:40] for name in (report.class_names or [])[:10])
        _say("classes", classes=report.classes, names=f": {names}" if names else "")
    if report.coverage is not None and "total" in report.coverage:
        _say("coverage", model=report.coverage["model"], matched=report.coverage["matched"], total=report.coverage["total"])
    _show_verdict(report)


def _show_verdict(report: Report) -> None:
    verdict = report.detectron2()
    _say("detectron2", outcome=text(f"weights.outcome.{verdict['outcome']}"), message=verdict["message"])


def _show_outcome(outcome: Outcome) -> None:
    for deed in outcome.deeds:
        sys.stdout.write(faults.printable(f"- {deed.message()}") + "\n")
    if not outcome.changed:
        _say("nothing_wrong", file=outcome.before.content.path.name)
    if outcome.after is None:
        return
    report = outcome.after
    _say("written", out=str(outcome.file), tensors=f"{len(report.found.tensors):,}", parameters=f"{report.parameters:,}")
    if outcome.for_detectron2:
        _show_verdict(report)


def _show_proof(proof: Proof) -> None:
    coverage = proof.coverage
    options = ", ".join(f"{name}={value}" for name, value in proof.options.items())
    _say("verify_model", model=proof.model, options=options or "-")
    if coverage is not None:
        _say(f"covered.{proof.part}", matched=len(coverage.matched), total=proof.total, missing=len(coverage.missing),
             unexpected=len(coverage.unexpected), reshaped=len(coverage.reshaped))
        for key in ("missing", "unexpected"):
            for name in getattr(coverage, key)[:SHOWN]:
                _say(f"verify_one_{key}", name=name[:100])
    for name, theirs, ours in proof.differing[:SHOWN]:
        _say("verify_differs", name=name[:100], file=list(theirs), model=list(ours))
    outputs = ", ".join(f"{name} {shape}" for name, shape in proof.outputs.items())
    _say("verify_forward", size=proof.size, outputs=outputs or "-", finite=text(f"cli.weights.finite.{str(proof.finite).lower()}"))
    _say("verified" if proof.holds else "not_verified")

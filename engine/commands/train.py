"""`train`: into a run folder, with progress on stderr. Ctrl-C stops cleanly; --resume goes on."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import messages, runs
from engine.config import TrainConfig
from engine.hub import megabytes
from engine.runs import Run
from engine.settings import config_of, pairs
from engine.types import UserError
from engine.worker import explain, work

if TYPE_CHECKING:
    from engine.distributed import Group

PLAIN = ("epochs", "minutes", "batch", "image_size", "lr", "seed", "device", "weights", "workers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", help=messages.text("cli.help.data"))
    parser.add_argument("--model", help=messages.text("cli.help.model"))
    parser.add_argument("--run", metavar="DIR", dest="run_folder", help=messages.text("cli.help.run"))
    parser.add_argument("--resume", metavar="DIR", help=messages.text("cli.help.resume"))
    add_settings(parser)
    parser.add_argument("--quiet", action="store_true", help=messages.text("cli.help.quiet"))


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The fields of a TrainConfig that have arguments of their own, and --set for all others."""
    for name in PLAIN:
        parser.add_argument(f"--{name.replace('_', '-')}", help=messages.text(f"option.{name}.help").replace("%", "%%"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=messages.text("cli.help.set"))


def run(arguments: argparse.Namespace) -> int:
    from engine import distributed

    with closing(distributed.join()) as group:
        return _lead(arguments, group) if group.main else _follow(arguments, group)


def _follow(arguments: argparse.Namespace, group: Group) -> int:
    """One of several processes, but the first: does its share in silence, until all are done or the first one has left."""
    from engine.train import train

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first one stops at a step, and all with it
    try:
        for _ in train(TrainConfig(), Path(arguments.resume or arguments.run_folder or "."), group=group):
            pass
    except UserError as error:
        if error.key == "process_lost":
            return 2
        raise
    return 0


def _lead(arguments: argparse.Namespace, group: Group) -> int:
    chosen = _resumed(arguments) if arguments.resume else runs.create(*_new(arguments))
    signal.signal(signal.SIGINT, lambda number, frame: chosen.request_stop())
    signal.signal(signal.SIGTERM, lambda number, frame: chosen.request_stop())
    try:
        phase = work(chosen, (lambda event: None) if arguments.quiet else _show, group)
    except UserError:
        raise
    except Exception as error:
        known = explain(error, chosen)
        if known["key"] == "training_bug":
            raise
        raise UserError(known["key"], **known["values"]) from error
    print(messages.text(f"cli.train.{phase}", run=chosen.folder), file=sys.stderr)
    return 0


def _new(arguments: argparse.Namespace) -> tuple[Path, TrainConfig]:
    if not arguments.data or not arguments.run_folder:
        raise UserError("train_arguments")
    return Path(arguments.run_folder), asked(arguments, arguments.model or TrainConfig.model)


def asked(arguments: argparse.Namespace, model: str) -> TrainConfig:
    """The config that the arguments mean. Raises UserError for data that is not there and values that cannot be."""
    values: dict[str, Any] = {name: getattr(arguments, name) for name in PLAIN if getattr(arguments, name) is not None}
    if not Path(arguments.data).exists():
        raise UserError("path_missing", path=arguments.data)
    return config_of({"data": str(Path(arguments.data).resolve()), "model": model, **values, **pairs(arguments.set)})


def _resumed(arguments: argparse.Namespace) -> Run:
    given = [name for name in ("data", "model", "run_folder", *PLAIN, "set") if getattr(arguments, name)]
    if given:
        raise UserError("resume_with_options", options=", ".join("--" + name.removesuffix("_folder").replace("_", "-") for name in given))
    chosen = Run(arguments.resume)
    if not chosen.exists():
        raise UserError("run_missing", path=arguments.resume)
    runs.requeue(chosen)
    return chosen


def _show(event: Any) -> None:
    """One line per epoch and note, and a running one in between when stderr is a terminal."""
    values = event.values
    if event.kind == "note":
        if "problem" in values:
            _say(f"{values['problem'].message()} {values['problem'].remedy()}")
        elif "derived" in values:
            _say(f"{values['derived'].label()} = {values['derived'].value}: {values['derived'].because()}")
        else:
            _say(messages.text(f"log.{values['key']}", **{k: v for k, v in values.items() if k != "key"}))
    elif event.kind == "fetching":
        _show_fetching(values)
    elif event.kind == "stopped" and sys.stderr.isatty():
        print(file=sys.stderr)
    elif event.kind == "plan":
        _say(messages.text("cli.plan", epochs=values["epochs"], steps=values["total_steps"]))
    elif event.kind == "step" and sys.stderr.isatty():
        eta = messages.text("cli.eta", minutes=round(values["eta_s"] / 60, 1)) if values["eta_s"] is not None else ""
        print(f"\r{event.epoch}: loss {values['row']['loss']:.3f} {values['images_per_s']:.1f}/s {eta}   ", end="", file=sys.stderr, flush=True)
    elif event.kind == "validated":
        words = " ".join(f"{name} {value:.3f}" for name, value in values["metrics"].items() if name in values["shown"] and value is not None)
        _say(messages.text("log.validated", epoch=event.epoch, metrics=words or "-", seconds=round(values["seconds"], 1)))


def _show_fetching(values: dict[str, Any]) -> None:
    """What is downloaded and how much of it has come; the middle on a terminal only."""
    (come, whole), ends = megabytes(values["come"], values["whole"]), values["come"] == values["whole"] > 0
    if ends or not values["whole"]:
        _say(messages.text("log.fetched" if ends else "log.fetching", file=values["file"], size=whole))
    elif sys.stderr.isatty():
        print("\r" + messages.text("progress.fetching", come=come, whole=whole), end="   ", file=sys.stderr, flush=True)


def _say(line: str) -> None:
    print(("\r" if sys.stderr.isatty() else "") + line, file=sys.stderr, flush=True)

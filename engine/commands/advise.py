"""`advise`: the size of the model, the batch and the time that suit a data set and this machine, measured by some training steps."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from engine import messages
from engine.commands.train import add_settings, asked
from engine.config import TrainConfig
from engine.runs import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help=messages.text("cli.help.data"))
    parser.add_argument("--model", help=messages.text("cli.help.advise_model"))
    add_settings(parser)
    parser.add_argument("--json", action="store_true", help=messages.text("cli.help.json"))


def run(arguments: argparse.Namespace) -> int:
    from engine import advising

    found = advising.advised(asked(arguments, arguments.model or TrainConfig.model), choose=not arguments.model, progress=_show)
    config = TrainConfig(**found.pop("config"))
    found["command"] = command_line(config, Path("runs") / f"{config.model}-1")
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    suggested = found["suggested"]
    if suggested:
        print(messages.text("advice.suggested", model=suggested["model"], size=suggested["image_size"]))
        for reason in suggested["reasons"]:
            print(f"  {reason}")
    print(found["line"])
    for each in found["settings"]:
        print(f"{messages.text('option.' + each['name'])} = {each['value']}: {each['why']}")
    print(found["command"])
    return 0


def _show(trial: Any) -> None:
    said = messages.text("advice.trial", batch=trial.batch, seconds=f"{trial.seconds:.2f}", memory=f"{trial.memory:.2f}")
    print(said, file=sys.stderr, flush=True)

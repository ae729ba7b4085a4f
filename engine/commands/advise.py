"""`advise`: the size of the model, the batch and the time that suit a data set and this machine, measured by some training steps."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
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
    parser.add_argument("--lines", action="store_true", help=argparse.SUPPRESS)  # each trial as a line of JSON, for the page


def run(arguments: argparse.Namespace) -> int:
    from engine import advising, machine, recipe
    from engine.datasets.collection import load
    from engine.models import models

    config = asked(arguments, arguments.model or TrainConfig.model)
    found = machine.detect()
    device = recipe.Machine(machine.choose_device(config.device), found.accelerator_memory, found.cores)
    advice = None
    if not arguments.model or models.get(config.model).task == "detect":
        with TemporaryDirectory(prefix="lightbox-") as scratch:
            collection = load(Path(config.data), Path(scratch))
        if collection.task in ("detect", "instance"):
            advice = advising.suited(list(models.entries().values()), collection.split("train"), device)
    if advice is not None and not arguments.model:
        config = config.replace(model=advice.model, image_size=config.image_size or advice.image_size)
    told = advising.probe(config, progress=lambda trial: _show(trial, lines=arguments.lines))
    facts = recipe.DataFacts(told.train_images, told.valid_images, 1)
    plan = recipe.suggest(config.replace(image_size=told.image_size), models.get(config.model), facts, device, pretrained=config.weights != "none")
    settled = list(advising.settled(plan.config, told, plan.config.batch * plan.config.accumulate))
    chosen = config.replace(**{each.name: each.value for each in settled if each.name in ("batch", "accumulate")})
    content = {"suggested": {"model": advice.model, "image_size": advice.image_size, "reasons": advice.because()} if advice else None,
               "probe": told.as_dict(), "settings": [{"name": each.name, "value": each.value, "why": each.because()} for each in settled],
               "command": command_line(chosen, Path("runs") / f"{config.model}-1")}
    if arguments.json or arguments.lines:
        print(json.dumps(content, ensure_ascii=False))
        return 0
    _report(content, advising.spoken(told))
    return 0


def _report(content: dict[str, Any], line: str) -> None:
    suggested = content["suggested"]
    if suggested:
        print(messages.text("advice.suggested", model=suggested["model"], size=suggested["image_size"]))
        for reason in suggested["reasons"]:
            print(f"  {reason}")
    print(line)
    for each in content["settings"]:
        print(f"{messages.text('option.' + each['name'])} = {each['value']}: {each['why']}")
    print(content["command"])


def _show(trial: Any, *, lines: bool) -> None:
    if lines:
        print(json.dumps({"trial": asdict(trial)}), flush=True)
    else:
        said = messages.text("advice.trial", batch=trial.batch, seconds=f"{trial.seconds:.2f}", memory=f"{trial.memory:.2f}")
        print(said, file=sys.stderr, flush=True)

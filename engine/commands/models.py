"""`models`: what can be trained."""

from __future__ import annotations

import argparse
import json
from typing import Any

from engine import messages
from engine.models import models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help=messages.text("cli.help.json"))


def run(arguments: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = [{"name": spec.name, "task": spec.task, "parameters": round(spec.parameters * 1e6), "image_size": spec.image_size,
             "licence": spec.licence, "weights": [f"{source.repository}/{source.file}" for source in spec.weights]}
            for spec in models.entries().values()]
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return 0
    print(f"{'name':<18}{'task':<10}{'parameters':>12}{'image size':>12}  licence")
    for row in rows:
        print(f"{row['name']:<18}{row['task']:<10}{row['parameters'] / 1e6:>10.2f} M{row['image_size']:>12}  {row['licence']}")
    return 0

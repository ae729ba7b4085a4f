"""The command line: `python -m engine VERB`. Exit code 0 = done, 2 = the user can mend it, 1 = our bug."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import pkgutil
import sys
import tempfile
import traceback
from pathlib import Path

from engine import __version__, commands, messages
from engine.types import UserError

OF_ITS_OWN = ("processes_without_device", "out_of_memory")  # what one process of several may meet alone


class Parser(argparse.ArgumentParser):
    """Says a usage error in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message}\n{messages.text('cli.see_help', command=self.prog)}\n" if speaks() else None)


def speaks() -> bool:
    """Of several processes that train together the first one tells what all of them find."""
    return os.environ.get("RANK", "0") == "0" or "WORLD_SIZE" not in os.environ


def build_parser() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument("--lang", choices=messages.LANGUAGES, help=messages.text("cli.help.lang"))
    parser = Parser(prog="python -m engine", description=messages.text("cli.description"), parents=[common])
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    for info in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"engine.commands.{info.name}")
        said = messages.text(f"cli.{info.name}")
        verb = verbs.add_parser(info.name.replace("_", "-"), help=said, description=said, parents=[common])
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return parser


def chosen_language(arguments: list[str]) -> str:
    """--lang is looked for first, because the help texts need it."""
    for position, argument in enumerate(arguments):
        if argument.startswith("--lang="):
            return argument.split("=", 1)[1]
        if argument == "--lang" and position + 1 < len(arguments):
            return arguments[position + 1]
    return messages.system_language()


def log_bug(error: BaseException) -> Path:
    """Writes the traceback where a person can find it; returns the file."""
    with tempfile.NamedTemporaryFile("w", prefix="lightbox-", suffix=".log", delete=False, encoding="utf-8") as log:
        traceback.print_exception(error, file=log)
    return Path(log.name)


def hint(error: UserError) -> list[str]:
    """The option that helps here; the error's own remedy speaks to pages, too."""
    key = f"cli.hint.{error.key}"
    return [messages.text(key, **error.values)] if key in messages.catalogue("en") else []


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    messages.set_language(chosen_language(arguments))
    try:
        chosen = build_parser().parse_args(arguments)
        return chosen.run(chosen)
    except UserError as error:
        if speaks() or error.key in OF_ITS_OWN:
            print(error, *hint(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(messages.text("cli.interrupted"), file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001 - the outer border of the command line
        print(messages.text("cli.bug", kind=type(error).__name__, log=log_bug(error)), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

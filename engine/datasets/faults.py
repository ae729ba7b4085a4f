"""Problems for people: from errors, into groups, onto lines."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.messages import text
from engine.types import Problem, Severity, UserError

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


def problem_of(error: UserError, where: str, severity: Severity = "error") -> Problem:
    """An error that costs one file, not the whole; the catalogue holds its texts under both names. An error that knows its line keeps it."""
    values = dict(error.values)
    return Problem(error.key, severity, values.pop("where", where), values)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what a disk can do wrong while `path` is written into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError("no_space_to_write", path=path.name) from error
        raise UserError("cannot_write", path=path.name, reason=error.strerror or str(error)) from error
    except sqlite3.OperationalError as error:
        full = "full" in str(error)
        raise UserError("no_space_to_write" if full else "cannot_write", path=path.name, reason=str(error)) from error


def counted(problems: Iterable[Problem]) -> dict[Severity, int]:
    counts: dict[Severity, int] = dict.fromkeys(SEVERITIES, 0)
    for problem in problems:
        counts[problem.severity] += 1
    return counts


def grouped(problems: Iterable[Problem]) -> list[list[Problem]]:
    """Problems of one code together, errors first."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.severity, problem.code), []).append(problem)
    return sorted(groups.values(), key=lambda group: SEVERITIES.index(group[0].severity))


def lines(problems: Iterable[Problem], language: str | None = None, cap: int = 10) -> Iterator[str]:
    """One line a problem, at most `cap` of a kind and then how many more; each kind ends with what to do."""
    for group in grouped(problems):
        severity = text(f"severity.{group[0].severity}", language)
        for problem in group[:cap]:
            where = "" if problem.where == "." else f" {problem.where}:"
            yield printable(f"{severity}:{where} {problem.message(language)}")
        if len(group) > cap:
            yield printable(f"{severity}: {text('report.more', language, count=len(group) - cap)}")
        remedy = group[0].remedy(language)
        if remedy and not remedy.startswith("problem."):
            yield printable(f"  {remedy}")


def printable(line: str) -> str:
    """Names come from strangers: nothing in them may steer a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line)

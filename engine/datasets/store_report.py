"""What a health check leaves behind in a stored set: its report, the problems of each image and the images' fingerprints."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.types import Problem

if TYPE_CHECKING:
    from engine.datasets.health import Report

Fingerprint = tuple[bytes, bytes]


def keep(connection: sqlite3.Connection, report: Report, problems: Mapping[int, Iterable[Problem]], revision: str) -> None:
    """`revision` is the one that the report speaks of."""
    facts = {"format": report.format, "task": report.task, "classes": report.classes, "splits": report.splits,
             "problems": [[each.code, each.severity, each.where, each.values] for each in report.problems],
             "extras": getattr(report, "extras", {})}
    kept_facts = {"report": json.dumps(facts, default=_plain), "report_revision": revision}
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", kept_facts.items())
    connection.execute("DELETE FROM image_problems")
    found = ((image_id, problem.code, problem.severity) for image_id, each in problems.items() for problem in each)
    connection.executemany("INSERT OR IGNORE INTO image_problems (image_id, code, severity) VALUES (?,?,?)", found)


def kept(connection: sqlite3.Connection) -> Report | None:
    from engine.datasets.health import Report

    found = connection.execute("SELECT value FROM meta WHERE key = 'report'").fetchone()
    if found is None:
        return None
    facts: dict[str, Any] = json.loads(found[0])
    problems = [Problem(*each) for each in facts["problems"]]
    rest = {"extras": facts["extras"]} if "extras" in Report.__dataclass_fields__ else {}
    return Report(facts["format"], facts["task"], tuple(facts["classes"]), facts["splits"], problems, **rest)


def is_stale(connection: sqlite3.Connection) -> bool:
    """Whether the set has changed since the kept report; False when there is none."""
    known = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('revision', 'report_revision')"))
    return "report_revision" in known and known["report_revision"] != known["revision"]


def keep_fingerprints(connection: sqlite3.Connection, found: Mapping[int, Fingerprint], clusters: Mapping[int, int | None]) -> None:
    connection.executemany("""INSERT INTO fingerprints (image_id, digest, look) VALUES (?,?,?)
        ON CONFLICT (image_id) DO UPDATE SET digest = excluded.digest, look = excluded.look""",
                           ((image_id, digest, look) for image_id, (digest, look) in found.items()))
    connection.executemany("""INSERT INTO fingerprints (image_id, cluster) VALUES (?,?)
        ON CONFLICT (image_id) DO UPDATE SET cluster = excluded.cluster""", clusters.items())


def fingerprints(connection: sqlite3.Connection) -> dict[int, Fingerprint]:
    found = connection.execute("SELECT image_id, digest, look FROM fingerprints WHERE digest IS NOT NULL")
    return {image_id: (digest, look) for image_id, digest, look in found}


def keep_seen(connection: sqlite3.Connection, found: Mapping[int, Mapping[str, Any]]) -> None:
    """What opening each image told besides its fingerprint: {"remarks": [...]} or {"error": [key, values]}. Labels do not change it."""
    connection.executemany("""INSERT INTO fingerprints (image_id, state) VALUES (?,?)
        ON CONFLICT (image_id) DO UPDATE SET state = excluded.state""",
                           ((image_id, json.dumps(each, default=_plain)) for image_id, each in found.items()))


def seen(connection: sqlite3.Connection) -> dict[int, dict[str, Any]]:
    """{image id: what `keep_seen` was given}."""
    return {image_id: json.loads(state) for image_id, state in
            connection.execute("SELECT image_id, state FROM fingerprints WHERE state IS NOT NULL")}


def ignored(connection: sqlite3.Connection) -> set[str]:
    """The kinds of problems (codes) that a person wants to hear no more of."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'ignored'").fetchone()
    return set(json.loads(found[0])) if found else set()


def keep_ignored(connection: sqlite3.Connection, codes: Iterable[str]) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('ignored', ?)", (json.dumps(sorted(codes)),))


def _plain(value: Any) -> Any:
    """Arrays and numbers of numpy as JSON knows them; anything else as text."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else str(value)

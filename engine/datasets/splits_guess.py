"""Groups that nobody has set but that names speak of: patients, videos, the volume that a slice was cut from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from engine.datasets.splits import without_mark

MAX_NAME = 500
_PEOPLE = re.compile(r"(?<![^\W\d_])(patient|pat|subject|case)[ _.-]?(?:id)?[ _.-]?(\d+)", re.IGNORECASE)
_VIDEOS = re.compile(r"(?<![^\W\d_])(video|vid|clip)[ _.-]?(\d+)", re.IGNORECASE)
_PIECES = re.compile(r"[ _.-](?:slice|frame)[ _.-]?\d+[^/\d]*$", re.IGNORECASE)
RULES = {"patient #": _PEOPLE, "video #": _VIDEOS, "# slice": _PIECES}


def guessed(names: Sequence[str]) -> tuple[str, list[str | None]] | None:
    """(rule, the group of each name, None where it stands alone) by the first rule that tells several groups apart; None when none does.

    One group alone says nothing, and neither do groups of one image each.
    """
    cleaned = [without_mark(name)[-MAX_NAME:] for name in names]
    for rule, pattern in RULES.items():
        groups = [_group(pattern, name) for name in cleaned]
        counts = Counter(group for group in groups if group is not None)
        if len(counts) > 1 and max(counts.values()) > 1:
            return rule, groups
    return None


def _group(pattern: re.Pattern[str], name: str) -> str | None:
    found = pattern.search(name)
    if found is None:
        return None
    if pattern is _PIECES:  # a number must tell one volume from another
        before = name[:found.start()].rpartition("/")[2]
        return before if any(char.isdigit() for char in before) else None
    return f"{found[1].casefold()} {found[2].lstrip('0') or '0'}"

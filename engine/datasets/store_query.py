"""Which images a page shows and in which order, as SQL that an index answers without looking at the images' own rows."""

from __future__ import annotations

import sqlite3
import unicodedata
from dataclasses import dataclass
from typing import Any

from engine.datasets.store_classes import Classes
from engine.types import UserError

SMALL_PIXELS, LARGE_PIXELS = 300_000, 2_000_000
SIZES = {"small": f"width * height < {SMALL_PIXELS}", "medium": f"width * height BETWEEN {SMALL_PIXELS} AND {LARGE_PIXELS}",
         "large": f"width * height > {LARGE_PIXELS}"}
SORTS = {"id": "id", "name": "name COLLATE NOCASE", "objects": "objects", "size": "width * height"}
ANY = "any"
Part = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Filters:
    """None or "" = all. `problem` is a code or "any", `search` a part of the name, `size` one of SIZES."""

    split: str | None = None
    class_id: int | None = None
    state: str | None = None
    problem: str | None = None
    group: str | None = None
    search: str | None = None
    size: str | None = None
    trashed: bool = False


def ids_of_page(connection: sqlite3.Connection, classes: Classes, sort: str, limit: int, offset: int, filters: Filters) -> list[int]:
    """Image ids, `limit` of them from `offset` on. Raises UserError for a sort or size that is none."""
    where, values = where_of(classes, filters)
    order = _order(sort)
    index = "images_name" if order.startswith("name") and not filters.trashed else "images_browse"
    found = connection.execute(f"SELECT id FROM images INDEXED BY {index} {where} ORDER BY {order} LIMIT ? OFFSET ?", (*values, limit, offset))
    return [image_id for image_id, in found]


def count(connection: sqlite3.Connection, classes: Classes, filters: Filters) -> int:
    where, values = where_of(classes, filters)
    return connection.execute(f"SELECT count(*) FROM images INDEXED BY images_browse {where}", values).fetchone()[0]


def _order(sort: str) -> str:
    column = SORTS.get(sort.removeprefix("-"))
    if column is None:
        raise UserError("browse_unknown", value=sort[:80], known=", ".join(SORTS))
    down = " DESC" if sort.startswith("-") else ""
    return f"{column}{down}" if column == "id" else f"{column}{down}, id{down}"


def where_of(classes: Classes, filters: Filters) -> Part:
    """WHERE of the images that fit, and its values. Columns stand in it by their own names, those of other tables in subqueries alone."""
    parts: list[Part] = [("trashed IS NOT NULL" if filters.trashed else "trashed IS NULL", ())]
    parts += [(f"{column} = ?", (value,)) for column, value in (("split", filters.split), ("state", filters.state), ("grp", filters.group)) if value]
    if filters.size:
        if filters.size not in SIZES:
            raise UserError("browse_unknown", value=str(filters.size)[:80], known=", ".join(SIZES))
        parts.append((SIZES[filters.size], ()))
    if filters.search:
        parts.append(_search(filters.search))
    if filters.class_id is not None:
        key = classes.keys[filters.class_id] if 0 <= filters.class_id < len(classes.keys) else -1
        parts.append(("id IN (SELECT image_id FROM content WHERE class_id = ?)", (key,)))
    if filters.problem:
        parts.append(("EXISTS (SELECT 1 FROM image_problems p WHERE p.image_id = images.id)", ()) if filters.problem == ANY else
                     ("id IN (SELECT image_id FROM image_problems WHERE code = ?)", (filters.problem,)))
    return "WHERE " + " AND ".join(text for text, _ in parts), tuple(value for _, values in parts for value in values)


def _search(search: str) -> Part:
    """Part of a name. SQLite folds the case of ASCII; of other letters the usual cases are tried, composed and decomposed."""
    cases = {search, search.lower(), search.upper(), search.title()} if not search.isascii() else {search}
    forms = sorted({unicodedata.normalize(form, each) for each in cases for form in ("NFC", "NFD")})
    escaped = tuple("%" + form.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%" for form in forms)
    return "(" + " OR ".join(["name LIKE ? ESCAPE '!'"] * len(escaped)) + ")", escaped

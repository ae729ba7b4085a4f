"""The categories of COCO documents, united by name to our classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from engine.datasets.formats.coco_documents import Annotation, Document, Key, key_of
from engine.datasets.objects import clean_name
from engine.types import Problem

SAY_NOTHING = ("", "None", "none", "object")
TAG_KEYS = ("tags", "tags_uncertain", "tags_unknown")


def unite_categories(documents: list[Document], *, tagged: bool = False) -> tuple[tuple[str, ...], list[Problem]]:
    """Our classes: all names in order of their ids, each once. Fills every document's `ids` (its id -> ours).

    `tagged`: names among the tags of the images that no category has are classes too.
    """
    problems: list[Problem] = []
    tables = [_table(document, problems) for document in documents]
    problems += _lost(tables)
    used = [_used(document.annotations) for document in documents]
    dummies = {name for table, busy in zip(tables, used, strict=True) for key, (name, top) in table.items()
               if key == 0 and top == "none" and len(table) > 1 and key not in busy}
    own: dict[str, int] = {}
    for document, table, busy in zip(documents, tables, used, strict=True):
        seen: set[str] = set()
        for key, (name, top) in table.items():
            if key == 0 and top == "none" and name in dummies and not any(0 in ids for ids in used):
                problems.append(Problem("coco_dummy_category", "note", document.path, {"name": name}))
                continue
            if name in seen:
                problems.append(Problem("class_name_twice", "warning", document.path, {"name": name}))
            seen.add(name)
            document.ids[key] = own.setdefault(name, len(own))
        if not document.categories and busy:
            problems.append(Problem("coco_no_categories", "warning", document.path, {"count": len(busy)}))
            for key in sorted(busy, key=lambda key: (isinstance(key, str), key)):
                document.ids[key] = own.setdefault(clean_name(f"class {key}"), len(own))
    for name in (name for document in documents if tagged for name in _tag_names(document.images)):
        own.setdefault(name, len(own))
    return tuple(own), problems


def _lost(tables: list[dict[Key, tuple[str, str]]]) -> Iterator[Problem]:
    """A note on the supercategories, for which our classes have no place. One that all share, or none but the class's own name, says nothing."""
    tops = list(dict.fromkeys(clean_name(top) for table in tables for name, top in table.values() if top not in (*SAY_NOTHING, name)))
    if len(tops) > 1:
        shown = ", ".join(top[:40] for top in tops[:5]) + (", ..." if len(tops) > 5 else "")
        yield Problem("coco_supercategories_left_out", "note", ".", {"count": len(tops), "names": shown})


def _used(entries: list[Any]) -> set[Key]:
    """The category ids that annotations, or the segments of panoptic ones, name."""
    named: list[Any] = [entry.category_id for entry in entries if type(entry) is Annotation]
    for entry in entries:
        if isinstance(entry, dict):
            segments = entry.get("segments_info", [entry])
            named += [part.get("category_id") for part in segments if isinstance(part, dict)] if isinstance(segments, list) else []
    with suppress(TypeError):  # a list or an object where an id was expected
        named = list(set(named))
    return {key for key in map(key_of, named) if key is not None}


def _tag_names(images: list[Any]) -> Iterator[str]:
    for image in images:
        for key in TAG_KEYS if isinstance(image, dict) else ():
            yield from names_in(image.get(key))


def names_in(value: Any) -> list[str]:
    """The names in a list of tags, cleaned as class names are."""
    return [name for name in map(clean_name, value) if name] if isinstance(value, list) and all(isinstance(name, str) for name in value) else []


def _table(document: Document, problems: list[Problem]) -> dict[Key, tuple[str, str]]:
    """id -> (name, supercategory), in the order of the ids where they are numbers."""
    table: dict[Key, tuple[str, str]] = {}
    for position, entry in enumerate(document.categories):
        key = key_of(entry.get("id")) if isinstance(entry, dict) else None
        if key is None or key in table:
            problems.append(Problem("coco_bad_category", "error", document.path, {"position": position + 1}))
            continue
        name = entry.get("name")
        text = clean_name(name) if isinstance(name, str | int | float) else ""
        table[key] = text or clean_name(f"class {key}"), str(entry.get("supercategory"))
    return dict(sorted(table.items())) if all(isinstance(key, int) for key in table) else table

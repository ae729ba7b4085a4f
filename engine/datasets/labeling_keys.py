"""Documents that a browser holds name their classes by key: lists of classes change under an open image, keys never do."""

from __future__ import annotations

from typing import Any

from engine.datasets.store_classes import GONE, Classes
from engine.types import UserError

MOST = 100_000


def keys_of(classes: Classes) -> list[list[int]]:
    """For each class its own key, then those of classes that were merged into it."""
    return [[own, *sorted(key for key, number in classes.ids.items() if number == place and key != own)] for place, own in enumerate(classes.keys)]


def by_keys(sent: Any, classes: Classes) -> Any:
    """The document with the ids that its classes have now. `sent["classes"]` lists the key of each id in it; without such a list it is left as it is.

    Shapes of classes that are gone are left out; of tags that have become one the larger counts. Raises UserError for a list that is none.
    """
    keys = sent.get("classes") if isinstance(sent, dict) else None
    if not isinstance(keys, list) or not keys or all(isinstance(each, str) for each in keys):
        return sent
    if len(keys) > MOST or not all(type(each) is int and each in classes.ids for each in keys):
        raise UserError("labels_unreadable", what="classes")
    table = [classes.ids[each] for each in keys]
    made = {**sent, "tags": _tags(sent.get("tags"), table, len(classes.names))}
    if "suggested_tags" in sent:
        made["suggested_tags"] = _tags(sent["suggested_tags"], table, len(classes.names))
    if isinstance(sent.get("shapes"), list):
        made["shapes"] = [each for each in (_shape(shape, table) for shape in sent["shapes"]) if each is not None]
    return made


def _shape(shape: Any, table: list[int]) -> Any:
    cls = shape.get("cls") if isinstance(shape, dict) else None
    if type(cls) is not int or not 0 <= cls < len(table):
        return shape  # whoever reads the document says what is wrong with it
    return None if table[cls] == GONE else {**shape, "cls": table[cls]}


def _tags(values: Any, table: list[int], count: int) -> Any:
    if not isinstance(values, list) or len(values) != len(table):
        return values
    made: list[Any] = [None] * count
    for value, place in zip(values, table, strict=True):
        if place == GONE or value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            return values
        made[place] = value if made[place] is None else max(value, made[place])
    return made

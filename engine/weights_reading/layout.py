"""Where in a checkpoint the tensors are."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.weights_reading import families
from engine.weights_reading.inert import Array, Made

# in this order, as engine.weights takes them
PREFERRED: tuple[tuple[str, ...], ...] = (("ema", "module"), ("model",), ("model_state_dict",), ("state_dict",), ())
ASIDE = ("optimizer", "optimizers", "trainer", "scaler", "scheduler", "lr_scheduler", "random")
PREFIXES = ("module.", "_orig_mod.")
DEEPEST = 4
MOST_NODES = 20_000


@dataclass
class Found:
    """`layout` names the way to the tensors; `others` are entries between them that are none; `lists` those that hold numbers in lists.

    `path` are the keys on that way, `family` the code whose names these are ("" for names that nobody is known for).
    `in_object`: that way leads through what would be an object of some class.
    """

    layout: str
    tensors: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    lists: tuple[str, ...] = ()
    averaged: bool = False
    path: tuple[str, ...] = ()
    family: str = ""
    in_object: bool = False

    @property
    def prefix(self) -> str:
        """What wrappers put before all names."""
        return shared_prefix([*self.tensors, *self.lists])


def shared_prefix(names: Collection[str]) -> str:
    """The prefixes of wrappers that all names share, one behind the other; "" for none."""
    whole = ""
    while names and (found := next((each for each in PREFIXES if all(name.startswith(whole + each) for name in names)), "")):
        whole += found
    return whole


def find(root: Any, kind: type = Array) -> Found:
    """The weights of the checkpoint, which are of this kind; `tensors` is empty when there are none."""
    tables = dict(_tables(root))
    counts = {path: sum(isinstance(value, kind) for value in table.values()) for path, table in tables.items()}
    filled = [path for path in tables if counts[path]]
    chosen = next((path for path in PREFERRED if path in filled), None)
    if chosen is None:
        chosen = max(filled, key=lambda path: counts[path], default=None)
    if chosen is None:
        chosen = max(tables, key=lambda path: len(_lists(tables[path])), default=())
    table = tables.get(chosen, {})
    outer = tables.get((), {})
    layout = "detectron2" if chosen == ("model",) and "__author__" in outer else ".".join(chosen) or "flat"
    tensors = {str(name): value for name, value in table.items() if isinstance(value, kind)}
    others = {str(name): value for name, value in table.items() if not isinstance(value, kind)}
    found = Found(layout, tensors, others, _lists(table), "ema" in layout, chosen, in_object=_in_object(root, chosen))
    found.family = families.family([name.removeprefix(found.prefix) for name in (*tensors, *found.lists)], outer)
    return found


def _in_object(root: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        table = _table(root)
        if isinstance(root, Made) or table is None:
            return True
        root = next(value for name, value in table.items() if _key(name) == key)
    return isinstance(root, Made)


def _key(name: Any) -> str:
    return str(name)[:100]


def _tables(root: Any) -> Iterator[tuple[tuple[str, ...], dict[Any, Any]]]:
    """(path, mapping) of everything that maps names to something, nearest first, but for what training keeps for itself."""
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), root)])
    seen: set[int] = set()
    while waiting and len(seen) < MOST_NODES:
        path, value = waiting.popleft()
        table = _table(value)
        if table is None or id(table) in seen:
            continue
        seen.add(id(table))
        yield path, table
        if len(path) < DEEPEST:
            waiting.extend(((*path, _key(name)), inner) for name, inner in list(table.items())[:MOST_NODES]
                           if name not in ASIDE and isinstance(inner, dict | Made))


def _table(value: Any) -> dict[Any, Any] | None:
    if isinstance(value, Made):
        return value.items or (value.state if isinstance(value.state, dict) else None)
    return value if isinstance(value, dict) else None


def _lists(table: dict[Any, Any]) -> tuple[str, ...]:
    return tuple(str(name) for name, value in table.items() if isinstance(value, list) and _numeric(value))


def _numeric(value: Any) -> bool:
    for _ in range(8):
        if not isinstance(value, list) or not value:
            return False
        value = value[0]
        if type(value) in (int, float):
            return True
    return False

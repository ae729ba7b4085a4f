"""The class ids of a data set and the keys under which its rows keep them.

Everyone outside sees ids 0..C-1. Rows hold keys, which never change nor come back: renaming, merging and deleting classes rewrites no labels,
and labels kept in a history still say what they said.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.types import IGNORE

GONE = -1


@dataclass(frozen=True)
class Classes:
    """`names` and `keys` by id; `ids`: every key that ever was -> id, that of its heir after a merge, GONE after a deletion.

    `pixels`: key -> what pixels of a mask show now (an id, or IGNORE).
    """

    names: tuple[str, ...]
    keys: tuple[int, ...]
    ids: dict[int, int]
    pixels: dict[int, int]

    @classmethod
    def load(cls, connection: sqlite3.Connection) -> Classes:
        table = {key: tuple(rest) for key, *rest in connection.execute("SELECT id, name, place, heir, ground FROM classes")}
        alive = sorted((key for key, row in table.items() if row[1] is not None), key=lambda key: table[key][1])
        if [table[key][1] for key in alive] != list(range(len(alive))):
            raise ValueError("class places")
        place = {key: number for number, key in enumerate(alive)}
        return cls(tuple(table[key][0] for key in alive), tuple(alive), {key: _followed(table, place, key, GONE) for key in table},
                   {key: _followed(table, place, key, IGNORE) for key in table})

    @classmethod
    def fresh(cls, names: tuple[str, ...]) -> Classes:
        same = dict(enumerate(range(len(names))))
        return cls(names, tuple(same), same, same)

    @cached_property
    def same(self) -> bool:
        """Whether keys are ids, so that nothing has to be translated."""
        return all(key == number for key, number in self.ids.items()) and all(key == number for key, number in self.pixels.items())

    @cached_property
    def pixel_ids(self) -> np.ndarray:
        """u16[65536]: key in a stored mask -> id. What no class stands for is shown as it is, or ignored once ids have moved."""
        table = np.arange(1 << 16, dtype=np.uint16) if self.same else np.full(1 << 16, IGNORE, np.uint16)
        for key, number in self.pixels.items():
            table[key] = number
        return table

    @cached_property
    def pixel_keys(self) -> np.ndarray:
        """u16[65536]: id in a mask -> key."""
        table = np.arange(1 << 16, dtype=np.uint16) if self.same else np.full(1 << 16, IGNORE, np.uint16)
        table[:len(self.keys)] = self.keys
        return table


def _followed(table: dict[int, tuple], place: dict[int, int], key: int, nothing: int) -> int:
    """The id at the end of the merges (and, for pixels, deletions) that began at `key`."""
    for _ in range(len(table)):
        if key in place:
            return place[key]
        _, _, heir, ground = table[key]
        following = heir if heir is not None else ground if nothing == IGNORE else None
        if following is None:
            return nothing
        key = following
    raise ValueError("class merges run in a circle")

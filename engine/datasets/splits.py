"""Dealing images to splits: whole groups and look-alikes together, the classes spread evenly, the same every time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.datasets.splits_deal import balanced
from engine.datasets.tree import SPLIT_WORDS
from engine.types import SPLITS, UserError

RULES = ("none", "folder", "prefix", "pattern")
MAX_PATTERN = 200
MAX_NAME = 500  # characters of a name that a person's pattern is tried on
_STRUCTURE = frozenset(("images", "image", "img", "imgs", "jpegimages", "labels", "data"))
_EXPORT_MARK = re.compile(r"(?:_(?:jpe?g|png|bmp|webp|tiff?)\.rf\.[0-9a-z]+|\.rf\.[0-9a-z]{16,})$", re.IGNORECASE)  # Roboflow: name_jpg.rf.<hash>
_LAST_NUMBER = re.compile(r"\d+[^\d]*$")


@dataclass(frozen=True)
class Item:
    """One image to deal. `classes`: ids of what it shows, one for each object; images with the same `group` or `alike` stay together.

    So do those that were made from one picture, as far as their names say so.
    """

    id: Hashable
    name: str
    group: str | None = None
    split: str | None = None
    classes: tuple[int, ...] = ()
    alike: Hashable | None = None


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raises UserError unless the splits are known and the shares positive."""
    total = sum(fractions.values())
    if not fractions or any(split not in SPLITS for split in fractions) or not min(fractions.values()) >= 0 or not 0 < total <= 1.001:
        shown = ",".join(f"{split}={share:g}" for split, share in fractions.items())
        raise UserError("bad_split", value=shown or "-", known=", ".join(SPLITS))


def deal(items: Iterable[Item], fractions: Mapping[str, float], *, seed: int = 0, stratify: bool = True) -> dict[Hashable, str]:
    """{id: split}, by the shares of `fractions` (whose sum counts as the whole).

    Random by seed, independent of the order of `items`. Images that share a group or a look-alike get one split. A share of 0 gets nothing,
    every other split something as long as there are enough groups. With `stratify` every split sees each class in proportion. Raises UserError.
    """
    check_fractions(fractions)
    wanted = {split: share for split, share in fractions.items() if share > 0}
    ordered = _ordered(items, seed)
    clusters = together(ordered)
    labels = [_labels(cluster) for cluster in clusters] if stratify else [{} for _ in clusters]
    names = sorted(wanted, key=SPLITS.index)
    chosen = balanced([len(cluster) for cluster in clusters], labels, [wanted[name] for name in names])
    return {item.id: names[split] for cluster, split in zip(clusters, chosen, strict=True) for item in cluster}


def together(items: Sequence[Item]) -> list[list[Item]]:
    """The items in clusters that may not be parted, in the order of their first item."""
    parents = list(range(len(items)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first: dict[tuple[str, Hashable], int] = {}
    for index, item in enumerate(items):
        for key in (("group", item.group), ("alike", item.alike), ("source", source_of(item.name))):
            if key[1] is not None:
                known = root(first.setdefault(key, index))
                here = root(index)
                parents[max(known, here)] = min(known, here)
    clusters: dict[int, list[Item]] = {}
    for index, item in enumerate(items):
        clusters.setdefault(root(index), []).append(item)
    return list(clusters.values())


def _ordered(items: Iterable[Item], seed: int) -> list[Item]:
    """In a random order that depends on seed and names alone."""
    def key(item: Item) -> tuple[bytes, str]:
        return hashlib.blake2b(f"{seed}\n{item.name}".encode("utf-8", "surrogatepass"), digest_size=8).digest(), str(item.id)

    return sorted(items, key=key)


def _labels(cluster: Sequence[Item]) -> dict[int, int]:
    """How many images of a cluster show each class; -1 counts those that show none."""
    counts: dict[int, int] = {}
    for item in cluster:
        for label in set(item.classes) or (-1,):
            counts[label] = counts.get(label, 0) + 1
    return counts


def preview(items: Iterable[Item], dealt: Mapping[Hashable, str], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{split: {"images", "groups", "classes": {name: objects}}} of a deal that nobody has carried out yet."""
    table: dict[str, dict[str, Any]] = {}
    groups: dict[str, set[Any]] = {}
    for item in items:
        split = dealt.get(item.id, item.split or "train")
        row = table.setdefault(split, {"images": 0, "groups": 0, "classes": dict.fromkeys(classes, 0)})
        row["images"] += 1
        groups.setdefault(split, set()).add(("image", item.id) if item.group is None else item.group)
        for label in item.classes:
            row["classes"][classes[label]] += 1
    for split, row in table.items():
        row["groups"] = len(groups[split])
    return {split: table[split] for split in sorted(table, key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))}


# ---- groups by name

def groups_by(names: Sequence[str], rule: str, pattern: str = "") -> list[str | None]:
    """The group that each name (a path inside the set) speaks of; None where it stands alone. Raises UserError for a bad rule or pattern.

    "folder": the folder, apart from those that only name splits; "prefix": the name up to its last number; "pattern": the first group of a
    regular expression, or all that it matches.
    """
    if rule not in RULES:
        raise UserError("group_rule_unknown", rule=rule, known=", ".join(RULES))
    if rule == "none":
        return [None] * len(names)
    if rule == "pattern":
        return list(_by_pattern(names, pattern))
    return [_folder_of(name) or None if rule == "folder" else _prefix_of(name) for name in names]


def _by_pattern(names: Sequence[str], pattern: str) -> Iterator[str | None]:
    try:
        if not pattern or len(pattern) > MAX_PATTERN:
            raise ValueError(f"1 to {MAX_PATTERN} characters")
        compiled = re.compile(pattern)
        if compiled.groups > 1:
            raise ValueError(f"{compiled.groups} groups in brackets")
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise UserError("group_pattern_bad", pattern=pattern[:MAX_PATTERN], reason=str(error)) from error
    for name in names:
        found = compiled.search(name[:MAX_NAME])
        yield (found.group(compiled.groups) or None) if found else None


def source_of(name: str) -> str | None:
    """The picture that an augmented copy was made from, by the mark that exports leave (cat_jpg.rf.<hash>.jpg); None without that mark."""
    if ".rf." not in name:
        return None
    stem = _stem(name)
    source = _EXPORT_MARK.sub("", stem)
    return "/".join(part for part in (_folder_of(name), source) if part) if source != stem else None


def without_mark(name: str) -> str:
    """A path without suffix and without the mark of an export."""
    return name[:name.replace("\\", "/").rfind("/") + 1].replace("\\", "/") + _EXPORT_MARK.sub("", _stem(name))


def _stem(name: str) -> str:
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return last.rsplit(".", 1)[0] if "." in last else last


def _folder_of(name: str) -> str:
    parts = name.replace("\\", "/").split("/")[:-1]
    return "/".join(part for part in parts if part.casefold() not in _STRUCTURE and part.casefold().rstrip("0123456789") not in SPLIT_WORDS)


def _prefix_of(name: str) -> str | None:
    stem = _EXPORT_MARK.sub("", _stem(name))
    number = _LAST_NUMBER.search(stem)
    prefix = stem[:number.start()].rstrip(" _-.([#") if number else stem
    folder = _folder_of(name)
    if number is None:
        return None
    return "/".join(part for part in (folder, prefix) if part) or None

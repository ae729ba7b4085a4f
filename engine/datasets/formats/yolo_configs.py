"""The file that configures a YOLO data set: data.yaml, another yaml, or darknet's obj.data; of several the one that fits what is on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from engine.datasets import plain_text
from engine.datasets.plain_yaml import parse
from engine.datasets.tree import Tree
from engine.types import Problem, UserError

MAX_BYTES = 64 << 20
MAX_CANDIDATES = 50
USUAL = ("data.yaml", "data.yml", "dataset.yaml")
_CONFIG = re.compile(rb"^\s*['\"]?(names|train)['\"]?\s*:", re.MULTILINE)
_NAMES = re.compile(rb"^\s*['\"]?names['\"]?\s*:", re.MULTILINE)
_DARKNET = re.compile(rb"^\s*(classes|train|valid|names|backup)\s*=", re.MULTILINE)
Config = dict[str, Any]
Found = dict[str, list[str]]  # split -> what of its paths is there


def find_config(tree: Tree) -> str | None:
    """The root's data.yaml, else the first other yaml that names classes or splits, else obj.data."""
    return next(iter(_at_root(tree)), None)


def choose(tree: Tree, found_by: Callable[[str, Config], Found], problems: list[Problem]) -> tuple[str, Config]:
    """(path, content) of the configuration; ("", {}) where there is none. One at the root counts before those in folders.

    `found_by` tells what a configuration finds on disk. Of several the one that finds most is taken, and the others are named. Raises UserError
    where two find as much and mean different things.
    """
    at_root = _at_root(tree)
    paths = at_root or _in_folders(tree)
    contents = dict(_loaded(tree, paths, first_counts=bool(at_root)))
    meant = {path: found_by(path, content) for path, content in contents.items()}
    if not at_root:  # strangers may lie in any folder
        meant = {path: found for path, found in meant.items() if _weight(found) or isinstance(contents[path].get("names"), list | dict)}
    most = max(map(_weight, meant.values()), default=0)
    best = [path for path, found in meant.items() if _weight(found) == most]
    if not best:
        return "", {}
    first = best[0]
    if most and any((meant[path], contents[path].get("names")) != (meant[first], contents[first].get("names")) for path in best):
        raise UserError("yolo_several_configs", first=first, second=", ".join(best[1:4]))
    rest = [path for path in paths if path != first]
    if rest:
        problems.append(Problem("yolo_configs_left_out", "note", first, {"count": len(rest), "names": ", ".join(rest[:5])}))
    return first, contents[first]


def _loaded(tree: Tree, paths: list[str], *, first_counts: bool) -> Iterator[tuple[str, Config]]:
    """Those that can be read. Raises UserError when the first one cannot, if it counts."""
    for position, path in enumerate(paths):
        try:
            yield path, load(tree, path)
        except UserError:
            if first_counts and position == 0:
                raise


def load(tree: Tree, path: str) -> Config:
    data = tree.read(path, MAX_BYTES)
    if path.lower().endswith(".data"):
        pairs = (line.partition("=") for line in plain_text.decoded(data).splitlines())
        return {key.strip(): value.strip() for key, sign, value in pairs if sign and key.strip() != "names"}
    parsed = parse(data, path)
    if not isinstance(parsed, dict):
        raise UserError("yaml_not_mapping", name=path)
    return parsed


def _weight(found: Found) -> int:
    return sum(map(len, found.values()))


def _at_root(tree: Tree) -> list[str]:
    """Yamls that name classes or splits, the usual names first; else obj.data."""
    files = tree.folder("").files
    yamls = sorted((name for name in files if _is_yaml(name)), key=lambda name: (name.lower() not in USUAL, name))
    found = [name for name in yamls if name.lower() in USUAL[:2] or _CONFIG.search(tree.head(name))]
    return found[:MAX_CANDIDATES] or [name for name in files if name.lower().endswith(".data") and _DARKNET.search(tree.head(name, 4096))][:1]


def _in_folders(tree: Tree) -> list[str]:
    """The yamls in folders that name classes."""
    paths = (f"{folder}/{name}" for folder, listing in tree.walk() if folder for name in listing.files if _is_yaml(name))
    found: list[str] = []
    for path in paths:
        if _NAMES.search(tree.head(path)):
            found.append(path)
        if len(found) >= MAX_CANDIDATES:
            break
    return found


def _is_yaml(name: str) -> bool:
    return name.lower().endswith((".yaml", ".yml"))

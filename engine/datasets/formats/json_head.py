"""What a JSON file is, from its first bytes: the keys of its outermost object, or of the first object in its outermost list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from engine.datasets import plain_json
from engine.datasets.tree import Folder, Tree

MAX_PEEKED = 4  # files of one folder
MAX_HEADS = 200  # files of a tree
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[{}\[\]:,]', re.DOTALL)


def outer_keys(head: bytes) -> tuple[str, frozenset[str]]:
    """("{" or "[", keys), as far as `head` reaches; ("", none) for anything but an object or a list that begins with one."""
    text = plain_json.kind_of(head)
    opening = text[:1]
    if opening not in ("{", "["):
        return "", frozenset()
    found, depth, wanted, last = set(), 0, 1 if opening == "{" else 2, ""
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in "{[":
            depth += 1
            if depth == wanted and token == "[":
                break
        elif token in "}]":
            depth -= 1
            if depth < wanted:
                break
        elif token == ":" and depth == wanted:
            found.add(_plain(last))
        last = token
    return opening, frozenset(found)


def _plain(token: str) -> str:
    try:
        return str(json.loads(token))
    except ValueError:
        return ""


def documents(tree: Tree) -> Iterator[tuple[str, bytes]]:
    """(path, first bytes) of a few JSON files of each folder, those first that are called like an image."""
    asked = 0
    for folder, listing in tree.walk():
        for name in _telling(listing):
            path = f"{folder}/{name}" if folder else name
            yield path, tree.head(path)
            asked += 1
            if asked >= MAX_HEADS:
                return


def _telling(listing: Folder) -> list[str]:
    names = [name for name in listing.files if name.lower().endswith(".json")]
    if len(names) <= MAX_PEEKED:
        return names
    stems = {name.rpartition(".")[0] for name in listing.images()}
    return [*[name for name in names if name.rpartition(".")[0] in stems][:MAX_PEEKED], *names[:MAX_PEEKED]]

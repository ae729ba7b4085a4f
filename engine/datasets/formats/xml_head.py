"""What an XML file is, from its first bytes: the name of its outermost element."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.datasets.tree import Tree

MAX_PEEKED = 4  # files of one folder that holds many
FEW = 20
MAX_HEADS = 200  # files of a tree
_ASIDE = re.compile(r"<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<!ENTITY.*?(?:>|\Z)", re.DOTALL)
_OPENING = re.compile(r"<([^\s<>!?/]+)")


def text_of(head: bytes) -> str:
    """The characters, wherever they are in ASCII; the rest may be replaced."""
    return head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")


def root_name(text: str) -> str:
    """Without the prefix of a namespace; "" where there is no element."""
    found = _OPENING.search(_ASIDE.sub("", text))
    return found.group(1).rpartition(":")[2] if found else ""


def xml_names(tree: Tree, folder: str) -> list[str]:
    return [name for name in tree.folder(folder).files if name.lower().endswith(".xml")]


def documents(tree: Tree) -> Iterator[tuple[str, str]]:
    """(path, first characters) of the XML files of a tree; of a folder that holds many, a few."""
    asked = 0
    for folder, _ in tree.walk():
        names = xml_names(tree, folder)
        if len(names) > FEW:
            names = list(dict.fromkeys([*(name for name in names if name.lower().startswith("annotation")), *names]))[:MAX_PEEKED]
        for name in names:
            path = f"{folder}/{name}" if folder else name
            yield path, text_of(tree.head(path))
            asked += 1
            if asked >= MAX_HEADS:
                return

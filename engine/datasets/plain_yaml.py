"""YAML as texts, lists and mappings only: nothing is constructed, so nothing can run, and `no` or `007` stay what was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from engine.datasets import plain_text
from engine.datasets.faults import printable
from engine.types import UserError

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 20
HARMLESS_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")) | {"!"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Plain = str | list[Any] | dict[str, Any]


def parse(data: bytes, name: str) -> Plain:
    """The document in `data`. Aliases share one object and count in full, so a bomb stays small. Raises UserError naming the file `name`."""
    if len(data) > MAX_BYTES:
        raise UserError("yaml_too_large", name=name, limit=MAX_BYTES >> 10)
    try:
        return _build(data.decode(plain_text.encoding_of(data)), name)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise UserError("yaml_damaged", where=where, reason=printable(str(getattr(error, "problem", None) or error)[:200])) from error
    except UnicodeDecodeError as error:
        raise UserError("yaml_damaged", where=name, reason=str(error)[:200]) from error


def _build(text: str, name: str) -> Plain:
    """Turns the parser's events into nested values with a stack instead of recursion."""
    open_nodes = [_Node([], [])]
    anchors: dict[str, _Node] = {}
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            node = open_nodes.pop()
            node.close(name)
            open_nodes[-1].weight += node.weight
        elif isinstance(event, yaml.AliasEvent):
            node = anchors.get(event.anchor) or _Node("", [])
            open_nodes[-1].weight += node.weight
            open_nodes[-1].children.append(node.value)
            open_nodes[-1].lines.append(event.start_mark.line + 1)
        elif isinstance(event, yaml.NodeEvent):
            _check_tag(event.tag, event.start_mark.line + 1, name)
            node = _opened(event)
            open_nodes[-1].children.append(node.value)
            open_nodes[-1].lines.append(event.start_mark.line + 1)
            if event.anchor:
                anchors[event.anchor] = node
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append(node)
            else:
                open_nodes[-1].weight += 1
        if len(open_nodes) > MAX_DEPTH or open_nodes[-1].weight > MAX_NODES:
            raise UserError("yaml_too_complex", name=name)
    top = open_nodes[0].children
    return top[0] if top else ""


@dataclass
class _Node:
    """A value being built; `lines` = where its children begin, `weight` = how many values it would hold if every alias were written out."""

    value: Any
    children: list[Any]
    weight: int = 1
    lines: list[int] = field(default_factory=list)

    def close(self, name: str) -> None:
        """Raises UserError for a key that stands twice: only one of its values could be read."""
        if not isinstance(self.value, dict):
            return
        for key, value, line in zip(self.children[::2], self.children[1::2], self.lines[::2], strict=True):
            if not isinstance(key, str):
                continue
            if key in self.value:
                raise UserError("yaml_key_twice", where=f"{name}:{line}", name=printable(key[:60]))
            self.value[key] = value


def _opened(event: yaml.NodeEvent) -> _Node:
    if isinstance(event, yaml.ScalarEvent):
        return _Node(event.value, [])
    if isinstance(event, yaml.MappingStartEvent):
        return _Node({}, [])
    items: list[Any] = []
    return _Node(items, items)


def _check_tag(tag: str | None, line: int, name: str) -> None:
    if tag is not None and tag not in HARMLESS_TAGS:
        raise UserError("yaml_unsafe_tag", tag=tag.replace("tag:yaml.org,2002:", "!!")[:80], where=f"{name}:{line}")

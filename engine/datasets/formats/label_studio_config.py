"""The labeling interface of a Label Studio project: which classes there are and which column of a task is the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

from engine.datasets import plain_xml
from engine.datasets.faults import problem_of
from engine.datasets.objects import clean_name
from engine.datasets.tree import Tree
from engine.types import Problem, UserError

MAX_BYTES = 1 << 20
MAX_FILES = 50
SUFFIXES = (".xml", ".txt")
WITHOUT_AREA = frozenset(("keypointlabels", "vectorlabels", "hypertextlabels", "paragraphlabels", "timeserieslabels", "timelinelabels"))


@dataclass
class Config:
    """`classes` of regions and `tags` of whole images, in order; `images` = column of the task's data by the name of its Image."""

    classes: list[str] = field(default_factory=list)
    tags: dict[str, list[str]] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)


def read_configs(tree: Tree, problems: list[Problem]) -> Config:
    """All interfaces that lie in a tree, taken together."""
    config, found = Config(), 0
    for folder, listing in tree.walk():
        for name in listing.files:
            path = f"{folder}/{name}" if folder else name
            if found < MAX_FILES and name.lower().endswith(SUFFIXES) and tree.head(path, 512).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<View"):
                found += 1
                try:
                    _add(config, plain_xml.parse(tree.read(path, MAX_BYTES), path))
                except UserError as error:
                    problems.append(problem_of(error, path, "warning"))
    return config


def _add(config: Config, view: Element) -> None:
    pictures = {element.get("name", ""): element.get("value") or element.get("valueList") or "" for element in view.iter("Image")}
    config.images.update({name: value.removeprefix("$") for name, value in pictures.items() if value.startswith("$")})
    for element in view.iter():
        kind, target = str(element.tag).lower(), element.get("toName", "")
        if target not in pictures:
            continue
        if kind.endswith("labels") and kind not in WITHOUT_AREA:
            config.classes += [name for name in _values(element, "Label") if name not in config.classes]
        elif kind in ("choices", "taxonomy") and element.get("perRegion") != "true":
            config.tags.setdefault(element.get("name", ""), []).extend(_choices(element))


def _values(element: Element, tag: str) -> Iterator[str]:
    """What results hold of each label: its alias where it has one."""
    for child in element.iter(tag):
        name = clean_name(child.get("alias") or child.get("value") or "")
        if name:
            yield name


def _choices(element: Element, above: str = "") -> Iterator[str]:
    """The choices, nested ones with their path in front."""
    for child in element.findall("Choice"):
        name = above + clean_name(child.get("alias") or child.get("value") or "")
        if name:
            yield name
            yield from _choices(child, f"{name}/")


def written(classes: tuple[str, ...], kinds: list[str]) -> str:
    """The interface for a project with these classes; `kinds` are the tags to label with, such as "RectangleLabels" or "Choices"."""
    lines = ["<View>", '  <Image name="image" value="$image" zoom="true"/>']
    for kind in kinds:
        more = ' choice="multiple"' if kind == "Choices" else ""
        lines.append(f'  <{kind} name="{kind.lower()}" toName="image"{more}>')
        lines += [f"    <{'Choice' if kind == 'Choices' else 'Label'} value={quoteattr(clean_name(name))}/>" for name in classes]
        lines.append(f"  </{kind}>")
    return "\n".join([*lines, "</View>", ""])

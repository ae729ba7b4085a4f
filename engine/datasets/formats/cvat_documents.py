"""Finding and loading CVAT's XML: what is in a file, its classes in order, and the image that an entry means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from engine.datasets import plain_xml
from engine.datasets.faults import problem_of
from engine.datasets.formats import xml_head
from engine.datasets.formats.cvat_shapes import DRAWN
from engine.datasets.formats.lookup import Lookup
from engine.datasets.images import is_image
from engine.datasets.objects import Classes, clean_name, number
from engine.datasets.tree import Tree, normal, split_of
from engine.types import Problem, UserError

MAX_XML_BYTES = 1 << 30
MARKS = ("<meta", "<version>", "<image ", "<track ")
WITHOUT_AREA = frozenset(("skeleton", "points", "polyline", "cuboid"))  # types of labels of which no object can come


@dataclass
class Document:
    """One loaded file."""

    path: str
    root: Element

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def split(self) -> str | None:
        return split_of(*self.path.removesuffix(".xml").split("/"))

    @property
    def video(self) -> str | None:
        """The name of the video that the file is about; None when it is about single images, whatever it was exported as."""
        mode = next((element.text for element in self.root.iterfind("meta//mode")), None)
        if mode != "interpolation" and (mode or self.root.find("track") is None):
            return None
        source = next((element.text for element in self.root.iterfind("meta//source") if element.text), None)
        return clean_name(source or "") or self.path

    def meta_number(self, name: str) -> int | None:
        """A whole number that the description of the task gives."""
        value = number(next((element.text for element in self.root.iterfind(f"meta//{name}")), None))
        return int(value) if value is not None else None

    def images(self) -> list[Element]:
        return self.root.findall("image")

    def tracks(self) -> list[Element]:
        return self.root.findall("track")


def is_cvat(head: str) -> bool:
    return xml_head.root_name(head) == "annotations" and any(mark in head for mark in MARKS)


def root_of(root: Path) -> tuple[Tree, list[str]]:
    """The tree and the documents in it; a single file stands for itself among the images near it."""
    if not root.is_file():
        tree = Tree(root)
        return tree, [path for path, head in xml_head.documents(tree) if is_cvat(head)]
    base = root.parent.parent if root.parent.name.lower() == "annotations" else root.parent
    path = root.relative_to(base).as_posix()
    tree = Tree(base)
    return tree, [path] if is_cvat(xml_head.text_of(tree.head(path))) else []


def load(tree: Tree, paths: Iterable[str]) -> tuple[list[Document], list[Problem]]:
    """The documents, and what is wrong with those that cannot be read. Raises UserError when none can."""
    documents: list[Document] = []
    errors: list[tuple[UserError, str]] = []
    for path in paths:
        try:
            documents.append(Document(path, plain_xml.parse(tree.read(path, MAX_XML_BYTES), path)))
        except UserError as error:
            errors.append((error, path))
    if errors and not documents:
        raise errors[0][0]
    return documents, [problem_of(error, path) for error, path in errors]


def classes_of(documents: Iterable[Document], *, tagged: bool) -> Classes:
    """All labels in the order in which CVAT lists them, then those that only objects (or tags) name."""
    classes = Classes()
    for document in documents:
        for label in document.root.iterfind("meta//labels/label"):
            if label.find("parent") is None and plain_xml.text_of(label, "type") not in WITHOUT_AREA:
                classes.id_of(plain_xml.text_of(label, "name"))
    for document in documents:
        for element in (*document.images(), *document.tracks()):
            if element.tag == "track" and any(row.tag in DRAWN for row in element):
                classes.id_of(element.get("label", ""))
            for item in element if element.tag == "image" else ():
                if item.tag == "tag" if tagged else item.tag in DRAWN:
                    classes.id_of(item.get("label", ""))
    return classes


def kinds_in(documents: Iterable[Document]) -> set[str]:
    """The names of all elements that images and tracks hold."""
    return {item.tag for document in documents for element in (*document.images(), *document.tracks()) for item in element}


def find_image(lookup: Lookup, document: Document, name: str, subset: str) -> str | None:
    """Where CVAT puts it (images/, and the subset's folder in there), else wherever the name fits. Frames of a video have no suffix."""
    for place in _places(document.folder, subset):
        path = normal(name, place)
        found = lookup.tree.find(path) if path and (not place or path.startswith(f"{place}/")) else None
        if found is not None and is_image(found):
            return found
    return lookup.find(f"{subset}/{name}" if subset else name, document.folder) or lookup.find(name, document.folder)


def _places(folder: str, subset: str) -> Iterator[str]:
    inside = f"{folder}/" if folder else ""
    if subset and normal(subset) == subset:
        yield f"{inside}images/{subset}"
        yield f"{inside}{subset}"
    yield f"{inside}images"
    yield folder

"""Finding and loading COCO documents that may be torn, hostile or something else altogether."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.datasets import plain_json
from engine.datasets.images import is_image
from engine.datasets.tree import Tree, split_of
from engine.types import SPLITS, Problem, UserError

ROBOFLOW = "_annotations.coco.json"
TELLING = re.compile(r"^(_annotations\.coco|instances_.*|annotations?|coco)\.json$", re.IGNORECASE)
OTHER_TASKS = re.compile(r"^(captions|panoptic|labels|image_info|person_keypoints|stuff)_", re.IGNORECASE)
MAX_JSON_BYTES = 2 << 30
MAX_FILES_PER_FOLDER = 50
Key = int | str


@dataclass
class Document:
    """One loaded file: its path in the tree, the split that its name tells, and the three lists."""

    path: str
    split: str | None
    images: list[Any]
    annotations: list[Any]
    categories: list[Any]
    labeled: bool = True
    ids: dict[Key, int] = field(default_factory=dict)


def find_documents(tree: Tree) -> list[str]:
    """The files that hold the annotations: one per split, or one for all."""
    candidates: list[str] = []
    for folder, listing in tree.walk():
        names = [name for name in listing.files if name.lower().endswith(".json")]
        if len(names) <= MAX_FILES_PER_FOLDER:
            candidates += [f"{folder}/{name}" if folder else name for name in names]
    for wanted in (lambda name: name == ROBOFLOW, lambda name: name.lower().startswith("instances_")):
        chosen = [path for path in candidates if wanted(path.rpartition("/")[2])]
        if chosen:
            return sorted(chosen, key=_split_order)
    coco = [path for path in candidates if TELLING.match(path.rpartition("/")[2]) or looks_like_coco(tree.head(path))]
    return sorted((path for path in coco if not OTHER_TASKS.match(path.rpartition("/")[2])), key=_split_order) or coco


def _split_order(path: str) -> tuple[int, str]:
    split = split_of(*path.removesuffix(".json").split("/"))
    return SPLITS.index(split) if split else len(SPLITS), path


def looks_like_coco(head: bytes) -> bool:
    """From the first bytes: an object with the three lists, or an array of detection results (told apart when it is read)."""
    text = plain_json.kind_of(head)
    if text.startswith("["):
        return '"image_id"' in text and ('"bbox"' in text or '"segmentation"' in text)
    return text.startswith("{") and ('"images"' in text or ('"annotations"' in text and '"image_id"' in text)
                                     or ('"categories"' in text and '"supercategory"' in text))


def load(tree: Tree, path: str) -> Document:
    """Raises UserError with the file and, where the parser knows it, line and column."""
    content = plain_json.parse(tree.read(path, MAX_JSON_BYTES), path)
    if isinstance(content, list) and content and isinstance(content[0], dict) and "image_id" in content[0]:
        raise UserError("coco_results", name=path)
    if not isinstance(content, dict):
        raise UserError("coco_not_a_dataset", name=path, found=type(content).__name__)
    lists: dict[str, list[Any]] = {}
    for key in ("images", "annotations", "categories"):
        value = content.get(key)
        if not isinstance(value, list) and (key == "images" or value is not None):
            raise UserError("coco_not_a_dataset", name=path, found=f"{key}: {type(value).__name__}")
        lists[key] = value or []
    split = split_of(*path.removesuffix(".json").split("/"))
    labeled = content.get("annotations") is not None
    return Document(path, split, lists["images"], lists["annotations"], lists["categories"], labeled)


def key_of(value: Any) -> Key | None:
    """An id that compares: 1, 1.0 and "1" are the same; None for what cannot be an id."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        return int(value) if len(value) < 19 and value.isdecimal() and str(int(value)) == value else value[:200]
    return value


# ---- categories

def unite_categories(documents: list[Document]) -> tuple[tuple[str, ...], list[Problem]]:
    """Our classes: all names in order of their ids, each once. Fills every document's `ids` (its id -> ours)."""
    problems: list[Problem] = []
    tables = [_table(document, problems) for document in documents]
    used = [{key for key in map(_category_of, document.annotations) if key is not None} for document in documents]
    dummies = {name for table, busy in zip(tables, used, strict=True) for key, (name, top) in table.items()
               if key == 0 and top == "none" and len(table) > 1 and key not in busy}
    own: dict[str, int] = {}
    for document, table, busy in zip(documents, tables, used, strict=True):
        seen: set[str] = set()
        for key, (name, top) in table.items():
            if key == 0 and top == "none" and name in dummies and not any(0 in ids for ids in used):
                problems.append(Problem("coco_dummy_category", "note", document.path, {"name": name}))
                continue
            if name in seen:
                problems.append(Problem("class_name_twice", "warning", document.path, {"name": name}))
            seen.add(name)
            document.ids[key] = own.setdefault(name, len(own))
        if not document.categories and busy:
            problems.append(Problem("coco_no_categories", "warning", document.path, {"count": len(busy)}))
            for key in sorted(busy, key=lambda key: (isinstance(key, str), key)):
                document.ids[key] = own.setdefault(_clean(f"class {key}"), len(own))
    return tuple(own), problems


def _category_of(annotation: Any) -> Key | None:
    return key_of(annotation.get("category_id")) if isinstance(annotation, dict) else None


def _table(document: Document, problems: list[Problem]) -> dict[Key, tuple[str, str]]:
    """id -> (name, supercategory), in the order of the ids where they are numbers."""
    table: dict[Key, tuple[str, str]] = {}
    for position, entry in enumerate(document.categories):
        key = key_of(entry.get("id")) if isinstance(entry, dict) else None
        if key is None or key in table:
            problems.append(Problem("coco_bad_category", "error", document.path, {"position": position + 1}))
            continue
        name = entry.get("name")
        text = _clean(name) if isinstance(name, str | int | float) else ""
        table[key] = text or _clean(f"class {key}"), str(entry.get("supercategory"))
    return dict(sorted(table.items())) if all(isinstance(key, int) for key in table) else table


def _clean(name: Any) -> str:
    return "".join(char if char.isprintable() else " " for char in str(name)).strip()


# ---- image files

class ImageFinder:
    """Looks up the files that documents name: beside the document, else wherever in the tree the name fits best."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._last: dict[str, str] = {}
        self._by_name: dict[str, list[str]] | None = None

    def find(self, document: Document, name: str) -> str | None:
        """`name` is already clean and relative."""
        beside = document.path.rpartition("/")[0]
        for folder in dict.fromkeys((self._last.get(document.path, beside), beside)):
            found = self.tree.find(f"{folder}/{name}" if folder else name)
            if found is not None:
                return found
        matches = self._named(name.rpartition("/")[2])
        fitting = [path for path in matches if path.endswith(f"/{name}") or path == name] or matches
        fitting = [path for path in fitting if split_of(*path.split("/")[:-1]) == document.split] or fitting
        if not fitting or (len(fitting) > 1 and not fitting[0].endswith(f"/{name}")):
            return None
        if fitting[0].endswith(f"/{name}"):
            self._last[document.path] = fitting[0][:-len(name) - 1]
        return fitting[0]

    def _named(self, name: str) -> list[str]:
        if self._by_name is None:
            self._by_name = {}
            for folder, listing in self.tree.walk():
                for file in listing.files:
                    if is_image(file):
                        self._by_name.setdefault(file, []).append(f"{folder}/{file}" if folder else file)
        return self._by_name.get(name, [])


def root_of(root: Path) -> tuple[Tree, list[str]]:
    """The tree and the documents in it; a single json file stands for itself among everything near it."""
    if not root.is_file():
        tree = Tree(root)
        return tree, find_documents(tree)
    base = root.parent.parent if root.parent.name.lower() == "annotations" else root.parent
    return Tree(base), [root.relative_to(base).as_posix()]

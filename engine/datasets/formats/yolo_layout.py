"""Where a YOLO data set keeps its images, labels and class names: what data.yaml says, repaired by what is on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.datasets import plain_text
from engine.datasets.formats import yolo_configs
from engine.datasets.images import is_image
from engine.datasets.tree import SPLIT_WORDS, Tree, normal, split_of
from engine.types import SPLITS, Problem, UserError

MAX_CLASSES = 10_000
MAX_LIST_BYTES = 64 << 20
MAX_SHOWN = 120
SPLIT_KEYS = {"train": "train", "val": "valid", "valid": "valid", "validation": "valid", "test": "test"}
STANDING_IN = "standing_in"  # our own key: splits that are not there; others demand their keys, which name the images of another one
NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt", "class_names.txt", "_darknet.labels", "predefined_classes.txt")
IMAGE_FOLDERS = frozenset(("images", "image", "imgs", "img", "jpegimages"))
LABEL_FOLDERS = ("labels", "label", "Labels", "txt", "annotations")


@dataclass(frozen=True)
class Group:
    """Images of one folder that belong to one split; `names` None = all of them."""

    split: str | None
    folder: str
    names: tuple[str, ...] | None = None


@dataclass
class Layout:
    """A surveyed data set. `names` are keyed by the ids in the label files; None = nobody wrote them down."""

    tree: Tree
    names: dict[int, str] | None = None
    declared: int | None = None
    groups: list[Group] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    keypoints: bool = False
    task: str = ""
    config: str = ""

    @property
    def folder(self) -> str:
        """The folder of the configuration."""
        return self.config.rpartition("/")[0]


def survey(root: Path) -> Layout:
    """Reads data.yaml (or obj.data, or none) and finds the images of each split. `root` may be the yaml file itself."""
    tree = Tree(root.parent if root.is_file() else root)
    layout = Layout(tree)
    if root.is_file():
        layout.config, config = root.name, yolo_configs.load(tree, root.name)
    else:
        found_by = lambda path, content: _Resolver(Layout(tree, config=path), content).found()  # noqa: E731
        layout.config, config = yolo_configs.choose(tree, found_by, layout.problems)
    layout.keypoints = "kpt_shape" in config
    layout.task = str(config.get("task", "")).strip().lower()
    _read_names(layout, config)
    resolver = _Resolver(layout, config)
    entries = resolver.entries
    for split, texts in entries.items():
        for text in texts:
            resolver.add(split, text)
    if not layout.groups:
        layout.groups = list(_discovered(tree))
    elif "test" not in entries or "valid" not in entries:
        resolver.add_unlisted({"valid", "test"} - set(entries))
    layout.groups = list(_without_repeats(layout))
    return layout


# ---- class names

def _read_names(layout: Layout, config: dict[str, Any]) -> None:
    names = config.get("names")
    if isinstance(names, str) and names.strip():
        places = (normal(names, layout.folder), normal(names))
        names = next((_lines(layout.tree, path) for path in places if path and layout.tree.find(path)), names)
    layout.names = _checked_names(layout.config, names) if names else _names_beside(layout)
    declared = str(config.get("nc", "")).strip()
    if declared.isdigit() and len(declared) < 6 and layout.names:
        layout.declared = int(declared)


def _checked_names(file: str, names: Any) -> dict[int, str]:
    """A list, or a mapping from whole numbers, of texts."""
    pairs = list(enumerate(names)) if isinstance(names, list) else list(names.items()) if isinstance(names, dict) else None
    if pairs is None or len(pairs) > MAX_CLASSES:
        raise UserError("yaml_names", name=file, found=_short(names) if isinstance(names, str) else len(names), limit=MAX_CLASSES)
    checked: dict[int, str] = {}
    for key, value in pairs:
        number = str(key).strip()
        if not isinstance(value, str) or not number.isdecimal() or int(number[:9]) >= MAX_CLASSES:
            raise UserError("yaml_names", name=file, found=_short(key) if isinstance(value, str) else f"{_short(key)}: ?", limit=MAX_CLASSES)
        checked[int(number)] = value
    return checked


def _names_beside(layout: Layout) -> dict[int, str] | None:
    """classes.txt and its kin: at the root, or among the label files."""
    tree = layout.tree
    for folder, listing in tree.walk():
        if folder and not any(part in LABEL_FOLDERS or part in SPLIT_WORDS for part in folder.split("/")):
            continue
        for name in (*NAME_FILES, *(name for name in listing.files if name.endswith(".names"))):
            if name in listing.files:
                found = f"{folder}/{name}" if folder else name
                return dict(enumerate(_lines(tree, found)[:MAX_CLASSES]))
    return None


def _lines(tree: Tree, name: str) -> list[str]:
    text = plain_text.decoded(tree.read(name, 4 << 20))
    return [line.strip() for line in text.splitlines() if line.strip()]


# ---- splits

class _Resolver:
    """Turns the paths of a configuration into groups of images that exist inside the root."""

    def __init__(self, layout: Layout, config: yolo_configs.Config) -> None:
        self.layout, self.tree = layout, layout.tree
        base = normal(str(config.get("path", "")), layout.folder) or ""
        self.base = base if base and self.tree.has_folder(base) else layout.folder
        self.entries = {split: _texts(config[key]) for key, split in SPLIT_KEYS.items() if config.get(key)}
        for split in {SPLIT_KEYS[key] for key in _texts(config.get(STANDING_IN, [])) if SPLIT_KEYS.get(key) in self.entries}:
            if list(self.entries.values()).count(self.entries[split]) > 1:
                del self.entries[split]
        self.stripped = 0

    def found(self) -> dict[str, list[str]]:
        """What of the entries exists."""
        paths = {split: [self._path(text) for text in texts] for split, texts in self.entries.items()}
        return {split: [path for path in found if path] for split, found in paths.items()}

    def _path(self, text: str) -> str | None:
        exact, repaired = self._candidates(text, "")
        return next((path for path in (*exact, *(path for _, path in repaired)) if self._exists(path)), None)

    def add(self, split: str, text: str) -> None:
        """One path of the configuration: a folder, a list of images, or one image."""
        exact, _ = self._candidates(text, "")
        found = self._path(text)
        if found not in exact:
            discovered = [] if found else [group for group in _discovered(self.tree) if group.split == split]
            self._report(split, text, found or ", ".join(group.folder for group in discovered[:3]), bool(exact))
            self.layout.groups += discovered
        if found is not None and found.lower().endswith(".txt") and self.tree.find(found):
            self._add_list(split, found)
        elif found is not None and self.tree.has_folder(found):
            self.layout.groups += [Group(split, folder) for folder, listing in self.tree.walk(found) if listing.images()]
        elif found is not None:
            self._add_files(split, [found])

    def _exists(self, path: str) -> bool:
        return bool(path) and bool(self.tree.find(path)) or self.tree.has_folder(path)

    def _candidates(self, text: str, beside: str) -> tuple[list[str], list[tuple[int, str]]]:
        """(as written, seen from the yaml's `path` or folder, the list file or the root; with so many leading steps cut off)."""
        folder = self.layout.folder
        exact = [path for path in (normal(text, place) for place in dict.fromkeys((self.base, beside, folder, ""))) if path is not None]
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        starts = sorted(range(len(parts)), key=lambda start: start != self.stripped)
        return exact, [(start, "/".join((*place, *parts[start:]))) for start in starts for place in dict.fromkeys(((folder,) if folder else (), ()))]

    def _report(self, split: str, text: str, used: str, inside: bool) -> None:
        values = {"entry": _short(text), "split": split, "used": used}
        if used and inside:
            problem = Problem("yaml_path_repaired", "note", self.layout.config, values)
        elif used:
            climbs = [part for part in text.replace("\\", "/").split("/") if part == ".."]
            mild = len(climbs) == 1 and not text.startswith("/")  # exporters write ../train/images
            problem = Problem("yaml_path_repaired" if mild else "yaml_path_outside", "note" if mild else "warning", self.layout.config, values)
        else:
            code = "yaml_path_missing" if inside else "yaml_path_outside_unused"
            problem = Problem(code, "warning", self.layout.config, values)
        self.layout.problems.append(problem)

    def _add_list(self, split: str, name: str) -> None:
        """A text file with one image path a line."""
        data = self.tree.read(name, MAX_LIST_BYTES)
        found = []
        for number, line in enumerate(plain_text.decoded(data).splitlines(), 1):
            if not line.strip():
                continue
            path = self._listed(line.strip(), name.rpartition("/")[0])
            if path:
                found.append(path)
            else:
                self.layout.problems.append(Problem("listed_image_missing", "error", f"{name}:{number}", {"entry": _short(line)}))
        self._add_files(split, found)

    def _listed(self, text: str, beside: str) -> str | None:
        if not is_image(text):
            return None
        exact, repaired = self._candidates(text, beside)
        for path in exact:
            if self.tree.find(path):
                return self.tree.find(path)
        for start, path in repaired:
            if self.tree.find(path):
                self.stripped = start
                return self.tree.find(path)
        return None

    def _add_files(self, split: str, paths: list[str]) -> None:
        folders: dict[str, list[str]] = {}
        for path in dict.fromkeys(paths):
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, []).append(name)
        self.layout.groups += [Group(split, folder, tuple(names)) for folder, names in folders.items()]

    def add_unlisted(self, missing: set[str]) -> None:
        """A folder beside those of the other splits that the configuration forgot. Lists of files are taken at their word."""
        known = {group.folder for group in self.layout.groups if group.names is None}
        for group in [group for group in _discovered(self.tree) if group.split in missing and group.folder not in known]:
            shape = _without_split(group.folder)
            if any(_without_split(folder) == shape for folder in known):
                self.layout.groups.append(group)
                values = {"split": group.split, "folder": group.folder}
                self.layout.problems.append(Problem("yaml_split_unlisted", "note", self.layout.config, values))


def _without_repeats(layout: Layout) -> Iterator[Group]:
    """Every image once, in the first split that names it; what is left out is told."""
    taken: dict[str, dict[str, str | None]] = {}
    for group in layout.groups:
        here = taken.setdefault(group.folder, {})
        images = group.names or tuple(layout.tree.folder(group.folder).images())
        fresh = tuple(name for name in images if name not in here) if here else images
        if len(fresh) < len(images):
            first = next(here[name] for name in images if name in here)
            if first != group.split:
                values = {"count": len(images) - len(fresh), "first": first or "-", "split": group.split or "-"}
                layout.problems.append(Problem("yolo_images_twice", "warning", group.folder or ".", values))
        if fresh:
            here.update(dict.fromkeys(fresh, group.split))
            yield group if fresh == images else Group(group.split, group.folder, fresh)


def _without_split(folder: str) -> tuple[str, ...]:
    return tuple("*" if part.casefold() in SPLIT_WORDS else part for part in folder.split("/"))


def _discovered(tree: Tree) -> Iterator[Group]:
    """Every folder with images, its split told by its name."""
    order = {split: position for position, split in enumerate(SPLITS)}
    found = [Group(split_of(*folder.split("/")), folder) for folder, listing in tree.walk() if listing.images()]
    return iter(sorted(found, key=lambda group: order.get(group.split or "", 9)))


def label_folders(tree: Tree, folder: str) -> list[str]:
    """Where the labels of the images in `folder` may lie: images -> labels in its path, beside them, in a folder beside them."""
    parts = folder.split("/") if folder else []
    found = []
    for position in reversed([place for place, part in enumerate(parts) if part.casefold() in IMAGE_FOLDERS]):
        found += ["/".join((*parts[:position], name, *parts[position + 1:])) for name in LABEL_FOLDERS]
    parent = "/".join(parts[:-1])
    found += [folder, *(f"{place}/{name}" if place else name for place in dict.fromkeys((folder, parent)) for name in LABEL_FOLDERS)]
    return [path for path in dict.fromkeys(found) if tree.has_folder(path) and any(name.lower().endswith(".txt") for name in tree.folder(path).files)]


def _texts(value: Any) -> list[str]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str) and item.strip()]


def _short(text: Any) -> str:
    shown = "".join(char if char.isprintable() else "?" for char in str(text)[:MAX_SHOWN])
    return shown + "..." if len(str(text)) > MAX_SHOWN else shown

"""YOLO: data.yaml, `{split}/images` + `{split}/labels` (or the other way round, or flat), one text file of lines an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, text_labels
from engine.datasets.formats.yolo_configs import find_config
from engine.datasets.formats.yolo_kinds import MAX_PEEKED, Pair, kind_of
from engine.datasets.formats.yolo_layout import MAX_CLASSES, NAME_FILES, Group, Layout, label_folders, survey
from engine.datasets.formats.yolo_lines import BOX, MAX_LABEL_BYTES, LabelRule, parse
from engine.datasets.formats.yolo_writing import write
from engine.datasets.images import size_of
from engine.datasets.tree import Tree
from engine.types import Instances, Problem, Reading, Sample, UserError

# ---- recognising

def detects(root: Path) -> str | None:
    """A yaml with names or splits, or text files of numbers that belong to images."""
    tree = Tree(root.parent if root.is_file() else root)
    if root.is_dir() and text_labels.only_quads(tree):
        return None
    config = root.name if root.is_file() else find_config(tree)
    if config is not None:
        return config
    for number, (folder, listing) in enumerate(tree.walk()):
        images = listing.images()
        if images and any(_looks_like_labels(tree, place, images) for place in label_folders(tree, folder)):
            return f"{folder or '.'}: *.txt"
        if number > 1000:
            break
    return None


def _looks_like_labels(tree: Tree, place: str, images: list[str]) -> bool:
    """Whether the first label files there that share a stem with an image hold lines of numbers."""
    listing = tree.folder(place)
    stems = (name.rpartition(".")[0] for name in images[:MAX_PEEKED])
    names = [name for name in (listing.file(f"{stem}.txt") for stem in stems) if name]
    lines = [line for name in names for line in tree.head(f"{place}/{name}" if place else name, 4096).split(b"\n")[:3] if line.strip()]
    return bool(names) and (not lines or any(len(line.split()) >= BOX and _is_number(line.split()[0]) for line in lines))


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---- reading

@dataclass
class _Labels:
    """The label files of a data set: looked up by folder and stem, and remembered so that orphans can be told."""

    tree: Tree
    used: dict[str, set[str]] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)
    shared: list[str] = field(default_factory=list)

    def of(self, folder: str, image: str) -> str | None:
        if folder not in self.places:
            self.places[folder] = label_folders(self.tree, folder)
        name = f"{image.rpartition('.')[0]}.txt"
        for place in self.places[folder]:
            found = self.tree.folder(place).file(name)
            if found is not None:
                path = f"{place}/{found}" if place else found
                used = self.used.setdefault(place, set())
                self.shared += [path] if found in used else []
                used.add(found)
                return path
        return None

    def pairs(self, groups: Iterable[Group]) -> Iterator[Pair]:
        """(image, its label file), of the images that have one."""
        for group in groups:
            for image in group.names or self.tree.folder(group.folder).images():
                found = self.of(group.folder, image)
                if found is not None:
                    yield f"{group.folder}/{image}" if group.folder else image, found

    def orphans(self) -> Iterator[Problem]:
        """Label files without an image, in every folder that holds labels."""
        folders = {path for path, _ in self.tree.walk() if "labels" in path.split("/")} | {p for ps in self.places.values() for p in ps}
        for place in sorted(folders):
            for name in self.tree.folder(place).files:
                path = f"{place}/{name}" if place else name
                if name.lower().endswith(".txt") and name not in self.used.get(place, ()) and self._is_label(path, name):
                    yield Problem("label_without_image", "warning", path)

    def _is_label(self, path: str, name: str) -> bool:
        first = self.tree.head(path, 200).split()
        return name.lower() not in NAME_FILES and len(first) >= BOX and _is_number(first[0])


def read(root: Path) -> Reading:
    """Raises UserError when data.yaml cannot be understood; anything less is a Problem in the stream."""
    layout = survey(root)
    ids, classes = _classes(layout)
    kind = kind_of(layout, lambda: _Labels(layout.tree).pairs(layout.groups))
    rule = LabelRule(ids, keypoints=kind == "keypoints", oriented=kind == "oriented")
    return Reading(classes, _items(layout, rule), "instance" if kind == "outlines" else "detect")


def _classes(layout: Layout) -> tuple[dict[int, int], tuple[str, ...]]:
    """(id in the files -> our id, names in our order). Gaps that labels use get a name; equal names become one class."""
    names = dict(layout.names or {})
    limit = max([*(key + 1 for key in names), layout.declared or 0], default=0)
    if not names or set(names) != set(range(limit)):
        used = {number for number in _used_ids(layout) if number < (limit or MAX_CLASSES)}
        wanted = used | set(names) if names else set(range(max(used, default=-1) + 1))
        missing = sorted(wanted - set(names))
        names.update({number: f"class {number}" for number in missing})
        if not layout.names:
            layout.problems.append(Problem("yolo_no_names", "warning", layout.config or "data.yaml", {"count": len(names)}))
        else:
            values = {"declared": layout.declared or limit, "names": len(layout.names), "missing": ", ".join(map(str, missing)) or "-"}
            layout.problems.append(Problem("yolo_names_gap", "warning", layout.config, values))
    elif layout.declared is not None and layout.declared != len(names):
        values = {"declared": layout.declared, "names": len(names), "missing": "-"}
        layout.problems.append(Problem("yolo_names_gap", "warning", layout.config, values))
    ids: dict[int, int] = {}
    own: dict[str, int] = {}
    for number in sorted(names):
        name = _clean(names[number]) or f"class {number}"
        if name in own:
            layout.problems.append(Problem("class_name_twice", "warning", layout.config, {"name": name}))
        ids[number] = own.setdefault(name, len(own))
    return ids, tuple(own)


def _clean(name: str) -> str:
    return "".join(char if char.isprintable() else " " for char in name).strip()


def _used_ids(layout: Layout) -> set[int]:
    """The class ids that occur in the label files; only asked for when nobody named the classes."""
    used: set[int] = set()
    for _, path in _Labels(layout.tree).pairs(layout.groups):
        for line in layout.tree.head(path, MAX_LABEL_BYTES).splitlines():
            first = line.split(None, 1)[:1]
            if first and _is_number(first[0]) and 0 <= float(first[0]) < MAX_CLASSES:
                used.add(int(float(first[0])))
    return used


def _items(layout: Layout, rule: LabelRule) -> Iterator[Sample | Problem]:
    tree, labels = layout.tree, _Labels(layout.tree)
    yield from layout.problems
    unlabeled = 0
    for group in layout.groups:
        images = group.names or tree.folder(group.folder).images()
        prefix, place = f"{group.folder}/" if group.folder else "", tree.path(group.folder)
        for image in images:
            name = prefix + image
            try:
                size = size_of(f"{tree.root}/{name}")
            except UserError as error:
                labels.of(group.folder, image)
                yield problem_of(error, name)
                continue
            known, problems = _read_labels(tree, labels.of(group.folder, image), size, rule)
            yield from problems
            unlabeled += known is None
            yield Sample(place / image, size, known, group.split, None, name)
    if unlabeled:
        yield Problem("images_without_labels", "note", ".", {"count": unlabeled})
    if rule.keypoints:
        yield Problem("keypoints_left_out", "note", layout.config or ".")
    if rule.oriented:
        yield Problem("yolo_oriented_boxes", "note", layout.config or ".")
    if labels.shared:
        yield Problem("label_shared", "warning", labels.shared[0], {"count": len(labels.shared)})
    yield from _unlisted(layout, labels)
    yield from labels.orphans()
    yield from tree.problems


def _unlisted(layout: Layout, labels: _Labels) -> Iterator[Problem]:
    """The images that the configuration's paths pass over; their label files are no orphans."""
    whole = {group.folder for group in layout.groups if group.names is None}
    listed = {(group.folder, name) for group in layout.groups for name in group.names or ()}
    left_out = [(folder, name) for folder, listing in layout.tree.walk() if folder not in whole
                for name in listing.images() if (folder, name) not in listed]
    labeled = sum(labels.of(folder, name) is not None for folder, name in left_out)
    if left_out:
        names = ", ".join(f"{folder}/{name}" if folder else name for folder, name in left_out[:5])
        yield Problem("yolo_images_unlisted", "warning" if labeled else "note", layout.config or ".",
                      {"count": len(left_out), "labeled": labeled, "names": names + (", ..." if len(left_out) > 5 else "")})


def _read_labels(tree: Tree, path: str | None, size: tuple[int, int], rule: LabelRule) -> tuple[Instances | None, list[Problem]]:
    if path is None:
        return None, []
    try:
        return parse(tree.read(path, MAX_LABEL_BYTES), path, size, rule)
    except UserError as error:
        return None, [problem_of(error, path)]
    except OSError as error:
        return None, [Problem("file_unreadable", "error", path, {"reason": error.strerror or str(error)})]


FORMATS = (Format("yolo", detects, read, write, files=(".yaml", ".yml"), tasks=("detect", "instance")),)

"""Which split an image of a Pascal VOC data set belongs to, and the order of its classes: ImageSets, labelmap.txt."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from engine.datasets import plain_text
from engine.datasets.images import is_image
from engine.datasets.objects import clean_name, shown
from engine.datasets.tree import SPLIT_WORDS, Tree, folded
from engine.types import SPLITS, Problem

MAX_LIST_BYTES = 64 << 20
MAX_NAMED = 200  # listed images without a file that are named one by one
SETS = "imagesets"
SUBJECTS = ("main", "", "segmentation", "layout", "action")
CLASS_FILES = ("labelmap.txt", "label_list.txt")
_CLASS_LIST = re.compile(r".+_(train|val|trainval|test)\.txt$", re.IGNORECASE)
_ENTRY = re.compile(r"(?P<name>.+?):(?P<colour>\d+,\d+,\d+|):[^:]*:[^:]*$")


def split_of_list(name: str) -> str | None:
    """train.txt -> "train", trainval.txt -> "trainval"; None for any other file, those of single classes included (aeroplane_train.txt)."""
    stem, dot, suffix = name.casefold().rpartition(".")
    stem = stem.removesuffix("_list")
    return None if suffix != "txt" else stem if stem == "trainval" else SPLIT_WORDS.get(stem)


@dataclass
class _List:
    """One list: its file, and for each line the texts by which it may mean an image."""

    path: str
    split: str
    entries: list[tuple[int, str, tuple[str, ...]]]


@dataclass
class Lists:
    """The lists of one folder, `base`. train, val and test count more than trainval, and those of Main more than others."""

    base: str
    lists: list[_List] = field(default_factory=list)
    class_lists: int = 0
    splits: dict[str, str] = field(default_factory=dict)

    def split(self, image: str) -> str | None:
        """`image` is a path that begins with `base`."""
        return next((self.splits[key] for key in keys_of(image, self.base) if key in self.splits), None)

    def problems(self, known: Collection[str]) -> Iterator[Problem]:
        """Lines that mean none of the `known` images, and images in several lists."""
        missing: set[str] = set()
        seen: dict[str, _List] = {}
        for one in self.lists:
            twice: list[str] = []
            for line, text, keys in one.entries:
                key = next((key for key in keys if key in known), None)
                if key is None:
                    if keys[0] not in missing and len(missing) < MAX_NAMED:
                        yield Problem("listed_image_missing", "error", f"{one.path}:{line}", {"entry": shown(text)})
                    missing.add(keys[0])
                elif "trainval" not in (one.split, seen.setdefault(key, one).split) and seen[key].split != one.split:
                    twice.append(shown(text))
            if twice:
                values = {"count": len(twice), "name": twice[0], "split": self.splits.get(folded(twice[0]), one.split), "other": one.split}
                yield Problem("voc_in_two_splits", "warning", one.path, values)
        if len(missing) > MAX_NAMED:
            yield Problem("voc_more_listed_missing", "error", self.base or ".", {"count": len(missing) - MAX_NAMED})


def keys_of(image: str, base: str) -> Iterator[str]:
    """The texts that may stand for an image in a list: its path below the images folder, its path, its name; all without suffix."""
    inside = folded(image[len(base) + 1:] if base else image)
    inside = inside.rpartition(".")[0] if is_image(inside) else inside
    yield inside.partition("/")[2]
    yield inside
    yield inside.rpartition("/")[2]


def find_lists(tree: Tree) -> list[Lists]:
    """The lists of every part of the tree that has some, inner parts first."""
    found: list[Lists] = []
    for folder, listing in tree.walk():
        names = {name.casefold(): name for name in listing.folders}
        if SETS in names:
            found.append(_read(tree, folder, f"{folder}/{names[SETS]}" if folder else names[SETS]))
        elif "annotations" in names and any(split_of_list(name) for name in listing.files):
            found.append(_read(tree, folder, folder))
    return sorted((lists for lists in found if lists.lists or lists.class_lists), key=lambda lists: -len(lists.base))


def _read(tree: Tree, base: str, sets: str) -> Lists:
    lists = Lists(base)
    names = {name.casefold(): name for name in tree.folder(sets).folders} if sets != base else {}
    order = {split: place for place, split in enumerate((*SPLITS, "trainval"))}
    for subject in SUBJECTS:
        if subject and subject not in names:
            continue
        folder = "/".join(part for part in (sets, names.get(subject, "")) if part)
        files = [(name, split_of_list(name)) for name in tree.folder(folder).files]
        lists.class_lists += sum(split is None and bool(_CLASS_LIST.match(name)) for name, split in files)
        for name, split in sorted(((name, split) for name, split in files if split), key=lambda pair: (order[pair[1]], pair[0])):
            path = f"{folder}/{name}" if folder else name
            lists.lists.append(_List(path, split, list(_entries(tree, path))))
    for one in sorted(lists.lists, key=lambda one: one.split == "trainval"):
        for _, _, keys in one.entries:
            lists.splits.setdefault(keys[0], "train" if one.split == "trainval" else one.split)
    for one in lists.lists:
        for _, _, keys in one.entries:
            for key in keys[1:]:
                lists.splits.setdefault(key, lists.splits[keys[0]])
    return lists


def _entries(tree: Tree, path: str) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(line, text, keys) of each line: a name, with or without suffix, folder, quotes, a flag or the path of the label file behind it."""
    for number, line in enumerate(_text(tree, path).splitlines(), 1):
        text = line.strip()
        if not text or text == "#" or text.startswith("# "):
            continue
        readings = [text]
        if text.startswith('"'):
            readings.append(text[1:].partition('"')[0])
        head, _, last = text.replace("\t", " ").rpartition(" ")
        if last in ("1", "-1", "0") or last.lower().endswith(".xml"):
            readings.append(head.strip())
        yield number, text, tuple(dict.fromkeys(key for reading in readings for key in _keys(reading) if key))


def _text(tree: Tree, path: str) -> str:
    """A list of a few Chinese names may be read in several encodings: of these the one that makes the most names of images."""
    data = tree.read(path, MAX_LIST_BYTES)
    texts = [plain_text.decoded(data)]
    if data.isascii() or len(data) > plain_text.HEAD:
        return texts[0]
    texts += [data.decode(encoding) for encoding in plain_text.SHOWN if plain_text.fits(data, encoding)]
    stems = {folded(name.rpartition(".")[0]) for _, listing in tree.walk() for name in listing.images()}
    return max(texts, key=lambda text: sum(key in stems for line in text.splitlines() for key in set(_keys(line.strip()))))


def _keys(text: str) -> Iterator[str]:
    path = folded(text.replace("\\", "/"))
    path = path.rpartition(".")[0] if is_image(path) else path
    yield path.lstrip("./") or path
    yield path.rpartition("/")[2]


def in_lists(lists: Iterable[Lists], image: str) -> tuple[bool, str | None]:
    """(whether there are lists for the part of the tree where an image lies, its split)."""
    for one in lists:
        if one.lists and (not one.base or image.startswith(f"{one.base}/")):
            return True, one.split(image)
    return False, None


# ---- classes

def declared_classes(tree: Tree, used: Collection[str], problems: list[Problem]) -> list[str]:
    """The classes in the order of labelmap.txt or label_list.txt; the black background that CVAT puts on top only where it is used.

    Lines that are no entries are added to `problems`.
    """
    names: dict[str, None] = {}
    for folder, listing in tree.walk():
        for wanted in CLASS_FILES:
            found = listing.file(wanted)
            if found is not None:
                path = f"{folder}/{found}" if folder else found
                names.update(dict.fromkeys(_declared(plain_text.decoded(tree.read(path, MAX_LIST_BYTES)), set(used), path, problems)))
    return list(names)


def _declared(text: str, used: Collection[str], path: str, problems: list[Problem]) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        entry = _ENTRY.match(line)
        if entry is None and (":" in line or line.startswith("#")):
            if not line.startswith("#"):
                problems.append(Problem("legend_line_wrong", "warning", f"{path}:{number}", {"line": shown(line)}))
            continue
        name = clean_name(entry["name"] if entry else line)
        background = entry is not None and folded(name) == "background" and entry["colour"] in ("", "0,0,0")
        if name and (name in used or not background):
            yield name


def labelmap(classes: Iterable[str]) -> str:
    """labelmap.txt as CVAT writes it, each class with a colour of its own, none of them black."""
    lines = ["# label:color_rgb:parts:actions"]
    for number, name in enumerate(classes, 1):
        lines.append(f"{clean_name(name)}:{number * 97 % 256},{number * 193 % 256},{(number * 53 + 40) % 255 + 1}::")
    return "".join(f"{line}\n" for line in lines)

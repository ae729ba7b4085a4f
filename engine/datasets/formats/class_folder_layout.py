"""Which folders stand for classes: what is left of a path without splits, words such as "images", and numbers of patients."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.datasets import plain_text
from engine.datasets.formats.image_index import lines_of, natural
from engine.datasets.tree import SPLIT_WORDS, Tree, folded, safe_name
from engine.types import UserError

TECHNICAL = frozenset(("images", "image", "img", "imgs", "jpegimages", "labels", "masks", "annotations", "annotation", "segmentationclass",
                       "segmentationobject", "imagesets", "data", "dataset", "datasets", "photos", "pictures", "frames", "raw", "jpg", "jpeg",
                       "png", "thumbnails", "unlabeled", "unlabelled", "图像", "图片", "影像", "圖片", "未标注", "未標註"))
CLASSES = "classes.txt"
MIN_IDS = 4
_UNTOLD = ("pred", "predict", "prediction", "unlabeled", "unlabelled")  # parts beside splits that have no labels
_SPLIT = re.compile(r"^(?:(?:images?|imgs?|data)[_\- ]?)?([^\W\d_]+?)[_\- ]?(?:\d*|sets?|data|images?|imgs?|folder|split|split\d)$")
_SERIES = re.compile(r"^(?P<head>.+)[_\- ](?P<word>" + "|".join([*SPLIT_WORDS, *_UNTOLD]) + ")$")
_WORDNET = re.compile(r"^n\d{8}")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Place:
    """A folder: its split, the class that its name stands for (None: its images are unlabeled) and the group (patient, video)."""

    folder: str
    images: tuple[str, ...]
    split: str | None
    name: str | None
    group: str | None = None


@dataclass
class Layout:
    """All places, the classes in order, whether splits were found, and an example of a class made of several folders.

    `recoded` are folder names that are no UTF-8 (as the system gives them) and the classes that they became.
    """

    places: list[Place] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    split: bool = False
    nested: str = ""
    grouped: str = ""
    recoded: dict[str, str] = field(default_factory=dict)


def survey(tree: Tree) -> Layout:
    """Looks at names only."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for folder, listing in tree.walk():
        if listing.images() or (folder and not listing.files and not listing.folders):
            found.append((folder, tuple(listing.images())))
    paths = [folder.split("/") if folder else [] for folder, _ in found]
    level, splits = _split_level(paths)
    own = _own_names(tree)
    parted = [_parted(parts, level, splits) for parts in paths]
    below = [parts for _, parts in parted]
    told = [own.get(folded("/".join(parts))) for parts in below]
    if not any(told):
        own = {}
    names, ids = _names(below)
    names = _inside_others(names, [len(images) for _, images in found])
    recoded = _readable({name for name in names if name})
    names = [recoded.get(name, name) if name else None for name in names]
    layout = Layout(split=level is not None, recoded=recoded)
    for (folder, images), (split, _), known, name, group in zip(found, parted, told, names, ids, strict=True):
        label = known if own else name
        if images or label:
            layout.places.append(Place(folder, images, split, label or (name if own else None), None if known else group))
    used = {place.name for place in layout.places if place.name is not None}
    layout.classes = [*own.values(), *sorted(used - set(own.values()), key=natural)]
    layout.nested = next((name for name in layout.classes if "/" in name), "")
    layout.grouped = next((place.group for place in layout.places if place.group), "")
    return layout


def _split_level(paths: list[list[str]]) -> tuple[int | None, dict[str, str | None]]:
    """(the first depth at which all folders are called after splits, or two of them are; what each of them stands for)."""
    for depth in range(max(map(len, paths), default=0)):
        names = {parts[depth] for parts in paths if len(parts) > depth}
        splits = _splits(names)
        if splits:
            return depth, splits
        if depth and any(len(parts) == depth for parts in paths):
            return None, {}  # images lie above: what follows are parts of classes
    return None, {}


def _splits(names: set[str]) -> dict[str, str | None]:
    """The split of each name; none when they are not called after splits. x_train, x_test and x_pred are, since they share an x."""
    exact = {SPLIT_WORDS[folded(name)] for name in names if folded(name) in SPLIT_WORDS}
    plain: dict[str, str | None] = {name: _split_name(name) for name in names}
    if len(exact) > 1 or all(plain.values()):
        return plain
    for head in {match["head"] for name in names if (match := _SERIES.match(folded(name)))}:
        words = {name: match["word"] for name in names if (match := _SERIES.match(folded(name))) and match["head"] == head}
        known = {SPLIT_WORDS[word] for word in words.values() if word in SPLIT_WORDS}
        if len(known) > 1 and len(words) == len(names):
            return {name: SPLIT_WORDS.get(word) for name, word in words.items()}
    return {}


def _parted(parts: list[str], level: int | None, splits: dict[str, str | None]) -> tuple[str | None, list[str]]:
    """(split, what is left of the path): without the folder of the split and folders inside it that only repeat it."""
    if level is None or level >= len(parts):
        return None, parts
    split, rest = splits.get(parts[level]), parts[level + 1:]
    while len(rest) > 0 and folded(rest[0]) == folded(parts[level]):
        rest = rest[1:]
    if split is None:
        place = next((place for place, part in enumerate(rest) if folded(part) in SPLIT_WORDS), None)
        if place is not None:
            split, rest = SPLIT_WORDS[folded(rest[place])], rest[:place] + rest[place + 1:]
    return split, parts[:level] + rest


def _split_name(name: str) -> str | None:
    """The split of a folder that is called after nothing else: train, val2017, test_images; not "train station"."""
    match = _SPLIT.match(folded(name))
    return SPLIT_WORDS.get(folded(name)) or (SPLIT_WORDS.get(match[1]) if match else None)


def _names(paths: list[list[str]]) -> tuple[list[str | None], list[str | None]]:
    """(class, group) of each folder: the steps that distinguish, those that only number patients or videos apart."""
    steps = [[part for part in parts if folded(part) not in TECHNICAL] for parts in paths]
    while any(len(parts) > 1 for parts in steps) and all(steps) and len({parts[0] for parts in steps}) == 1:
        steps = [parts[1:] for parts in steps]
    depth = max(map(len, steps), default=0)
    ids = [level for level in range(depth) if depth > 1 and _are_ids(steps, level)]
    if len(ids) == depth:
        ids = ids[:-1]
    names: list[str | None] = []
    groups: list[str | None] = []
    for parts in steps:
        names.append("/".join(part for level, part in enumerate(parts) if level not in ids) or None)
        groups.append("/".join(part for level, part in enumerate(parts) if level in ids) or None)
    return names, groups


def _readable(names: set[str]) -> dict[str, str]:
    """Names that are no UTF-8 -> texts, of which no two are the same: such folders come from archives that name no encoding."""
    broken = {name: os.fsencode(name) for name in sorted(names) if any("\udc80" <= char <= "\udcff" for char in name)}
    encoding = plain_text.encoding_of(b"\n".join(broken.values()))
    taken, found = names - broken.keys(), dict[str, str]()
    for name, data in broken.items():
        text = data.decode(encoding, "replace")
        number = 1
        found[name] = text
        while found[name] in taken:
            number += 1
            found[name] = f"{text}_{number}"
        taken.add(found[name])
    return found


def _inside_others(names: list[str | None], counts: list[int]) -> list[str | None]:
    """A folder inside that of a class with as many images or more adds to that class."""
    sizes: Counter[str] = Counter()
    for name, count in zip(names, counts, strict=True):
        sizes[name or ""] += count
    def outer(name: str) -> str:
        parts = name.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return next((path for path in above if sizes[path] and sizes[path] >= sizes[name]), name)
    return [outer(name) if name else None for name in names]


def _are_ids(steps: list[list[str]], level: int) -> bool:
    """Whether the folders at this depth are numbered alike and never come twice: patient012, 10253, case_3."""
    paths = {tuple(parts[:level + 1]) for parts in steps if len(parts) > level}
    names = [path[-1] for path in paths]
    forms = Counter(_DIGITS.sub("#", name) for name in names)
    unique = len(set(names)) >= 0.9 * len(names)
    alike = sum(count for form, count in forms.most_common(2) if "#" in form) >= 0.9 * len(names)
    return len(names) >= MIN_IDS and unique and alike and not any(map(_WORDNET.match, names))


# ---- our own layout

def folders_of(classes: Iterable[str]) -> dict[str, str]:
    """class -> the folder that it gets below a split: its name where every system can hold that, no two the same."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in classes:
        parts = [safe_name(part) for part in name.split("/") if part.strip()] or ["_"]
        if folded(parts[0]) in TECHNICAL or _split_name(parts[0]):
            parts[0] = f"class_{parts[0]}"
        base, number = parts[-1], 1
        while folded("/".join(parts)) in taken:
            number += 1
            parts[-1] = f"{base}_{number}"
        taken.add(folded("/".join(parts)))
        found[name] = "/".join(parts)
    return found


def _own_names(tree: Tree) -> dict[str, str]:
    """folder as it compares -> class, from classes.txt in the root, in its order."""
    path = tree.find(CLASSES)
    try:
        names = list(dict.fromkeys(line for line in lines_of(tree, path) if line)) if path else []
    except UserError:
        return {}
    return {folded(folder): name for name, folder in folders_of(names).items()}

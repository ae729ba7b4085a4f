"""Images as tables and lists name them: with or without suffix, by a path of another machine, and sometimes not there at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

from engine.datasets import plain_text
from engine.datasets.images import is_image
from engine.datasets.tree import SPLIT_WORDS, Tree, folded, safe_name, split_of

MAX_COMPARED = 64  # images of one name that an entry is compared with; of more, longer ends of the paths are looked up
MAX_LIST_BYTES = 64 << 20
SHOWN_FOLDERS = frozenset(("visualization", "visualizations", "visualisation", "visualisations", "annotationsvisualization", "superpixels",
                           "segmentationclassvisualization", "segmentationobjectvisualization"))  # pictures of labels, for people to look at
MASK_FOLDERS = SHOWN_FOLDERS | {"trimap", "trimaps"} | {
    f"segmentation{kind}{form}" for kind in ("class", "object") for form in ("", "raw", "png", "aug", "npy")}
_TRUTH = re.compile(r"(?:^|[_\- .])ground[_\- ]?truth$")
_SHOWN = re.compile(r"[_\-. ](?:superpixels|viz|visuali[sz]ation)$")
_DIGITS = re.compile(r"\d+")


class ImageIndex:
    """Finds images by what stands in a label file, in a tree and nowhere else."""

    def __init__(self, tree: Tree, images: Iterable[str] | None = None) -> None:
        self.images = list(images if images is not None else all_images(tree))
        self._paths = {folded(path): path for path in self.images}
        self._names: dict[str, list[str]] = {}
        for path in self.images:
            self._names.setdefault(folded(path.rpartition("/")[2]), []).append(path)
        self._ways: list[tuple[int, str]] = [(0, "")]  # (leading steps to cut off, folder to look in) that have worked
        self._ends: dict[int, dict[str, list[str]]] = {}

    def find(self, text: str, beside: str = "") -> str | None:
        """The image at `text`, seen from the folder `beside` or the root; else the one whose path shares the longest end with it.

        None when there is none, when several fit equally well, or when the only one lies where `text` clearly does not point.
        """
        parts = _parts(text)
        if not parts:
            return None
        for cut, folder in [(0, folded(beside)), *self._ways]:
            found = self._paths.get("/".join([folder, *parts[cut:]] if folder else parts[cut:])) if cut < len(parts) else None
            if found is not None:
                return found
        return self._nearest(parts, beside)

    def candidates(self, text: str) -> list[str]:
        """All images that have the name at the end of `text`."""
        parts = _parts(text)
        return self._named(parts[-1]) if parts else []

    def _named(self, name: str) -> list[str]:
        found = self._names.get(name) or self._names.get(folded(safe_name(name)))
        return found or self._stems.get(name) or (self._stems.get(name.rpartition(".")[0]) if is_image(name) else None) or []

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = {}
        for name, paths in self._names.items():
            stems.setdefault(name.rpartition(".")[0], []).extend(paths)
        return stems

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(part for path in self._paths for part in path.split("/")[:-1])

    def _nearest(self, parts: list[str], beside: str) -> str | None:
        paths, steps = self._named(parts[-1]), 1
        while len(paths) > MAX_COMPARED and steps < len(parts):
            steps += 1
            paths = self._ending(steps).get("/".join(parts[-steps:]), [])
        if not 0 < len(paths) <= MAX_COMPARED:
            return None
        shared = {path: _shared(folded(path).split("/")[:-1], parts[:-1]) for path in paths}
        most = max(shared.values())
        fitting = [path for path in paths if shared[path] == most]
        for same in (lambda path: path.startswith(f"{beside}/"), lambda path: split_of(*path.split("/")[:-1]) == split_of(*beside.split("/"))):
            if len(fitting) > 1:
                fitting = [path for path in fitting if same(path)] or fitting
        if len(fitting) != 1 or self._points_elsewhere(parts[:-1], folded(fitting[0]).split("/")[:-1], most):
            return None
        self._remember(fitting[0], parts, most)
        return fitting[0]

    def _ending(self, steps: int) -> dict[str, list[str]]:
        """Images by the last `steps` steps of their paths."""
        if steps not in self._ends:
            found: dict[str, list[str]] = {}
            for path in self.images:
                found.setdefault("/".join(folded(path).split("/")[-steps:]), []).append(path)
            self._ends[steps] = found
        return self._ends[steps]

    def _points_elsewhere(self, wanted: list[str], there: list[str], shared: int) -> bool:
        """Whether the first step that differs names another patient, or a folder that the tree has as well."""
        if len(wanted) == shared or len(there) == shared:
            return False
        mine, theirs = wanted[-1 - shared], there[-1 - shared]
        counted = _DIGITS.sub("#", mine)
        return ("#" in counted and counted == _DIGITS.sub("#", theirs)) or mine in self._folders

    def _remember(self, found: str, parts: list[str], shared: int) -> None:
        steps = folded(found).split("/")
        if steps[-1] == parts[-1]:
            way = (len(parts) - 1 - shared, "/".join(steps[:len(steps) - 1 - shared]))
            self._ways = [way, *(known for known in self._ways if known != way)][:8]


def all_images(tree: Tree) -> Iterable[str]:
    """Every image of a tree, folder by folder."""
    for folder, listing in tree.walk():
        yield from (f"{folder}/{name}" if folder else name for name in listing.images())


def pictures(tree: Tree) -> ImageIndex:
    """The images of a tree but for masks, by their folders, and pictures that only show labels."""
    return ImageIndex(tree, (f"{folder}/{name}" if folder else name for folder, listing in tree.walk() if not _holds_masks(folder)
                             for name in without_shown(listing.images())))


def _holds_masks(folder: str) -> bool:
    return any(part in MASK_FOLDERS or part == "masks" or _TRUTH.search(part) for part in folded(folder).split("/"))


def without_shown(names: list[str]) -> list[str]:
    """All but the pictures that only show the labels of others: 7_superpixels.png beside 7.jpg, label_viz.png beside label.png."""
    shown = {name: _SHOWN.sub("", stem) for name in names if _SHOWN.search(stem := folded(name.rpartition(".")[0]))}
    stems = {folded(name.rpartition(".")[0]) for name in names} if shown else set()
    return [name for name in names if shown.get(name) not in stems]


def lines_of(tree: Tree, path: str) -> list[str]:
    """The lines of a text file without blanks around them, empty ones included. Raises UserError when it is too large."""
    text = plain_text.decoded(tree.read(path, MAX_LIST_BYTES))
    return [line.strip() for line in text.splitlines()]


def natural(name: str) -> tuple[int, int, str, str]:
    """A key that sorts whole numbers by size, before names in the order of the alphabet."""
    number = int(name) if re.fullmatch(r"\d{1,9}", name) else -1
    return (0, number, "", name) if number >= 0 else (1, 0, folded(name), name)


def split_of_list(name: str) -> str | None:
    """The split that a list of images stands for: "train_val_list.txt" -> "train", "trainval.txt" -> None."""
    words = {SPLIT_WORDS[word] for word in re.split(r"[^a-z\u3400-\u9fff]+", name.rpartition(".")[0].casefold()) if word in SPLIT_WORDS}
    return "train" if words == {"train", "valid"} else words.pop() if len(words) == 1 else None


def _parts(text: str) -> list[str]:
    """The steps of a path as they compare: without what leads upwards, drives and addresses."""
    parts = [folded(part) for part in text.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    last_climb = max((place for place, part in enumerate(parts) if part == ".." or part.endswith(":")), default=-1)
    return parts[last_climb + 1:]


def _shared(path: list[str], parts: list[str]) -> int:
    """How many steps two paths have in common at their ends."""
    count = 0
    for mine, theirs in zip(reversed(path), reversed(parts), strict=False):
        if mine != theirs:
            break
        count += 1
    return count

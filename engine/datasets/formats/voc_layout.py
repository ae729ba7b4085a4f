"""Where a Pascal VOC data set keeps its label files, and which image each of them means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.datasets.faults import problem_of
from engine.datasets.formats import xml_head
from engine.datasets.formats.image_index import MASK_FOLDERS, SHOWN_FOLDERS
from engine.datasets.formats.lookup import Lookup
from engine.datasets.formats.voc_lists import Lists, declared_classes, find_lists, in_lists, keys_of
from engine.datasets.formats.voc_xml import MAX_XML_BYTES, is_outlined, load, name_of
from engine.datasets.images import is_image
from engine.datasets.objects import Classes, clean_name, shown
from engine.datasets.plain_xml import text_of
from engine.datasets.tree import Tree, folded, split_of
from engine.types import Problem, UserError

IMAGE_WORDS = frozenset(("jpegimages", "images", "image", "imgs", "img", "jpegs", "jpg", "pictures", "photos", "图片", "图像", "影像", "圖片"))
ABSENT = frozenset(("", "0"))


@dataclass
class Layout:
    """A surveyed data set: the label file of each image, the classes in order, the lists of its splits."""

    tree: Tree
    lookup: Lookup
    classes: Classes = field(default_factory=Classes)
    labels: dict[str, str] = field(default_factory=dict)
    lists: list[Lists] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    objects: int = 0
    outlined: bool = False
    unsized: int = 0

    @property
    def only_class_lists(self) -> bool:
        """Whether all that is known of the images is which of them show a class."""
        return not self.objects and any(lists.class_lists for lists in self.lists)

    def split(self, image: str) -> tuple[bool, str | None]:
        """(whether a list should have named the image, its split); the names of folders tell where no list does."""
        listed, split = in_lists(self.lists, image)
        if split is None:
            split = split_of(*image.split("/")[:-1])
        return listed and split is None, split


def survey(tree: Tree) -> Layout:
    """Looks through all label files, since nothing else names the classes for certain."""
    layout = Layout(tree, Lookup(tree, MASK_FOLDERS))
    finder, names = _Finder(layout), dict[str, None]()
    stems: set[str] = set()
    for folder, _ in tree.walk():
        for name in xml_head.xml_names(tree, folder):
            path = f"{folder}/{name}" if folder else name
            found = _look_at(layout, finder, folder, path)
            if found is not None:
                names.update(found)
                stems.add(folded(name.rpartition(".")[0]))
    for name in declared_classes(tree, names, layout.problems):
        layout.classes.id_of(name)
    for name in sorted(names):
        layout.classes.id_of(name)
    layout.lists = find_lists(tree)
    layout.problems += _unlisted_files(layout, stems)
    layout.problems += _masks(tree)
    return layout


def _look_at(layout: Layout, finder: _Finder, folder: str, path: str) -> dict[str, None] | None:
    """Notes what one label file holds and returns the classes in it; None when it is damaged or something else."""
    try:
        content = load(layout.tree.read(path, MAX_XML_BYTES), path, layout.problems)
    except UserError as error:
        layout.problems.append(problem_of(error, path))
        return None
    except OSError as error:
        layout.problems.append(Problem("file_unreadable", "error", path, {"reason": error.strerror or str(error)}))
        return None
    if content.tag != "annotation":
        layout.problems.append(Problem("xml_not_labels", "note", path, {"format": "voc", "found": shown(content.tag)}))
        return None
    items = content.findall("object")
    layout.objects += len(items)
    layout.outlined |= any(map(is_outlined, items))
    layout.unsized += text_of(content, "size/width") in ABSENT or text_of(content, "size/height") in ABSENT
    named = text_of(content, "filename")
    image = finder.image_of(folder, path, named)
    if image is None:
        missing = layout.lookup.missing(named or path, path)
        layout.problems.append(Problem(missing.code, "error", path, {"image": shown(named), **missing.values}))
    elif layout.labels.setdefault(image, path) != path:
        layout.problems.append(Problem("image_labeled_twice", "error", path, {"image": shown(image), "first": layout.labels[image]}))
    return dict.fromkeys(map(name_of, items))


class _Finder:
    """Finds the image of a label file: by its stem first, since copied files keep the `filename` of their original."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.tree = layout, layout.tree
        self._places: dict[str, list[str]] = {}
        self._stems: dict[str, dict[str, list[str]]] = {}

    def image_of(self, folder: str, path: str, named: str) -> str | None:
        stem = path.rpartition("/")[2].rpartition(".")[0]
        stem = stem.rpartition(".")[0] if is_image(stem) else stem
        lookup, wanted = self.layout.lookup, named.replace("\\", "/").rpartition("/")[2]
        image = self._near(folder, stem, wanted) or lookup.find(stem, folder)
        if folded(wanted.rpartition(".")[0]) == folded(stem) and image is not None:
            return image
        other = lookup.find(named, folder) if wanted else None
        if image is not None and other not in (None, image):
            self.layout.problems.append(Problem("voc_other_image", "warning", path, {"named": clean_name(named)[:200], "image": shown(image)}))
        return image or other

    def _near(self, folder: str, stem: str, named: str) -> str | None:
        """The image of that stem beside the label file or where its folder of images is; of several the one that is named."""
        if folder not in self._places:
            self._places[folder] = list(dict.fromkeys(_image_folders(self.tree, folder)))
        for place in self._places[folder]:
            twins = self._stems_in(place).get(folded(stem))
            if twins:
                twin = next((name for name in twins if folded(name) == folded(named)), twins[0])
                return f"{place}/{twin}" if place else twin
        return None

    def _stems_in(self, place: str) -> dict[str, list[str]]:
        if place not in self._stems:
            stems: dict[str, list[str]] = {}
            for name in self.tree.folder(place).images():
                stems.setdefault(folded(name.rpartition(".")[0]), []).append(name)
            self._stems[place] = stems
        return self._stems[place]


def _image_folders(tree: Tree, folder: str) -> Iterator[str]:
    """The label file's own folder; Annotations -> JPEGImages at any step of its path; the folders of images inside it; the one above it."""
    yield folder
    parts = folder.split("/") if folder else []
    for depth in range(len(parts) - 1, -1, -1):
        above = "/".join(parts[:depth])
        for name in tree.folder(above).folders:
            path = "/".join((*parts[:depth], name, *parts[depth + 1:]))
            if name.casefold() in IMAGE_WORDS and name != parts[depth] and tree.has_folder(path):
                yield path
    yield from (f"{folder}/{name}" if folder else name for name in tree.folder(folder).folders if name.casefold() in IMAGE_WORDS)
    if parts:
        yield "/".join(parts[:-1])


def _unlisted_files(layout: Layout, stems: set[str]) -> Iterator[Problem]:
    for lists in layout.lists:
        known = set(stems)
        for image in layout.lookup.images():
            if not lists.base or image.startswith(f"{lists.base}/"):
                known.update(keys_of(image, lists.base))
        yield from lists.problems(known)


def _masks(tree: Tree) -> Iterator[Problem]:
    for folder, listing in tree.walk():
        name = folder.rpartition("/")[2].casefold()
        if name in MASK_FOLDERS - SHOWN_FOLDERS and not name.startswith("segmentationobject") and listing.images():
            yield Problem("voc_masks_beside", "note", folder, {"count": len(listing.images())})

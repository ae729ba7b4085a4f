"""Images and label files of a tree brought together, and what is said when they do not fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import cached_property

from engine.datasets.faults import problem_of
from engine.datasets.formats.image_index import ImageIndex, all_images
from engine.datasets.images import is_image, size_of
from engine.datasets.objects import shown
from engine.datasets.tree import Tree, normal, split_of
from engine.types import Labels, Problem, Sample, UserError

NOT_PICTURES = frozenset(("masks", "scribbles", "instance"))  # folders of images that are labels
_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/", re.ASCII)


class Lookup:
    """Looks images up in a tree and nowhere else. `skip` are names (lower case) of folders whose images are none of the data set's."""

    def __init__(self, tree: Tree, skip: frozenset[str] = frozenset()) -> None:
        self.tree, self.skip = tree, skip

    def images(self) -> list[str]:
        """All images, folder by folder."""
        return self._index.images

    def find(self, text: str, beside: str = "") -> str | None:
        """The image at `text`, seen from the folder `beside` or the root; else the one whose path shares the longest end with it.

        None when there is none, or when several fit equally well.
        """
        for base in dict.fromkeys((beside, "")):
            path = None if _ADDRESS.match(text) else normal(text, base)
            found = self.tree.find(path) if path else None
            if found is not None and is_image(found):
                return found
        return self._index.find(text, beside)

    def missing(self, text: str, document: str) -> Problem:
        """Why `find` gave nothing: there is no such image, or there are several."""
        same = self._index.candidates(text)
        if len(same) > 1:
            return Problem("image_name_ambiguous", "error", shown(text), {"document": document, "count": len(same), "first": shown(same[0])})
        return Problem("image_missing", "error", shown(text), {"document": document})

    @cached_property
    def _index(self) -> ImageIndex:
        return ImageIndex(self.tree, (path for path in all_images(self.tree) if not self.skip.intersection(path.casefold().split("/")[:-1])))


Found = Generator[Problem, None, Labels | None]  # yields what is wrong with the labels of an image, then returns them


def samples(tree: Tree, images: Iterable[str], labels_of: Callable[[str, tuple[int, int]], Found], counts: Counter[str], *,
            about: Callable[[str], tuple[str | None, str | None]] | None = None) -> Iterator[Sample | Problem]:
    """The samples of `images` (paths in the tree), then a note for everything in `counts`, by then filled under the codes of the notes.

    `labels_of(image, size)` and `about(image)`, which is (split, group), belong to the format; without a split, the folders tell it.
    """
    for image in images:
        try:
            size = size_of(tree.path(image))
        except UserError as error:
            yield problem_of(error, image)
            continue
        labels = yield from labels_of(image, size)
        counts["images_without_labels"] += labels is None
        split, group = about(image) if about is not None else (None, None)
        yield Sample(tree.path(image), size, labels, split or split_of(*image.split("/")[:-1]), group, image)
    yield from (Problem(code, "note", ".", {"count": count}) for code, count in counts.items() if count)
    yield from tree.problems


def size_differs(claimed: tuple[object, object], size: tuple[int, int], where: str) -> Iterator[Problem]:
    """A warning when a label file gives the image another width and height than the image has; None or 0 claims nothing."""
    if all(claimed) and tuple(map(_whole, claimed)) != size:
        text = "x".join(shown(_whole(value)) for value in claimed)
        yield Problem("label_size_differs", "warning", where, {"claimed": text, "width": size[0], "height": size[1]})


def _whole(value: object) -> object:
    """160.0 and "160" are 160."""
    try:
        number = float(str(value))
    except ValueError:
        return value
    return int(number) if number.is_integer() else value

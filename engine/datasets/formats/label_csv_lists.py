"""Text files beside tables of labels that say which image belongs to which split, such as NIH's train_val_list.txt and test_list.txt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.datasets.faults import problem_of
from engine.datasets.formats.image_index import ImageIndex, lines_of, split_of_list
from engine.datasets.objects import shown
from engine.datasets.tree import Tree
from engine.types import Problem, UserError


@dataclass
class SplitLists:
    """image -> split, and what is wrong with the lists."""

    splits: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def split_lists(tree: Tree, folders: Iterable[str], index: ImageIndex) -> SplitLists:
    """The lists in the root and in `folders`; of two that name the same image the first counts."""
    found = SplitLists()
    for folder in dict.fromkeys(("", *folders)):
        for name in tree.folder(folder).files if tree.has_folder(folder) else ():
            split = split_of_list(name)
            if name.lower().endswith(".txt") and split:
                _take(found, tree, f"{folder}/{name}" if folder else name, index, split)
    return found


def _take(found: SplitLists, tree: Tree, path: str, index: ImageIndex, split: str) -> None:
    try:
        lines = [line for line in lines_of(tree, path) if line]
    except UserError as error:
        found.problems.append(problem_of(error, path))
        return
    images = [index.find(line) for line in lines]
    if not any(images):
        return  # a list of something else
    twice = [image for image in images if image is not None and found.splits.setdefault(image, split) != split]
    if twice:
        values = {"count": len(set(twice)), "name": shown(twice[0]), "split": found.splits[twice[0]], "other": split}
        found.problems.append(Problem("voc_in_two_splits", "warning", path, values))
    lost = len({line for line, image in zip(lines, images, strict=True) if image is None})
    if lost:
        found.problems.append(Problem("list_images_missing", "note", path, {"count": lost}))

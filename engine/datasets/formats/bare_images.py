"""Nothing but images, in whatever folders: all unlabeled, splits told by the names of the folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine.datasets.dicom import SUFFIXES as DICOM_SUFFIXES
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, ImagePolicy, text_labels
from engine.datasets.formats.image_index import MASK_FOLDERS
from engine.datasets.formats.mask_levels import are_rough
from engine.datasets.formats.mask_values import levels_of, read_mask
from engine.datasets.images import group_of, size_of
from engine.datasets.placing import Placer
from engine.datasets.tree import Folder, Tree, folded, split_of
from engine.types import Problem, Reading, Sample, UserError

DATA_SUFFIXES = frozenset(("json", "jsonl", "ndjson", "geojson", "xml", "yaml", "yml", "csv", "tsv", "xls", "xlsx", "mat", "npy", "npz", "pkl",
                           "parquet", "h5", "hdf5", "sqlite", "db", "tfrecord", "record", "names", "zip", "tar", "gz", "rar", "7z"))


_MASKS = frozenset(("masks", "mask", "掩码", "掩膜", "遮罩"))
_TASK = re.compile(r"task-\d+-annotation-\d+-.*\.png$", re.IGNORECASE)  # Label Studio's brush export


def detects(root: Path) -> str | None:
    """Images, and no file that may hold labels: whoever brings those wants them read, or to be told that they were not."""
    count = 0
    for _, listing in Tree(root).walk():
        if any(_may_be_labels(name, listing) for name in listing.files):
            return None
        count += len(listing.images())
    return f"{count} images" if count and next(text_labels.documents(Tree(root)), None) is None else None


def _may_be_labels(name: str, listing: Folder) -> bool:
    stem, _, suffix = name.lower().rpartition(".")
    if suffix == "txt":
        return any(other.rpartition(".")[0].lower() == stem for other in listing.images())
    return suffix in DATA_SUFFIXES


def read(root: Path) -> Reading:
    """No classes, no labels; the images in the order of their folders. Raises UserError when they are masks, whose images are missing."""
    tree = Tree(root)
    _refuse_masks(tree)
    return Reading((), _items(tree), "detect")


def _refuse_masks(tree: Tree) -> None:
    masks, others, legend, example, task = 0, 0, False, "", ""
    for folder, listing in tree.walk():
        images = listing.images()
        named = [name for name in images if _TASK.match(name)]
        inside = set(folded(folder).split("/")) & (MASK_FOLDERS | _MASKS)
        example = example or (f"{folder}/{images[0]}" if inside and images else "")
        task = task or (named[0] if named else "")
        masks, others = masks + (len(images) if inside else 0), others + (0 if inside else len(images) - len(named))
        legend |= any(name.casefold() == "labelmap.txt" for name in listing.files)
    if task:
        raise UserError("masks_of_tasks", name=task)
    if masks and (not others or legend) and _few_valued(tree, example):
        raise UserError("masks_without_images", name=example, count=masks)


def _few_valued(tree: Tree, name: str) -> bool:
    """Whether a picture has the values of a mask; a folder of photos of face masks may be called so, too."""
    try:
        return not are_rough(levels_of(read_mask(tree.path(name)).values, name))
    except UserError:
        return False


def _items(tree: Tree) -> Iterator[Sample | Problem]:
    count = 0
    for folder, listing in tree.walk():
        split = split_of(*folder.split("/"))
        for image in listing.images():
            name = f"{folder}/{image}" if folder else image
            path = tree.path(name)
            try:
                size = size_of(path)
            except UserError as error:
                yield problem_of(error, name)
                continue
            count += 1
            yield Sample(path, size, None, split, group_of(path) if image.lower().endswith(DICOM_SUFFIXES) else None, name)
    yield Problem("only_images", "note", ".", {"count": count})
    yield from tree.problems


def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """Copies the images into a folder for each split. Labels and groups are left out, which is said once."""
    placer = Placer(root, images)
    labeled = groups = 0
    for sample in samples:
        file_name = yield from placer.place(sample, split_of(sample.split or "") or "train")
        labeled += file_name is not None and sample.labels is not None
        groups += file_name is not None and sample.group is not None
    if labeled:
        yield Problem("all_labels_left_out", "warning", ".", {"count": labeled})
    if groups:
        yield Problem("groups_left_out", "note", ".", {"count": groups, "format": "images"})


FORMATS = (Format("images", detects, read, write, rank=3),)

"""What the health check knows of a data set: one pass over its samples, numbers in columns, no pixels of images and no outlines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.datasets import store_rows
from engine.datasets.collection import present
from engine.datasets.store_classes import Classes
from engine.types import IGNORE, SPLITS, UNCERTAIN, Instances, Labels, Problem, Sample, SemanticMask, Tags

if TYPE_CHECKING:
    from engine.datasets.store import Dataset

BACKGROUND = "background"
ROWS_TOLD = 500
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """A problem and the images (positions in Facts) that it speaks of."""

    problem: Problem
    images: tuple[int, ...] = ()


@dataclass
class Facts:
    """Images by position; objects, tags and masks in columns with the position of their image.

    boxes f32[M,4], kinds i64[M] (class ids), owners i64[M], ascending; tags f32[T,C] of images tag_owners; shows bool[K,C], void f32[K] (share of
    ignored pixels) of the masks of images mask_owners. `ids` are those of a stored set.
    """

    classes: tuple[str, ...]
    task: str = "detect"
    ids: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    labeled: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    kinds: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    owners: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    tags: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    tag_owners: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    shows: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    void: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    mask_owners: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    signatures: dict[int, bytes] = field(default_factory=dict)  # of tags and masks: equal labels have equal ones

    def __len__(self) -> int:
        return len(self.names)

    @property
    def split_names(self) -> list[str]:
        """Those that occur, train, valid and test first."""
        return sorted(set(self.splits), key=split_rank)

    def in_split(self, split: str) -> np.ndarray:
        return np.array([each == split for each in self.splits], bool)

    def shown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(image positions, class ids, how many objects): every class that an image shows, by image."""
        count = max(1, len(self.classes))
        keys, objects = np.unique(self.owners * count + self.kinds, return_counts=True)
        tagged, tag_kinds = np.nonzero(np.nan_to_num(self.tags) > UNCERTAIN)
        masked, mask_kinds = np.nonzero(self.shows)
        images = np.concatenate([keys // count, self.tag_owners[tagged], self.mask_owners[masked]])
        kinds = np.concatenate([keys % count, tag_kinds, mask_kinds])
        order = np.lexsort((kinds, images))
        return images[order], kinds[order], np.concatenate([objects, np.ones(len(tagged) + len(masked), np.int64)])[order]

    def counts(self) -> dict[str, dict[str, Any]]:
        """As `collection.count_samples`."""
        names = self.split_names
        number = {name: position for position, name in enumerate(names)}
        split = np.array([number[each] for each in self.splits], np.int64)
        images, kinds, objects = self.shown()
        tally = np.zeros((len(names), len(self.classes)), np.int64)
        np.add.at(tally, (split[images], kinds), objects)
        boxes = np.bincount(split[self.owners], minlength=len(names))
        unlabeled = np.bincount(split[~self.labeled], minlength=len(names))
        whole = np.bincount(split, minlength=len(names))
        return {name: {"images": int(whole[row]), "boxes": int(boxes[row]), "unlabeled": int(unlabeled[row]),
                       "classes": dict(zip(self.classes, tally[row].tolist(), strict=True))} for row, name in enumerate(names)}

    def objects_of(self, image: int) -> slice:
        """The rows of an image's objects."""
        return slice(int(np.searchsorted(self.owners, image)), int(np.searchsorted(self.owners, image, side="right")))


def split_rank(split: str) -> tuple[int, str]:
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS)), split


def of_samples(classes: Sequence[str], task: str, samples: Iterable[Sample]) -> Facts:
    entries = ((number, sample.name, sample.image, sample.split or "train", sample.group, sample.size, sample.labels)
               for number, sample in enumerate(samples))
    return _gathered(Facts(tuple(classes), task), entries)


def of_dataset(dataset: Dataset, progress: Progress | None = None) -> Facts:
    """Of a stored set, without parsing outlines. `progress(rows read, of)` from the first on; what it raises ends the work."""
    with dataset.connection() as connection:
        images, shapes = (connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("images", "shapes"))
        told = _Told(progress, images + shapes)
        classes = Classes.load(connection)
        facts = Facts(classes.names, dataset.task)
        found = connection.execute("""SELECT id, name, file, split, grp, width, height, kind, extra FROM images
            WHERE trashed IS NULL ORDER BY id""")
        _gathered(facts, ((number, name, dataset.image_path(file), split, group, (width, height),
                           Instances.empty() if kind == "objects" else store_rows.labels_of(kind, extra, (), classes))
                          for number, name, file, split, group, width, height, kind, extra in told.of(found)))
        _fill_from_rows(facts, classes, told.of(connection.execute("""SELECT s.image_id, s.class_id, s.x1, s.y1, s.x2, s.y2 FROM shapes s
            JOIN images i ON i.id = s.image_id WHERE i.trashed IS NULL ORDER BY s.image_id, s.id""")))
    return facts


@dataclass
class _Told:
    """Counts rows on their way and tells now and then."""

    progress: Progress | None
    total: int
    done: int = 0

    def of(self, found: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        if self.progress is None:
            yield from found
            return
        for row in found:
            if self.done % ROWS_TOLD == 0:
                self.progress(self.done, self.total)
            self.done += 1
            yield row


def _fill_from_rows(facts: Facts, classes: Classes, found: Iterator[tuple[Any, ...]]) -> None:
    table = np.fromiter((value for row in found for value in row), np.float64).reshape(-1, 6)
    keys = table[:, 1].astype(np.int64)
    ids = np.full(int(keys.max(initial=0)) + 1, -1)
    for key, number in classes.ids.items():
        if key < len(ids):
            ids[key] = number
    alive = ids[keys] >= 0
    facts.owners = np.searchsorted(np.array(facts.ids), table[alive, 0].astype(np.int64))
    facts.kinds, facts.boxes = ids[keys][alive], table[alive, 2:].astype(np.float32)


Entry = tuple[int, str, Path, str, str | None, tuple[int, int], Labels | None]


def _gathered(facts: Facts, entries: Iterator[Entry]) -> Facts:
    """Fills the columns; of every image by position."""
    sizes: list[tuple[int, int]] = []
    labeled: list[bool] = []
    objects: list[tuple[int, Instances]] = []
    tags: list[tuple[int, np.ndarray]] = []
    masks: list[tuple[int, np.ndarray, float]] = []
    for position, (number, name, path, split, group, size, labels) in enumerate(entries):
        facts.ids.append(number)
        facts.names.append(name)
        facts.paths.append(path)
        facts.splits.append(split)
        facts.groups.append(group)
        sizes.append(size)
        labeled.append(labels is not None)
        if isinstance(labels, Instances) and len(labels):
            objects.append((position, labels))
        elif isinstance(labels, Tags):
            tags.append((position, labels.values))
        elif isinstance(labels, SemanticMask):
            masks.append((position, present(labels, len(facts.classes)), _void(labels)))
            facts.signatures[position] = _signature(labels)
    facts.sizes, facts.labeled = np.array(sizes, np.int64).reshape(-1, 2), np.array(labeled, bool)
    _fill_objects(facts, objects)
    _fill_tags(facts, tags)
    facts.mask_owners = np.array([position for position, _, _ in masks], np.int64)
    facts.shows = np.array([shows for _, shows, _ in masks], bool).reshape(len(masks), len(facts.classes))
    facts.void = np.array([void for _, _, void in masks], np.float32)
    return facts


def _fill_objects(facts: Facts, objects: list[tuple[int, Instances]]) -> None:
    if objects:
        facts.boxes = np.concatenate([each.boxes for _, each in objects])
        facts.kinds = np.concatenate([each.classes for _, each in objects])
        facts.owners = np.repeat(np.array([position for position, _ in objects], np.int64), [len(each) for _, each in objects])


def _fill_tags(facts: Facts, tags: list[tuple[int, np.ndarray]]) -> None:
    facts.tag_owners = np.array([position for position, _ in tags], np.int64)
    facts.tags = np.full((len(tags), len(facts.classes)), np.nan, np.float32)
    for row, (position, values) in enumerate(tags):
        facts.tags[row, :len(values)] = values[:len(facts.classes)]
        facts.signatures[position] = values.tobytes()


def _void(mask: SemanticMask) -> float:
    return float((mask.classes == IGNORE).mean()) if mask.classes is not None and mask.classes.size else 0.0


def _signature(mask: SemanticMask) -> bytes:
    content = mask.classes if mask.classes is not None else mask.layers
    return b"" if content is None else hashlib.blake2b(np.ascontiguousarray(content).data, digest_size=16).digest()

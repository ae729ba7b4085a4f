"""Stored sets of every kind of labels, made on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.datasets.store import Dataset
from engine.types import Instances, Labels, Reading, Sample, SemanticMask, Tags

CLASSES = ("cat", "dog", "bird", "background")
WIDTH, HEIGHT = 64, 48


def some_labels(kind: str, rng: np.random.Generator) -> Labels | None:
    """Labels over CLASSES; now and then none at all."""
    if rng.random() < 0.15:
        return None
    if kind == "objects":
        boxes = np.sort(rng.uniform(0, 48, (int(rng.integers(0, 5)), 2, 2)), 1).reshape(-1, 4)
        return Instances(boxes.round(1), rng.integers(0, len(CLASSES), len(boxes)))
    if kind == "tags":
        return Tags(rng.choice([0, 1, 0.5, np.nan], len(CLASSES)))
    if kind == "layers":
        return SemanticMask(layers=rng.random((len(CLASSES), 6, 8)) < 0.3)
    return SemanticMask(classes=rng.choice([0, 1, 2, 3, 0xFFFF], (6, 8)).astype(np.uint16))


TASKS = {"objects": "detect", "tags": "classify", "mask": "semantic", "layers": "semantic"}


@pytest.fixture
def stored_set(tmp_path: Path, picture: Callable[..., Path]) -> Callable[..., Dataset]:
    """Makes a stored set of `count` images of one `kind` of labels; `labels` gives them one by one instead."""
    def make(kind: str = "objects", count: int = 8, name: str = "set", labels: list[Labels | None] | None = None,
             classes: tuple[str, ...] = CLASSES, **facts: object) -> Dataset:
        rng = np.random.default_rng(len(name) + count)
        many = labels if labels is not None else [some_labels(kind, rng) for _ in range(count)]
        items = (Sample(picture(tmp_path / f"{name}-src" / f"{number}.png", WIDTH, HEIGHT, number), (WIDTH, HEIGHT), each,
                        ("train", "valid", "test")[number % 3], f"patient {number // 2}", f"{name}/{number}.png")
                 for number, each in enumerate(many))
        task = str(facts.get("task", TASKS[kind]))
        return Dataset.create(tmp_path / name, name, Reading(classes, items, task))
    return make


def same_labels(one: Labels | None, other: Labels | None) -> bool:
    """Whether both say the same, in type and in every number."""
    if type(one) is not type(other):
        return False
    fields = {} if one is None else vars(one)
    return all(value is None and getattr(other, name) is None or
               (value == getattr(other, name) if name == "shapes" else
                np.array_equal(value, getattr(other, name), equal_nan=np.asarray(value).dtype.kind == "f")) for name, value in fields.items())


@pytest.fixture
def alike() -> Callable[[Labels | None, Labels | None], bool]:
    return same_labels


@pytest.fixture
def state_of() -> Callable[[Dataset], tuple]:
    """Everything that a person could see of a set, comparable with ==; revisions are left out, since they only grow."""
    def look(dataset: Dataset) -> tuple:
        rows = [*dataset.page(0, 1000), *dataset.page(0, 1000, trashed=True)]
        shown = [[dataset.total(class_id=number, trashed=trashed) for number in range(len(dataset.classes))] for trashed in (False, True)]
        return (dataset.classes, dataset.counts(), shown, dataset.total(), dataset.total(trashed=True),
                [(row.id, row.name, row.split, row.group, row.state, row.objects, repr_of(row.labels)) for row in rows])
    return look


def repr_of(labels: Labels | None) -> str:
    """Text, because NaN equals nothing."""
    return f"{type(labels).__name__} " + str({name: None if value is None else value if name == "shapes" else np.asarray(value).tolist()
                                             for name, value in ({} if labels is None else vars(labels)).items()})

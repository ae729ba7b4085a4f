"""Coarse classes above the fine ones: as a person says, or as the data suggest."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from engine.types import UNCERTAIN, UserError


def groups(words: str, classes: Sequence[str], values: np.ndarray, count: int) -> tuple[int, ...]:
    """For each class the number of its coarse class, from 0. values f32[N,C] are the tags of the training images."""
    if words.strip():
        found = list(parse(words, classes).values())
        return tuple(next(i for i, members in enumerate(found) if name in members) for name in classes)
    return suggested(values, count)


def parse(words: str, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """{coarse class: fine classes} of "lungs = Nodule | Mass; heart = Cardiomegaly". Raises UserError unless every class stands in one."""
    found: dict[str, tuple[str, ...]] = {}
    for part in re.split(r"[;；\n]", words):
        name, equals, members = part.partition("=")
        if not part.strip():
            continue
        if not equals or not name.strip() or name.strip() in found:
            raise UserError("coarse_classes", value=words)
        found[name.strip()] = tuple(each.strip() for each in re.split(r"[|｜]", members) if each.strip())
    named = [each for members in found.values() for each in members]
    if unknown := [each for each in named if each not in classes]:
        raise UserError("coarse_unknown", names=", ".join(unknown), known=", ".join(classes))
    if wrong := [each for each in classes if named.count(each) != 1]:
        raise UserError("coarse_incomplete", names=", ".join(wrong))
    return found


def suggested(values: np.ndarray, count: int) -> tuple[int, ...]:
    """Classes that are seen together form a coarse class: average linkage on the correlation of their tags."""
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform
    shows = (np.nan_to_num(values) > UNCERTAIN).astype(float)
    classes = shows.shape[1]
    count = min(count, classes)
    if classes < 2 or count < 2:
        return (0,) * classes
    shows += np.random.default_rng(0).normal(0, 1e-6, shows.shape)  # a class that never changes has no correlation
    distance = 1 - np.corrcoef(shows.T)
    np.fill_diagonal(distance, 0)
    tree = hierarchy.linkage(squareform((distance + distance.T) / 2, checks=False), "average")
    return _split(tree, classes, count)


def _split(tree: np.ndarray, classes: int, count: int) -> tuple[int, ...]:
    """The members of `count` clusters, numbered by their first class."""
    from scipy.cluster.hierarchy import cut_tree
    raw = cut_tree(tree, n_clusters=count).ravel()
    order = {number: place for place, number in enumerate(dict.fromkeys(raw.tolist()))}
    if len(raw) != classes:
        raise ValueError("the tree has other leaves")
    return tuple(order[number] for number in raw.tolist())

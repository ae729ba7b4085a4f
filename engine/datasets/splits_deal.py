"""Which cluster of images goes to which split: first by need, rarest label first, then by exchanges that bring the shares closer.

The first step follows the idea of iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label
data", algorithm 1), here over whole clusters and within the sizes of the splits. The second lowers the sum of (seen - wanted)^2 / wanted over
all splits, of the images and of every label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SIZE_WEIGHT = 30.0  # how much more a split's size counts than one label
CANDIDATES = 48  # clusters of each side that are tried against each other
MAX_EXCHANGES = 400
WORK = 12_000_000  # entries looked at by all exchanges together
NOTHING = 1e-9


def balanced(sizes: Sequence[int], labels: Sequence[Mapping[int, int]], shares: Sequence[float]) -> list[int]:
    """A split (position in `shares`, all positive) for every cluster: `sizes` images, of which `labels` {label: images} show something.

    Deterministic; ties follow the order of the clusters. Every split gets a cluster when there are enough.
    """
    if not sizes or len(shares) == 1:
        return [0] * len(sizes)
    chosen = _by_need(sizes, labels, shares)
    books = _Books.of(sizes, labels, shares, chosen)
    books.fill_empty()
    books.exchange()
    return books.chosen.tolist()


# ---- first step: by need

def _by_need(sizes: Sequence[int], labels: Sequence[Mapping[int, int]], shares: Sequence[float]) -> list[int]:
    total, whole = sum(sizes), sum(shares)
    room = [float(count) for count in _rounded(total, [share / whole for share in shares])]
    waiting: dict[int, list[int]] = {}
    images: dict[int, int] = {}
    for number, own in enumerate(labels):
        for label, count in own.items():
            waiting.setdefault(label, []).append(number)
            images[label] = images.get(label, 0) + count
    need = {label: [share / whole * count for share in shares] for label, count in images.items()}
    left = {label: len(numbers) for label, numbers in waiting.items()}
    chosen = [-1] * len(sizes)
    while left:
        label = min(left, key=lambda each: (left[each], each))
        for number in sorted(waiting[label], key=lambda each: -sizes[each]):
            if chosen[number] < 0:
                chosen[number] = _neediest(need[label], room, sizes[number])
                _book(chosen[number], sizes[number], labels[number], room, need, left)
        del left[label]
    for number in sorted((each for each, split in enumerate(chosen) if split < 0), key=lambda each: -sizes[each]):
        chosen[number] = _neediest(room, room, sizes[number])
        room[chosen[number]] -= sizes[number]
    return chosen


def _book(split: int, size: int, own: Mapping[int, int], room: list[float], need: dict[int, list[float]], left: dict[int, int]) -> None:
    room[split] -= size
    for label, count in own.items():
        need[label][split] -= count
        if label in left:
            left[label] -= 1


def _neediest(need: Sequence[float], room: Sequence[float], size: int) -> int:
    """The split that wants it most among those with room for at least half of it; else the one with most room."""
    open_splits = [split for split in range(len(room)) if room[split] * 2 >= size]
    if not open_splits:
        return max(range(len(room)), key=lambda split: room[split])
    return max(open_splits, key=lambda split: (need[split], room[split]))


def _rounded(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `total`, by largest remainder."""
    exact = [total * share for share in shares]
    counts = [int(value) for value in exact]
    for split in sorted(range(len(shares)), key=lambda each: counts[each] - exact[each])[:total - sum(counts)]:
        counts[split] += 1
    return counts


# ---- second step: exchanges

@dataclass
class _Books:
    """What every split has and wants, by column: 0 = images, then the labels. Entries of the sparse table [clusters, columns] lie row by row."""

    chosen: np.ndarray  # i64[K]
    rows: np.ndarray  # i64[E]
    columns: np.ndarray  # i64[E]
    values: np.ndarray  # f64[E]
    starts: np.ndarray  # i64[K+1]
    surplus: np.ndarray  # f64[S,L], has - wants
    weights: np.ndarray  # f64[S,L], 1 / wants

    @classmethod
    def of(cls, sizes: Sequence[int], labels: Sequence[Mapping[int, int]], shares: Sequence[float], chosen: Sequence[int]) -> _Books:
        column = {label: number for number, label in enumerate(sorted({label for own in labels for label in own}), 1)}
        lengths = np.fromiter((len(own) + 1 for own in labels), np.int64, len(labels))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        columns = np.array([each for own in labels for each in (0, *(column[label] for label in own))], np.int64)
        values = np.array([each for size, own in zip(sizes, labels, strict=True) for each in (size, *own.values())], np.float64)
        rows = np.repeat(np.arange(len(labels)), lengths)
        whole = np.bincount(columns, values, minlength=len(column) + 1)
        wants = np.outer(np.array(shares, float) / sum(shares), whole)
        has = np.zeros_like(wants)
        np.add.at(has, (np.asarray(chosen)[rows], columns), values)
        weights = 1 / np.maximum(wants, 1e-9)
        weights[:, 0] *= SIZE_WEIGHT
        return cls(np.array(chosen, np.int64), rows, columns, values, starts, has - wants, weights)

    def fill_empty(self) -> None:
        """Gives every empty split the cluster that suits it best, from a split that can spare one."""
        counts = np.bincount(self.chosen, minlength=len(self.surplus))
        for target in np.flatnonzero(counts == 0):
            spare = counts[self.chosen] > 1
            if not spare.any():
                return
            costs = np.full(len(self.chosen), np.inf)
            for source in np.flatnonzero(counts > 1):
                here = self.chosen == source
                costs[here] = self._costs(int(source), int(target))[here]
            best = int(costs.argmin())
            counts[self.chosen[best]] -= 1
            counts[target] += 1
            self._move(best, int(target))

    def exchange(self) -> None:
        """Moves one cluster, or swaps two, as long as that brings the splits closer to what they want."""
        pairs = [(a, b) for a in range(len(self.surplus)) for b in range(a + 1, len(self.surplus))]
        for _ in range(min(MAX_EXCHANGES, max(8, WORK // (len(self.rows) * len(pairs) * 2)))):
            gains = [self._best(a, b) for a, b in pairs]
            cost, steps = min(gains, key=lambda gain: gain[0])
            if cost > -NOTHING:
                return
            for number, target in steps:
                self._move(number, target)

    def _best(self, a: int, b: int) -> tuple[float, list[tuple[int, int]]]:
        """The cost (negative = gain) of the best move or swap between two splits, and its steps (cluster, new split)."""
        there, back = self._costs(a, b), self._costs(b, a)
        in_a, in_b = np.flatnonzero(self.chosen == a), np.flatnonzero(self.chosen == b)
        best: tuple[float, list[tuple[int, int]]] = (0.0, [])
        for inside, costs, target in ((in_a, there, b), (in_b, back, a)):
            if len(inside) > 1:
                number = inside[costs[inside].argmin()]
                best = min(best, (float(costs[number]), [(int(number), target)]), key=lambda each: each[0])
        if len(in_a) and len(in_b):
            some_a, some_b = self._promising(in_a, a, b), self._promising(in_b, b, a)
            shared = (self._dense(some_a) * (self.weights[a] + self.weights[b])) @ self._dense(some_b).T
            table = there[some_a][:, None] + back[some_b][None] - 2 * shared
            first, second = divmod(int(table.argmin()), len(some_b))
            best = min(best, (float(table[first, second]), [(int(some_a[first]), b), (int(some_b[second]), a)]), key=lambda each: each[0])
        return best

    def _costs(self, source: int, target: int, *, labels_only: bool = False) -> np.ndarray:
        """f64[K]: what moving each cluster from `source` to `target` would change; only true for those that are in `source`."""
        slope = 2 * (self.surplus[target] * self.weights[target] - self.surplus[source] * self.weights[source])
        bend = self.weights[target] + self.weights[source]
        if labels_only:
            slope[0] = bend[0] = 0
        each = self.values * (slope[self.columns] + self.values * bend[self.columns])
        return np.add.reduceat(each, self.starts[:-1])

    def _promising(self, inside: np.ndarray, source: int, target: int) -> np.ndarray:
        """Some clusters of `inside` whose labels the other split wants; without labels, the smallest and largest tell apart enough."""
        costs = self._costs(source, target, labels_only=True)[inside]
        if len(inside) <= CANDIDATES:
            return inside
        return inside[np.argpartition(costs, CANDIDATES - 1)[:CANDIDATES]]

    def _dense(self, numbers: np.ndarray) -> np.ndarray:
        table = np.zeros((len(numbers), self.surplus.shape[1]))
        for row, number in enumerate(numbers):
            part = slice(self.starts[number], self.starts[number + 1])
            table[row, self.columns[part]] = self.values[part]
        return table

    def _move(self, number: int, target: int) -> None:
        part = slice(self.starts[number], self.starts[number + 1])
        self.surplus[self.chosen[number], self.columns[part]] -= self.values[part]
        self.surplus[target, self.columns[part]] += self.values[part]
        self.chosen[number] = target

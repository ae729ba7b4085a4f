#!/usr/bin/env python3
"""How long pages, edits, versions and statistics of a large stored set take: bench/browse.py [--images 100000] [--objects 9] [--masks].

First page and last, with total(), for every filter and every pair of them in every order; the slowest are printed.
"""

import argparse
import itertools
import random
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from engine.datasets import editing, store_schema, versions  # noqa: E402
from engine.datasets.statistics import statistics  # noqa: E402
from engine.datasets.store import FILE, Dataset  # noqa: E402
from engine.datasets.store_rows import count_shapes  # noqa: E402
from engine.types import Instances  # noqa: E402

CLASSES = 80
PAGE = 24
CODES = ("boxes_outside", "same_image_in_splits", "image_damaged")
FACTS = {"name": "big", "task": "detect", "format": "", "revision": "0", "class_epoch": "0"}
FILTERS = {"none": {}, "split": {"split": "valid"}, "common class": {"class_id": 0}, "rare class": {"class_id": CLASSES - 1},
           "state": {"state": "labeled"}, "problem": {"problem": CODES[0]}, "any problem": {"problem": "any"}, "group": {"group": "patient 7"},
           "search": {"search": "00_a"}, "search (other script)": {"search": "扫描"}, "size": {"size": "medium"}, "trash": {"trashed": True}}
SORTS = ("id", "-id", "name", "-name", "objects", "-objects", "size", "-size")


def generate(folder, images, objects, masks):
    """A stored set without image files, written straight into the tables."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    random.seed(0)
    states = rng.choice(["labeled", "labeled", "labeled", "suggested", "background", "unlabeled"], images)
    splits = rng.choice(["train", "valid", "test"], images, p=[0.8, 0.15, 0.05])
    sizes = rng.choice([480, 640, 1024, 1920], (images, 2))
    many = np.where(np.isin(states, ["labeled", "suggested"]), rng.poisson(objects * 1.5, images), 0)
    boxes = np.sort(rng.uniform(0, 480, (int(many.sum()), 2, 2)), 1).reshape(-1, 4).round(2)
    classes = np.minimum(rng.zipf(1.4, len(boxes)) - 1, CLASSES - 1)
    owner = np.repeat(np.arange(1, images + 1), many)
    extra = random.randbytes(3000) if masks else None
    with closing(store_schema.connect(folder / FILE)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("BEGIN")
        store_schema.create_all(connection)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", FACTS.items())
        connection.executemany("INSERT INTO classes (id, name, place) VALUES (?, ?, ?)", ((each, f"class {each}", each) for each in range(CLASSES)))
        rows = zip(itertools.count(1), sizes.tolist(), splits.tolist(), states.tolist(), many.tolist(), strict=False)
        connection.executemany(
            "INSERT INTO images (id, file, name, width, height, split, grp, state, objects, trashed, kind, extra) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            ((number, f"{number}.jpg", f"{random.choice(('scan', '扫描'))}/{random.randrange(10**9):09d}_{random.choice('abcdef')}.jpg",
              *size, split, f"patient {number // 5 % 20_000}", state, objects_in, "2026-01-01T00:00:00Z" if number % 100 == 0 else None,
              None if state == "unlabeled" else "objects", extra) for number, size, split, state, objects_in in rows))
        connection.executemany("INSERT INTO shapes (image_id, class_id, x1, y1, x2, y2) VALUES (?,?,?,?,?,?)",
                               ((number, each, *box) for number, each, box in zip(owner.tolist(), classes.tolist(), boxes.tolist(), strict=True)))
        connection.executemany("INSERT INTO image_problems VALUES (?, ?, 'warning')",
                               ((number, code) for number in range(1, images + 1) for code in CODES if random.random() < 0.3))
        count_shapes(connection)
        store_schema.create_indexes(connection)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    return Dataset(folder)


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def browse(dataset):
    names = [(name,) for name in FILTERS] + [pair for pair in itertools.combinations(list(FILTERS)[1:], 2)
                                             if not set(FILTERS[pair[0]]) & set(FILTERS[pair[1]])]
    found = []
    for chosen, sort, last in itertools.product(names, SORTS, (False, True)):
        filters = {key: value for name in chosen for key, value in FILTERS[name].items()}

        def page(filters=filters, sort=sort, last=last):
            total = dataset.total(**filters)
            dataset.page(max(0, total - PAGE) if last else 0, PAGE, sort=sort, **filters)
            return total
        runs = []
        for _ in range(3):
            busy = time.process_time()
            seconds, total = timed(page)
            runs.append((seconds, time.process_time() - busy))
        found.append((min(each[0] for each in runs), min(each[1] for each in runs), " + ".join(chosen), sort, "last" if last else "first", total))
    print(f"{'page with total()':44} {'sort':9} {'page':6} {'images':>7}  wall  processor, ms (best of 3)")
    for wall, busy, name, sort, which, total in sorted(found, reverse=True)[:15]:
        print(f"{name:44} {sort:9} {which:6} {total:7} {1000 * wall:5.0f} {1000 * busy:10.0f}")
    for title, column in (("wall", 0), ("processor", 1)):
        times = sorted(1000 * each[column] for each in found)
        print(f"{len(found)} kinds of page, {title} time: slowest {times[-1]:.0f} ms, median {times[len(times) // 2]:.0f} ms")
    print()


def edits(dataset):
    everything = [number for number in range(1, dataset.total() + 1) if number % 100]
    one = Instances([[1, 2, 3, 4]], [0])
    calls = {
        "statistics() cold": lambda: statistics(dataset), "statistics() cached": lambda: statistics(dataset),
        "set_labels": lambda: dataset.set_labels(5, one), "counts() cold": dataset.counts, "items()": lambda: sum(1 for _ in dataset.items()),
        "move all to test": lambda: editing.move(dataset, everything, "test"), "undo": None,
        "merge the two commonest classes": lambda: editing.merge_classes(dataset, [1], 0), "undo ": None,
        "delete the commonest class": lambda: editing.delete_class(dataset, 0), "undo  ": None,
        "trash all": lambda: editing.trash(dataset, everything), "undo   ": None,
        "replace all labels": lambda: editing.replace_labels(dataset, dict.fromkeys(everything, one)), "undo    ": None,
        "save a version": lambda: versions.save(dataset, "one"),
        "restore it (and save the present)": lambda: versions.restore(dataset, versions.versions(dataset)[0].id)}
    for name, call in calls.items():
        seconds, _ = timed(call or (lambda: editing.undo(dataset, next(each.id for each in editing.edits(dataset) if each.undoable))))
        print(f"{name.strip():34} {seconds:7.2f} s")
    print(f"a version takes {versions.versions(dataset)[-1].bytes / 1e6:.0f} MB, labels.sqlite {(dataset.folder / FILE).stat().st_size / 1e6:.0f} MB")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--objects", type=int, default=9)
    parser.add_argument("--masks", action="store_true", help="3 kB of mask in every image's row")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds, dataset = timed(lambda: generate(Path(folder) / "big", chosen.images, chosen.objects, chosen.masks))
        objects = sum(row["boxes"] for row in dataset.counts().values())
        print(f"{dataset.total()} images, {objects} objects, generated in {seconds:.1f} s\n")
        browse(dataset)
        edits(dataset)


if __name__ == "__main__":
    main()

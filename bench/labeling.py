#!/usr/bin/env python3
"""How long the labeling studio's calls take on a large stored set: bench/labeling.py [--images 100000] [--objects 9].

A sixth of the images has suggestions, all are ranked, and half as many labels are suspicious. CPU time of the calls, and of saves also the time
that passes.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
from browse import CLASSES, generate  # noqa: E402

from engine.datasets import labeling, labeling_lists, labeling_suggested  # noqa: E402
from engine.datasets.labeling_lists import Ranked, Suspect  # noqa: E402
from engine.datasets.labeling_suggested import Suggestion  # noqa: E402
from engine.datasets.store import Dataset  # noqa: E402
from engine.datasets.store_classes import Classes  # noqa: E402


def fill(dataset, seed=0):
    """Suggestions for unlabeled images, ranks for all, suspects."""
    chance = random.Random(seed)
    unlabeled, every = dataset.ids(state="unlabeled"), dataset.ids()
    with dataset.transaction() as connection:
        classes = Classes.load(connection)
        for image in unlabeled:
            shapes = [{"kind": "box", "cls": chance.randrange(CLASSES), "box": [1, 2, 30, 40], "state": "suggested", "score": 0.5} for _ in range(8)]
            labeling_suggested.write(connection, classes, image, Suggestion("run", "", shapes))
    chance.shuffle(every)
    labeling_lists.put_ranks(dataset, [Ranked(image, chance.random(), "uncertain") for image in every], "run")
    labeling_lists.put_suspects(dataset, [Suspect(chance.choice(every), "missed", chance.random(), (1, 2, 3, 4), 0) for _ in every[::2]], "run")
    return len(unlabeled)


def show(name, work, rounds=7, clock=time.process_time):
    work()
    taken = []
    for _ in range(rounds):
        begun = clock()
        work()
        taken.append(1000 * (clock() - begun))
    print(f"{name:34} median {statistics.median(taken):7.1f} ms   max {max(taken):7.1f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--objects", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch) / "big", arguments.images, arguments.objects, False)
        dataset = Dataset(Path(scratch) / "big")
        print(f"{arguments.images} images, {fill(dataset)} of them with suggestions")
        middle = arguments.images // 2 + 1
        for order in labeling.ORDERS:
            show(f"queue, {order}, from the start", lambda order=order: labeling.queue(dataset, 0, order=order))
            show(f"queue, {order}, in the middle", lambda order=order: labeling.queue(dataset, middle, order=order))
        for state in labeling.STATES:
            show(f"queue, {state}", lambda state=state: labeling.queue(dataset, middle, state=state))
        show("queue, class", lambda: labeling.queue(dataset, middle, cls=3))
        show("queue, name", lambda: labeling.queue(dataset, middle, text="00_a"))
        show("queue, uncertain, class", lambda: labeling.queue(dataset, middle, cls=3, order="uncertain"))
        show("progress", lambda: labeling.progress(dataset))
        show("open", lambda: labeling.opened(dataset, middle))
        show("the 20 most useful", lambda: labeling_lists.ranks(dataset, 20, unlabeled=True))
        show("the 200 most suspicious", lambda: labeling_lists.suspects(dataset))

        def save():
            now = labeling.opened(dataset, middle)
            shapes = [*now.document["shapes"], {"kind": "box", "cls": 1, "box": [1, 1, 9, 9], "state": "suggested", "score": 0.5}]
            labeling.save(dataset, middle, {"looked": True, "shapes": shapes, "tags": None}, expected=now.row.revision, who="a")
        show("open and save", save, 30)
        show("open and save, time that passes", save, 30, time.perf_counter)


if __name__ == "__main__":
    main()

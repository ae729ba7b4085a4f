#!/usr/bin/env python3
"""How many planted label errors stand at the top of the list: bench/label_errors.py --data shared/data/det_cones_yolo [--minutes 6] [--folds 3].

5 % of the boxes are corrupted, in turn left out, moved by 0.6 to 1.0 of their size, or given another class. Models of 3 folds are trained on the
corrupted labels and look at the part that they have not learnt. Recall: the share of the corruptions among the first 10 % of as many entries as
the set has labels. Everything is kept in --work, so that a bench that was stopped goes on; the result is appended to bench/RESULTS.md.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from engine import label_errors  # noqa: E402
from engine.config import TrainConfig  # noqa: E402
from engine.datasets.collection import load  # noqa: E402
from engine.datasets.labeling_lists import overlaps  # noqa: E402
from engine.datasets.store import Dataset  # noqa: E402
from engine.types import Instances, Reading  # noqa: E402

KINDS = ("drop", "shift", "swap")
RESULTS = Path(__file__).with_name("RESULTS.md")


def corrupted(samples, classes, share, seed):
    """(samples with planted errors, [(name of the image, kind, box as it is or was)])."""
    random = np.random.default_rng(seed)
    every = [(place, index) for place, sample in enumerate(samples) if isinstance(sample.labels, Instances) for index in range(len(sample.labels))]
    chosen = random.permutation(len(every))[:round(share * len(every))]
    plan = {}
    for number, which in enumerate(chosen.tolist()):
        place, index = every[which]
        plan.setdefault(place, {})[index] = KINDS[number % len(KINDS)]
    planted, made = [], list(samples)
    for place, kinds in plan.items():
        sample = samples[place]
        boxes, numbers, kept = sample.labels.boxes.copy(), sample.labels.classes.copy(), np.ones(len(sample.labels), bool)
        for index, kind in kinds.items():
            if kind == "drop":
                kept[index] = False
            elif kind == "swap":
                numbers[index] = (numbers[index] + 1 + random.integers(len(classes) - 1)) % len(classes)
            else:
                boxes[index] = moved(boxes[index], sample.size, random)
            planted.append((sample.name, kind, boxes[index].tolist()))
        made[place] = sample.with_labels(Instances(boxes[kept], numbers[kept]))
    return made, planted


def moved(box, size, random):
    """The box 0.6 to 1.0 of its width and height away, inside the image."""
    extent = box[2:] - box[:2]
    for _ in range(100):
        away = extent * random.uniform(0.6, 1.0, 2) * random.choice([-1, 1], 2)
        low = np.clip(box[:2] + away, 0, np.array(size) - extent)
        new = np.concatenate([low, low + extent])
        if overlaps([box], [new])[0, 0] < 0.3:
            return new
    return new


def ranks_of(found, planted, names):
    """For each planted error the first place in the list that names it, None when none does."""
    places = []
    for name, kind, box in planted:
        first = None
        for place, each in enumerate(found):
            if names[each.image_id] != name or each.box is None:
                continue
            near = float(overlaps([box], [each.box])[0, 0])
            if near >= (0.3 if kind == "drop" else 0.99) and (kind != "drop" or each.kind == "missed"):
                first = place
                break
        places.append(first)
    return places


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="deimv2_atto")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=6.0, help="of training for each fold")
    parser.add_argument("--epochs", type=int, default=0, help="in place of minutes")
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--no-results", action="store_true")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.gettempdir()) / f"lightbox-label-errors-{arguments.seed}"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        collection = load(arguments.data, Path(scratch))
        samples, planted = corrupted(collection.samples, collection.classes, arguments.share, arguments.seed)
        if not (work / "set").exists():
            Dataset.create(work / "set", "corrupted", Reading(collection.classes, iter([replace(each, split="train") for each in samples]), "detect"))
    dataset = Dataset(work / "set")
    length = {"epochs": arguments.epochs} if arguments.epochs else {"minutes": arguments.minutes}
    config = TrainConfig(model=arguments.model, image_size=arguments.image_size, batch=arguments.batch, seed=arguments.seed, device=arguments.device,
                         **length)
    begun = time.monotonic()
    found = label_errors.suspects_kfold(dataset, config, work, folds=arguments.folds, minimum=0.0,
                                        progress=lambda done, total: print(f"fold {done} of {total}, {time.monotonic() - begun:.0f} s", flush=True))
    report(arguments, dataset, found, planted)


def report(arguments, dataset, found, planted):
    names = {row.id: row.name for row in dataset.page(0, 100_000, brief=True)}
    labels = sum(row["boxes"] for row in dataset.counts().values())
    top = round(0.1 * labels)
    places = ranks_of(found, planted, names)
    hits = [place is not None and place < top for place in places]
    by_kind = {kind: (sum(hit for hit, (_, own, _) in zip(hits, planted, strict=True) if own == kind), sum(own == kind for _, own, _ in planted))
               for kind in KINDS}
    full = [place is not None and place < 0.1 * len(found) for place in places]
    (arguments.work or Path(tempfile.gettempdir())).joinpath("found.json").write_text(json.dumps(
        {"planted": planted, "places": places, "found": [[names[each.image_id], each.kind, each.score, each.box, each.cls] for each in found]}))
    length = f"{arguments.epochs} epochs" if arguments.epochs else f"{arguments.minutes:g} minutes"
    kinds = ", ".join(f"{kind} {many}" for kind, many in Counter(each.kind for each in found[:top]).most_common())
    lines = [f"## Label errors: {arguments.data.name}", "",
             f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; "
             f"device {arguments.device}, {arguments.model}, {arguments.folds} folds of {length}, seed {arguments.seed}. "
             f"{labels} labels after {len(planted)} planted errors ({arguments.share:.0%}).", "",
             f"| planted | in the first {top} entries | of | recall |", "|---|---|---|---|",
             *(f"| {kind} | {hit} | {total} | {hit / max(1, total):.2f} |" for kind, (hit, total) in by_kind.items()),
             f"| all | {sum(hits)} | {len(hits)} | {np.mean(hits):.2f} |", "",
             f"- The whole list has {len(found)} entries; in its first 10 % ({round(0.1 * len(found))}) the recall is {np.mean(full):.2f}.",
             f"- Kinds of the first {top}: {kinds}.", ""]
    print("\n".join(lines))
    if not arguments.no_results:
        with RESULTS.open("a", encoding="utf-8") as stream:
            stream.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()

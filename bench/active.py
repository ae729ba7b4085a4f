#!/usr/bin/env python3
"""Random choice against active learning: bench/active.py --data shared/data [--minutes 5] [--seeds 3] [--budgets 40,80] [--tasks bccd,brain].

bccd: AP50 of blood cells (boxes), brain: Dice of tumours (masks), both on the official test split. Each seed begins with the same --start random
images. "random" then labels more of the same random order; "ranked" trains on what is labeled, lets `engine.ranking` choose the images up to the
next budget, and so on. Models begin from random weights unless the machine has others, and choose their best epoch on a fifth of what is labeled.
Everything is kept in --work, so that a bench that was stopped goes on; the result is appended to bench/RESULTS.md.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from engine.config import TrainConfig  # noqa: E402
from engine.datasets.collection import load as load_data  # noqa: E402
from engine.datasets.store import Dataset  # noqa: E402
from engine.datasets.store_file import is_dataset  # noqa: E402
from engine.evaluate import evaluate  # noqa: E402
from engine.predict import load  # noqa: E402
from engine.ranking import rank  # noqa: E402
from engine.train import train  # noqa: E402
from engine.types import Reading  # noqa: E402

TASKS = {"bccd": ("det_bccd_voc", "deimv2_atto", {}, 320, "AP50"),
         "brain": ("inst_brain_tumor_coco", "unet", {"encoder": "resnet18"}, 256, "dice")}
RESULTS = Path(__file__).with_name("RESULTS.md")
ARMS = ("random", "ranked")


class Bench:
    """One task and one seed, in a folder of its own."""

    def __init__(self, arguments, task, seed):
        self.arguments, self.task, self.seed = arguments, task, seed
        folder, self.model, self.options, self.side, self.metric = TASKS[task]
        self.side = arguments.image_size or self.side
        self.work = arguments.work / f"{task}-{seed}"
        self.work.mkdir(parents=True, exist_ok=True)
        collection = load_data(arguments.data / folder, self.work)
        self.classes, self.kind = collection.classes, collection.task
        self.pool = [each for each in collection.split("train") if each.labels is not None]
        self.test = [each for each in collection.split("test") if each.labels is not None][:arguments.test or None]
        self.order = np.random.default_rng(seed).permutation(len(self.pool)).tolist()

    def run(self):
        """{arm: {budget: metric}}."""
        first = self.order[:self.arguments.start]
        found = {arm: {} for arm in ARMS}
        chosen = first
        for budget in self.arguments.budgets:
            found["random"][budget] = self.measured(f"random-{budget}", self.order[:budget])
            teacher = "start" if chosen == first else f"ranked-{len(chosen)}"
            chosen = self.chosen(f"ranked-{budget}", teacher, chosen, budget)
            found["ranked"][budget] = self.measured(f"ranked-{budget}", chosen)
        return found

    def chosen(self, name, teacher, labeled, budget):
        """`labeled` and the images that a model of them finds most useful."""
        file = self.work / f"{name}.json"
        if not file.is_file():
            predictor = load(self.trained(teacher, labeled), device=self.arguments.device)
            dataset = Dataset(self.work / teacher / "data")
            place = {int(row.name.split("/")[0]): row.id for row in dataset.page(0, 10**6, brief=True)}
            back = {image_id: number for number, image_id in place.items()}
            free = [place[number] for number in self.order if number not in set(labeled)]
            picks = [back[each.image_id] for each in rank(dataset, predictor, free, count=budget - len(labeled),
                                                         known=[place[number] for number in labeled], keep=False)]
            file.write_text(json.dumps([*labeled, *picks]))
        return json.loads(file.read_text())

    def measured(self, name, labeled):
        file = self.work / f"{name}.metric"
        if not file.is_file():
            predictor = load(self.trained(name, labeled), device=self.arguments.device)
            samples = predictor.task.align(self.test, self.classes, predictor.classes)
            value = evaluate(predictor, samples, split="test")["metrics"][self.metric] or 0.0
            file.write_text(repr(float(value)))
            print(f"{self.task} seed {self.seed} {name}: {self.metric} {value:.4f}", flush=True)
        return float(file.read_text())

    def trained(self, name, labeled):
        """The run folder of a model that was trained on these images."""
        data, run = self.work / name / "data", self.work / name / "run"
        known = set(labeled)
        if not is_dataset(data):
            samples = [replace(each, name=f"{number}/{each.name}", split="train", labels=each.labels if number in known else None)
                       for number, each in enumerate(self.pool)]
            Dataset.create(data, name, Reading(self.classes, iter(samples), self.kind), images="link")
        if not (run / "done").is_file():
            length = {"epochs": self.arguments.epochs} if self.arguments.epochs else {"minutes": self.arguments.minutes}
            config = TrainConfig(data=str(data), model=self.model, options=self.options, image_size=self.side, seed=self.seed,
                                 device=self.arguments.device, **length)
            run.mkdir(parents=True, exist_ok=True)
            for _ in train(config, run):
                pass
            (run / "done").touch()
        return run


def table(arguments, results):
    """The text of the result."""
    length = f"{arguments.epochs} epochs" if arguments.epochs else f"{arguments.minutes:g} minutes"
    lines = ["## Active learning: random choice against ranked", "",
             f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; "
             f"device {arguments.device}, {length} a training, {arguments.start} images to begin with, seeds {', '.join(map(str, arguments.seeds))}; "
             "mean and standard deviation over the seeds.", "",
             "| task | labeled | random | ranked | ranked - random, of each seed |", "|---|---|---|---|---|"]
    for task, by_seed in results.items():
        for budget in arguments.budgets:
            values = {arm: np.array([each[arm][budget] for each in by_seed]) for arm in ARMS}
            spread = {arm: f"{own.mean():.3f} ± {own.std(ddof=1) if len(own) > 1 else 0:.3f}" for arm, own in values.items()}
            apart = ", ".join(f"{value:+.3f}" for value in values["ranked"] - values["random"])
            lines.append(f"| {task} {TASKS[task][4]} | {budget} | {spread['random']} | {spread['ranked']} | {apart} |")
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets det_bccd_voc and inst_brain_tumor_coco")
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=list(TASKS))
    parser.add_argument("--budgets", type=lambda text: sorted(map(int, text.split(","))), default=[40, 80])
    parser.add_argument("--start", type=int, default=20)
    parser.add_argument("--seeds", type=lambda text: list(range(int(text))), default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=5.0, help="of each training")
    parser.add_argument("--epochs", type=int, default=0, help="in place of minutes")
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--test", type=int, default=0, help="only so many test images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lightbox-active")
    parser.add_argument("--no-results", action="store_true")
    arguments = parser.parse_args()
    if not arguments.start < arguments.budgets[0]:
        parser.error("--start must be less than the first of --budgets")
    results = {task: [Bench(arguments, task, seed).run() for seed in arguments.seeds] for task in arguments.tasks}
    text = table(arguments, results)
    print(text)
    if not arguments.no_results:
        with RESULTS.open("a", encoding="utf-8") as stream:
            stream.write("\n" + text)


if __name__ == "__main__":
    main()

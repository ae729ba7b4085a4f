#!/usr/bin/env python3
"""Images a second of a training step, our loop beside the plain loop of the tutorials, in interleaved rounds.

  bench/training_step.py                 UNet++ with ResNet34 at 256 px, ConvNeXt-Tiny at 224 px
  bench/training_step.py --precision none      ours without mixed precision

Run it in the project's root with the project's Python. The plain loop is what the tutorials write: fp32, AdamW, a DataLoader that opens every image
again and augments it with the same albumentations pipeline; loading is part of both. Every measurement is a process of its own; the first steps
are not counted. The table goes to the end of --out (bench/RESULTS.md).
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TASKS = {"unet++/resnet34 256 px": ("semantic", "unet", {"encoder": "resnet34"}, 256, "tutorial"),
         "convnext_tiny 224 px": ("classify", "timm", {"backbone": "convnext_tiny"}, 224, "standard")}
WARM = 4


def ours(name: str, data: Path, steps: int, batch: int, precision: str) -> tuple[float, float, str]:
    """Seconds and CPU seconds of `steps` steps, and how they were computed."""
    from engine.config import TrainConfig
    from engine.measuring import fastest
    from engine.session import Session
    from engine.tasks.loading import normalised

    task, model, options, size, augment = TASKS[name]
    config = TrainConfig(data=str(data), model=model, task=task, options=options, batch=batch, image_size=size, epochs=1000, augment=augment,
                         precision=precision, weights="none")
    with tempfile.TemporaryDirectory() as scratch:
        session = Session(config, Path(scratch), "none")
        way, _ = session.measure()
        if precision != "auto":
            batch = next(iter(session.loader))
            way, _ = fastest(session.network, normalised(batch.images, session.mean, session.std), batch.targets, (precision,))
        session.prepare(way)
        return *clock(_steps_of(session), steps), str(way).replace(" ", "")


def _steps_of(session):
    while True:
        session.start_epoch()
        for each in session.loader:
            session.learn(each)
            yield
        session.epoch, session.batch = session.epoch + 1, 0


def plain(name: str, data: Path, steps: int, batch: int, precision: str) -> tuple[float, float, str]:
    """The tutorials' loop, on the same images, with the same network and augmentation."""
    import torch

    from engine.augment import classification, segmentation
    from engine.models import create

    task, model, options, size, augment = TASKS[name]
    pipeline = (segmentation if task == "semantic" else classification).pipeline(augment, strong=True, side=size)
    files = sorted((data / "train/images" if task == "semantic" else data / "images").glob("*.jpg"))
    torch.manual_seed(0)
    classes = 3 if task == "semantic" else 5
    network = create(model, classes, **options)
    loader = torch.utils.data.DataLoader(Pictures(files, pipeline, task, size, classes), batch, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-2)
    loss = torch.nn.CrossEntropyLoss() if task == "semantic" else torch.nn.BCEWithLogitsLoss()

    def run():
        network.train()
        while True:
            for images, targets in loader:
                optimizer.zero_grad()
                loss(network(images), targets).backward()
                optimizer.step()
                yield
    return *clock(run(), steps), "none,contiguous"


class Pictures:
    def __init__(self, files, pipeline, task, size, classes):
        self.files, self.pipeline, self.task, self.size, self.classes = files, pipeline, task, size, classes

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        import cv2
        import numpy as np
        import torch

        file = self.files[index]
        image = cv2.imread(str(file))[..., ::-1]
        if self.task == "semantic":
            mask = cv2.imread(str(file.parent.parent / "masks" / f"{file.stem}.png"), cv2.IMREAD_UNCHANGED)
            seen = self.pipeline(image=np.ascontiguousarray(image), mask=mask)
            target = torch.from_numpy(cv2.resize(seen["mask"], (self.size, self.size), interpolation=cv2.INTER_NEAREST).astype(np.int64)) % 255
        else:
            seen, target = self.pipeline(image=np.ascontiguousarray(image)), torch.zeros(self.classes)
        pixels = cv2.resize(seen["image"], (self.size, self.size)).astype(np.float32) / 255
        normal = (pixels - (0.485, 0.456, 0.406)) / np.array((0.229, 0.224, 0.225), np.float32)
        return torch.from_numpy(normal.astype(np.float32).transpose(2, 0, 1).copy()), target


def _ratios(ours: list[float], others: list[float]) -> list[float]:
    return [a / b for a, b in zip(ours, others, strict=True)]


def clock(loop, steps: int) -> tuple[float, float]:
    for _ in range(WARM):
        next(loop)
    begun, used = time.perf_counter(), time.process_time()
    for _ in range(steps):
        next(loop)
    return time.perf_counter() - begun, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="auto", choices=("auto", "none", "bf16"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lightbox-bench-training")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/RESULTS.md")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "TASK"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    data = {task: arguments.work / task for task in ("semantic", "classify")}
    if arguments.one:
        method, name = arguments.one
        run = ours if method == "lightbox" else plain
        print(*run(name, data[TASKS[name][0]], arguments.steps, arguments.batch, arguments.precision))
        return
    from engine.datasets.samples import generate

    for task, folder in data.items():
        if not folder.exists():
            generate(task, folder, 60)
    measured: dict[tuple[str, str], list[float]] = {}
    used: dict[tuple[str, str], list[float]] = {}
    words: dict[tuple[str, str], str] = {}
    for number in range(arguments.rounds):
        for name in TASKS:
            for method in ("lightbox", "plain loop"):
                command = [sys.executable, __file__, "--one", method, name, "--steps", str(arguments.steps), "--batch", str(arguments.batch),
                           "--precision", arguments.precision, "--work", str(arguments.work)]
                said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
                images = arguments.steps * arguments.batch
                measured.setdefault((name, method), []).append(images / float(said[-3]))
                used.setdefault((name, method), []).append(float(said[-2]) / images)
                words[name, method] = said[-1]
                print(f"round {number + 1}: {name}, {method}: {measured[name, method][-1]:.2f} images/s, {used[name, method][-1]:.3f} CPU s an image "
                      f"({said[-1]})", flush=True)
    where = f"{date.today()}, {platform.machine()}, Python {platform.python_version()}"
    lines = ["## Training step", "", f"{where}; medians of {arguments.rounds} interleaved rounds, batch {arguments.batch}.", "",
             "| task | method | precision, layout | images/s | CPU s an image |", "|---|---|---|---|---|"]
    for (name, method), values in measured.items():
        how, work = words[name, method].replace(",", ", "), statistics.median(used[name, method])
        lines.append(f"| {name} | {method} | {how} | {statistics.median(values):.2f} | {work:.3f} |")
    lines.append("")
    for name in TASKS:
        ratio, saved = (statistics.median(_ratios(table[name, "lightbox"], table[name, "plain loop"])) for table in (measured, used))
        lines.append(f"- {name}: {ratio:.2f} x the plain loop (by CPU time {1 / saved:.2f} x; medians of the rounds' ratios).")
    lines.append("")
    text = "\n".join(lines)
    print(text)
    with arguments.out.open("a", encoding="utf-8") as stream:
        stream.write("\n" + text)


if __name__ == "__main__":
    main()

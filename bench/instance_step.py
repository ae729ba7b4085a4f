#!/usr/bin/env python3
"""Seconds of a training step and of a prediction of DI-MaskDINO (atto) beside a Mask2Former of similar size, in interleaved rounds.

  bench/instance_step.py                           needs transformers: pip install transformers
  PYTHONPATH=FOLDER bench/instance_step.py         transformers elsewhere

Both have a ConvNeXt-Atto, hidden size 64, an encoder of one layer, 100 queries, a feed-forward of 256 and 1,024 points. Ours has two balancing and
two decoder layers and denoising queries; the other one has four decoder layers. They get the same random images and the same objects (ellipses), 6 in
each. A step is forward, loss and backward, fp32; each measurement is a process of its own, the first steps are not counted. The table goes to the end
of --out (bench/RESULTS.md).
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHAPES = {"256 px, 2 images": (256, 2), "192 px, 2 images": (192, 2)}
KEPT = "mask2former, memory kept"
METHODS = ("lightbox", "mask2former", KEPT)
CLASSES, OBJECTS = 10, 6


def objects(side: int, batch: int):
    """Per image: labels i64[n], masks bool[n,S,S]."""
    import torch

    generator = torch.Generator().manual_seed(0)
    line = torch.arange(side) + 0.5
    found = []
    for _ in range(batch):
        centre = torch.rand(OBJECTS, 2, generator=generator) * 0.6 * side + 0.2 * side
        radius = torch.rand(OBJECTS, 2, generator=generator) * 0.15 * side + 4
        x, y = ((line - centre[:, i, None]) / radius[:, i, None] for i in (0, 1))
        found.append((torch.randint(0, CLASSES, (OBJECTS,), generator=generator), x[:, None, :] ** 2 + y[:, :, None] ** 2 < 1))
    return found


def lightbox(side: int, batch: int):
    import numpy as np
    import torch
    from torchvision.ops import box_convert, masks_to_boxes

    from engine.models import create

    network = create("di_maskdino_atto", CLASSES)
    images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(1))
    targets = [{"labels": labels, "boxes": box_convert(masks_to_boxes(masks), "xyxy", "cxcywh") / side,
                "masks": torch.from_numpy(np.packbits(masks.numpy(), axis=2))} for labels, masks in objects(side, batch)]
    return network, lambda: sum(network.loss(images, targets).values()), lambda: network(images[:1])


def mask2former(side: int, batch: int):
    import torch
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, TimmBackboneConfig

    backbone = TimmBackboneConfig(backbone="convnext_atto", out_indices=[0, 1, 2, 3], use_pretrained_backbone=False)
    config = Mask2FormerConfig(
        backbone_config=backbone, hidden_dim=64, feature_size=64, mask_feature_size=64, encoder_layers=1, encoder_feedforward_dim=256,
        decoder_layers=5, dim_feedforward=256, num_queries=100, train_num_points=1024, num_labels=CLASSES,
    )  # its number of decoder layers counts the first prediction as well
    network = Mask2FormerForUniversalSegmentation(config)
    images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(1))
    truth = objects(side, batch)
    labels, masks = [each[0] for each in truth], [each[1].float() for each in truth]
    return network, lambda: network(pixel_values=images, class_labels=labels, mask_labels=masks).loss, lambda: network(pixel_values=images[:1])


def measure(method: str, shape: str, steps: int) -> list[float]:
    """Seconds and CPU seconds of a step, seconds of a prediction, millions of parameters, peak GiB."""
    import torch

    from engine.memory import keep_memory

    if method != "mask2former":
        keep_memory()
    torch.manual_seed(0)
    network, loss, predict = (lightbox if method == "lightbox" else mask2former)(*SHAPES[shape])
    network.train()
    for step in range(steps + 4):
        if step == 4:
            begun, used = time.perf_counter(), time.process_time()
        loss().backward()
        network.zero_grad(set_to_none=True)
    taken, worked = (time.perf_counter() - begun) / steps, (time.process_time() - used) / steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    network.eval()
    with torch.inference_mode():
        durations = []
        for _ in range(4):
            begun = time.perf_counter()
            predict()
            durations.append(time.perf_counter() - begun)
    return [taken, worked, min(durations), sum(p.numel() for p in network.parameters()) / 1e6, peak]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/RESULTS.md")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "SHAPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine does, for both
    if arguments.one:
        print(*measure(*arguments.one, arguments.steps))
        return
    measured: dict[tuple[str, str], list[list[float]]] = {}
    for number in range(arguments.rounds):
        for shape in SHAPES:
            for method in METHODS:
                command = [sys.executable, __file__, "--one", method, shape, "--steps", str(arguments.steps)]
                said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
                values = [float(each) for each in said[-5:]]
                measured.setdefault((shape, method), []).append(values)
                print(f"round {number + 1}: {shape}, {method}: " + "  ".join(f"{value:.3f}" for value in values), flush=True)
    where = f"{date.today()}, {platform.machine()}, Python {platform.python_version()}"
    lines = ["## Training step of instance segmentation", "", f"{where}; medians of {arguments.rounds} interleaved rounds.", "",
             "| size | method | M parameters | s a step | CPU s a step | s a prediction | peak GiB |", "|---|---|---|---|---|---|---|"]
    for (shape, method), rounds in measured.items():
        step, cpu, prediction, parameters, peak = (statistics.median(column) for column in zip(*rounds, strict=True))
        lines.append(f"| {shape} | {method} | {parameters:.1f} | {step:.2f} | {cpu:.2f} | {prediction:.3f} | {peak:.2f} |")
    lines.append("")
    for shape in SHAPES:
        for other in METHODS[1:]:
            pairs = list(zip(measured[shape, "lightbox"], measured[shape, other], strict=True))
            wall, cpu, prediction = (statistics.median(b[i] / a[i] for a, b in pairs) for i in range(3))
            lines.append(f"- {shape}: {wall:.2f} x the steps of {other} in the same time (by CPU time {cpu:.2f} x), {prediction:.2f} x its "
                         "predictions.")
    text = "\n".join([*lines, ""])
    print(text)
    with arguments.out.open("a", encoding="utf-8") as stream:
        stream.write("\n" + text)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What bench/detect.py runs inside the Python of another tool: its training step, its loader, its training. Nothing of this project is imported.

  detect_peer.py serve METHOD SPEC.json      builds the method, then answers each line "N" with {"seconds", "cpu"} of N steps or N batches
  detect_peer.py train METHOD SPEC.json      trains, and writes what each set of weights finds into the folder that SPEC names

SPEC tells: model (atto, n, ...), side, batch, threads, workers, classes, official (checkout), nano (ultralytics' architecture), data (names of
files), ready (images and boxes as .npz). Standard output is for the answers only; what the tools print goes to standard error.
"""

import contextlib
import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ALL_ACTIVE = {"atto": 10, "femto": 10, "pico": 10}  # an epoch in which every augmentation of the published recipe is active
ENDLESS = 10**9


def answers():
    """A stream for answers; everything else that is written to standard output goes to standard error."""
    stream = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return stream


def cpu_seconds():
    """Of this process and of the processes it started."""
    import psutil

    used = time.process_time()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            used += times.user + times.system
    return used


def same_threads(count):
    """For torch and OpenCV."""
    import cv2
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def serve(run, stream, note=""):
    """Answers lines until there are none: `run(count)` does that many steps or batches."""
    stream.write(json.dumps({"ready": True, "note": note}) + "\n")
    for line in sys.stdin:
        begun, used = time.perf_counter(), cpu_seconds()
        run(int(line))
        stream.write(json.dumps({"seconds": time.perf_counter() - begun, "cpu": cpu_seconds() - used}) + "\n")


def ready_batches(spec):
    """Batches that lie ready: (images u8[B,3,S,S], labels i64[n] per image, boxes f32[n,4] cxcywh in 0..1 per image)."""
    import torch

    packed = np.load(spec["ready"])
    ends = np.cumsum(packed["counts"])[:-1]
    labels, boxes = np.split(packed["labels"], ends), np.split(packed["boxes"], ends)
    size = spec["batch"]
    return [(torch.from_numpy(packed["images"][first : first + size]), [torch.from_numpy(each) for each in labels[first : first + size]],
             [torch.from_numpy(each) for each in boxes[first : first + size]]) for first in range(0, len(packed["images"]), size)]


class Ready:
    """As many ready batches as are asked for, in place of a loader; `make` turns one into what the tool's own loader gives."""

    def __init__(self, batches, make):
        self.batches, self.make, self.count = batches, make, 0
        self.dataset = self.collate_fn = self.sampler = None

    def __len__(self):
        return self.count

    def __iter__(self):
        for number in range(self.count):
            yield self.make(*self.batches[number % len(self.batches)])


def over_epochs(loader, start=lambda epoch: None, first=0):
    """Batches without end: one epoch after the other."""
    for epoch in itertools.count(first):
        start(epoch)
        yield from loader


def taking(stream):
    def run(count):
        for _ in range(count):
            next(stream)
    return run


# ---- the official trainer

def official_config(spec, **changes):
    sys.path.insert(0, spec["official"])
    os.chdir(spec["scratch"])
    from engine.core import YAMLConfig

    file = next(Path(spec["official"], "configs/deimv2").glob(f"deimv2_*_{spec['model']}_coco.yml"))
    return YAMLConfig(str(file), num_classes=spec["classes"], remap_mscoco_category=False, HGNetv2={"pretrained": False}, device="cpu",
                      output_dir=str(Path(spec["scratch"]) / "official"), **changes)


def newer_torchvision(cfg):
    """The official transforms are written for torchvision 0.20, whose `_transform` and `_get_params` have other names since."""
    import torchvision.transforms.v2 as v2

    from engine.data.transforms import _transforms as own

    if hasattr(v2.Transform, "transform"):
        for each in vars(own).values():
            if isinstance(each, type) and issubclass(each, v2.Transform):
                for before, now in (("_transform", "transform"), ("_get_params", "make_params")):
                    if before in vars(each):
                        setattr(each, now, vars(each)[before])
    return cfg


def official_step(spec):
    """Its own train_one_epoch, on ready batches."""
    cfg = official_config(spec, use_ema=True, use_amp=spec["precision"] == "bf16")
    import torch

    from engine.optim.lr_scheduler import FlatCosineLRScheduler
    from engine.solver.det_engine import train_one_epoch

    device = torch.device("cpu")
    model, criterion, ema, optimizer = cfg.model.to(device), cfg.criterion.to(device), cfg.ema.to(device), cfg.optimizer
    assert cfg.lr_scheduler is not None  # building it notes the first rates, as in its solver
    rates = FlatCosineLRScheduler(optimizer, cfg.lr_gamma, 100, total_epochs=cfg.epoches, warmup_iter=cfg.warmup_iter, flat_epochs=cfg.flat_epoch,
                                  no_aug_epochs=cfg.no_aug_epoch)
    loader = Ready(ready_batches(spec), lambda images, labels, boxes: (
        images.float().div_(255), [{"labels": a, "boxes": b} for a, b in zip(labels, boxes, strict=True)]))

    def run(count):
        loader.count = count
        train_one_epoch(True, rates, model, criterion, loader, optimizer, device, 10, max_norm=cfg.clip_max_norm, print_freq=ENDLESS, ema=ema,
                        scaler=cfg.scaler, lr_warmup_scheduler=None, writer=None)
    return run, f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M"


def official_loader(spec):
    """Its own data set, transforms, collate function and loader, in an epoch where all of them are active."""
    train = {"img_folder": spec["data"]["coco_images"], "ann_file": spec["data"]["coco_labels"]}
    changes = {"dataset": train, "num_workers": spec["workers"], "total_batch_size": spec["batch"]}
    if spec["workers"] == 0:
        changes["drop_last"] = True
    cfg = newer_torchvision(official_config(spec, train_dataloader=changes))
    loader = cfg.train_dataloader
    return taking(over_epochs(loader, lambda _: loader.set_epoch(10))), ""


# ---- libreyolo

def libreyolo_trainer(spec, **settings):
    """Its trainer, set up and not started."""
    os.chdir(spec["scratch"])
    import torch
    from libreyolo.models.deimv2 import trainer as module
    from libreyolo.models.deimv2.model import LibreDEIMv2

    torch.manual_seed(0)
    found = []

    def only_setup(self):
        self.setup()
        found.append(self)
        return {}

    module.DEIMv2Trainer.train = only_setup
    model = LibreDEIMv2(model_path=None, size=spec["model"], nb_classes=spec["classes"], device="cpu")
    model.train(data=spec["data"]["yaml"], imgsz=spec["side"], device="cpu", project=spec["scratch"], name="libreyolo", exist_ok=True, **settings)
    return found[0]


def libreyolo_step(spec):
    """Its own _train_epoch, on ready batches."""
    import torch

    trainer = libreyolo_trainer(spec, batch=spec["batch"], workers=0, epochs=100)
    side = spec["side"]

    def padded(images, labels, boxes):
        targets = torch.zeros(len(images), 120, 5)
        for place, (a, b) in enumerate(zip(labels, boxes, strict=True)):
            targets[place, : len(a)] = torch.cat([a[:, None].float(), b * side], 1)[:120]
        return images.float().div_(255), targets, None, None

    trainer.train_loader = Ready(ready_batches(spec), padded)
    trainer._should_validate_epoch = lambda epoch: False

    def run(count):
        trainer.train_loader.count = count
        trainer._train_epoch(1)
    return run, f"{sum(p.numel() for p in trainer.model.parameters()) / 1e6:.2f} M"


def libreyolo_loader(spec):
    trainer = libreyolo_trainer(spec, batch=spec["batch"], workers=spec["workers"], epochs=100)
    loader = trainer.train_loader

    def start(epoch):
        for part in (loader.dataset, loader.collate_fn):
            if hasattr(part, "set_epoch"):
                part.set_epoch(1)
    return taking(over_epochs(loader, start)), ""


# ---- ultralytics

def ultralytics_trainer(spec, **settings):
    os.environ.update(YOLO_CONFIG_DIR=spec["scratch"], YOLO_OFFLINE="true", YOLO_VERBOSE="false", WANDB_MODE="disabled")
    os.chdir(spec["scratch"])
    from ultralytics.models.yolo.detect import DetectionTrainer

    trainer = DetectionTrainer(overrides={
        "model": f"{spec['nano']}.yaml", "data": spec["data"]["yaml"], "imgsz": spec["side"], "batch": spec["batch"], "device": "cpu",
        "pretrained": False, "plots": False, "project": spec["scratch"], "name": spec["nano"], "exist_ok": True, "epochs": 100, **settings})
    import torch

    torch.set_num_threads(spec["threads"])
    trainer._setup_train()
    torch.set_num_threads(spec["threads"])
    return trainer


def ultralytics_step(spec):
    """The body of its loop over batches: preparation, forward with loss, backward, and its optimizer_step at every batch."""
    import torch

    trainer = ultralytics_trainer(spec, workers=0, amp="bf16" if spec["precision"] == "bf16" else False)
    trainer._model_train()
    loader = Ready(ready_batches(spec), lambda images, labels, boxes: {
        "img": images, "cls": torch.cat(labels)[:, None].float(), "bboxes": torch.cat(boxes),
        "batch_idx": torch.cat([torch.full((len(each),), float(place)) for place, each in enumerate(labels)])})

    def run(count):
        loader.count = count
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=spec["precision"] == "bf16"):
                loss, _ = trainer.model(trainer.preprocess_batch(batch))
                loss = loss.sum()
            trainer.scaler.scale(loss).backward()
            trainer.optimizer_step()
            float(loss)
    return run, f"{sum(p.numel() for p in trainer.model.parameters()) / 1e6:.2f} M"


def ultralytics_loader(spec):
    """Its loader, and the floats that its trainer makes of the bytes."""
    trainer = ultralytics_trainer(spec, workers=spec["workers"])
    return taking(map(trainer.preprocess_batch, over_epochs(trainer.train_loader))), ""


METHODS = {(tool, part): globals()[f"{tool}_{part}"] for tool in ("official", "libreyolo", "ultralytics") for part in ("step", "loader")}


def main():
    command, method, file = sys.argv[1:4]
    spec = json.loads(Path(file).read_text(encoding="utf-8"))
    stream = answers()
    same_threads(spec["threads"])
    if command == "train":
        from detect_peer_train import TRAINERS

        stream.write(json.dumps(TRAINERS[method](spec)) + "\n")
        return
    run, note = METHODS[method, spec["part"]](spec)
    same_threads(spec["threads"])  # some set their own number
    serve(run, stream, note)


if __name__ == "__main__":
    main()

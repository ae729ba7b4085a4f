"""Each configuration key is read: changing it changes something that can be seen. A new key without a case fails here."""

import dataclasses
import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
from PIL import Image

from engine.config import TrainConfig
from engine.models import create, models
from engine.session import Session
from engine.train import train
from engine.types import Sample, Tags, UserError
from engine.weights import safe_load

TIMM = {"backbone": "test_resnet"}  # half a million weights
UNET = {"architecture": "linknet", "encoder": "tu-test_resnet"}
HYBRID = {"backbone": "test_resnet", "fpn_channels": 16, "fusion_channels": 16, "use_cross_scale_attention": False, "hierarchical": True,
          "num_coarse_classes": 2}
DINO = {"backbone": {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]}, "hidden_dim": 32, "encoder_layers": 1, "encoder_ffn": 32, "decoder_layers": 2,
        "decoder_ffn": 32, "di_layers": 1, "queries": 8, "first_selected": 12, "guiding_tokens": 4, "points": 32, "denoising_queries": 6}
BASE = {"epochs": 2, "batch": 4, "precision": "none", "threads": 1, "workers": 0, "device": "cpu", "weights": "none", "image_size": 32, "warmup": 0.0}
MODELS = {"timm": {"task": "classify", "options": TIMM}, "hybridmednet": {"task": "classify", "options": HYBRID},
          "unet": {"task": "semantic", "options": UNET}, "di_maskdino": {"task": "instance", "options": DINO},
          "deimv2_atto": {"task": "detect", "options": {}}}
DATA = {"unet": "AREAS", "di_maskdino": "OBJECTS", "deimv2_atto": "OBJECTS"}


def semantic(**more):
    return {"model": "unet", **more}


def objects(**more):
    return {"model": "di_maskdino", **more}


def coarse(**more):
    return {"model": "hybridmednet", "coarse_classes": "x = a | b; y = c", **more}


def flat_figures(**more):
    return {"schedule": "plateau", "epochs": 4, **more}


# field -> (what the run is like, another value, what is looked at)
RUN, PLAN, JUDGE, LOSS, MACHINE, LIMITS = "run", "plan", "judge", "loss", "machine", "limits"
CASES = {
    "data": ({}, "OTHER", RUN),
    "model": ({}, "hybridmednet", RUN),
    "options": ({}, {"backbone": "test_resnet", "dropout": 0.5}, RUN),
    "weights": ({}, "FILE", RUN),
    "epochs": ({}, 1, RUN),
    "minutes": ({"epochs": 0, "minutes": 0.1}, 3.0, PLAN),
    "batch": ({}, 2, RUN),
    "image_size": ({}, 64, RUN),
    "lr": ({"lr": 1e-3, "backbone_lr": 1e-3}, 2e-3, RUN),
    "backbone_lr": ({"lr": 1e-3, "backbone_lr": 1e-3}, 2e-3, RUN),
    "weight_decay": ({}, 0.5, RUN),
    "warmup": ({}, 0.5, RUN),
    "flat": ({"schedule": "flat_cosine"}, 0.0, RUN),
    "final_lr": ({}, 0.9, RUN),
    "schedule": ({"schedule": "cosine"}, "flat_cosine", RUN),
    "plateau_patience": (flat_figures(plateau_patience=1), 3, JUDGE),
    "plateau_factor": (flat_figures(plateau_patience=1), 0.1, JUDGE),
    "stages": ({"epochs": 0, "stages": "32x1, 32x1"}, "32x1, 64x1", RUN),
    "patience": (flat_figures(patience=1), 0, JUDGE),
    "clip": ({}, 0.01, RUN),
    "accumulate": ({}, 2, RUN),
    "ema": ({}, 0.99, RUN),
    "denoising": ({"model": "deimv2_atto"}, 4, LIMITS),
    "nms": ({"model": "deimv2_atto"}, 0.4, LIMITS),
    "loss": ({}, "focal", RUN),
    "class_weights": ({}, "balanced", RUN),
    "fp_weight": (semantic(loss="tversky"), 0.9, RUN),
    "fn_weight": (semantic(loss="tversky"), 0.1, RUN),
    "exponent": (semantic(loss="focal_tversky"), 3.0, RUN),
    "focal_gamma": ({"loss": "focal"}, 0.5, RUN),
    "label_smoothing": ({}, 0.2, RUN),
    "uncertain": ({}, "ones", LOSS),
    "coarse_classes": (coarse(), "x = a; y = b | c", RUN),
    "coarse_weight": (coarse(), 3.0, RUN),
    "class_loss": (objects(), 1.0, RUN),
    "box_loss": (objects(), 1.0, RUN),
    "giou_loss": (objects(), 1.0, RUN),
    "mask_loss": (objects(), 1.0, RUN),
    "dice_loss": (objects(), 1.0, RUN),
    "augment": ({}, "none", RUN),
    "copy_paste": (objects(), 1.0, RUN),
    "resize": (semantic(), "crop", RUN),
    "sampling": ({}, "balanced", RUN),
    "plain_tail": ({}, 1.0, RUN),
    "valid_fraction": ({"data": "WHOLE"}, 0.5, RUN),
    "precision": ({}, "bf16", RUN),
    "layout": ({}, "contiguous", MACHINE),
    "device": ({}, "cuda", MACHINE),
    "workers": ({}, 1, MACHINE),
    "threads": ({}, 2, MACHINE),
    "cache": ({}, "none", MACHINE),
    "seed": ({}, 1, RUN),
    "epochs_plan": ({}, {"0": 1}, RUN),
}
DERIVED = {"task"}  # recorded by the run, from the model: see the last test


@cache
def folder():
    """Data sets in one place: TAGS, OTHER and WHOLE (no validation part) of tags, AREAS of masks, OBJECTS with outlines; FILE holds weights."""
    root = Path(mkdtemp(prefix="lightbox-configuration-"))
    for name, seed, parts in (("TAGS", 0, 12), ("OTHER", 9, 12), ("WHOLE", 0, 99)):
        _tags(root / name, seed, parts)
    random = np.random.default_rng(0)
    for number in range(12):
        place = root / "AREAS" / ("train" if number < 8 else "valid")
        mask = np.zeros((40, 60), np.uint8)
        mask[5:25, number : number + 25] = 1
        for kind, array in {"images": random.integers(0, 90, (40, 60, 3), np.uint8) + 100 * mask[..., None], "masks": mask}.items():
            (place / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(place / kind / f"{number}.png")
    (root / "AREAS" / "classes.txt").write_text("background\nthing\n")
    _objects(root / "OBJECTS")
    torch.manual_seed(7)
    torch.save(create("timm", 3, **TIMM).state_dict(), root / "FILE")
    return root


def _objects(root):
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("valid", 3)):
        (root / split).mkdir(parents=True)
        rows, objects = [], []
        for number in range(count):
            image = random.integers(0, 90, (40, 60, 3), np.uint8)
            rows.append({"id": number, "file_name": f"{number}.png", "width": 60, "height": 40})
            for part in range(2):
                x, y = (int(random.integers(0, most)) for most in (30, 15))
                image[y : y + 25, x : x + 25] += np.uint8(60 + 60 * part)
                ring = [x, y, x + 25, y, x + 25, y + 25, x, y + 25]
                objects.append({"id": len(objects) + 1, "image_id": number, "category_id": part, "bbox": [x, y, 25, 25], "area": 625, "iscrowd": 0,
                                "segmentation": [ring]})
            Image.fromarray(image).save(root / split / f"{number}.png")
        names = [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}]
        (root / split / "_annotations.coco.json").write_text(json.dumps({"images": rows, "annotations": objects, "categories": names}))


def _tags(root, seed, parts):
    (root / "images").mkdir(parents=True)
    random, lines = np.random.default_rng(seed), ["image,labels,split" if parts < 20 else "image,labels"]
    for number in range(18):
        Image.fromarray(random.integers(0, 255, (40, 40, 3), np.uint8)).save(root / "images" / f"{number}.png")
        split = f",{'train' if number < parts else 'valid'}" if parts < 20 else ""
        lines.append(f"images/{number}.png,{('a', 'a|b', 'c', 'a|c', 'a', 'b|c')[number % 6]}{split}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    (root / "classes.txt").write_text("a\nb\nc\n")


@pytest.fixture(scope="module", autouse=True)
def clean():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    shutil.rmtree(folder(), ignore_errors=True)


def config_of(base, name=None, value=None):
    chosen = {**BASE, **base, **({name: value} if name else {})}
    model = chosen.setdefault("model", "timm")
    chosen = {**MODELS[model], **chosen}
    chosen["data"] = str(folder() / chosen.get("data", DATA.get(model, "TAGS")))
    if chosen["weights"] == "FILE":
        chosen["weights"] = str(folder() / "FILE")
    return TrainConfig(**chosen)


def run(config):
    """All that a run leaves behind, but for its config and the time."""
    place, seen = Path(mkdtemp(dir=folder())), []
    for event in train(config, place):
        if event.kind == "step":
            seen.append({name: value for name, value in event.values["row"].items() if name != "trained_s"} | {"step": event.step})
        elif event.kind == "validated":
            seen.append({**event.values["metrics"], "epoch": event.epoch})
    best = safe_load(place / "best.pt")
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in best["model"].values())).hexdigest()
    shutil.rmtree(place)
    return {"rows": seen, "weights": digest, "shapes": [tuple(each.shape) for each in best["model"].values()], "preprocess": best["preprocess"]}


def plan(config):
    """The first guess of the number of epochs."""
    events = train(config)
    return next(event.values["epochs"] for event in events if event.kind == "plan")


def judge(config):
    """Rates and the end of a run whose figures never change."""
    session, found = Session(config, folder() / "scratch", "none"), []
    for epoch in range(1, 5):
        session.epoch = epoch
        session.judge({"auroc": 0.5})
        found.append((session._rate(), session.stale()))
    return found


def loss(config):
    """Of an image with a tag that is left open."""
    session = Session(config, folder() / "scratch", "none")
    sample = Sample(Path("x.png"), (32, 32), Tags(np.array([1, 0.5, 0], np.float32)))
    _, target = session.task.encode(session.config, sample, np.zeros((32, 32, 3), np.uint8), 0, False)
    torch.manual_seed(0)
    return {name: value.item() for name, value in session.network.loss(torch.rand(2, 3, 32, 32), [target, target]).items()}


def machine(config):
    try:
        session = Session(config, folder() / "scratch", "none")
    except UserError as error:
        return error.key
    kept = session.loader.dataset.cache.room > 0
    return str(session.device), session.loader.num_workers, torch.get_num_threads(), str(session.measure()[0]), kept


def limits(config):
    """Of a detector: whether two boxes of a class that overlap by 0.6 are one, and how many disturbed labels it learns from."""
    session = Session(config, folder() / "scratch", "none")
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.6, 0.5, 0.4, 0.4]]])
    found = session.task.decode({"logits": torch.tensor([[[2.0, -9.0], [1.0, -9.0]]]), "boxes": boxes}, [(32, 32)])[0].above(0.5)
    return len(found), session.network.config.denoising_queries


LOOK = {RUN: run, PLAN: plan, JUDGE: judge, LOSS: loss, MACHINE: machine, LIMITS: limits}
before = cache(lambda look, base: LOOK[look](config_of(dict(eval(base)))))  # the same run stands for many fields


def test_every_key_has_a_case():
    assert {each.name for each in dataclasses.fields(TrainConfig)} == set(CASES) | DERIVED


def test_the_same_configuration_gives_the_same_run():
    assert run(config_of({})) == run(config_of({}))


@pytest.mark.parametrize("name", CASES)
def test_each_configuration_key_is_read(name):
    base, value, look = CASES[name]
    assert before(look, repr(base)) != LOOK[look](config_of(base, name, value))


def test_the_task_is_that_of_the_model_and_recorded():
    assert Session(config_of({"task": "detect"}), folder() / "scratch", "none").config.task == "classify"


# ---- the options of models

OPTIONS = {
    ("unet", "architecture"): ({}, "unet"),
    ("unet", "encoder"): ({}, "tu-test_efficientnet"),
    ("unet", "mode"): ({"mode": "multiclass"}, "binary"),
    ("timm", "backbone"): ({}, "test_efficientnet"),
    ("timm", "dropout"): ({}, 0.5),
    ("timm", "mode"): ({"mode": "multilabel"}, "multiclass"),
    ("hybridmednet", "backbone"): ({}, "test_efficientnet"),
    ("hybridmednet", "fpn_channels"): ({"backbone": "resnet34"}, 32),
    ("hybridmednet", "fusion_channels"): ({}, 32),
    ("hybridmednet", "use_modern_attention"): ({}, False),
    ("hybridmednet", "use_cross_scale_attention"): ({}, True),
    ("hybridmednet", "num_heads"): ({"use_cross_scale_attention": True, "num_heads": 1}, 2),
    ("hybridmednet", "hierarchical"): ({}, False),
    ("hybridmednet", "num_coarse_classes"): ({}, 3),
    ("hybridmednet", "dropout"): ({"dropout": 0.0}, 0.5),
    ("hybridmednet", "mode"): ({"mode": "multilabel"}, "multiclass"),
    ("di_maskdino", "backbone"): ({}, {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8]}),
    ("di_maskdino", "hidden_dim"): ({}, 64),
    ("di_maskdino", "encoder_layers"): ({}, 2),
    ("di_maskdino", "encoder_ffn"): ({}, 16),
    ("di_maskdino", "decoder_layers"): ({}, 3),
    ("di_maskdino", "decoder_ffn"): ({}, 16),
    ("di_maskdino", "di_layers"): ({}, 2),
    ("di_maskdino", "queries"): ({}, 6),
    ("di_maskdino", "first_selected"): ({}, 10),
    ("di_maskdino", "guiding_tokens"): ({}, 2),
    ("di_maskdino", "points"): ({}, 64),
    ("di_maskdino", "denoising_queries"): ({}, 0),
    ("di_maskdino", "label_noise"): ({"label_noise": 0.0}, 1.0),
    ("di_maskdino", "box_noise"): ({"box_noise": 0.0}, 1.0),
    ("di_maskdino", "located_masks"): ({}, True),
}


def built(model, options):
    """Shapes of the weights, outputs, and loss of a network."""
    torch.manual_seed(0)
    network = create(model, 2, **{**MODELS[model]["options"], **options}).train()
    images = torch.rand(2, 3, 64, 64)
    mask = (torch.rand(64, 64) > 0.5).to(torch.uint8)
    target = {"mask": mask, "values": torch.tensor([1.0, 0.0]), "label": torch.tensor(0), "labels": torch.tensor([1]),
              "boxes": torch.tensor([[0.5, 0.5, 0.5, 0.5]]), "masks": torch.randint(0, 256, (1, 64, 8), dtype=torch.uint8)}
    torch.manual_seed(0)
    terms = {name: value.item() for name, value in network.loss(images, [target, target]).items()}
    return [(name, tuple(value.shape)) for name, value in network.state_dict().items()], terms


def test_every_option_of_the_models_has_a_case():
    assert {(name, each.name) for name in MODELS for each in models.get(name).options} == set(OPTIONS)


@pytest.mark.parametrize("model, name", OPTIONS)
def test_each_option_of_a_model_is_read(model, name):
    base, value = OPTIONS[model, name]
    assert built(model, base) != built(model, {**base, name: value})

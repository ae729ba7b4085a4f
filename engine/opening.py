"""What a run begins with: its data, the weights to start from, threads and random seeds."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine import weights
from engine.bare_weights import recognised
from engine.config import TrainConfig
from engine.datasets.collection import load, shown, with_valid
from engine.datasets.labeling_suggested import unseen_files
from engine.datasets.store import Dataset, is_dataset
from engine.machine import detect
from engine.memory import keep_memory
from engine.models import ModelSpec
from engine.models.network import Network
from engine.recipe import FEW_OBJECTS, DataFacts
from engine.tasks.suppression import allowed_overlap
from engine.tasks.task import Task
from engine.types import Instances, Problem, Sample, UserError

NOTHING = {"semantic": "no_training_areas", "classify": "no_training_tags"}  # what is said where no image shows anything to learn


@dataclass
class Data:
    """Labeled images of a run, by role. `options` of the model follow from them, for the `reasons` given.

    `unseen`: training and validation images with labels that were accepted from a model and that no person has looked at.
    """

    classes: tuple[str, ...]
    train: list[Sample]
    valid: list[Sample]
    problems: list[Problem]
    options: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    unseen: tuple[int, int] = (0, 0)

    def untaught(self) -> list[str]:
        """Classes of validation images that no training image shows."""
        taught, asked = ({c for each in part for c in shown(each.labels, len(self.classes))} for part in (self.train, self.valid))
        return [self.classes[c] for c in sorted(asked - taught) if c < len(self.classes)]


def open_data(config: TrainConfig, task: Task, scratch: Path) -> Data:
    """Reads the data set; splits off a validation part when there is none. Raises UserError when nothing can be learnt."""
    collection = with_valid(load(Path(config.data), scratch), config.valid_fraction, config.seed)
    train, valid = task.trainable(collection.split("train")), task.trainable(collection.split("valid"))
    if not train:
        raise _nothing_to_train(config.data, collection.problems)
    if not collection.classes or not any(map(task.teaches, train)):
        raise UserError(NOTHING.get(task.name, "no_training_objects"), path=config.data, images=len(train))
    fitted = task.fit(collection.classes, train + valid, config)
    if not any(map(task.teaches, fitted.samples[: len(train)])):  # what counted as something may be the background
        raise UserError(NOTHING.get(task.name, "no_training_objects"), path=config.data, images=len(train))
    train, valid = fitted.samples[: len(train)], fitted.samples[len(train):]
    unseen = _unseen(Path(config.data), train, valid)
    return Data(fitted.classes, train, valid, [*collection.problems, *fitted.problems], fitted.options, fitted.reasons, unseen)


def _unseen(path: Path, train: Sequence[Sample], valid: Sequence[Sample]) -> tuple[int, int]:
    """How many of these images of a stored set have labels that were accepted unseen."""
    if not is_dataset(path):
        return 0, 0
    files = unseen_files(Dataset(path, readonly=True))
    return sum(each.image.name in files for each in train), sum(each.image.name in files for each in valid)


def _nothing_to_train(path: str, problems: Sequence[Problem]) -> UserError:
    """Why no image can be learnt from: nobody labelled one, or the labels are faulty."""
    faults = [each for each in problems if each.severity == "error"]
    if not faults:
        return UserError("no_training_images", path=path)
    return UserError("no_usable_labels", path=path, count=len(faults), where=faults[0].where, first=faults[0].message())


def start_weights(network: Network, spec: ModelSpec, wanted: str, classes: Sequence[str] = ()) -> tuple[weights.Coverage | None, str]:
    """Fills the network, or its backbone, with what it shall start from, and says where that came from; None: it keeps its random start.

    `classes` of the network: those that the weights know by the same name keep what was learnt of them. Raises UserError like `weights.resolve`,
    for weights of which less than half fits, and for a vision transformer that does not fit whole.
    """
    if wanted not in ("none", "auto", "download"):
        return _from_file(network, spec, wanted, classes), wanted
    if spec.weights:
        source = weights.resolve(wanted, spec)
        return (_loaded(network, spec, source, weights.safe_load(source), classes), str(source)) if source else (None, "")
    published = network.published_backbone()
    return weights.backbone_weights(network, wanted), published[1] if published else ""


def _from_file(network: Network, spec: ModelSpec, wanted: str, classes: Sequence[str]) -> weights.Coverage | None:
    """A file of a person: of the whole network, or of its backbone alone."""
    content = weights.safe_load(wanted)
    state = weights.state_dict_of(content, wanted)
    if (part := network.backbone_file(state)) is not None:
        return weights.fill_backbone(network, part, wanted, spec.name)
    if network.published_backbone() is not None:
        own, rename = set(network.state_dict()), network.load_map().rename
        if sum(rename(name) in own for name in state) < len(own) / 4:
            return weights.backbone_weights(network, wanted)
    return _loaded(network, spec, Path(wanted), content, classes)


def _loaded(network: Network, spec: ModelSpec, source: Path, content: Any, classes: Sequence[str]) -> weights.Coverage:
    found = weights.fill(network, content, source, classes)
    total = len(found.matched) + len(found.missing)
    if 2 * len(found.matched) < total:
        told = _told(content, source)
        raise UserError("weights_other_sizes", path=str(source), model=spec.name, matched=len(found.matched), total=total, told=told)
    return found


def _told(content: Any, source: Path) -> str:
    """The model and the options that the tensors of a file tell, as a person would set them; "-" when they do not."""
    try:
        spec, options = recognised(content, source, None, {})
    except UserError:
        return "-"
    return ", ".join([spec.name, *(f"{name}={value}" for name, value in options.items() if name != "num_classes")])


def facts_of(data: Data) -> DataFacts:
    objects = [each.labels for each in data.train if isinstance(each.labels, Instances)]
    counts = np.bincount(np.concatenate([each.classes for each in objects]), minlength=len(data.classes)) if objects else np.zeros(0)
    rare = tuple(name for name, count in zip(data.classes, counts, strict=False) if count < FEW_OBJECTS)
    return DataFacts(len(data.train), len(data.valid), len(data.classes), max(map(len, objects), default=0), rare, allowed_overlap(objects),
                     sum(map(len, objects)) / max(1, len(data.train)))


def worker_count(config: TrainConfig, device: torch.device) -> int:
    """Processes that load images: none on the CPU, whose cores train; up to 8 beside an accelerator, of which there may be several."""
    if config.workers >= 0:
        return config.workers
    return 0 if device.type == "cpu" else min(8, max(1, detect().cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1))


def use_threads(config: TrainConfig, device: torch.device) -> None:
    """The wanted number of threads; by itself one for each core, unless OMP_NUM_THREADS already says. Memory that was freed is kept."""
    if config.threads:
        torch.set_num_threads(config.threads)
    elif "OMP_NUM_THREADS" not in os.environ and device.type == "cpu":
        torch.set_num_threads(max(1, detect().cores))
    if device.type == "cpu":
        keep_memory()


def fewer_threads(config: TrainConfig) -> tuple[int, ...]:
    """Numbers of threads worth measuring beside the usual one; none where somebody has said how many."""
    return (1,) if not config.threads and "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > 1 else ()


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

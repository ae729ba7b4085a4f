"""What a task must know. Base class defaults do nothing, correctly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from engine.config import TrainConfig
from engine.registry import Registry
from engine.types import Labels, Sample


class Task:
    """The one place where facts meet tensors, one subclass per family."""

    name: ClassVar[str]
    headline: ClassVar[str]

    def trainable(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that carry what this task learns from."""
        return [each for each in samples if each.labels is not None]

    def encode(self, config: TrainConfig, sample: Sample, image: np.ndarray, seed: int, strong: bool) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Augmented u8[S,S,3] and its target."""
        raise TypeError(f"{self.name} does not encode")

    def decode(self, outputs: dict[str, Tensor], sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """Network outputs -> labels in pixels of the original images, whose (width, height) are given."""
        raise TypeError(f"{self.name} does not decode")

    def mirror(self, labels: Labels, width: int) -> Labels:
        """Labels of the image seen in a mirror, `width` pixels wide."""
        return labels

    def merge(self, first: Labels, second: Labels) -> Labels:
        """One prediction from two views of the same image."""
        return first

    def measure(self, truth: Sequence[Sample], found: Sequence[Labels], classes: Sequence[str]) -> dict[str, Any]:
        """{"metrics": {name: value or None}, "per_class": [...], "thresholds": {...}}."""
        raise TypeError(f"{self.name} does not measure")


tasks: Registry[Task] = Registry("engine.tasks", "TASKS", "task")

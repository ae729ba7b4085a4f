"""What a task must know. Base class defaults do nothing, correctly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from engine.config import TrainConfig
from engine.models.network import Balance
from engine.registry import Registry
from engine.types import Labels, Problem, Sample, UserError

Forward = Callable[[Tensor], Any]
Pick = Callable[[int], tuple[Sample, np.ndarray] | None]


class Meter(Protocol):
    """Measures predictions one by one, so that nobody has to keep them all."""

    def add(self, sample: Sample, found: Labels) -> None: ...

    def result(self) -> dict[str, Any]:
        """{"metrics": {name: value or None}, "per_class": [...], "thresholds": {...}}, and "curves" where there are any."""
        ...


@runtime_checkable
class Slides(Protocol):
    """A task that can see a large image piece by piece."""

    def from_windows(self, forward: Callable[[np.ndarray], Tensor], image: np.ndarray, side: int, views: bool) -> Labels:
        """`forward` takes u8[B,side,side,3]; `image` is u8[H,W,3]; `views`: each window is also seen turned and mirrored."""
        ...


@dataclass(frozen=True)
class Fitted:
    """A data set as a model sees it: its class names and labels in the model's ids, and what the labels say of the network.

    `options` are model options that follow from the data, `reasons` their reasons (catalogue keys `reason.<reason>`); `problems` is what
    a person should know of the labels.
    """

    classes: tuple[str, ...]
    samples: list[Sample]
    options: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class Task:
    """The one place where facts meet tensors, one subclass per family. `options` are those of the network, once it is known."""

    name: ClassVar[str]
    headline: ClassVar[str]
    shown: ClassVar[tuple[str, ...]] = ()  # the metrics that a line of a log has room for
    has_report: ClassVar[bool] = False  # whether a final measurement tells more than that of an epoch

    def __init__(self, options: Mapping[str, Any] | None = None, thresholds: Mapping[str, Any] | None = None) -> None:
        self.options, self.thresholds = dict(options or {}), dict(thresholds or {})

    def bound(self, options: Mapping[str, Any], thresholds: Mapping[str, Any] | None = None) -> Task:
        """This task for a network that was built with `options`, and the thresholds that were found with it."""
        return type(self)(options, thresholds)

    def told(self, config: TrainConfig) -> dict[str, Any]:
        """The thresholds that a run is told, beside those that validation finds."""
        return {}

    def trainable(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that carry what this task learns from."""
        return [each for each in samples if each.labels is not None]

    def teaches(self, sample: Sample) -> bool:
        """Whether an image shows something to learn, beyond what is not there."""
        return sample.labels is not None

    def fit(self, classes: tuple[str, ...], samples: list[Sample], config: TrainConfig) -> Fitted:
        """The trainable samples of a data set as a new model is to see them."""
        return Fitted(classes, samples)

    def align(self, samples: Sequence[Sample], data_classes: Sequence[str], model_classes: Sequence[str]) -> list[Sample]:
        """The samples of a data set with the class ids of a trained model. Raises UserError for a class that it does not know."""
        positions(data_classes, model_classes)
        return list(samples)

    def balance(self, classes: Sequence[str], samples: Sequence[Sample], config: TrainConfig) -> Balance | None:
        """How often each class shows in the training part, where a loss asks for it."""
        return None

    def weights(self, samples: Sequence[Sample]) -> np.ndarray | None:
        """f64[N]: how often each sample should be shown for balanced classes."""
        return None

    def encode(self, config: TrainConfig, sample: Sample, image: np.ndarray, seed: int, strong: bool) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Augmented u8[S,S,3] and its target."""
        raise TypeError(f"{self.name} does not encode")

    def encode_mixed(self, config: TrainConfig, sample: Sample, image: np.ndarray, seed: int, strong: int,
                     pick: Pick) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Like `encode`, for tasks that mix images: `pick(seed)` gives another training image, None when there is none that can be read.

        `strong`: what is active in the epoch (engine.stages.Active), 0 for plain images.
        """
        return self.encode(config, sample, image, seed, bool(strong))

    def decode(self, outputs: Any, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """Network outputs -> labels in pixels of the original images, whose (width, height) are given."""
        raise TypeError(f"{self.name} does not decode")

    def from_views(self, forward: Forward, pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """Like decode(forward(pixels)), from several views of the same images."""
        return self.decode(forward(pixels), sizes)

    def meter(self, classes: Sequence[str], *, final: bool = False) -> Meter:
        """`final`: the measurement is to be reported, not only compared; what takes longer is measured as well."""
        raise TypeError(f"{self.name} does not measure")

    def rank(self, metrics: Mapping[str, Any]) -> list[float]:
        """What decides which epoch is the best, the most important first."""
        return [metrics.get(self.headline) or 0.0]


def positions(data_classes: Sequence[str], model_classes: Sequence[str], *, free: Sequence[str] = ()) -> list[int]:
    """Of each class of the data, its id in the model: by name; by place when the model has only numbers; -1 for the `free`.

    Raises UserError for classes that the model does not know.
    """
    model = list(model_classes)
    unknown = [name for name in data_classes if name not in model and name not in free]
    if unknown and len(data_classes) == len(model) == len(unknown) and all(map(is_placeholder, model)):
        return list(range(len(model)))
    if unknown:
        raise UserError("classes_differ", data=", ".join(unknown), model=", ".join(model))
    return [model.index(name) if name in model else -1 for name in data_classes]


PLACEHOLDER = "class "


def is_placeholder(name: str) -> bool:
    """A name that stands where an official checkpoint has none."""
    return name.startswith(PLACEHOLDER) and name[len(PLACEHOLDER):].isdigit()


tasks: Registry[Task] = Registry("engine.tasks", "TASKS", "task")

"""Classification: what an image as a whole shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from engine.config import TrainConfig
from engine.datasets.images import resize
from engine.metrics.calibration import tempered
from engine.metrics.tags import TagMeter
from engine.models.network import Balance
from engine.tasks import coarse
from engine.tasks.task import Fitted, Forward, Task, positions
from engine.types import UNCERTAIN, Labels, Sample, Tags, UserError

if TYPE_CHECKING:
    import albumentations as A

RESAMPLES = 1000
UNKNOWN = -1  # the label of an image that nobody gave one


@cache
def _pipeline(preset: str, strong: bool, side: int) -> A.Compose | None:
    from engine.augment.classification import pipeline  # takes seconds, and who predicts does without
    return pipeline(preset, strong=strong, side=side)


class LabelMeter:
    """AUROC, average precision, F1 and calibration; see engine.metrics.tags."""

    def __init__(self, classes: Sequence[str], *, exclusive: bool, final: bool, thresholds: Sequence[float] | None) -> None:
        self.meter = TagMeter(classes, exclusive=exclusive, decide=thresholds)
        self.final, self.decided = final, thresholds is not None

    def add(self, sample: Sample, found: Labels) -> None:
        if not (isinstance(found, Tags) and isinstance(sample.labels, Tags)):
            raise TypeError(f"tags are wanted, not {type(found).__name__}")
        self.meter.add(sample.labels.values, found.values, sample.group)

    def result(self) -> dict[str, Any]:
        """Thresholds are given for probabilities that the temperature has made honest: those are what a prediction shows."""
        measured = self.meter.result(bootstrap=RESAMPLES if self.final else 0)
        found = measured["thresholds"]
        if found["classes"] is not None and not self.decided:
            found["classes"] = tempered(np.asarray(found["classes"], float), found["temperature"], exclusive=False).tolist()
        return measured


class Classify(Task):
    """`options["mode"]`: multilabel (a sigmoid for each class) or multiclass (a softmax: every image shows exactly one)."""

    name = "classify"
    headline = "auroc"
    shown = ("auroc", "average_precision", "f1")
    has_report = True

    @property
    def exclusive(self) -> bool:
        return self.options.get("mode") == "multiclass"

    def trainable(self, samples: Sequence[Sample]) -> list[Sample]:
        """Images of which at least one tag is known."""
        return [each for each in samples if isinstance(each.labels, Tags) and not np.isnan(each.labels.values).all()]

    def teaches(self, sample: Sample) -> bool:
        return isinstance(sample.labels, Tags) and bool((np.nan_to_num(sample.labels.values) > UNCERTAIN).any())

    def fit(self, classes: tuple[str, ...], samples: list[Sample], config: TrainConfig) -> Fitted:
        """Every image with exactly one tag, and all others known to be absent: single-label.

        Raises UserError for coarse classes that cannot be, or that the model has no head for, and where single labels are wanted but not given.
        """
        mode = str(config.options.get("mode", "auto"))
        if mode == "auto":
            mode = "multiclass" if len(classes) > 1 and all(map(_one_of_all, samples)) else "multilabel"
        if mode == "multiclass" and (odd := [each for each in samples if not _one_alone(each)]):
            raise UserError("tags_not_single", count=len(odd), images=len(samples), first=odd[0].name or odd[0].image.name)
        options: dict[str, Any] = {"mode": mode}
        if config.coarse_classes.strip():
            if not config.options.get("hierarchical"):
                raise UserError("coarse_without_head", model=config.model)
            options["num_coarse_classes"] = len(coarse.parse(config.coarse_classes, classes))
        return Fitted(classes, samples, options, {"mode": f"mode_{mode}"})

    def align(self, samples: Sequence[Sample], data_classes: Sequence[str], model_classes: Sequence[str]) -> list[Sample]:
        place = positions(data_classes, model_classes)
        if place == list(range(len(model_classes))):
            return list(samples)
        return [each.with_labels(_placed(each.labels, place, len(model_classes))) for each in samples]

    def balance(self, classes: Sequence[str], samples: Sequence[Sample], config: TrainConfig) -> Balance | None:
        """Images with and without each tag, and the coarse class of each."""
        values = _values(samples)
        groups: tuple[int, ...] = ()
        if self.options.get("hierarchical"):
            groups = coarse.groups(config.coarse_classes, classes, values, int(self.options.get("num_coarse_classes", 3)))
        return Balance((values > UNCERTAIN).sum(0).astype(float), (values < UNCERTAIN).sum(0).astype(float), groups)

    def weights(self, samples: Sequence[Sample]) -> np.ndarray:
        """An image counts as much as the rarest of its tags; one without any as much as the commonest."""
        shows = np.nan_to_num(_values(samples)) > UNCERTAIN
        rarity = 1 / np.maximum(shows.mean(0), 1 / len(samples))
        return np.where(shows.any(1), (shows * rarity).max(1), rarity.min())

    def encode(self, config: TrainConfig, sample: Sample, image: np.ndarray, seed: int, strong: bool) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Target: {"values": f32[C]} (NaN = not mentioned), or {"label": i64[]} where an image has one class."""
        if not isinstance(sample.labels, Tags):
            raise TypeError("tags are wanted")
        from engine.augment.classification import apply
        side = config.image_size
        transform = _pipeline(config.augment, strong, side)
        pixels = apply(transform, image, None, seed)[0] if transform is not None else image
        if pixels.shape[:2] != (side, side):
            pixels = resize(pixels, (side, side))
        values = sample.labels.values
        if self.exclusive:
            known = bool((values == 1).any())
            return pixels, {"label": torch.tensor(int(np.nan_to_num(values).argmax()) if known else UNKNOWN)}
        return pixels, {"values": torch.from_numpy(values.copy())}

    def decode(self, outputs: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """Probabilities, made honest by the temperature that was found in validation."""
        return self._tags(outputs.float())

    def from_views(self, forward: Forward, pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """The mean of the logits of the image as it is and seen in a mirror."""
        return self._tags((forward(pixels).float() + forward(pixels.flip(-1)).float()) / 2)

    def _tags(self, logits: Tensor) -> list[Labels]:
        logits = logits / float(self.thresholds.get("temperature", 1.0))
        chances = logits.softmax(1) if self.exclusive else logits.sigmoid()
        return [Tags(row) for row in torch.nan_to_num(chances).cpu().numpy()]

    def meter(self, classes: Sequence[str], *, final: bool = False) -> LabelMeter:
        return LabelMeter(classes, exclusive=self.exclusive, final=final, thresholds=self.thresholds.get("classes"))

    def rank(self, metrics: Mapping[str, Any]) -> list[float]:
        """AUROC; among equals, and where there is none, average precision and F1."""
        return [metrics.get(name) or 0.0 for name in ("auroc", "average_precision", "f1")]


def _values(samples: Sequence[Sample]) -> np.ndarray:
    return np.stack([each.labels.values for each in samples if isinstance(each.labels, Tags)])


def _one_of_all(sample: Sample) -> bool:
    """Exactly one tag is there, and all others are known not to be."""
    values = sample.labels.values if isinstance(sample.labels, Tags) else np.zeros(0)
    return bool(len(values)) and int((values == 1).sum()) == 1 and int((values == 0).sum()) == len(values) - 1


def _one_alone(sample: Sample) -> bool:
    """Exactly one tag is there."""
    return isinstance(sample.labels, Tags) and int((sample.labels.values == 1).sum()) == 1


def _placed(labels: Labels | None, place: Sequence[int], count: int) -> Labels | None:
    """Tags in the order of other classes; what the data does not know stays unknown."""
    if not isinstance(labels, Tags):
        return labels
    values = np.full(count, np.nan, np.float32)
    values[list(place)] = labels.values
    return Tags(values)


TASKS = (Classify(),)

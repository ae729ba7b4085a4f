"""Detection: boxes in, boxes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from engine import stages
from engine.augment.boxed import Boxed
from engine.augment.official import Taken, prepared
from engine.config import TrainConfig
from engine.datasets import labeling_lists
from engine.datasets.images import resize
from engine.metrics.coco_ap import score_boxes
from engine.tasks.suppression import suppressed
from engine.tasks.task import Forward, Pick, Task, positions
from engine.types import Instances, Labels, Sample

if TYPE_CHECKING:
    import albumentations as A

CANDIDATES = 300
DEFAULT_THRESHOLD = 0.45
SAME_OBJECT = 0.6
SEEN_ONCE = 0.7
ALL = 1.0


@cache
def _pipeline(preset: str, strong: bool) -> A.Compose | None:
    from engine.augment.detection import pipeline  # takes seconds, and who predicts does without
    return pipeline(preset, strong=strong)


class BoxMeter:
    """COCO's metrics of boxes. `nms` is what the predictions were made with."""

    def __init__(self, classes: Sequence[str], nms: float = ALL) -> None:
        self.classes, self.nms = classes, nms
        self.truth: list[Instances] = []
        self.found: list[Instances] = []
        self.sizes: list[tuple[int, int]] = []

    def add(self, sample: Sample, found: Labels) -> None:
        if not isinstance(found, Instances):
            raise TypeError(f"boxes are wanted, not {type(found).__name__}")
        self.truth.append(sample.labels if isinstance(sample.labels, Instances) else Instances.empty())
        self.found.append(found)
        self.sizes.append(sample.size)

    def result(self) -> dict[str, Any]:
        score = score_boxes(self.truth, self.found, self.sizes, self.classes)
        threshold = score.threshold if score.threshold is not None else DEFAULT_THRESHOLD
        return {"metrics": score.metrics, "per_class": score.per_class, "thresholds": {"score": threshold, "nms": self.nms}}


class Detect(Task):
    """`thresholds["nms"]`: the IoU from which on the less sure of two boxes of a class goes; 1, as published, keeps all."""

    name = "detect"
    headline = "AP50"
    shown = ("AP", "AP50", "AP75")

    def told(self, config: TrainConfig) -> dict[str, Any]:
        return {"nms": config.nms if config.nms >= 0 else ALL}

    def trainable(self, samples: Sequence[Sample]) -> list[Sample]:
        return [each for each in samples if isinstance(each.labels, Instances)]

    def teaches(self, sample: Sample) -> bool:
        return isinstance(sample.labels, Instances) and len(sample.labels) > 0

    def align(self, samples: Sequence[Sample], data_classes: Sequence[str], model_classes: Sequence[str]) -> list[Sample]:
        place = np.array(positions(data_classes, model_classes), np.int64)
        return [each.with_labels(replace(each.labels, classes=place[each.labels.classes]))
                if isinstance(each.labels, Instances) and len(each.labels) else each for each in samples]

    def encode(self, config: TrainConfig, sample: Sample, image: np.ndarray, seed: int, strong: bool) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Target: labels i64[n], boxes f32[n,4] cxcywh in 0..1. Crowd objects are not learnt."""
        if config.augment == stages.OFFICIAL:
            return self.encode_mixed(config, sample, image, seed, strong, lambda _: None)
        from engine.augment.detection import apply
        single = _boxed(sample, image)
        pixels, boxes, kept = apply(_pipeline(config.augment, strong), image, single.boxes, seed)
        height, width = pixels.shape[:2]
        boxes = np.clip(boxes / np.array([width, height, width, height], np.float32), 0, 1)
        return resize(pixels, (config.image_size, config.image_size)), _target(boxes, single.classes[kept])

    def encode_mixed(self, config: TrainConfig, sample: Sample, image: np.ndarray, seed: int, strong: int,
                     pick: Pick) -> tuple[np.ndarray, dict[str, Tensor]]:
        """In the published recipe images are mixed as the stage of the run has it: `strong` tells it, see engine.stages.Active."""
        if config.augment != stages.OFFICIAL:
            return self.encode(config, sample, image, seed, bool(strong))
        made = prepared(_taken(sample, image), lambda number: (other := pick(number)) and _taken(*other), stages.chances(config, strong),
                        side=config.image_size, seed=seed)
        return made.image, _target(made.boxes / config.image_size, made.classes)

    def decode(self, outputs: dict[str, Tensor], sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """Sigmoid over queries x classes, the best 300 (fewer when there are fewer), boxes clipped to the image; what is seen twice once."""
        return [self._suppressed(each) for each in _decoded(outputs, sizes)]

    def _suppressed(self, found: Instances) -> Instances:
        return found if self._limit >= ALL else suppressed(found, self._limit, by_class=True)

    @property
    def _limit(self) -> float:
        return float(self.thresholds.get("nms", ALL))

    def from_views(self, forward: Forward, pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """As it is, and seen in a mirror."""
        plain, mirrored = _decoded(forward(pixels), sizes), _decoded(forward(pixels.flip(-1)), sizes)
        return [self._suppressed(self.merge(seen, self.mirror(other, size[0]))) for seen, other, size in zip(plain, mirrored, sizes, strict=True)]

    def mirror(self, labels: Labels, width: int) -> Instances:
        """Labels of the image seen in a mirror, `width` pixels wide."""
        if not isinstance(labels, Instances):
            raise TypeError(f"detection cannot mirror {type(labels).__name__}")
        return replace(labels, boxes=np.stack([width - labels.boxes[:, 2], labels.boxes[:, 1], width - labels.boxes[:, 0], labels.boxes[:, 3]], 1))

    def merge(self, first: Labels, second: Labels) -> Instances:
        """Boxes of one class that overlap by SAME_OBJECT are one object, surest pairs first: box and score are means. The others lose.

        Measured on 72 test images of blood cells (Atto, 10 minutes): AP .587 from one view, .606 from both.
        """
        if not (isinstance(first, Instances) and isinstance(second, Instances) and first.scores is not None and second.scores is not None):
            raise TypeError("two predictions are wanted")
        from scipy.optimize import linear_sum_assignment
        overlap = labeling_lists.overlaps(first.boxes, second.boxes)
        overlap[first.classes[:, None] != second.classes[None]] = 0
        agreement = np.where(overlap >= SAME_OBJECT, np.sqrt(first.scores[:, None] * second.scores[None]) + overlap / 10, 0)
        rows, columns = linear_sum_assignment(-agreement)
        same = agreement[rows, columns] > 0
        rows, columns = rows[same], columns[same]
        one, two = first.scores[rows, None], second.scores[columns, None]
        boxes = (first.boxes[rows] * one + second.boxes[columns] * two) / (one + two + 1e-9)
        alone, apart = np.setdiff1d(np.arange(len(first)), rows), np.setdiff1d(np.arange(len(second)), columns)
        merged = Instances(np.concatenate([boxes, first.boxes[alone], second.boxes[apart]]),
                           np.concatenate([first.classes[rows], first.classes[alone], second.classes[apart]]),
                           np.concatenate([(one + two)[:, 0] / 2, first.scores[alone] * SEEN_ONCE, second.scores[apart] * SEEN_ONCE]))
        return merged.above(0.0)[:CANDIDATES]

    def meter(self, classes: Sequence[str], *, final: bool = False) -> BoxMeter:
        return BoxMeter(classes, self._limit)

    def rank(self, metrics: Mapping[str, Any]) -> list[float]:
        return [metrics.get("AP") or 0.0, metrics.get("AP50") or 0.0]


def _decoded(outputs: Mapping[str, Tensor], sizes: Sequence[tuple[int, int]]) -> list[Instances]:
    logits, boxes = outputs["logits"].float(), outputs["boxes"].float()
    count = logits.shape[-1]
    scores, index = logits.sigmoid().flatten(1).topk(min(CANDIDATES, logits.shape[1] * count))
    query = torch.div(index, count, rounding_mode="floor")
    chosen = boxes.gather(1, query.unsqueeze(-1).expand(-1, -1, 4))
    corners = torch.cat([chosen[..., :2] - chosen[..., 2:] / 2, chosen[..., :2] + chosen[..., 2:] / 2], -1).clamp(0, 1)
    corners = torch.nan_to_num(corners) * corners.new_tensor([[w, h, w, h] for w, h in sizes]).unsqueeze(1)
    each = zip(corners.cpu().numpy(), (index % count).cpu().numpy(), scores.cpu().numpy(), strict=True)
    return [Instances(box, label, score) for box, label, score in each]


def _boxed(sample: Sample, image: np.ndarray) -> Boxed:
    """An image, perhaps a smaller copy, with the boxes that are learnt."""
    labels = sample.labels if isinstance(sample.labels, Instances) else Instances.empty()
    single = labels if labels.crowd is None else labels[~labels.crowd]
    scale = np.array([image.shape[1] / sample.size[0], image.shape[0] / sample.size[1]] * 2, np.float32)
    return Boxed(image, single.boxes * scale, single.classes)


def _taken(sample: Sample, image: np.ndarray) -> Taken:
    return Taken(_boxed(sample, image), sample.size[0] / image.shape[1])


def _target(boxes: np.ndarray, classes: np.ndarray) -> dict[str, Tensor]:
    """What a network learns from boxes f32[N,4] xyxy in 0..1; see Detect.encode."""
    real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    centre, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return {"labels": torch.from_numpy(classes[real]), "boxes": torch.from_numpy(np.concatenate([centre, extent], 1)[real].astype(np.float32))}


TASKS = (Detect(),)

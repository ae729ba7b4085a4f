"""Instance segmentation: objects with their outlines in, boxes and masks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.augment.copy_paste import Picture, prepared
from engine.augment.instance import Scene, boxes_of
from engine.config import TrainConfig
from engine.metrics.coco_ap import DetectionScore, score
from engine.tasks.mask_decoding import CANDIDATES, Frame, clipped, decoded
from engine.tasks.mask_merging import merged
from engine.tasks.suppression import suppressed
from engine.tasks.task import Fitted, Forward, Pick, Task, positions
from engine.types import Instances, Labels, Problem, Sample, UserError

OVERLAP_LIMIT = 0.8
DEFAULT_THRESHOLD = 0.5
RAREST = 0.001
VIEWS = ((1.0, False), (1.0, True), (0.75, False), (1.25, False))  # scale of the input, mirrored
STEP = 32
FEW_IMAGES = 100  # of so few, boundaries are measured after every epoch
UNSURE = 0.01


class ObjectMeter:
    """COCO's metrics of boxes and of masks; with `boundary`, or of few images, also of masks along their boundary.

    `nms` is what the predictions were made with.
    """

    def __init__(self, classes: Sequence[str], *, boundary: bool, nms: float = OVERLAP_LIMIT) -> None:
        self.classes, self.boundary, self.nms = classes, boundary, nms
        self.truth: list[Instances] = []
        self.found: list[Instances] = []
        self.sizes: list[tuple[int, int]] = []

    def add(self, sample: Sample, found: Labels) -> None:
        if not isinstance(found, Instances):
            raise TypeError(f"objects are wanted, not {type(found).__name__}")
        self.truth.append(sample.labels if isinstance(sample.labels, Instances) else Instances.empty())
        self.found.append(found)
        self.sizes.append(sample.size)

    def result(self) -> dict[str, Any]:
        """Where no object of the truth has an outline, there is nothing to say of masks."""
        boxes = score(self.truth, self.found, self.sizes, self.classes)
        metrics, per_class, threshold = dict(boxes.metrics), [dict(row) for row in boxes.per_class], boxes.threshold
        if not any(map(len, self.truth)) or any(map(has_outline, self.truth)):
            masks = score(self.truth, self.found, self.sizes, self.classes, "masks")
            _add(metrics, per_class, masks, "mask_")
            threshold = masks.threshold
            if self.boundary or len(self.truth) <= FEW_IMAGES:
                _add(metrics, per_class, score(self.truth, self.found, self.sizes, self.classes, "boundary"), "boundary_")
        limits = {"score": DEFAULT_THRESHOLD if threshold is None else threshold, "nms": self.nms}
        return {"metrics": metrics, "per_class": per_class, "thresholds": limits}


def _add(metrics: dict[str, float | None], per_class: list[dict[str, Any]], more: DetectionScore, prefix: str) -> None:
    metrics |= {prefix + name: value for name, value in more.metrics.items()}
    for row, own in zip(per_class, more.per_class, strict=True):
        row |= {prefix + name: own[name] for name in ("AP", "AP50")}


class Instance(Task):
    """`thresholds["nms"]`: the IoU of masks from which on the less sure of two objects goes; 1 keeps all.

    `thresholds["every_class"]`: each class of a query is an object of its own. `thresholds["detections"]`: the most objects of an image.
    """

    name = "instance"
    headline = "mask_AP50"
    shown = ("mask_AP", "mask_AP50", "AP")
    has_report = True

    def trainable(self, samples: Sequence[Sample]) -> list[Sample]:
        return [each for each in samples if isinstance(each.labels, Instances)]

    def teaches(self, sample: Sample) -> bool:
        return isinstance(sample.labels, Instances) and len(sample.labels) > 0

    def fit(self, classes: tuple[str, ...], samples: list[Sample], config: TrainConfig) -> Fitted:
        """Among objects with outlines, one without is its box, which is told. Raises UserError when none has an outline."""
        if not any(has_outline(each.labels) for each in samples):
            raise UserError("instance_without_outlines", images=len(samples))
        bare = [_without_outline(each.labels) for each in samples]
        return Fitted(classes, samples, problems=(_boxes_as_masks(samples, bare),) if any(bare) else ())

    def align(self, samples: Sequence[Sample], data_classes: Sequence[str], model_classes: Sequence[str]) -> list[Sample]:
        place = np.array(positions(data_classes, model_classes), np.int64)
        return [each.with_labels(replace(each.labels, classes=place[each.labels.classes]))
                if isinstance(each.labels, Instances) and len(each.labels) else each for each in samples]

    def weights(self, samples: Sequence[Sample]) -> np.ndarray:
        """Repeat factors (Gupta et al. 2019, section 4.1): an image counts as its rarest class, sqrt(t / share of images that show it), 1 at least.

        t is the share of the class in the middle, so that the rarer half is shown more often in data sets of any size.
        """
        shows = [np.unique(each.labels.classes) if isinstance(each.labels, Instances) else np.zeros(0, np.int64) for each in samples]
        images = np.bincount(np.concatenate(shows)) if shows and any(map(len, shows)) else np.zeros(1)
        share = images / max(1, len(samples))
        middle = max(RAREST, float(np.median(share[share > 0]))) if share.any() else RAREST
        factor = np.maximum(1.0, np.sqrt(middle / np.maximum(share, 1e-12)))
        return np.array([factor[each].max(initial=1.0) for each in shows])

    def encode(self, config: TrainConfig, sample: Sample, image: np.ndarray, seed: int, strong: bool) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Target: labels i64[n], boxes f32[n,4] cxcywh in 0..1, masks u8[n,S,S//8] bits. Crowd objects are not learnt."""
        return self._encoded(config, 0.0, sample, image, seed, strong, lambda _: None)

    def encode_mixed(self, config: TrainConfig, sample: Sample, image: np.ndarray, seed: int, strong: int,
                     pick: Pick) -> tuple[np.ndarray, dict[str, Tensor]]:
        """With a chance of `config.copy_paste`, objects of another image lie on this one; not in the plain epochs."""
        return self._encoded(config, config.copy_paste, sample, image, seed, bool(strong), pick)

    def _encoded(self, config: TrainConfig, share: float, sample: Sample, image: np.ndarray, seed: int, strong: bool,
                 pick: Pick) -> tuple[np.ndarray, dict[str, Tensor]]:
        scene = prepared(_picture(sample, image), lambda seed: (other := pick(seed)) and _picture(*other), preset=config.augment, share=share,
                         side=config.image_size, seed=seed, strong=strong)
        return scene.image, target_of(scene)

    def decode(self, outputs: dict[str, Tensor], sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """The best class of each query, at most CANDIDATES objects, best first; masks as run lengths at the size of the original."""
        return [self._suppressed(each) for each in self._decoded(outputs, sizes)]

    def _decoded(self, outputs: Mapping[str, Tensor], sizes: Sequence[tuple[int, int]]) -> list[Instances]:
        return _decoded(outputs, sizes, limit=self._most, every_class=bool(self.thresholds.get("every_class")))

    def _suppressed(self, found: Instances) -> Instances:
        return suppressed(found, self._limit, by_class=bool(self.thresholds.get("every_class")))

    @property
    def _most(self) -> int:
        return int(self.thresholds.get("detections", CANDIDATES))

    @property
    def _limit(self) -> float:
        return float(self.thresholds.get("nms", OVERLAP_LIMIT))

    def from_views(self, forward: Forward, pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Labels]:
        """As it is, in a mirror, smaller and larger: masks of the same object become one."""
        views = []
        for scale, mirrored in VIEWS:
            side = [max(STEP, round(length * scale / STEP) * STEP) for length in pixels.shape[-2:]]
            seen = pixels if scale == 1 else functional.interpolate(pixels, side, mode="bilinear", align_corners=False, antialias=True)
            outputs = forward(seen.flip(-1)) if mirrored else forward(seen)
            found = self._decoded(_mirrored(outputs) if mirrored else outputs, sizes)
            views.append([self._suppressed(each.above(UNSURE)) for each in found])
        return [self._suppressed(merged(each))[: self._most] for each in zip(*views, strict=True)]

    def meter(self, classes: Sequence[str], *, final: bool = False) -> ObjectMeter:
        return ObjectMeter(classes, boundary=final, nms=self._limit)

    def rank(self, metrics: Mapping[str, Any]) -> list[float]:
        return [metrics.get(name) or 0.0 for name in ("mask_AP", "mask_AP50", "AP")]


def has_outline(labels: Labels | None) -> bool:
    """Whether any object of an image has an outline or a mask."""
    return isinstance(labels, Instances) and any(shape is not None for shape in labels.shapes or ())


def _picture(sample: Sample, image: np.ndarray) -> Picture:
    return image, sample.labels if isinstance(sample.labels, Instances) else Instances.empty(), sample.size


def target_of(scene: Scene) -> dict[str, Tensor]:
    """What a network learns from; see Instance.encode."""
    corners = boxes_of(scene.masks) / scene.image.shape[0]
    boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    return {"labels": torch.from_numpy(scene.classes.astype(np.int64)), "boxes": torch.from_numpy(boxes.astype(np.float32)),
            "masks": torch.from_numpy(np.ascontiguousarray(scene.masks))}


def _decoded(outputs: Mapping[str, Tensor], sizes: Sequence[tuple[int, int]], *, limit: int, every_class: bool) -> list[Instances]:
    """Each image's objects at its own size; the network saw the whole image, stretched."""
    found = []
    for i, size in enumerate(sizes):
        masks = outputs["masks"][i]
        frame = Frame.stretched((4 * masks.shape[-1], 4 * masks.shape[-2]), size)
        found.append(clipped(decoded({"logits": outputs["logits"][i], "boxes": outputs["boxes"][i], "masks": masks}, frame, limit=limit,
                                     every_class=every_class), size))
    return found


def _mirrored(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What was seen in a mirror, as it is."""
    boxes = outputs["boxes"].clone()
    boxes[..., 0] = 1 - boxes[..., 0]
    return {**outputs, "boxes": boxes, "masks": outputs["masks"].flip(-1)}


TASKS = (Instance(),)


def _without_outline(labels: Labels | None) -> int:
    """How many objects of an image have a box only; groups do not count."""
    if not isinstance(labels, Instances):
        return 0
    single = np.ones(len(labels), bool) if labels.crowd is None else ~labels.crowd
    return sum(1 for index in np.flatnonzero(single) if labels.shapes is None or labels.shapes[index] is None)


def _boxes_as_masks(samples: Sequence[Sample], bare: Sequence[int]) -> Problem:
    first = next(sample for sample, count in zip(samples, bare, strict=True) if count)
    return Problem("boxes_as_masks", "warning", first.image.name, {"count": sum(bare), "images": sum(count > 0 for count in bare)})

"""Areas as pixels: masks and outlines of one image, at the size that is wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from engine.datasets.outlines import mask_of
from engine.types import IGNORE, NOTHING, RLE, Instances, Polygons, Sample, SemanticMask

BACKGROUND = "background"
UNKNOWN = 255  # in a training mask: nobody may judge this pixel


def is_background(name: str) -> bool:
    return name.strip().casefold() == BACKGROUND


@dataclass(frozen=True)
class Raster:
    """What is where in an image.

    binary: mask u8[H,W] of 0, 1 and 255; multiclass: of class ids and 255; multilabel: layers u8[C,H,W], and `judged` bool[H,W].
    """

    mode: str
    mask: np.ndarray | None = None
    layers: np.ndarray | None = None
    judged: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """bool[H,W]: the pixels that may be judged."""
        if self.mask is not None:
            return self.mask != UNKNOWN
        if self.judged is None:
            raise ValueError("layers come with what is known")
        return self.judged

    def as_layers(self, count: int) -> np.ndarray:
        """bool[C,H,W]."""
        if self.layers is not None:
            return self.layers > 0
        if self.mode == "binary":
            return (np.asarray(self.mask) == 1)[None]
        return np.stack([self.mask == i for i in range(count)])

    def planes(self) -> np.ndarray:
        """The pixels as augmentation takes them: u8[H,W], or u8[C+1,H,W] whose last plane is what is known."""
        if self.mask is not None:
            return self.mask
        if self.layers is None or self.judged is None:
            raise ValueError("a raster has neither a mask nor layers")
        return np.concatenate([self.layers, self.judged[None].astype(np.uint8)])

    def of_planes(self, planes: np.ndarray) -> Raster:
        if self.mask is not None:
            return replace(self, mask=planes)
        return replace(self, layers=planes[:-1], judged=planes[-1] > 0)

    def resized(self, planes: np.ndarray, side: int) -> np.ndarray:
        """Planes as u8[side,side] or u8[C+1,side,side], nearest neighbour."""
        if planes.ndim == 2:
            return cv2.resize(planes, (side, side), interpolation=cv2.INTER_NEAREST)
        return np.stack([cv2.resize(plane, (side, side), interpolation=cv2.INTER_NEAREST) for plane in planes])

    def target(self, planes: np.ndarray) -> dict[str, Tensor]:
        """What a network learns from; see Semantic.encode."""
        planes = np.ascontiguousarray(planes)
        if planes.ndim == 2:
            return {"mask": torch.from_numpy(planes)}
        layers = planes[:-1].copy()
        return {"layers": torch.from_numpy(np.where(layers == UNKNOWN, 0, layers)), "known": torch.from_numpy((planes[-1] == 1).astype(np.uint8))}


def raster(sample: Sample, size: tuple[int, int], count: int, mode: str, rest: int = 0) -> Raster:
    """The labels of one image of `count` classes at `size` (width, height).

    `rest` is the class of pixels that no area covers in multiclass, UNKNOWN where the model has none; Semantic.fit puts it first.
    """
    labels = sample.labels
    if isinstance(labels, SemanticMask):
        return _of_mask(labels, size, count, mode, rest)
    if not isinstance(labels, Instances):
        raise TypeError(f"areas are wanted, not {type(labels).__name__}")
    layers, known = _layers_of_objects(labels, sample.size, size, count)
    if mode == "multilabel":
        return Raster(mode, layers=layers, judged=known)
    if mode == "binary":
        return Raster(mode, mask=np.where(known, layers[0], UNKNOWN).astype(np.uint8))
    return Raster(mode, mask=np.where(known, _stacked(layers, rest), UNKNOWN).astype(np.uint8))


def _stacked(layers: np.ndarray, rest: int) -> np.ndarray:
    """u8[H,W] of class ids: small areas lie on large ones, `rest` is where there are none."""
    mask = np.full(layers.shape[1:], rest, np.uint8)
    for class_id in sorted(range(len(layers)), key=lambda i: -int(layers[i].sum())):
        mask[layers[class_id] > 0] = class_id
    return mask


def _of_mask(labels: SemanticMask, size: tuple[int, int], count: int, mode: str, rest: int) -> Raster:
    if labels.layers is not None:
        layers = np.stack([_scaled(layer.astype(np.uint8), size) for layer in labels.layers])
        layers = np.pad(layers[:count], ((0, max(0, count - len(layers))), (0, 0), (0, 0)))
        if mode == "multilabel":
            return Raster(mode, layers=layers, judged=np.ones(size[::-1], bool))
        if mode == "binary":
            return Raster(mode, mask=layers[0])
        return Raster(mode, mask=_stacked(layers, rest))
    if labels.classes is None:
        raise ValueError("a mask has neither classes nor layers")
    plain = _scaled(labels.classes, size)
    if mode == "multilabel":
        layers = np.stack([plain == i for i in range(count)]).astype(np.uint8)
        return Raster(mode, layers=layers, judged=plain != IGNORE)
    if mode == "binary":
        return Raster(mode, mask=np.where(plain == IGNORE, UNKNOWN, plain == 0).astype(np.uint8))
    return Raster(mode, mask=np.where(plain >= NOTHING, UNKNOWN, np.minimum(plain, UNKNOWN)).astype(np.uint8))


def _layers_of_objects(labels: Instances, original: tuple[int, int], size: tuple[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """u8[C,H,W] and what is known: nobody can tell what lies in a crowd, or in a box without an outline."""
    width, height = size
    scale = np.array([width / original[0], height / original[1]])
    layers, known = np.zeros((count, height, width), np.uint8), np.ones((height, width), bool)
    for i in range(len(labels)):
        shape = labels.shapes[i] if labels.shapes is not None else None
        if shape is None:
            x1, y1, x2, y2 = (labels.boxes[i] * np.tile(scale, 2)).round().astype(int)
            known[max(0, y1):y2, max(0, x1):x2] = False
            continue
        area = _area(shape, scale, size)
        if labels.crowd is not None and labels.crowd[i]:
            known &= area == 0
        else:
            layers[labels.classes[i]] |= area
    known |= layers.any(0)
    return layers, known


def _area(shape: Polygons | RLE, scale: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """u8[H,W] of a shape at another scale."""
    if isinstance(shape, RLE):
        return _scaled(mask_of(shape, shape.size[::-1]).astype(np.uint8), size)
    scaled = Polygons(tuple(ring * scale for ring in shape.rings), tuple(hole * scale for hole in shape.holes))
    return mask_of(scaled, size).astype(np.uint8)


def _scaled(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return plane if plane.shape == size[::-1] else cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST)

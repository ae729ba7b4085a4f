"""Augmentation for objects with outlines: zoom, shift, mirror, light. Labels are moved as geometry; masks exist at the size of training only.

An image is stretched to a square as in prediction, enlarged or shrunk, and cut or padded to the side of training (large-scale jitter:
Ghiasi et al. 2021, section 3). Masks are kept as bits, eight pixels a byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from engine.augment import seed_all
from engine.datasets.images import resize
from engine.datasets.mask_crops import Crop, crop_of
from engine.datasets.outlines import as_polygons, mask_of, rle_of_mask
from engine.types import RLE, Instances, Polygons

if TYPE_CHECKING:
    import albumentations as A

PRESETS = ("none", "flip", "standard", "large_scale")
SCALES = {"standard": (0.5, 1.5), "large_scale": (0.1, 2.0)}
FILL = 114
LEAST_PIXELS = 10


@dataclass(frozen=True)
class Move:
    """How an image comes to lie in a square of `side`: stretched to `extent`², put at (`left`, `top`), then mirrored or not."""

    side: int
    extent: int
    left: int = 0
    top: int = 0
    mirrored: bool = False


@dataclass(frozen=True)
class Scene:
    """What a network learns from: image u8[S,S,3], masks u8[n,S,S//8] (bits along x, the left one the highest), classes i64[n]."""

    image: np.ndarray
    masks: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    def labels(self) -> Instances:
        """The objects of the square, to be looked at."""
        shapes = tuple(rle_of_mask(unpacked(mask)) for mask in self.masks)
        return Instances(boxes_of(self.masks), self.classes, shapes=shapes)

    def kept(self, which: np.ndarray) -> Scene:
        """The objects that a mask or an index array picks."""
        return Scene(self.image, self.masks[which], self.classes[which])


def draw_move(preset: str, *, strong: bool, side: int, seed: int) -> Move:
    """The move that `seed` gives. Without `strong` (first and last epochs) only the flip is left."""
    if preset not in PRESETS:
        raise ValueError(f"augmentation preset {preset!r}: one of {', '.join(PRESETS)} expected")
    if preset == "none":
        return Move(side, side)
    random = np.random.default_rng([seed, 3])
    mirrored = bool(random.random() < 0.5)
    if preset not in SCALES or not strong:
        return Move(side, side, mirrored=mirrored)
    extent = max(1, round(side * float(random.uniform(*SCALES[preset]))))
    spare = side - extent
    left, top = (int(random.integers(min(0, spare), max(0, spare) + 1)) for _ in range(2))
    return Move(side, extent, left, top, mirrored)


def scene(image: np.ndarray, labels: Instances, size: tuple[int, int], move: Move) -> Scene:
    """Image and objects after a move. `labels` belong to the image at `size` = (width, height), of which `image` may be a smaller copy.

    Objects that keep fewer than LEAST_PIXELS pixels are left out; one without an outline is its box.
    """
    packed = np.zeros((len(labels), move.side, move.side // 8), np.uint8)
    for i in range(len(labels)):
        shape = labels.shapes[i] if labels.shapes is not None else None
        outline = shape if isinstance(shape, RLE) else as_polygons(shape, labels.boxes[i].tolist())
        mask, left, top = moved_mask(outline, size, move)
        if mask.size:
            whole = np.zeros((move.side, move.side), bool)
            whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
            packed[i] = np.packbits(whole, axis=-1)
    return Scene(moved_image(image, move), packed, labels.classes).kept(areas_of(packed) >= LEAST_PIXELS)


def moved_image(image: np.ndarray, move: Move) -> np.ndarray:
    """u8[S,S,3]; what lies outside the image is gray."""
    stretched = resize(image, (move.extent, move.extent))
    if move.extent == move.side and not (move.left or move.top):
        seen = stretched
    else:
        seen = np.full((move.side, move.side, 3), FILL, np.uint8)
        (to_rows, from_rows), (to_columns, from_columns) = (_overlap(start, move) for start in (move.top, move.left))
        seen[to_rows, to_columns] = stretched[from_rows, from_columns]
    return np.ascontiguousarray(seen[:, ::-1]) if move.mirrored else seen


def _overlap(start: int, move: Move) -> tuple[slice, slice]:
    """Where the stretched image lies in the square along one axis, and which part of it."""
    first, last = max(0, start), min(move.side, start + move.extent)
    return slice(first, last), slice(first - start, last - start)


def moved_mask(shape: Polygons | RLE, size: tuple[int, int], move: Move) -> Crop:
    """The pixels of a shape in the square: a part of it as bool[h,w], with its left and top."""
    scale = np.array([move.extent / size[0], move.extent / size[1]])
    offset = np.array([move.left, move.top], np.float64)
    mask, left, top = _filled(shape, scale, offset, move.side) if isinstance(shape, Polygons) else _averaged(shape, scale, offset, move.side)
    return (mask[:, ::-1], move.side - left - mask.shape[1], top) if move.mirrored else (mask, left, top)


def _window(low: np.ndarray, high: np.ndarray, side: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the whole pixels between two corners, inside the square."""
    left, top = np.clip(np.floor(low), 0, side).astype(int).tolist()
    right, bottom = np.clip(np.ceil(high), 0, side).astype(int).tolist()
    return left, top, right, bottom


def _filled(polygons: Polygons, scale: np.ndarray, offset: np.ndarray, side: int) -> Crop:
    """Outlines are moved as points."""
    rings = [ring * scale + offset for ring in polygons.rings]
    points = np.concatenate(rings)
    left, top, right, bottom = _window(points.min(0), points.max(0) + 1, side)
    if right <= left or bottom <= top:
        return np.zeros((0, 0), bool), 0, 0
    corner = np.array([left, top])
    holes = tuple(hole * scale + offset - corner for hole in polygons.holes)
    return mask_of(Polygons(tuple(ring - corner for ring in rings), holes), (right - left, bottom - top)), left, top


def _averaged(shape: RLE, scale: np.ndarray, offset: np.ndarray, side: int) -> Crop:
    """A pixel of the square belongs to a mask that covers half of it or more."""
    mask, x, y = crop_of(shape)
    corner = np.array([x, y])
    left, top, right, bottom = _window(corner * scale + offset, (corner + mask.shape[::-1]) * scale + offset, side)
    if not mask.size or right <= left or bottom <= top:
        return np.zeros((0, 0), bool), 0, 0
    down = (np.arange(top, bottom + 1) - offset[1]) / scale[1] - y
    across = (np.arange(left, right + 1) - offset[0]) / scale[0] - x
    return _means(_means(mask, down).T, across).T >= 0.5, left, top


def _means(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """f32[m,w]: means of the rows of [h,w] between m + 1 rising `edges`, which may cut rows; outside lies zero."""
    total = np.zeros((len(values) + 1, values.shape[1]), np.float32)
    np.cumsum(values, axis=0, out=total[1:])
    at = np.clip(edges, 0, len(values))
    low = np.minimum(at.astype(int), len(values) - 1)
    reached = total[low] + (total[low + 1] - total[low]) * (at - low)[:, None].astype(np.float32)
    return np.diff(reached, axis=0) / np.diff(edges)[:, None].astype(np.float32)


def areas_of(masks: np.ndarray) -> np.ndarray:
    """i64[n]: pixels of each mask u8[n,S,S//8]."""
    return np.bitwise_count(masks).sum((1, 2), dtype=np.int64)


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """f32[n,4]: x1, y1, x2, y2 in pixels around each mask u8[n,S,S//8]; none of them may be empty."""
    rows = np.bitwise_or.reduce(masks, axis=2) > 0
    columns = np.unpackbits(np.bitwise_or.reduce(masks, axis=1), axis=-1) if len(masks) else np.zeros((0, masks.shape[1]), np.uint8)
    low = [columns.argmax(1), rows.argmax(1)]
    high = [columns.shape[1] - columns[:, ::-1].argmax(1), rows.shape[1] - rows[:, ::-1].argmax(1)]
    return np.stack([*low, *high], 1).astype(np.float32)


def unpacked(mask: np.ndarray) -> np.ndarray:
    """bool[S,S] of one mask u8[S,S//8]."""
    return np.unpackbits(mask, axis=-1).astype(bool)


@cache
def _light(preset: str, strong: bool) -> A.Compose | None:
    if preset not in SCALES or not strong:
        return None
    import albumentations as A  # takes seconds, and who predicts does without
    return A.Compose([A.ColorJitter(brightness=(0.75, 1.25), contrast=(0.7, 1.4), saturation=(0.6, 1.4), hue=(-0.04, 0.04), p=0.5)])


def relit(image: np.ndarray, preset: str, *, strong: bool, seed: int) -> np.ndarray:
    """The image in another light; the labels stay."""
    transform = _light(preset, strong)
    if transform is None:
        return image
    seed_all(transform, seed)
    return transform(image=image)["image"]

"""Augmentation for boxes: photometric distortion, zoom out or crop, flip. The final stretch to the input square comes after."""

from __future__ import annotations

import albumentations as A
import numpy as np

from engine.augment import seed_all

PRESETS = ("none", "flip", "standard")
FILL = 114


def pipeline(preset: str, *, strong: bool) -> A.Compose | None:
    """The transforms of `preset` ("none", "flip", "standard"); `strong` False leaves the flip only (first and last epochs)."""
    if preset not in PRESETS:
        raise ValueError(f"augmentation preset {preset!r}: one of {', '.join(PRESETS)} expected")
    if preset == "none":
        return None
    steps: list[A.BasicTransform | A.BaseCompose] = [A.HorizontalFlip(p=0.5)]
    if preset == "standard" and strong:
        steps = [_photometric(), A.OneOf([_zoom_out(), _crop()], p=0.6), *steps]
    return A.Compose(steps, bbox_params=A.BboxParams(format="pascal_voc", label_fields=["keep"], min_visibility=0.25, min_area=4, clip=True))


def apply(transform: A.Compose | None, image: np.ndarray, boxes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transformed image, its boxes f32[M,4] and which of the given boxes they were (i64[M]). The same seed gives the same result."""
    if transform is None:
        return image, boxes, np.arange(len(boxes))
    height, width = image.shape[:2]
    inside = np.clip(boxes, 0, [width, height, width, height])
    usable = np.flatnonzero((inside[:, 2] - inside[:, 0] > 1e-3) & (inside[:, 3] - inside[:, 1] > 1e-3))
    seed_all(transform, seed)
    result = transform(image=image, bboxes=inside[usable], keep=usable.astype(np.float64))
    kept = np.asarray(result["keep"], np.float64).astype(np.int64).reshape(-1)
    return result["image"], np.asarray(result["bboxes"], np.float32).reshape(-1, 4), kept


def _photometric() -> A.BasicTransform:
    return A.ColorJitter(brightness=(0.75, 1.25), contrast=(0.7, 1.4), saturation=(0.6, 1.4), hue=(-0.04, 0.04), p=0.5)


def _zoom_out() -> A.BasicTransform:
    """Shrink to between a half and the whole and place anywhere."""
    return A.Affine(scale=(0.5, 1.0), translate_percent=(-0.25, 0.25), balanced_scale=False, keep_ratio=True, fill=FILL, p=1)


def _crop() -> A.BasicTransform:
    """Cut up to 30 % off each side; boxes that keep less than a quarter of their area go."""
    return A.RandomCropFromBorders(crop_left=0.3, crop_right=0.3, crop_top=0.3, crop_bottom=0.3, p=1)

"""Augmentation for masks and layers; image and mask always move together, labels by the nearest pixel.

Where a turn or a shift brings in what lay outside the image, the image is black and the mask says that nobody may judge it
(VOID, or IGNORE in u16 masks), so that the network is not taught that nothing is there.
"""

from __future__ import annotations

import albumentations as A
import cv2
import numpy as np

from engine.augment import seed_all

VOID = 255
PRESETS = ("none", "flip", "standard", "tutorial")


def pipeline(preset: str, *, strong: bool, side: int) -> A.Compose | None:
    """The transforms of `preset`, None for "none".

    "flip": left-right. "standard": that, small moves, light and a little noise; without `strong` (first and last epochs) only the flip.
    "tutorial": flips both ways, quarter turns, moves, elastic and grid distortion, light, colour, noise, in every epoch.
    Those two work at the size of training, `side`² pixels, so that noise and distortion mean the same for large and small images; `side` 0
    keeps the size. Normalising is the caller's.
    """
    if preset not in PRESETS:
        raise ValueError(f"augmentation preset {preset!r}: one of {', '.join(PRESETS)} expected")
    if preset == "none":
        return None
    if preset == "tutorial":
        return A.Compose([*_square(side), *_tutorial()])
    if preset == "standard" and strong:
        return A.Compose([*_square(side), A.HorizontalFlip(p=0.5), *_standard()])
    return A.Compose([A.HorizontalFlip(p=0.5)])


def apply(transform: A.Compose | None, image: np.ndarray, mask: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Transformed image u8[H,W,3] and its mask, u8/u16[H,W] classes or u8[C,H,W] layers. The same seed gives the same result.

    Pixels from outside the image are VOID in u8 masks and in every layer, IGNORE in u16 masks.
    """
    if transform is None:
        return image, mask
    seed_all(transform, seed)
    if mask is None:
        return transform(image=image)["image"], None
    if mask.dtype == np.uint16:  # as two planes of bytes: the fill, 255 in both, is IGNORE again
        result = transform(image=image, masks=[(mask & 0xFF).astype(np.uint8), (mask >> 8).astype(np.uint8)])
        low, high = (np.asarray(plane, np.uint16) for plane in result["masks"])
        return result["image"], low | high << 8
    result = transform(image=image, masks=list(mask) if mask.ndim == 3 else [mask])
    moved = np.stack([np.asarray(plane) for plane in result["masks"]]) if mask.ndim == 3 else np.asarray(result["masks"][0])
    return result["image"], np.ascontiguousarray(moved)


Pair = tuple[np.ndarray, np.ndarray | None]


def preview(image: np.ndarray, mask: np.ndarray | None, preset: str, count: int, seed: int, side: int = 256) -> list[Pair]:
    """What training would see of one image: `count` differently augmented pairs."""
    transform = pipeline(preset, strong=True, side=side)
    return [apply(transform, image, mask, seed + number) for number in range(count)]


def _square(side: int) -> list[A.BasicTransform]:
    """To side x side: areas when shrinking, as images are scaled everywhere else."""
    return [A.Resize(side, side, interpolation=cv2.INTER_LINEAR, area_for_downscale="image", p=1)] if side else []


def _standard() -> list[A.BasicTransform]:
    return [
        A.Affine(scale=(0.8, 1.25), translate_percent=(-0.1, 0.1), rotate=(-15, 15), keep_ratio=True, fill=0, fill_mask=VOID, p=0.7),
        A.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.02, 0.02), p=0.5),
        A.GaussNoise(std_range=(0.01, 0.05), per_channel=False, p=0.2),
        A.GaussianBlur(sigma_limit=(0.3, 1.0), p=0.1),
    ]


def _tutorial() -> list[A.BasicTransform]:
    """Tutorial 004, in its order and with its numbers; only what lies outside is VOID and not background."""
    return [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.RandomRotate90(p=0.5),
        A.Affine(scale=(0.9, 1.1), translate_percent=(0.1, 0.1), rotate=(-15, 15), fill_mask=VOID, p=0.5),
        A.ElasticTransform(fill_mask=VOID, p=0.3),
        A.GridDistortion(fill_mask=VOID, p=0.3),
        A.RandomBrightnessContrast(p=0.5),
        A.ColorJitter(p=0.5),
        A.GaussNoise(p=0.2),
    ]

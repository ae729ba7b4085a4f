"""Augmentation for image-level labels. Nothing here may change what the label says.

Left and right mean something in many images (the heart on a chest film, letters, traffic), above and below in nearly all. "standard" therefore
mirrors nothing; "flip" mirrors left-right and does nothing else; "tutorial" does both, as the training script of tutorial 002 mirrors by
default. No preset turns images upside down.
"""

from __future__ import annotations

import albumentations as A
import cv2
import numpy as np

from engine.augment import seed_all

PRESETS = ("none", "flip", "standard", "tutorial")


def pipeline(preset: str, *, strong: bool, side: int) -> A.Compose | None:
    """The transforms of `preset`; `strong` False leaves the flip only (first and last epochs). "standard" returns squares of `side` pixels."""
    if preset not in PRESETS:
        raise ValueError(f"augmentation preset {preset!r}: one of {', '.join(PRESETS)} expected")
    steps: list[A.BasicTransform | A.BaseCompose] = []
    if preset in ("standard", "tutorial") and strong:
        steps += [*_geometry(side), *_appearance()]
    if preset in ("flip", "tutorial"):
        steps.append(A.HorizontalFlip(p=0.5))
    return A.Compose(steps) if steps else None


def apply(transform: A.Compose | None, image: np.ndarray, mask: None, seed: int) -> tuple[np.ndarray, None]:
    """The transformed image u8[H,W,3]; called as for segmentation, but there is no mask. The same seed gives the same result."""
    if transform is None:
        return image, mask
    seed_all(transform, seed)
    return transform(image=image)["image"], mask


def preview(image: np.ndarray, preset: str, *, side: int, count: int = 8, seed: int = 0) -> list[np.ndarray]:
    """`count` images as training sees them, u8[side,side,3]."""
    transform = pipeline(preset, strong=True, side=side)
    seen = (apply(transform, image, None, seed + number)[0] for number in range(count))
    return [cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA) if each.shape[:2] != (side, side) else each for each in seen]


def _geometry(side: int) -> list[A.BasicTransform]:
    """Stretched to the square first, as without augmentation, so that the crop keeps 80 % of any shape of image."""
    return [
        A.Resize(side, side, interpolation=cv2.INTER_AREA),
        A.Affine(scale=(0.95, 1.05), translate_percent=(-0.04, 0.04), rotate=(-10, 10), border_mode=cv2.BORDER_REFLECT_101, p=0.7),
        A.RandomResizedCrop((side, side), scale=(0.8, 1.0), ratio=(0.9, 1.11), p=0.7),
    ]


def _appearance() -> list[A.BasicTransform | A.BaseCompose]:
    """Gray images stay gray: the same change for all channels."""
    return [
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
        A.OneOf([A.GaussianBlur(blur_limit=(3, 5), p=1), A.GaussNoise(std_range=(0.01, 0.04), per_channel=False, p=1)], p=0.3),
    ]

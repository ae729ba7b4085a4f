"""Photometric distortion: brightness, contrast, saturation, hue and order of the channels, each with a chance of its own.

The steps and their ranges are those of Liu et al. 2016 (SSD, section 3.6) as the published recipe of DEIMv2 uses them.
"""

from __future__ import annotations

import cv2
import numpy as np

BRIGHTNESS, CONTRAST, SATURATION = (0.875, 1.125), (0.5, 1.5), (0.5, 1.5)
HUE = 0.05  # of the circle, either way
HUES = 180  # steps of the circle in OpenCV's bytes


def distorted(image: np.ndarray, random: np.random.Generator, chance: float = 0.5) -> np.ndarray:
    """u8[H,W,3] in another light. Contrast changes before colour or after it, one as often as the other."""
    early, change = random.random() < 0.5, random.random(5) < chance
    scale, contrast, saturation = (float(random.uniform(*each)) for each in (BRIGHTNESS, CONTRAST, SATURATION))
    turn, order = round(float(random.uniform(-HUE, HUE)) * HUES), random.permutation(3)
    if image.size == 0:
        return image
    if change[0]:
        image = cv2.convertScaleAbs(image, alpha=scale)
    if change[1] and early:
        image = _contrast(image, contrast)
    if change[2]:
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, saturation, gray, 1 - saturation, 0)
    if change[3]:
        image = _turned(image, turn)
    if change[1] and not early:
        image = _contrast(image, contrast)
    return cv2.merge([cv2.extractChannel(image, int(place)) for place in order]) if change[4] else image


def _contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from the mean gray, or towards it."""
    mean = float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean())
    steps = np.clip(np.rint((np.arange(256) - mean) * factor + mean), 0, 255).astype(np.uint8)
    return cv2.LUT(image, steps)


def _turned(image: np.ndarray, turn: int) -> np.ndarray:
    """Every hue moved along the circle."""
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    steps = ((np.arange(256) + turn) % HUES).astype(np.uint8)
    colours[..., 0] = cv2.LUT(np.ascontiguousarray(colours[..., 0]), steps)
    return cv2.cvtColor(colours, cv2.COLOR_HSV2RGB)

"""Photometric distortion: brightness, contrast, saturation, hue and order of the channels, each with a chance of its own.

The steps and their ranges are those of Liu et al. 2016 (SSD, section 3.6) as the published recipe of DEIMv2 uses them.
"""

from __future__ import annotations

import cv2
import numpy as np

BRIGHTNESS, CONTRAST, SATURATION = (0.875, 1.125), (0.5, 1.5), (0.5, 1.5)
HUE = 0.05  # of the circle, either way
HUES = 180  # steps of the circle in OpenCV's bytes
GRAY = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


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
        image = cv2.transform(image, saturation * np.eye(3) + (1 - saturation) * np.array(GRAY))
    if change[3]:
        image = _turned(image, turn)
    if change[1] and not early:
        image = _contrast(image, contrast)
    return cv2.transform(image, np.eye(3)[order]) if change[4] else image


def _contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from the mean gray, or towards it."""
    mean = float(np.dot(GRAY, cv2.mean(image)[:3]))
    return cv2.transform(image, np.hstack([factor * np.eye(3), np.full((3, 1), (1 - factor) * mean)]))


def _turned(image: np.ndarray, turn: int) -> np.ndarray:
    """Every hue moved along the circle. Backwards is forwards with red and blue changed: OpenCV goes on past the end, not before the start."""
    there, back = (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB) if turn >= 0 else (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR)
    return cv2.cvtColor(cv2.add(cv2.cvtColor(image, there), (abs(turn), 0, 0, 0)), back)

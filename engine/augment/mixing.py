"""Two training images in one: MixUp of whole images (Zhang et al. 2017), and CopyBlend, objects laid on with soft edges (DEIMv2)."""

from __future__ import annotations

import cv2
import numpy as np

from engine.augment.boxed import Boxed

RATIO = (0.45, 0.55)
OBJECTS = 3
LEAST_AREA = 100  # pixels of an object that is worth laying on
WIDER = (0.1, 0.25)  # of its sides, what comes along of its surroundings
MOST_COVERED = 0.7


def mixup(first: Boxed, second: Boxed, random: np.random.Generator) -> Boxed:
    """Both images at once, with the boxes of both. They have the same size."""
    ratio = float(random.uniform(*RATIO))
    image = cv2.addWeighted(first.image, ratio, second.image, 1 - ratio, 0)
    return Boxed(image, np.concatenate([first.boxes, second.boxes]), np.concatenate([first.classes, second.classes]))


def copy_blend(base: Boxed, donor: Boxed, random: np.random.Generator) -> Boxed:
    """`base` with up to OBJECTS objects of `donor`, each somewhere else. Older objects that they hide are gone."""
    large = np.flatnonzero(donor.sides.prod(1) >= LEAST_AREA)
    image, placed, classes = base.image.copy(), [], []
    for index in random.permutation(large)[:OBJECTS]:
        box = _laid(image, donor, donor.boxes[index], random)
        if box is not None:
            placed.append(box)
            classes.append(donor.classes[index])
    if not placed:
        return base
    boxes, new = list(base.boxes), np.array(placed, np.float32)
    older = [i for i in range(len(boxes)) if _hidden(boxes[i], new) <= MOST_COVERED]
    younger = [i for i in range(len(new)) if _hidden(new[i], new[i + 1 :]) <= MOST_COVERED]
    labels = np.concatenate([base.classes[older], np.array(classes, np.int64)[younger]])
    return Boxed(image, np.concatenate([base.boxes[older], new[younger]]), labels)


def _laid(image: np.ndarray, donor: Boxed, box: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    """Lays an object and a rim of its surroundings on `image`, in place; returns its box there, None when it is too large to be moved."""
    wider = float(random.uniform(*WIDER)) / 2 * np.tile(box[2:] - box[:2], 2) * np.array([-1, -1, 1, 1])
    width, height = donor.size
    left, top, right, bottom = (int(each) for each in np.clip(np.rint(box + wider), 0, [width, height, width, height]))
    place = random.random(2)
    if right <= left or bottom <= top or right - left > image.shape[1] or bottom - top > image.shape[0]:
        return None
    x, y = int(place[0] * (image.shape[1] - (right - left) + 1)), int(place[1] * (image.shape[0] - (bottom - top) + 1))
    share = _soft((left, top, right, bottom), box)[..., None]
    target = image[y : y + bottom - top, x : x + right - left]
    target[:] = np.rint(donor.image[top:bottom, left:right] * share + target * (1 - share)).astype(np.uint8)
    return box + np.array([x - left, y - top, x - left, y - top], np.float32)


def _soft(patch: tuple[int, int, int, int], box: np.ndarray) -> np.ndarray:
    """f32[h,w]: 1 inside the box, falling to 0 at the border of the patch around it."""
    shares = []
    for low, high, first, last in ((patch[0], patch[2], box[0], box[2]), (patch[1], patch[3], box[1], box[3])):
        middle = np.arange(low, high) + 0.5
        before, after = max(1.0, first - low), max(1.0, high - last)
        outside = np.maximum((first - middle) / before, (middle - last) / after)
        shares.append(np.clip(1 - outside, 0, 1).astype(np.float32))
    return np.minimum(shares[1][:, None], shares[0][None])


def _hidden(box: np.ndarray, above: np.ndarray) -> float:
    """The largest share of a box that one of the boxes above it covers."""
    if not len(above):
        return 0.0
    common = (np.minimum(box[2:], above[:, 2:]) - np.maximum(box[:2], above[:, :2])).clip(0).prod(1)
    return float(common.max() / max(1e-9, float((box[2:] - box[:2]).prod())))

"""Overlap of masks: Dice, IoU and surface distance, image by image. Nothing is kept but sums.

Each name says what it averages. With TP, FP, FN counted in pixels, Dice = 2 TP / (2 TP + FP + FN) and IoU = TP / (TP + FP + FN).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

BACKGROUND = "background"
SURFACE_SHARE = 0.95
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


class MaskMeter:
    """Masks in, metrics out. A class called "background" is measured, but left out of the means over classes.

    `exclusive`: a pixel has one class, and `pixel_accuracy` is told too. `hausdorff` asks for surface distances:
    about 0.1 s of CPU for a class of an image of four megapixels, so reports and `evaluate` always hold them, the measurement of an epoch never.
    """

    def __init__(self, classes: Sequence[str], *, exclusive: bool, hausdorff: bool = False) -> None:
        self.classes, self.exclusive, self.hausdorff = tuple(classes), exclusive, hausdorff
        self._counted = np.array([name.strip().casefold() != BACKGROUND for name in classes], bool)
        count = len(self.classes)
        self._pixels = np.zeros((3, count), np.int64)  # TP, FP, FN
        self._shown, self._absent, self._alarms = (np.zeros(count, np.int64) for _ in range(3))
        self._dice, self._iou = np.zeros(count), np.zeros(count)
        self._distance, self._distances = np.zeros(count), np.zeros(count, np.int64)
        self._images = self._empty = self._empty_alarms = self._right = self._judged = 0
        self._by_group: dict[tuple[str, Any], np.ndarray] = {}
        self._grouped = False

    def add(self, truth: np.ndarray, found: np.ndarray, known: np.ndarray | None = None, group: str | None = None) -> None:
        """One image: bool[C,H,W] twice, and the pixels that may be judged, bool[H,W] (None = all). `group` is a patient.

        An image without a pixel to judge does not count.
        """
        if known is not None:
            if not known.any():
                return
            truth, found = truth & known, found & known
        wanted, given = np.count_nonzero(truth, axis=(1, 2)), np.count_nonzero(found, axis=(1, 2))
        hits = np.count_nonzero(truth & found, axis=(1, 2))
        self._add_counts(wanted, given, hits)
        self._add_group(np.stack([hits, given - hits, wanted - hits]), group)
        if self.exclusive:
            self._judged += truth[0].size if known is None else int(np.count_nonzero(known))
            wrong = (truth != found).any(0)
            self._right += wrong.size - int(np.count_nonzero(wrong)) - (0 if known is None else int(np.count_nonzero(~known)))
        if self.hausdorff:
            for index in np.flatnonzero((wanted > 0) & (given > 0)):
                self._distance[index] += hausdorff95(truth[index], found[index])
                self._distances[index] += 1

    def result(self) -> dict[str, Any]:
        """{"metrics": means over classes, "per_class": [...]}; None = undefined, and never part of a mean.

        `dice`, `iou`: mean over the images that show the class. `dice_with_empty`, `iou_with_empty`: over all images; one without the class counts 1
        when nothing of it was found, else 0. `dice_global`, `iou_global`: from the pixels of all images summed. `dice_patient`: from the pixels of a
        patient summed, mean over the patients who show the class. `hausdorff95`: pixels, over the `hausdorff95_images` images that show the class
        and where some of it was found. `empty_images` show no class (per class: not this one); a false alarm found one there all the same.
        """
        values = self._values()
        metrics: dict[str, Any] = {name: self._mean(column) for name, column in values.items()}
        metrics |= {"images": self._images, "empty_images": self._empty, "empty_images_with_false_alarm": self._empty_alarms}
        if self.exclusive:
            metrics["pixel_accuracy"] = self._right / self._judged if self._judged else None
        counts = {"images": self._shown, "empty_images": self._absent, "empty_images_with_false_alarm": self._alarms}
        if self.hausdorff:
            counts["hausdorff95_images"] = self._distances
            metrics["hausdorff95_images"] = int(self._distances[self._counted].sum())
        per_class = [{"name": name, **{key: _plain(column[i]) for key, column in values.items()},
                      **{key: int(column[i]) for key, column in counts.items()}} for i, name in enumerate(self.classes)]
        return {"metrics": metrics, "per_class": per_class}

    def _add_counts(self, wanted: np.ndarray, given: np.ndarray, hits: np.ndarray) -> None:
        shown, alarm = wanted > 0, (wanted == 0) & (given > 0)
        self._images += 1
        self._pixels += np.stack([hits, given - hits, wanted - hits])
        self._dice += np.where(shown, _ratio(2 * hits, wanted + given, 0.0), 0)
        self._iou += np.where(shown, _ratio(hits, wanted + given - hits, 0.0), 0)
        self._shown += shown
        self._absent += ~shown
        self._alarms += alarm
        if not shown[self._counted].any():
            self._empty += 1
            self._empty_alarms += int(alarm[self._counted].any())

    def _add_group(self, pixels: np.ndarray, group: str | None) -> None:
        """An image without a group is a patient of its own."""
        self._grouped |= group is not None
        key = ("image", self._images) if group is None else ("group", group)
        self._by_group[key] = self._by_group.get(key, 0) + pixels

    def _values(self) -> dict[str, np.ndarray]:
        """f64[C] by name, NaN where undefined."""
        (hits, extra, missed), images = self._pixels, self._shown + self._absent
        quiet = self._absent - self._alarms
        values = {
            "dice": _ratio(self._dice, self._shown), "iou": _ratio(self._iou, self._shown),
            "dice_global": _ratio(2 * hits, 2 * hits + extra + missed), "iou_global": _ratio(hits, hits + extra + missed),
            "dice_with_empty": _ratio(self._dice + quiet, images), "iou_with_empty": _ratio(self._iou + quiet, images),
        }
        if self._grouped:
            hits, extra, missed = np.stack(list(self._by_group.values()), 1)
            dice = np.where(hits + missed > 0, _ratio(2 * hits, 2 * hits + extra + missed), np.nan)
            values["dice_patient"] = _ratio(np.nansum(dice, 0), np.isfinite(dice).sum(0))
        if self.hausdorff:
            values["hausdorff95"] = _ratio(self._distance, self._distances)
        return values

    def _mean(self, column: np.ndarray) -> float | None:
        defined = column[self._counted & np.isfinite(column)]
        return float(defined.mean()) if defined.size else None


def hausdorff95(truth: np.ndarray, found: np.ndarray) -> float:
    """The greater of the two directed 95 % distances between the outlines of two masks bool[H,W], in pixels. Neither may be empty.

    The outline is the mask's pixels with a neighbour (of four) outside. With 100 % this would be the Hausdorff distance of the outlines.
    """
    return _surface_distance(truth, found, SURFACE_SHARE)


def _surface_distance(truth: np.ndarray, found: np.ndarray, share: float) -> float:
    box = tuple(slice(where.min(), where.max() + 1) for where in np.nonzero(truth | found))
    outlines = [_outline(mask[box]) for mask in (truth, found)]
    there, back = (_distances(outlines[1 - i])[outlines[i]] for i in (0, 1))
    return float(max(np.quantile(there, share), np.quantile(back, share)))


def _outline(mask: np.ndarray) -> np.ndarray:
    """bool[H,W]; what lies beyond the border is outside."""
    inner = cv2.erode(mask.astype(np.uint8), CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    return mask & (inner == 0)


def _distances(places: np.ndarray) -> np.ndarray:
    """f64[H,W]: of each pixel to the nearest of the places, exact but for rounding to f32; many times faster than SciPy's."""
    return cv2.distanceTransform((~places).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)


def _ratio(above: np.ndarray, below: np.ndarray, undefined: float = np.nan) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(below), undefined), where=np.asarray(below) > 0)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

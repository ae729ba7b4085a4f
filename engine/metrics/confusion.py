"""Which class is taken for which."""

from __future__ import annotations

import numpy as np


def confusion_matrix(truth: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """i64[C,C] of images: rows are the true class, columns the one that was found. truth, found i64[N]."""
    return np.bincount(np.asarray(truth, np.int64) * classes + found, minlength=classes * classes).reshape(classes, classes)


def confusion_per_class(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """i64[C,2,2] of labels: [[TN, FP], [FN, TP]] of each class. truth [N,C] is 1 or 0, other values are not judged; found bool[N,C]."""
    cells = [[np.count_nonzero((truth == value) & (found == given), axis=0) for given in (False, True)] for value in (0, 1)]
    return np.moveaxis(np.array(cells, np.int64), -1, 0)


def accuracy(matrix: np.ndarray) -> float | None:
    """The share of images whose class was found; None without images."""
    return float(np.trace(matrix) / matrix.sum()) if matrix.sum() else None


def macro_f1(matrix: np.ndarray) -> float | None:
    """Mean of F1 = 2 TP / (true + found) over the classes that truth shows; None when it shows none."""
    shown = matrix.sum(1) > 0
    both = matrix.sum(0) + matrix.sum(1)
    return float((2 * np.diag(matrix)[shown] / both[shown]).mean()) if shown.any() else None

"""Augmentation: one module for each kind of labels."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import albumentations as A


def seed_all(transform: A.Compose, seed: int) -> None:
    """All draws follow from `seed`, each by itself.

    Compose.set_random_seed would give every step the same seed: they would all draw the same number, and happen together or not at all.
    """
    transform.set_random_state(np.random.default_rng(seed), random.Random(seed))

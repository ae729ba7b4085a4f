"""Every step of an augmentation draws for itself: none depends on what another one drew."""

import numpy as np
import pytest

from engine.augment import classification, detection, segmentation

IMAGE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


def pictures(kind, preset):
    if kind is detection:
        transform = kind.pipeline(preset, strong=True)
        return [kind.apply(transform, IMAGE, np.array([[8.0, 8, 40, 40]]), seed)[0] for seed in range(100)]
    transform = kind.pipeline(preset, strong=True, side=64)
    return [kind.apply(transform, IMAGE, None, seed)[0] for seed in range(100)]


@pytest.mark.parametrize("kind, preset, untouched", [(detection, "standard", 0.1), (segmentation, "standard", 0.05), (segmentation, "tutorial", 0.01),
                                                     (classification, "standard", 0.03), (classification, "tutorial", 0.02)])
def test_few_images_stay_as_they_are(kind, preset, untouched):
    same = sum(np.array_equal(each, IMAGE) for each in pictures(kind, preset))
    assert same <= 100 * untouched + 8, "100 images, about three standard deviations above the share that chance leaves"


def test_a_flip_says_nothing_about_the_steps_beside_it():
    transform, columns = segmentation.pipeline("tutorial", strong=True, side=64), np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    seen = [segmentation.apply(transform, IMAGE, columns, seed)[1] for seed in range(200)]
    whole = [each for each in seen if set(np.unique(each)) == set(range(64)) and (each[0] == each[-1]).all()]  # neither turned nor distorted
    mirrored = [each[0, 0] == 63 for each in whole]
    assert 0.2 < np.mean(mirrored) < 0.8

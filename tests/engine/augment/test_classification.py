"""What may happen to an image whose label must stay true."""

import numpy as np
import pytest

from engine.augment import classification
from engine.augment.classification import PRESETS, pipeline, preview


def apply(transform, image, seed):
    return classification.apply(transform, image, None, seed)[0]


@pytest.fixture
def marked():
    """Gray noise with a bright square at the upper left."""
    image = np.repeat(np.random.default_rng(0).integers(20, 60, (90, 140, 1), np.uint8), 3, 2)
    image[10:40, 10:50] = 230
    return image


def centre(image):
    rows, columns = np.nonzero(image[..., 0] > 150)
    return columns.mean() / image.shape[1], rows.mean() / image.shape[0]


def test_the_same_seed_gives_the_same_image_and_another_seed_another(marked):
    transform = pipeline("standard", strong=True, side=64)
    first, second, third = (apply(transform, marked, seed) for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert np.array_equal(first, apply(pipeline("standard", strong=True, side=64), marked, 3))


def test_the_standard_mirrors_nothing_and_no_preset_turns_upside_down(marked):
    for preset in PRESETS:
        places = [centre(apply(pipeline(preset, strong=True, side=64), marked, seed)) for seed in range(40)]
        mirrored = [x > 0.5 for x, _ in places]
        assert all(y < 0.5 for _, y in places)
        assert any(mirrored) == (preset in ("flip", "tutorial"))
        assert not all(mirrored)


def test_most_of_the_image_stays(marked):
    columns = np.tile(np.linspace(0, 255, 200, dtype=np.uint8)[None, :, None], (120, 1, 3))
    spread = [np.ptp(apply(pipeline("standard", strong=True, side=96), columns, seed).astype(float)) for seed in range(30)]
    assert min(spread) > 140


def test_gray_stays_gray_and_the_size_is_the_networks(marked):
    for seed in range(20):
        seen = apply(pipeline("standard", strong=True, side=64), marked, seed)
        assert seen.shape == (64, 64, 3)
        assert seen.dtype == np.uint8
        assert (seen == seen[..., :1]).all()


def test_weak_epochs_keep_the_flip_only(marked):
    assert pipeline("standard", strong=False, side=64) is None
    assert pipeline("none", strong=True, side=64) is None
    for seed in range(8):
        seen = apply(pipeline("tutorial", strong=False, side=64), marked, seed)
        assert np.array_equal(seen, marked) or np.array_equal(seen, marked[:, ::-1])
    assert apply(None, marked, 0) is marked


def test_the_preview_shows_squares_as_training_sees_them(marked):
    for preset in PRESETS:
        shown = preview(marked, preset, side=48, count=3, seed=5)
        assert [each.shape for each in shown] == [(48, 48, 3)] * 3
    assert np.array_equal(preview(marked, "standard", side=48)[0], apply(pipeline("standard", strong=True, side=48), marked, 0))


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="standard"):
        pipeline("wild", strong=True, side=64)

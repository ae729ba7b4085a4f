"""Augmented masks stay aligned with their images, whatever their kind."""

import albumentations as A
import numpy as np
import pytest

from engine.augment.segmentation import PRESETS, VOID, apply, pipeline, preview
from engine.types import IGNORE

SIDE = 96
ACTIVE = [preset for preset in PRESETS if preset != "none"]
GEOMETRY = (A.HorizontalFlip, A.VerticalFlip, A.RandomRotate90, A.Affine, A.ElasticTransform, A.GridDistortion, A.Resize)


def scene(height=120, width=160):
    """Two blocks on black, class 1 red 200 and class 2 red 100, far enough from the edges."""
    mask = np.zeros((height, width), np.uint8)
    mask[30:70, 40:80], mask[60:100, 90:130] = 1, 2
    image = np.zeros((height, width, 3), np.uint8)
    image[mask == 1], image[mask == 2] = 200, 100
    return image, mask


def geometry_only(transform):
    """The same pipeline without what changes light, so that red still tells the class."""
    return A.Compose([step for step in transform.transforms if isinstance(step, GEOMETRY)])


@pytest.mark.parametrize("preset", ACTIVE)
@pytest.mark.parametrize("kind", ["u8", "u16", "layers"])
def test_image_and_mask_move_together(preset, kind):
    image, mask = scene()
    given = {"u8": mask, "u16": mask.astype(np.uint16) * 300, "layers": np.stack([mask == 1, mask == 2]).astype(np.uint8)}[kind]
    transform = geometry_only(pipeline(preset, strong=True, side=SIDE))
    for seed in range(10):
        moved, truth = apply(transform, image, given, seed)
        if kind == "u16":
            assert set(np.unique(truth)) <= {0, 300, 600, IGNORE}
            truth = np.where(truth == IGNORE, VOID, truth // 300)
        if kind == "layers":
            truth = np.where(truth[0] == VOID, VOID, truth[0] + 2 * truth[1])
        assert truth.shape == moved.shape[:2]
        seen = np.select([moved[..., 0] > 150, moved[..., 0] > 50], [1, 2], 0)
        wrong = (seen != truth) & (truth != VOID)
        assert wrong.mean() < 0.02  # rims, where red is mixed with black
        assert {1, 2} <= set(np.unique(truth))


@pytest.mark.parametrize("preset", ["standard", "tutorial"])
def test_what_lay_outside_the_image_is_void_and_never_background(preset):
    white, empty = np.full((80, 80, 3), 255, np.uint8), np.zeros((80, 80), np.uint8)
    transform = geometry_only(pipeline(preset, strong=True, side=SIDE))
    shares = []
    for seed in range(30):
        moved, truth = apply(transform, white, empty, seed)
        black = moved[..., 0] == 0
        assert (truth[black] == VOID).all()
        assert moved[truth == 0].min() > 0
        shares.append(black.mean())
    assert max(shares) > 0.05


def test_pixels_that_nobody_may_judge_stay_so():
    image, mask = scene()
    mask[mask == 2] = VOID
    for seed in range(5):
        _, truth = apply(pipeline("flip", strong=True, side=SIDE), image, mask, seed)
        assert (truth == VOID).sum() == (mask == VOID).sum()


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_any_number_of_layers_moves(count):
    image, mask = scene()
    layers = np.repeat((mask == 1)[None].astype(np.uint8), count, 0)
    _, moved = apply(pipeline("tutorial", strong=True, side=SIDE), image, layers, 3)
    assert moved.shape == (count, SIDE, SIDE)
    assert (moved == moved[0]).all()


@pytest.mark.parametrize("preset", ACTIVE)
def test_the_same_seed_gives_the_same_picture_and_others_differ(preset):
    image, mask = scene()
    runs = [apply(pipeline(preset, strong=True, side=SIDE), image, mask, seed) for seed in (5, 5, *range(6, 12))]
    assert all(np.array_equal(*pair) for pair in zip(runs[0], runs[1], strict=True))
    assert any(not np.array_equal(runs[0][0], other) for other, _ in runs[2:])


@pytest.mark.parametrize("preset", ACTIVE)
def test_an_image_without_a_mask_looks_as_with_one(preset):
    image, mask = scene()
    alone, nothing = apply(pipeline(preset, strong=True, side=SIDE), image, None, 4)
    assert nothing is None
    assert np.array_equal(alone, apply(pipeline(preset, strong=True, side=SIDE), image, mask, 4)[0])


def test_the_tutorial_preset_is_the_list_of_tutorial_004():
    steps = [(type(step).__name__, step.p) for step in pipeline("tutorial", strong=True, side=256).transforms]
    assert steps == [
        ("Resize", 1), ("HorizontalFlip", 0.5), ("VerticalFlip", 0.5), ("RandomRotate90", 0.5), ("Affine", 0.5), ("ElasticTransform", 0.3),
        ("GridDistortion", 0.3), ("RandomBrightnessContrast", 0.5), ("ColorJitter", 0.5), ("GaussNoise", 0.2),
    ]
    affine = pipeline("tutorial", strong=False, side=256).transforms[4]
    assert affine.scale == {"x": (0.9, 1.1), "y": (0.9, 1.1)}
    assert affine.translate_percent == {"x": (0.1, 0.1), "y": (0.1, 0.1)}
    assert affine.rotate == (-15, 15)


def test_the_quiet_epochs_of_standard_only_flip():
    assert [type(step) for step in pipeline("standard", strong=False, side=SIDE).transforms] == [A.HorizontalFlip]
    assert not any(isinstance(step, A.VerticalFlip) for step in pipeline("standard", strong=True, side=SIDE).transforms)


def test_no_preset_means_no_change():
    image, mask = scene()
    assert pipeline("none", strong=True, side=SIDE) is None
    assert apply(None, image, mask, 0) == (image, mask)


def test_a_preset_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="tutorial"):
        pipeline("extreme", strong=True, side=SIDE)


def test_the_preview_shows_as_many_pairs_as_asked_in_the_size_of_training():
    image, mask = scene()
    pairs = preview(image, mask, "tutorial", 4, 0, side=SIDE)
    assert [(seen.shape, truth.shape) for seen, truth in pairs] == [((SIDE, SIDE, 3), (SIDE, SIDE))] * 4
    assert not np.array_equal(pairs[0][0], pairs[1][0])
    assert np.array_equal(pairs[1][0], preview(image, mask, "tutorial", 4, 0, side=SIDE)[1][0])

"""Areas piece by piece, from several sides, and brought to the size of the original."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config import TrainConfig
from engine.models.network import Network
from engine.tasks import windows
from engine.tasks.semantic import Semantic
from engine.types import Sample, SemanticMask

SIDE = 64
CONFIG = TrainConfig(model="unet", task="semantic", augment="none", image_size=SIDE)


def masks(array, size=(64, 48)):
    return [Sample(Path("x.png"), size, SemanticMask(classes=np.asarray(array, np.uint16)))]


def bound(mode, classes):
    return Semantic({"mode": mode, "num_classes": classes})


def test_a_crop_is_a_piece_of_the_image_at_its_own_resolution_with_its_mask():
    config = CONFIG.replace(resize="crop")
    image = np.random.default_rng(0).integers(0, 255, (200, 150, 3), np.uint8)
    plain = (image[..., 0] > 100).astype(np.uint16)
    places = set()
    for seed in range(6):
        pixels, target = bound("multiclass", 2).encode(config, masks(plain, size=(150, 200))[0], image, seed, True)
        assert np.array_equal(target["mask"].numpy(), pixels[..., 0] > 100)
        places.add(pixels[0, 0].tobytes())
    assert len(places) > 1


def test_a_crop_of_an_image_that_is_too_small_is_filled_by_mirroring_it():
    image = np.random.default_rng(0).integers(0, 255, (5, 150, 3), np.uint8)
    plain = (image[..., 0] > 100).astype(np.uint16)
    pixels, target = bound("multiclass", 2).encode(CONFIG.replace(resize="crop"), masks(plain, size=(150, 5))[0], image, 0, True)
    assert pixels.shape == (SIDE, SIDE, 3) and np.array_equal(target["mask"].numpy(), pixels[..., 0] > 100)


SIZES = [(64, 64), (200, 150), (65, 64), (7, 300), (1, 1), (63, 129)]


@pytest.mark.parametrize("height, width", SIZES)
def test_windows_give_back_a_constant_and_a_linear_function(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(width) % 256, (np.arange(height) % 256)[:, None]
    found = windows.slide(lambda pieces: torch.full((len(pieces), 1, SIDE, SIDE), 0.3), image, SIDE)
    np.testing.assert_allclose(found, np.full((1, height, width), 0.3), atol=1e-6)
    linear = windows.slide(lambda pieces: torch.from_numpy(pieces.transpose(0, 3, 1, 2).astype(np.float32)), image, SIDE)
    np.testing.assert_allclose(linear, image.transpose(2, 0, 1), atol=1e-3)


@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("views", [False, True])
def test_windows_do_not_change_what_a_pixelwise_network_says(height, width, views):
    image = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)

    def network(pieces):
        return torch.from_numpy(np.ascontiguousarray(pieces.transpose(0, 3, 1, 2))).float() / 64 - 2
    found = bound("multilabel", 3).from_windows(network, image, SIDE, views)
    np.testing.assert_allclose(found.probabilities, network(image[None])[0].sigmoid(), atol=1e-3)
    assert found.layers.shape == (3, height, width)


def test_each_pixel_is_seen_by_windows_that_overlap_by_a_quarter_at_least():
    for length in range(SIDE, 400):
        steps = windows._steps(length, SIDE)
        assert steps[0] == 0 and steps[-1] == length - SIDE
        assert max(np.diff(steps), default=0) <= SIDE * (1 - windows.OVERLAP) + 1


class Pixelwise(Network):
    def forward(self, images):
        return images * 3 - 1


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_eight_views_of_a_pixelwise_network_are_the_plain_one(mode):
    task, pixels = bound(mode, 3), torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    sizes = [(100, 30), (SIDE, SIDE)]
    for plain, views in zip(task.decode(Pixelwise()(pixels), sizes), task.from_views(Pixelwise(), pixels, sizes), strict=True):
        np.testing.assert_allclose(views.probabilities, plain.probabilities, atol=2e-3)


def test_every_view_is_another_one():
    seen = []

    def watch(pixels):
        seen.append(pixels.clone())
        return pixels

    pixels = torch.rand(1, 3, 8, 8)
    bound("multilabel", 3).from_views(watch, pixels, [(8, 8)])
    assert len(seen) == 8 and len({each.numpy().tobytes() for each in seen}) == 8


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (64, 64), (101, 77)])
@pytest.mark.parametrize("mode, classes", [("binary", 1), ("multiclass", 3), ("multilabel", 3)])
def test_decoding_gives_masks_of_the_size_of_the_original(mode, classes, size):
    found = bound(mode, classes).decode(torch.randn(1, classes, SIDE, SIDE), [size])[0]
    shape = (size[1], size[0])
    assert found.probabilities.shape == (classes, *shape)
    if mode == "multiclass":
        assert found.classes.shape == shape and found.layers is None and found.classes.max() < classes
        np.testing.assert_allclose(found.probabilities.sum(0, dtype=np.float32), 1, atol=5e-3)
    else:
        assert found.layers.shape == (classes, *shape) and found.layers.dtype == bool and found.classes is None


def test_a_target_decodes_to_the_mask_it_came_from():
    plain = np.kron(np.random.default_rng(0).integers(0, 3, (6, 8)), np.ones((8, 8))).astype(np.uint16)
    one = masks(plain)[0]
    _, target = bound("multiclass", 3).encode(CONFIG.replace(image_size=96), one, np.zeros((48, 64, 3), np.uint8), 0, False)
    logits = torch.nn.functional.one_hot(target["mask"].long(), 3).permute(2, 0, 1)[None].float() * 20
    found = bound("multiclass", 3).decode(logits, [(64, 48)])[0]
    assert (found.classes == plain).mean() > 0.97

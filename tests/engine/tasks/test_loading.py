"""Training images: what a task gets beside the image itself."""

from pathlib import Path

import numpy as np
import pytest

from engine.tasks.loading import TrainingImages
from engine.tasks.task import Task
from engine.types import Instances, Sample


@pytest.fixture
def samples(picture, tmp_path):
    return [Sample(picture(tmp_path / f"{i}.png", seed=i), (64, 48), Instances.empty(), name=f"{i}.png") for i in range(5)]


def test_another_image_can_be_picked_by_a_seed_and_is_never_the_same(samples):
    def encode(sample, image, seed, strong, pick):
        other, pixels = pick(seed)
        again, _ = pick(seed)
        assert other is again and other is not sample and pixels.shape == (48, 64, 3)
        return pixels, {"other": samples.index(other)}

    images = TrainingImages(samples, 64, encode, 3)
    found = [images[epoch, index, True][1]["other"] for epoch in range(12) for index in range(5)]
    assert found == [images[epoch, index, True][1]["other"] for epoch in range(12) for index in range(5)]
    assert set(found) == set(range(5)), "every image has its turn"


def test_nothing_is_picked_where_there_is_no_other_image_or_it_cannot_be_read(samples):
    picked = []

    def encode(sample, image, seed, strong, pick):
        picked.append(pick(seed))
        return image, {}

    TrainingImages(samples[:1], 64, encode, 0)[1, 0, True]
    missing = Sample(Path("nowhere.png"), (64, 48), Instances.empty())
    TrainingImages([samples[0], missing], 64, encode, 0)[1, 0, True]
    assert picked == [None, None]


def test_a_task_that_mixes_nothing_encodes_as_ever():
    class Plain(Task):
        name = "plain"

        def encode(self, config, sample, image, seed, strong):
            return image + seed, {"strong": strong}

    def never(seed):
        raise AssertionError("no other image is wanted")

    pixels, target = Plain().encode_mixed(None, None, np.zeros((2, 2, 3), np.uint8), 5, True, never)
    assert (pixels == 5).all() and target == {"strong": True}

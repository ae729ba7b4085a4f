"""Which images a model would learn most from: the formulas against plain computations, the choice against all others, the kept order."""

import itertools
import math
import time

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from torch import nn

from engine import ranking
from engine.datasets import labeling
from engine.datasets.labeling_lists import ranks
from engine.datasets.store import Dataset
from engine.models import create
from engine.predict import Predictor, Preprocess
from engine.ranking import chosen, uncertainty
from engine.tasks.task import tasks
from engine.types import Instances, Reading, Sample, SemanticMask, Tags, UserError

SIZE = (64, 48)


class Fake(Predictor):
    """Answers by the mean brightness of an image: `answer(brightness)`."""

    def __init__(self, task, classes, answer, **options):
        super().__init__(nn.Identity(), name="fake", task=tasks.get(task).bound(options), classes=classes,
                         preprocess=Preprocess(32, (0, 0, 0), (1, 1, 1)), device=torch.device("cpu"))
        self.answer = answer

    def batch(self, images):
        return [self.answer(float(each.mean())) for each in images]


@pytest.fixture
def make(tmp_path, picture):
    def made(count, task="detect", classes=("cat", "dog")):
        samples = [Sample(picture(tmp_path / "images" / f"{number}.png", seed=number), SIZE, None, "train", None, f"{number}.png")
                   for number in range(count)]
        return Dataset.create(tmp_path / "set", "set", Reading(classes, iter(samples), task))
    return made


def found(*objects):
    return Instances(np.array([[0, 0, 9, 9]] * len(objects)).reshape(-1, 4), np.array([number for number, _ in objects], int),
                     np.array([score for _, score in objects]))


# ---- uncertainty

def test_tags_that_exclude_each_other_are_unsure_by_their_margin():
    assert math.isclose(uncertainty(Tags(np.array([0.5, 0.3, 0.2])), exclusive=True), 1 - 0.2, abs_tol=1e-6)
    assert math.isclose(uncertainty(Tags(np.array([1.0, 0.0])), exclusive=True), 0, abs_tol=1e-6)


def test_tags_of_their_own_are_unsure_by_their_entropy_as_scipy_computes_it():
    chances = np.array([0.1, 0.5, 0.99, 0.0], np.float32)
    wanted = np.mean([entropy([p, 1 - p], base=2) for p in chances.astype(float)])
    assert math.isclose(uncertainty(Tags(np.append(chances, np.nan))), wanted, abs_tol=1e-6)


@pytest.mark.parametrize("classes", [2, 5])
def test_pixels_are_unsure_by_their_entropy_as_scipy_computes_it(classes):
    chances = np.random.default_rng(0).dirichlet(np.ones(classes), (20, 30)).transpose(2, 0, 1)
    answer = SemanticMask(classes=chances.argmax(0).astype(np.uint16), probabilities=chances.astype(np.float16))
    assert math.isclose(uncertainty(answer), (entropy(chances, base=classes, axis=0)).mean(), abs_tol=2e-3)


def test_pixels_that_may_show_several_classes_are_unsure_of_each():
    chances = np.random.default_rng(0).random((3, 20, 30))
    answer = SemanticMask(layers=chances > 0.5, probabilities=chances.astype(np.float16))
    assert math.isclose(uncertainty(answer), entropy(np.stack([chances, 1 - chances]), base=2, axis=0).mean(), abs_tol=2e-3)


def test_objects_are_unsure_by_their_scores_and_by_what_the_mirror_shows():
    plain = found((0, 0.9), (0, 0.3), (1, 0.5), (1, 0.05))
    first = (0.9 * 0.2 + 0.3 * 0.6) / 1.2
    spread = (first + 1.0) / 2
    assert math.isclose(uncertainty(plain, plain, threshold=0.4), spread / 2, abs_tol=1e-6)
    mirrored = found((0, 0.9), (0, 0.8))
    disagreement = (1 / 2 + 1 / 1) / 2  # one cat and two; one dog and none
    assert math.isclose(uncertainty(plain, mirrored, threshold=0.4), (spread + disagreement) / 2, abs_tol=1e-6)
    assert uncertainty(found(), found()) == 0.0 and uncertainty(found((0, 1.0)), found((0, 1.0))) == 0.0


# ---- choosing

def plain_choice(unsure, points, count):
    """The same by the book: all distances at once."""
    distances = cdist(points / np.linalg.norm(points, axis=1, keepdims=True), points / np.linalg.norm(points, axis=1, keepdims=True))
    picks = [int(unsure.argmax())]
    while len(picks) < count:
        value = unsure / unsure.max() * distances[:, picks].min(1)
        value[picks] = -1
        picks.append(int(value.argmax()))
    return picks


def test_the_choice_is_that_of_all_distances():
    random = np.random.default_rng(1)
    unsure, points = random.random(60), random.normal(size=(60, 8))
    assert chosen(unsure, points, 25) == plain_choice(unsure, points, 25)


def test_copies_of_an_image_are_chosen_last():
    points = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], float)
    assert chosen(np.array([0.9, 0.8, 0.1, 0.85]), points, 2) == [0, 2]


def test_where_nothing_is_uncertain_the_most_different_come_first():
    angles = np.deg2rad([0, 5, 180, 90])
    assert chosen(np.zeros(4), np.stack([np.cos(angles), np.sin(angles)], 1), 3) == [0, 2, 3]


def test_what_is_like_a_labeled_image_comes_late():
    points = np.array([[1, 0], [0.9, 0.1], [0, 1]], float)
    assert chosen(np.array([0.9, 0.9, 0.5]), points, 3, known=np.array([[1.0, 0.0]]))[0] == 2


def test_ten_thousand_images_are_chosen_from_in_moments():
    random = np.random.default_rng(0)
    unsure, points = random.random(10_000), random.normal(size=(10_000, 64))
    begun = time.process_time()
    assert len(set(chosen(unsure, points, 100))) == 100
    assert time.process_time() - begun < 5


# ---- ranking a set

def test_the_queue_then_shows_the_most_useful_first_and_all_others_by_uncertainty(make):
    dataset = make(8, task="classify")
    predictor = Fake("classify", ("cat", "dog"), lambda light: Tags(np.array([0.5 + (light % 10) / 20, 0.0])), mode="multilabel")
    every = ranking.rank(dataset, predictor, dataset.ids(), count=3, source="run-1")
    assert len(every) == 3 and every[0].uncertainty == max(each.uncertainty for each in ranks(dataset))
    kept = ranks(dataset)
    assert [each.image_id for each in kept[:3]] == [each.image_id for each in every] and sorted(each.image_id for each in kept) == dataset.ids()
    assert all(one.uncertainty >= two.uncertainty for one, two in itertools.pairwise(kept[3:]))
    assert {each.reason for each in kept} <= {"uncertain", "different"}
    assert [image for image, _ in labeling.queue(dataset, 0, order="uncertain").images] == [each.image_id for each in kept]


def test_the_mirror_image_is_asked_for_boxes(make):
    dataset = make(1)
    seen = []

    class Mirror(Fake):
        def batch(self, images):
            seen.extend(images)
            return [found((0, 0.9))] if len(seen) % 2 else [found()]
    assert ranking.rank(dataset, Mirror("detect", ("cat", "dog"), None), [1])[0].uncertainty == pytest.approx((0.2 + 1.0) / 2)
    assert np.array_equal(seen[0], seen[1][:, ::-1])


def test_what_cannot_be_read_is_left_out_and_a_cancelled_ranking_keeps_the_old_one(make):
    dataset = make(3)
    dataset.path(2).unlink()
    predictor = Fake("detect", ("cat", "dog"), lambda light: found((0, 0.5)))
    assert sorted(each.image_id for each in ranking.rank(dataset, predictor, [1, 2, 3, 99])) == [1, 3]
    assert ranking.rank(dataset, predictor, [1], cancelled=lambda: True) == [] and len(ranks(dataset)) == 2


def test_images_like_the_labeled_ones_come_last(make):
    dataset = make(6)
    predictor = Fake("detect", ("cat", "dog"), lambda light: found((0, 0.5)))
    dataset.path(6).write_bytes(dataset.path(1).read_bytes())  # a copy of what is labeled
    assert 6 not in [each.image_id for each in ranking.rank(dataset, predictor, [2, 3, 4, 5, 6], known=[1], count=4)]


@pytest.mark.parametrize("count", [0, -1, 2.0, "5", True])
def test_a_count_that_is_none_is_refused(make, count):
    with pytest.raises(UserError):
        ranking.rank(make(1), Fake("detect", ("cat",), lambda light: found()), [1], count=count)


@pytest.mark.parametrize(("model", "task", "options"), [
    ("deimv2_atto", "detect", {}), ("unet", "semantic", {"encoder": "resnet18", "mode": "binary"}), ("timm", "classify", {"backbone": "resnet18"}),
    ("hybridmednet", "classify", {"backbone": "resnet18", "fpn_channels": 32, "fusion_channels": 32})])
def test_every_network_shows_the_maps_that_an_embedding_is_made_of(model, task, options):
    torch.manual_seed(0)
    network = create(model, 1 if task == "semantic" else 2, **options).eval()
    predictor = Predictor(network, name=model, task=tasks.get(task).bound({**options, "num_classes": 2, "mode": options.get("mode", "multilabel")}),
                          classes=("cat", "dog"), preprocess=Preprocess(64, (0, 0, 0), (1, 1, 1)), device=torch.device("cpu"))
    random = np.random.default_rng(0)
    points = []
    with ranking._pooled_maps(network) as maps:
        for value in (random.integers(0, 255, (48, 64, 3), np.uint8), np.zeros((48, 64, 3), np.uint8)):
            maps.clear()
            predictor.batch([value])
            assert len(maps) >= 1
            points.append(ranking._embedding(maps, value))
    assert points[0].shape == points[1].shape and len(points[0]) >= 16 and not np.allclose(points[0], points[1])
    assert not any(module._forward_hooks for module in network.modules())

"""A model suggests labels for stored images: by the names of the classes, beside what is labeled, each image at once durable."""

import math

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import nn

from engine import messages, suggesting
from engine.config import TrainConfig
from engine.datasets import labeling, labeling_suggested
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.datasets.store import Dataset
from engine.opening import open_data
from engine.predict import Predictor, Preprocess
from engine.tasks.task import tasks
from engine.train import train
from engine.types import NOTHING, RLE, Instances, Reading, Sample, SemanticMask, Tags, UserError

SIZE = (64, 48)


class Fake(Predictor):
    """Says of every image what it was made with."""

    def __init__(self, task, classes, answer, **options):
        super().__init__(nn.Identity(), name="fake", task=tasks.get(task).bound(options), classes=classes,
                         preprocess=Preprocess(32, (0, 0, 0), (1, 1, 1)), device=torch.device("cpu"))
        self.answer = answer

    def batch(self, images):
        return [self.answer for _ in images]


@pytest.fixture
def make(tmp_path, picture):
    def made(*labels, classes=("cat", "dog"), task="detect", name="set", splits=("train",)):
        samples = [Sample(picture(tmp_path / "images" / f"{number}.png", seed=number), SIZE, each, splits[number % len(splits)], None,
                          f"{number}.png") for number, each in enumerate(labels)]
        return Dataset.create(tmp_path / name, name, Reading(classes, iter(samples), task))
    return made


BOXES = Instances(np.array([[2, 2, 20, 20], [30, 10, 60, 40], [5, 30, 12, 44], [1, 1, 5, 5]]), np.array([0, 1, 2, 0]), np.array([0.9, 0.6, 0.8, 0.1]))


def test_boxes_are_suggested_by_the_names_of_their_classes(make):
    dataset = make(None, None)
    found = suggesting.suggest(dataset, Fake("detect", ("dog", "cat", "bird"), BOXES), dataset.ids(), source="run-1")
    assert (found.images, found.shapes, found.failed, found.missing) == (2, 4, 0, {"bird": 2})
    shapes = labeling.opened(dataset, 1).document["shapes"]
    assert [(shape["cls"], shape["score"], shape["box"]) for shape in shapes] == [(1, 0.9, [2, 2, 20, 20]), (0, 0.6, [30, 10, 60, 40])]
    assert labeling.opened(dataset, 1).source == "run-1" and dataset.row(1).labels is None


def test_what_is_labeled_already_is_not_suggested_again(make):
    truth = Instances(np.array([[2, 2, 20, 21], [30, 10, 60, 40]]), np.array([0, 0]))
    dataset = make(truth)
    suggesting.suggest(dataset, Fake("detect", ("cat", "dog", "bird"), BOXES), [1], source="run")
    assert [(shape["cls"], shape["score"]) for shape in labeling_suggested.of(dataset, 1).shapes] == [(1, 0.6)]
    assert len(dataset.row(1).labels) == 2


def test_what_a_model_saw_twice_is_suggested_once(make):
    boxes = np.array([[2, 2, 22, 22], [3, 2, 23, 22], [2, 3, 22, 22], [2, 2, 22, 15], [40, 20, 60, 40]])
    answer = Instances(boxes, np.array([0, 0, 1, 1, 0]), np.array([0.6, 0.9, 0.5, 0.4, 0.3]))
    dataset = make(None)
    suggesting.suggest(dataset, Fake("detect", ("cat", "dog"), answer), [1], source="run")
    assert [shape["score"] for shape in labeling_suggested.of(dataset, 1).shapes] == [0.9, 0.4, 0.3]
    kept = torchvision_nms(answer, 0)
    assert [shape["score"] for shape in labeling_suggested.of(dataset, 1).shapes if shape["cls"] == 0] == kept


def torchvision_nms(found, number):
    """The scores that are left of one class."""
    from torchvision.ops import nms

    own = found[found.classes == number]
    order = nms(torch.from_numpy(own.boxes), torch.from_numpy(own.scores), suggesting.SEEN_TWICE)
    return [round(float(own.scores[place]), 4) for place in order]


def test_newer_suggestions_take_the_place_of_older_ones(make):
    dataset = make(None)
    suggesting.suggest(dataset, Fake("detect", ("cat", "dog", "bird"), BOXES), [1], source="old")
    suggesting.suggest(dataset, Fake("detect", ("cat", "dog", "bird"), BOXES[1:2]), [1], source="new")
    assert [shape["cls"] for shape in labeling_suggested.of(dataset, 1).shapes] == [1] and suggesting.sources(dataset) == ["new"]
    suggesting.suggest(dataset, Fake("detect", ("cat", "dog", "bird"), BOXES), [1], source="none", threshold=0.95)
    assert labeling_suggested.of(dataset, 1).count == 0 and labeling.opened(dataset, 1).state == "unlabeled"


def test_a_painted_set_gets_one_area_a_class_with_its_mean_probability(make):
    chances = np.zeros((3, SIZE[1], SIZE[0]), np.float16)
    chances[0], chances[1, :10, :10], chances[1, 40:, 50:], chances[2, 20:30, 20:30] = 0.4, 0.75, 0.5, 0.875
    dataset = make(None, task="semantic", classes=("background", "cyst", "tumour"))
    answer = SemanticMask(classes=chances.argmax(0).astype(np.uint16), probabilities=chances)
    suggesting.suggest(dataset, Fake("semantic", ("background", "cyst", "tumour"), answer), [1], source="run")
    shapes = labeling_suggested.of(dataset, 1).shapes
    assert [shape["cls"] for shape in shapes] == [1, 2]
    for shape in shapes:
        area = coco_mask.decode({"size": shape["size"], "counts": shape["counts"].encode()}).astype(bool)
        assert np.array_equal(area, answer.classes == shape["cls"])
        assert math.isclose(shape["score"], chances[shape["cls"]][area].astype(float).mean(), abs_tol=1e-4)


def test_each_separate_area_is_an_object_where_the_set_has_objects(make):
    layers = np.zeros((1, SIZE[1], SIZE[0]), bool)
    layers[0, :10, :10], layers[0, 20:40, 20:60], layers[0, 45, 2] = True, True, True
    dataset = make(None, task="instance", classes=("tumour",))
    answer = SemanticMask(layers=layers, probabilities=layers.astype(np.float16))
    suggesting.suggest(dataset, Fake("semantic", ("tumour",), answer), [1], source="run")
    assert [shape["box"] for shape in labeling_suggested.of(dataset, 1).shapes] == [[20, 20, 60, 40], [0, 0, 10, 10]]


def test_outlines_are_painted_together_where_the_set_is_painted(make):
    parts = [np.zeros((SIZE[1], SIZE[0]), bool) for _ in range(2)]
    parts[0][:10, :10], parts[1][5:20, 5:20] = True, True
    answer = Instances(np.array([[0, 0, 10, 10], [5, 5, 20, 20]]), np.array([0, 0]), np.array([0.75, 0.5]), tuple(map(rle_of_mask, parts)))
    dataset = make(None, task="semantic", classes=("tumour",))
    suggesting.suggest(dataset, Fake("instance", ("tumour",), answer), [1], source="run")
    shape, = labeling_suggested.of(dataset, 1).shapes
    assert np.array_equal(mask_of(RLE(shape["counts"].encode(), tuple(shape["size"])), SIZE), parts[0] | parts[1]) and shape["score"] == 0.625


def test_an_area_that_is_painted_already_is_not_suggested(make):
    pixels = np.full((SIZE[1], SIZE[0]), NOTHING, np.uint16)
    pixels[:10, :10] = 0
    layers = np.zeros((1, SIZE[1], SIZE[0]), bool)
    layers[0, :10, :12] = True
    dataset = make(SemanticMask(classes=pixels), task="semantic", classes=("tumour",))
    suggesting.suggest(dataset, Fake("semantic", ("tumour",), SemanticMask(layers=layers)), [1], source="run")
    assert labeling_suggested.of(dataset, 1).count == 0


def test_tags_are_suggested_where_nobody_has_said_anything(make):
    dataset = make(Tags(np.array([1, np.nan, np.nan])), None, task="classify", classes=("a", "b", "c"))
    found = suggesting.suggest(dataset, Fake("classify", ("b", "a", "x"), Tags(np.array([0.25, 0.75, 1])), mode="multilabel"), [1, 2], source="run")
    assert labeling_suggested.of(dataset, 1).tags == [None, 0.25, None] and labeling_suggested.of(dataset, 2).tags == [0.75, 0.25, None]
    assert found.shapes == 3


@pytest.mark.parametrize(("task", "model"), [("detect", "classify"), ("classify", "detect"), ("semantic", "detect"), ("semantic", "classify")])
def test_a_model_of_another_task_is_refused(make, task, model):
    dataset = make(None, task=task)
    with pytest.raises(UserError) as told:
        suggesting.suggest(dataset, Fake(model, ("cat", "dog"), None), [1], source="run")
    assert told.value.key == "suggest_other_task" and told.value.message() and told.value.remedy()


def test_a_model_that_knows_none_of_the_classes_is_refused(make):
    with pytest.raises(UserError) as told:
        suggesting.suggest(make(None), Fake("detect", ("ship", "background"), BOXES), [1], source="run")
    assert told.value.key == "suggest_no_class"


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan, "0.5", None])
def test_a_threshold_that_is_none_is_refused(make, threshold):
    with pytest.raises(UserError):
        suggesting.suggest(make(None), Fake("detect", ("cat",), BOXES), [1], source="run", threshold=threshold)


def test_a_file_that_vanished_or_changed_costs_its_image_alone(make, picture):
    dataset = make(None, None, None, None)
    dataset.path(1).unlink()
    dataset.path(2).write_bytes(b"no picture")
    picture(dataset.path(3), width=20, height=20)
    steps = []
    found = suggesting.suggest(dataset, Fake("detect", ("cat", "dog", "x"), BOXES), [1, 2, 3, 4, 99], source="run",
                               progress=lambda done, total: steps.append((done, total)))
    assert (found.images, found.failed) == (1, 4) and steps[-1] == (5, 5)


def test_what_was_suggested_before_it_was_cancelled_stays(make):
    dataset = make(*[None] * 12)
    found = suggesting.suggest(dataset, Fake("detect", ("cat", "dog", "x"), BOXES), dataset.ids(), source="run",
                               cancelled=lambda: len(suggesting.with_suggestions(dataset)) >= 4)
    assert found.images == 4 and suggesting.with_suggestions(dataset) == [1, 2, 3, 4]


def test_an_image_that_is_edited_meanwhile_keeps_what_it_has(make):
    dataset = make(None)

    class Slow(Fake):
        def batch(self, images):
            labeling.save(dataset, 1, {"looked": True, "shapes": [], "tags": None}, expected=dataset.row(1).revision)
            return super().batch(images)
    found = suggesting.suggest(dataset, Slow("detect", ("cat", "dog", "x"), BOXES), [1], source="run")
    assert found.images == 0 and labeling.opened(dataset, 1).document["shapes"] == []


def test_the_next_images_are_the_unlabeled_ones_from_here_on(make):
    done = Instances.empty()
    dataset = make(None, done, None, None, done, None)
    labeling.save(dataset, 6, None, expected=dataset.row(6).revision, mark="skipped")
    assert suggesting.wanted_ids(dataset, "unlabeled") == [1, 3, 4] and suggesting.wanted_ids(dataset, "next", count=2, around=4) == [4, 1]
    assert suggesting.wanted_ids(dataset, [3, 3, 1]) == [3, 1]
    for wrong in ("all", ["1"], [True], [1.0]):
        with pytest.raises(UserError):
            suggesting.wanted_ids(dataset, wrong)
    for count in (0, 10**9, 2.5, True, None):
        with pytest.raises(UserError):
            suggesting.wanted_ids(dataset, "next", count=count)


def test_training_says_how_many_of_its_images_nobody_has_looked_at(make):
    truth = Instances(np.array([[2, 2, 20, 21]]), np.array([0]))
    dataset = make(truth, None, None, truth, truth, None, splits=("train", "train", "valid"))
    suggesting.suggest(dataset, Fake("detect", ("cat", "dog", "x"), BOXES), [2, 3, 6], source="run")
    data = open_data(TrainConfig(data=str(dataset.folder)), tasks.get("detect"), dataset.folder)
    assert data.unseen == (0, 0)
    assert suggesting.unseen_note(dataset) is None
    assert suggesting.accept(dataset, [2, 3], threshold=0.5) == 2
    data = open_data(TrainConfig(data=str(dataset.folder)), tasks.get("detect"), dataset.folder)
    assert data.unseen == (1, 1)
    config = TrainConfig(data=str(dataset.folder), epochs=1, image_size=64, batch=1, precision="none", layout="contiguous", device="cpu")
    told = next(dict(event.values) for event in train(config) if event.values.get("key") == "accepted_unseen")
    assert told == {"key": "accepted_unseen", "count": 1, "images": 4, "valid": 1}
    assert messages.text(f"log.{told.pop('key')}", **told).startswith("1 of 4 training images and 1 validation images")
    note = suggesting.unseen_note(dataset)
    assert note.values["count"] == 2 and "2 of 6" in note.message() and note.remedy()

"""Labels that may be wrong: planted errors are found, of the right kind, and stand at the top; what was checked is left out."""

import math

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupKFold
from torch import nn

from engine import folds, label_errors
from engine.config import TrainConfig
from engine.datasets import labeling
from engine.datasets.labeling_lists import overlaps
from engine.datasets.labeling_lists import suspects as listed
from engine.datasets.store import Dataset
from engine.predict import Predictor, Preprocess
from engine.tasks.task import tasks
from engine.types import IGNORE, NOTHING, Instances, Polygons, Reading, Sample, SemanticMask, Tags, UserError

CLASSES, SIZE = ("cat", "dog"), (640, 480)


class Fake(Predictor):
    """Knows the truth of every image, in the order in which they are asked for."""

    def __init__(self, task, classes, answers, **options):
        super().__init__(nn.Identity(), name="fake", task=tasks.get(task).bound(options), classes=classes,
                         preprocess=Preprocess(32, (0, 0, 0), (1, 1, 1)), device=torch.device("cpu"))
        self.answers = iter(answers)

    def batch(self, images):
        return [next(self.answers) for _ in images]


@pytest.fixture
def make(tmp_path, picture):
    def made(*labels, task="detect", groups=None):
        samples = [Sample(picture(tmp_path / "images" / f"{number}.png", *SIZE, seed=number), SIZE, each, "train",
                          None if groups is None else groups[number], f"{number}.png") for number, each in enumerate(labels)]
        return Dataset.create(tmp_path / "set", "set", Reading(CLASSES, iter(samples), task))
    return made


def seen(labels, score=0.9):
    return Instances(labels.boxes, labels.classes, np.full(len(labels), score))


TRUTH = Instances(np.array([[10, 10, 110, 110], [200, 50, 260, 200], [300, 300, 500, 400]]), np.array([0, 1, 0]))


def changed(kind):
    boxes, classes = TRUTH.boxes.copy(), TRUTH.classes.copy()
    if kind == "missed":
        return Instances(boxes[1:], classes[1:])
    if kind == "class":
        classes[0] = 1
    if kind == "shifted":
        boxes[0] += (55, 0, 55, 0)
    if kind == "unpredicted":
        boxes = np.concatenate([[[550, 10, 620, 80]], boxes])
        classes = np.concatenate([[0], classes])
    return Instances(boxes, classes)


@pytest.mark.parametrize(("kind", "box", "other"), [("missed", (10, 10, 110, 110), None), ("class", (10, 10, 110, 110), 0),
                                                    ("shifted", (65, 10, 165, 110), None), ("unpredicted", (550, 10, 620, 80), None)])
def test_a_planted_error_is_the_most_suspicious_label(make, kind, box, other):
    dataset = make(TRUTH, changed(kind), TRUTH)
    found = label_errors.suspects(dataset, Fake("detect", CLASSES, [seen(TRUTH)] * 3), source="run", minimum=0.0)
    assert (found[0].image_id, found[0].kind, found[0].box, found[0].other) == (2, kind, box, other)
    assert found[0].score > 0.4 and all(each.score < 0.2 for each in found[1:])
    assert listed(dataset)[0] == found[0] and labeling.queue(dataset, order="suspect").images[0][0] == 2


def test_the_scores_are_what_the_formulas_say(make):
    """One label that is supported by 0.3 of what is usual and contradicted by a dog; a dog that no label covers, seen twice."""
    usual = Instances(np.array([[10, 10, 110, 110], [200, 200, 300, 300]]), np.array([0, 1]))
    dataset = make(usual, usual, TRUTH[:1])
    answer = Instances(np.array([[55, 10, 155, 110], [10, 10, 110, 110], [400, 10, 500, 60], [402, 12, 500, 60]]), np.array([0, 1, 1, 0]),
                       np.array([0.3, 0.4, 0.6, 0.4]))
    found = label_errors.suspects(dataset, Fake("detect", CLASSES, [seen(usual, 0.5), seen(usual, 0.5), answer]), minimum=0.0)
    support = min(1, 0.3 / 0.5) * (55 / 145) / 0.6
    precision = 2 / 3  # of the dogs with scores of 0.5 and more two lie on labels, one does not
    assert [(each.kind, each.cls, each.other, each.score) for each in found if each.image_id == 3] == [
        ("class", 0, 1, pytest.approx((1 - support) * (0.75 + 0.25 * 0.8), abs=1e-4)),
        ("missed", 1, None, pytest.approx(0.9 * 1 * precision * (0.9 + 0.06), abs=1e-4))]


def test_what_a_model_that_is_often_wrong_adds_counts_little(make):
    """The same find beside right finds alone, and beside nine wrong ones: wherever it sees a cat there is none."""
    noise = np.array([[40 * number, 400, 40 * number + 30, 470] for number in range(9)])
    dataset, scores = make(TRUTH, TRUTH), []
    for more in (np.zeros((0, 4)), noise):
        boxes = np.concatenate([TRUTH.boxes[:1], [[550, 10, 620, 80]], more])
        answer = Instances(boxes, np.zeros(len(boxes), int), np.array([0.9, 0.8, *[0.8] * len(more)]))
        found = label_errors.suspects(dataset, Fake("detect", CLASSES, [seen(TRUTH), answer]), minimum=0.0)
        scores.append(max(each.score for each in found if each.kind == "missed"))
    assert scores[0] > 0.5 and scores[1] < 0.3


def test_how_sure_a_model_is_at_all_does_not_matter(make):
    found = [label_errors.suspects(Dataset(dataset.folder), Fake("detect", CLASSES, [seen(TRUTH, score)] * 4), minimum=0.2)
             for dataset in (make(TRUTH, TRUTH, changed("class"), changed("unpredicted")),) for score in (0.9, 0.2)]
    named = [[(each.image_id, each.kind) for each in every] for every in found]
    assert named == [[(3, "class"), (4, "unpredicted")]] * 2


def test_crowds_hide_what_lies_in_them_and_are_never_suspicious(make):
    dataset = make(Instances(np.array([[0, 0, 300, 300]]), np.array([0]), crowd=np.array([True])))
    answer = Instances(np.array([[10, 10, 60, 60], [400, 10, 460, 60]]), np.array([0, 0]), np.array([0.9, 0.8]))
    assert [each.box for each in label_errors.suspects(dataset, Fake("detect", CLASSES, [answer]), minimum=0.0)] == [(400, 10, 460, 60)]


def test_classes_that_the_model_does_not_know_are_left_alone(make):
    dataset = make(TRUTH)
    found = label_errors.suspects(dataset, Fake("detect", ("dog", "ship"), [Instances.empty()]), minimum=0.0)
    assert [(each.kind, each.cls) for each in found] == [("unpredicted", 1)]


def test_checked_and_unlabeled_images_are_left_out(make):
    dataset = make(changed("class"), changed("class"), None)
    labeling.save(dataset, 1, None, expected=dataset.row(1).revision, mark="checked")
    found = label_errors.suspects(dataset, Fake("detect", CLASSES, [seen(TRUTH)] * 3))
    assert {each.image_id for each in found} == {2} and label_errors.labeled_ids(dataset) == [2] and label_errors.labeled_ids(dataset, [1, 3]) == []


def test_a_planted_error_among_many_images_stands_in_the_first_tenth(make):
    """Labels and predictions that are a little off everywhere, 5 % of the labels wrong: the list finds them."""
    random = np.random.default_rng(0)
    corner = np.array([[x, y] for x in (10, 220, 430) for y in (10, 240)])
    truths = [Instances(np.concatenate([corner, corner + random.uniform(60, 190, (6, 2))], 1), random.integers(0, 2, 6)) for _ in range(20)]
    answers = [Instances(each.boxes + random.normal(0, 3, each.boxes.shape), each.classes, random.uniform(0.5, 0.95, 6)) for each in truths]
    labels, planted = [], set()
    for number, each in enumerate(truths):
        classes = each.classes.copy()
        if number % 3 == 0:
            classes[0], _ = 1 - classes[0], planted.add(number + 1)
        labels.append(Instances(each.boxes, classes))
    found = label_errors.suspects(make(*labels), Fake("detect", CLASSES, answers), minimum=0.0)
    assert {each.image_id for each in found[:8] if each.kind == "class"} == planted


def test_tags_are_suspicious_by_how_far_the_model_is_from_them(make):
    dataset = make(Tags(np.array([1, np.nan])), Tags(np.array([0, 1])), task="classify")
    answers = [Tags(np.array([0.125, 0.9])), Tags(np.array([0.25, 0.75]))]
    found = label_errors.suspects(dataset, Fake("classify", CLASSES, answers, mode="multilabel"), minimum=0.0)
    assert [(each.image_id, each.kind, each.cls, each.score) for each in found] == [(1, "tag", 0, 0.875), (2, "tag", 0, 0.25), (2, "tag", 1, 0.25)]


def test_where_an_image_has_one_tag_the_other_is_named(make):
    dataset = make(Tags(np.array([1, 0])), Tags(np.array([0, 1])), task="classify")
    answers = [Tags(np.array([0.125, 0.875])), Tags(np.array([0.25, 0.75]))]
    found = label_errors.suspects(dataset, Fake("classify", CLASSES, answers, mode="multiclass"), minimum=0.0)
    assert [(each.image_id, each.cls, each.other, each.score) for each in found] == [(1, 0, 1, 0.875), (2, 1, None, 0.25)]


def test_painted_areas_are_suspicious_by_the_pixels_that_differ(make):
    pixels = np.full(SIZE[::-1], NOTHING, np.uint16)
    pixels[:100, :100], pixels[:100, 200:220] = 0, IGNORE
    chances = np.zeros((1, *SIZE[::-1]), np.float16)
    chances[0, :50, :300] = 0.75
    dataset = make(SemanticMask(classes=pixels), task="semantic")
    answer = SemanticMask(layers=chances > 0.5, probabilities=chances)
    found, = label_errors.suspects(dataset, Fake("semantic", ("cat",), [answer]), minimum=0.0)
    either = 100 * 100 + 50 * 180
    assert (found.kind, found.cls, found.box) == ("area", 0, (0, 0, 300, 100))
    assert found.score == pytest.approx((50 * 180 * 0.75 + 50 * 100 * 1.0) / either, abs=1e-4)


def test_outlines_are_compared_with_painted_areas(make):
    square = Polygons((np.array([[0, 0], [100, 0], [100, 100], [0, 100]], float),))
    dataset = make(Instances(np.array([[0, 0, 100, 100]]), np.array([1]), None, (square,)), Instances(np.array([[0, 0, 9, 9]]), np.array([1])),
                   Instances.empty(), task="instance")
    layers = np.zeros((1, *SIZE[::-1]), bool)
    layers[0, :100, 50:150] = True
    answers = [SemanticMask(layers=layers, probabilities=layers.astype(np.float16))] * 3
    found = label_errors.suspects(dataset, Fake("semantic", ("dog",), answers), minimum=0.0)
    assert [(each.image_id, each.cls, each.score) for each in found] == [(3, 1, 1.0), (1, 1, pytest.approx(2 / 3, abs=1e-4))]


def test_a_model_of_another_task_is_refused(make):
    with pytest.raises(UserError):
        label_errors.suspects(make(TRUTH), Fake("classify", CLASSES, []))


def test_boxes_overlap_as_torchvision_says():
    from torchvision.ops import box_iou

    random = np.random.default_rng(0)
    first, second = (np.sort(random.uniform(0, 100, (n, 2, 2)), 1).reshape(-1, 4) for n in (7, 9))
    assert np.allclose(overlaps(first, second), box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy())


# ---- folds

def test_every_image_is_held_out_once_and_groups_stay_together(make):
    groups = [f"patient {number // 3}" for number in range(12)]
    dataset = make(*[TRUTH] * 12, groups=groups)
    parts = folds.dealt(dataset, dataset.ids(), 3, seed=1)
    assert sorted(each for part in parts for each in part) == dataset.ids() and parts == folds.dealt(dataset, dataset.ids(), 3, seed=1)
    of = {image: number for number, part in enumerate(parts) for image in part}
    assert all(len({of[image] for image in range(first, first + 3)}) == 1 for first in (1, 4, 7, 10))
    other = sorted(len(test) for _, test in GroupKFold(3).split(np.zeros(12), groups=groups))
    assert sorted(map(len, parts)) == other


@pytest.mark.parametrize("count", [0, 1, 99, 2.0, "3"])
def test_a_number_of_folds_that_is_none_is_refused(make, count):
    dataset = make(TRUTH, TRUTH, TRUTH)
    with pytest.raises(UserError):
        folds.dealt(dataset, dataset.ids(), count)


def test_the_labels_that_a_fold_looks_at_are_not_among_those_that_it_learnt(make, tmp_path, monkeypatch):
    """The training loop is replaced: what it is given is what is asked about."""
    dataset, learnt = make(*[TRUTH] * 4, changed("class"), None), []

    def train(config, folder, stop):
        data = Dataset(tmp_path / "work" / folder.parent.name / "data")
        learnt.append(({row.name for row in data.page(0, 99, split="train")}, {row.name for row in data.page(0, 99, split="valid")}))
        yield type("Event", (), {"kind": "done"})
    monkeypatch.setattr("engine.train.train", train)
    monkeypatch.setattr("engine.predict.load", lambda run, device: Fake("detect", CLASSES, [seen(TRUTH)] * 9))
    counted = []
    found = label_errors.suspects_kfold(dataset, TrainConfig(epochs=1), tmp_path / "work", folds=2, progress=lambda *done: counted.append(done))
    assert [(len(train), len(valid)) for train, valid in learnt] in ([(3, 2), (2, 3)], [(2, 3), (3, 2)])
    assert all(not train & valid for train, valid in learnt) and learnt[0][1] == learnt[1][0] and counted == [(1, 2), (2, 2)]
    assert [(each.image_id, each.kind) for each in found] == [(5, "class")] and listed(dataset) == found
    label_errors.suspects_kfold(dataset, TrainConfig(epochs=1), tmp_path / "work", folds=2)
    assert len(learnt) == 2  # the folds were trained already
    assert math.isclose(sum(map(len, learnt[0])), 5)

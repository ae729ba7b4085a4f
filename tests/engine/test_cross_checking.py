"""Label errors found by models that are trained for it, as a job: it moves, stops, goes on, cleans up, and says why it cannot begin."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engine import cross_checking, label_errors, suggest_jobs
from engine.config import TrainConfig
from engine.datasets import editing, labeling, labeling_lists
from engine.datasets.store import Dataset
from engine.predict import Predictor, Preprocess
from engine.tasks.task import tasks
from engine.types import Instances, Reading, Sample, Tags, UserError
from engine.workspace import Workspace

CLASSES = ("cat", "dog")
TRUTH = Instances(np.array([[4, 4, 30, 30], [36, 10, 60, 44]]), np.array([0, 1]))
FAST = {"precision": "bf16", "layout": "contiguous", "threads": 1}
SWAPPED = Instances(TRUTH.boxes, np.array([1, 1]))


class Knows(Predictor):
    """Sees the truth in every image."""

    def __init__(self):
        super().__init__(nn.Identity(), name="fake", task=tasks.get("detect").bound({}), classes=CLASSES,
                         preprocess=Preprocess(32, (0, 0, 0), (1, 1, 1)), device=torch.device("cpu"))

    def batch(self, images):
        return [replace(TRUTH, scores=np.full(2, 0.9)) for _ in images]


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def make(tmp_path, workspace, picture):
    def made(*labels, task="detect"):
        samples = [Sample(picture(tmp_path / "images" / f"{number}.png", seed=number), (64, 48), each, "train", None, f"{number}.png")
                   for number, each in enumerate(labels)]
        with workspace.stage() as stage:
            return workspace.adopt(Dataset.create(stage / "set", "set", Reading(CLASSES, iter(samples), task)))
    return made


@pytest.fixture
def learnt(monkeypatch):
    """The training is replaced; the list tells what was trained on, and a function in it is asked between steps."""
    seen = []

    def train(config, folder, *, stop):
        seen.append((config, folder))
        event = type("Event", (), {})
        begun = (("recorded", {"config": config.replace(**FAST)}), ("plan", {"total_steps": 4}))
        for number, (kind, values) in enumerate((*begun, *(("step", {}),) * 4), -1):
            told = event()
            told.kind, told.values, told.step = kind, values, number
            yield told
            if stop():
                (folder / "last.pt").touch()
                told.kind = "stopped"
                yield told
                return
        told.kind = "done"
        yield told
    monkeypatch.setattr("engine.train.train", train)
    monkeypatch.setattr("engine.predict.load", lambda run, device="auto": Knows())
    return seen


def here(monkeypatch, meanwhile=lambda job: None):
    """Jobs that begin from now on are done by this process, before `start` returns."""
    def work(folder):
        job = suggest_jobs._Job(Dataset(folder))
        meanwhile(job)
        suggest_jobs.run(job)
    monkeypatch.setattr(suggest_jobs, "_launch", work)


def test_a_swapped_class_is_found_without_any_model_and_nothing_is_left_behind(workspace, make, learnt, monkeypatch):
    dataset, shares = make(*[TRUTH] * 5, SWAPPED), []
    before = sorted(each.name for each in dataset.folder.iterdir())

    def meanwhile(job):
        told = job.progress
        job.progress = lambda done, total: (shares.append((done, total)), told(done, total))
    here(monkeypatch, meanwhile)
    state = suggest_jobs.start(workspace, dataset.id, "", work="kfold")
    assert (state["phase"], state["source"], state["images"], state["shapes"], state["total"]) == ("done", "deimv2_atto", 1, 1, 1000)
    assert [(each.image_id, each.kind, each.other) for each in labeling_lists.suspects(dataset)] == [(6, "class", 0)]
    assert [config.minutes for config, _ in learnt] == [5.0] * 3 and {config.model for config, _ in learnt} == {"deimv2_atto"}
    assert [config.precision for config, _ in learnt] == ["auto", "bf16", "bf16"]  # what is fastest is measured once
    done = [each for each, _ in shares]
    assert done == sorted(done) and done[-1] == 1000 and len({each for each in done if 0 < each < 333}) >= 3
    assert set(each.name for each in dataset.folder.iterdir()) - set(before) <= {suggest_jobs.FILE, suggest_jobs.LOCK, suggest_jobs.LOG}


def test_what_was_stopped_goes_on_where_it_stood(workspace, make, learnt, monkeypatch):
    dataset = make(*[TRUTH] * 6)

    def meanwhile(job):
        told = job.progress
        job.progress = lambda done, total: (told(done, total), suggest_jobs.cancel(dataset) if done > 400 else None)
    here(monkeypatch, meanwhile)
    assert suggest_jobs.start(workspace, dataset.id, "", work="kfold")["phase"] == "stopped"
    first = [folder for _, folder in learnt]
    assert len(first) == 2 and (first[0] / "done").is_file() and (first[1] / "last.pt").is_file()
    asked = cross_checking.asked(dataset)
    assert cross_checking.goes_on(dataset, asked) and not cross_checking.goes_on(dataset, replace(asked, minutes=1.0))
    monkeypatch.undo()
    learnt.clear()
    monkeypatch.setattr("engine.predict.load", lambda run, device="auto": Knows())
    done = type("Event", (), {"kind": "done"})
    monkeypatch.setattr("engine.train.train", lambda config, folder, stop: iter([done] if not learnt.append(folder) else []))
    here(monkeypatch)
    assert suggest_jobs.start(workspace, dataset.id, "", work="kfold")["phase"] == "done"
    assert [folder.parent.name for folder in learnt] == ["fold_1", "fold_2"] and not (dataset.folder / cross_checking.FOLDER).exists()


def test_what_was_begun_with_other_labels_is_begun_anew(workspace, make, learnt, monkeypatch):
    dataset = make(*[TRUTH] * 6)
    here(monkeypatch, lambda job: setattr(job, "asked", True))
    suggest_jobs.start(workspace, dataset.id, "", work="kfold")
    assert cross_checking.goes_on(dataset, cross_checking.asked(dataset))
    (dataset.folder / cross_checking.FOLDER / "stale").touch()
    dataset.set_labels(1, SWAPPED)
    assert not cross_checking.goes_on(dataset, cross_checking.asked(dataset))
    suggest_jobs.start(workspace, dataset.id, "", work="kfold")
    assert not (dataset.folder / cross_checking.FOLDER / "stale").exists()


def test_checked_images_are_learnt_from_and_not_judged(make, learnt, tmp_path):
    dataset = make(*[TRUTH] * 4, SWAPPED)
    labeling.save(dataset, 5, None, expected=dataset.row(5).revision, mark="checked")
    assert label_errors.suspects_kfold(dataset, TrainConfig(), tmp_path / "work", folds=2) == []
    for _, folder in learnt:
        data = Dataset(folder.parent / "data")
        assert "5/4.png" in {row.name for row in data.page(0, 9, split="train")}


@pytest.mark.parametrize(("labels", "task", "asked", "key"), [
    (5, "detect", {}, "cross_check_few"), (0, "detect", {}, "cross_check_few"), (3, "detect", {"folds": 2}, "cross_check_few"),
    (6, "", {}, "cross_check_task"), (6, "detect", {"model": "unet"}, "suggest_other_task"), (6, "detect", {"model": "no such"}, "unknown_model"),
    (6, "detect", {"folds": 1}, "option_bounds"), (6, "detect", {"folds": 2.5}, "labels_unreadable"),
    (6, "detect", {"minutes": 0}, "option_bounds"), (6, "detect", {"minutes": float("nan")}, "option_bounds"),
    (6, "detect", {"minutes": "long"}, "option_bounds"), (6, "detect", {"image_size": 33}, "image_size_multiple"),
    (6, "detect", {"image_size": "64"}, "labels_unreadable")])
def test_what_cannot_be_cross_checked_is_refused_before_anything_starts(workspace, make, labels, task, asked, key):
    dataset = make(*[TRUTH] * labels, None, task=task)
    with pytest.raises(UserError) as told:
        suggest_jobs.start(workspace, dataset.id, **{"model": "", "work": "kfold", **asked})
    assert told.value.key == key and told.value.message() and told.value.remedy() and suggest_jobs.state(dataset) is None
    assert not (dataset.folder / cross_checking.FOLDER).exists()


def test_images_of_too_few_groups_cannot_be_parted(make):
    dataset = make(*[TRUTH] * 6)
    editing.set_groups(dataset, {image: "one patient" if image < 6 else "another" for image in dataset.ids()})
    assert cross_checking.asked(dataset, folds=2).folds == 2
    with pytest.raises(UserError) as told:
        cross_checking.asked(dataset)
    assert told.value.key == "cross_check_groups" and told.value.remedy()


@pytest.mark.parametrize(("task", "model"), [("detect", "deimv2_atto"), ("instance", "deimv2_atto"), ("semantic", "unet"), ("classify", "timm")])
def test_the_smallest_model_of_the_task_is_taken(make, task, model):
    labels = Tags(np.array([1, 0])) if task == "classify" else TRUTH
    assert cross_checking.asked(make(*[labels] * 6, task=task)).model == model


def test_a_real_training_moves_and_is_cancelled_within_seconds(workspace, make):
    dataset = make(*[TRUTH] * 8)
    suggest_jobs.start(workspace, dataset.id, "", work="kfold", folds=2, minutes=30.0, image_size=64)
    deadline, seen = time.monotonic() + 150, set()
    while len(seen) < 3:
        state = suggest_jobs.state(dataset)
        assert time.monotonic() < deadline and state["phase"] in suggest_jobs.ACTIVE, state
        seen |= {state["done"]} - {0}
        time.sleep(0.05)
    assert max(seen) < 500
    suggest_jobs.cancel(dataset)
    begun = time.monotonic()
    while (state := suggest_jobs.state(dataset))["phase"] != "stopped":
        assert time.monotonic() < begun + 15 and state["phase"] == "stopping", state
        time.sleep(0.05)
    assert (dataset.folder / cross_checking.FOLDER / "fold_0" / "run" / "last.pt").is_file()
    assert cross_checking.goes_on(dataset, cross_checking.asked(dataset, folds=2, minutes=30.0, image_size=64))

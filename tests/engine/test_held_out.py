"""Which images a model has not learnt: the validation and test parts of its run, as far as what is recorded says."""

import json
import time

import numpy as np
import pytest
import torch

from engine import checkpoint, runs
from engine.__main__ import main
from engine.config import TrainConfig
from engine.datasets import editing
from engine.datasets.collection import with_valid
from engine.datasets.labeling import save
from engine.datasets.store import Dataset
from engine.held_out import held_out
from engine.label_errors import suspects
from engine.models import create, models
from engine.predict import load
from engine.train import train
from engine.types import Instances, Reading, Sample, UserError

CLASSES = ("cat", "dog")
BOX = Instances(np.array([[1, 1, 30, 30]]), np.array([0]))
SPLITS = ("train", "train", "train", "valid", "valid", "test")


@pytest.fixture
def make(tmp_path, picture):
    def made(splits=SPLITS):
        samples = [Sample(picture(tmp_path / "images" / f"{number}.png", seed=number), (64, 48), BOX, split, None, f"{number}.png")
                   for number, split in enumerate(splits)]
        return Dataset.create(tmp_path / "sets" / "set", "set", Reading(CLASSES, iter(samples), "detect"))
    return made


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    spec = models.get("deimv2_atto")
    return {"model": create("deimv2_atto", 2).state_dict(), "model_name": "deimv2_atto", "options": {"num_classes": 2}, "task": "detect",
            "classes": list(CLASSES), "preprocess": {"resize": "stretch", "size": 64, "mean": list(spec.mean), "std": list(spec.std)},
            "thresholds": {"score": 0.3}, "metrics": {}, "version": "test"}


def run_of(tmp_path, content, data, *, age=3600.0, name="run", **settings):
    """A run as its worker leaves it, that began `age` seconds ago and ended half of that ago."""
    run = runs.create(tmp_path / "runs" / name, TrainConfig(data=str(data), **settings))
    state = json.loads((run.folder / "state.json").read_text())
    (run.folder / "state.json").write_text(json.dumps({**state, "created": time.time() - age, "heartbeat": time.time() - age / 2, "phase": "done"}))
    checkpoint.save({**content, "config": run.config().as_dict()}, run.best)
    return run.folder


def judged(dataset, run):
    return {each.image_id for each in suspects(dataset, load(run), model=run, minimum=0.0, keep=False)}


def key_of(work):
    with pytest.raises(UserError) as told:
        work()
    assert told.value.message() and "cross-checking" in told.value.remedy("en")
    assert "交叉" in told.value.remedy("zh-CN") and "交叉" in told.value.remedy("zh-TW")
    return told.value.key


def test_a_run_judges_only_what_it_was_validated_and_tested_on(make, tmp_path, weights):
    dataset = make()
    run = run_of(tmp_path, weights, dataset.folder)
    assert held_out(dataset, run) == {4, 5, 6} == judged(dataset, run)
    assert {each.image_id for each in suspects(dataset, load(run), [1, 2], model=run, minimum=0.0, keep=False)} == {1, 2}


def test_a_model_of_another_set_judges_all(make, tmp_path, weights):
    dataset = make()
    other = run_of(tmp_path, weights, tmp_path / "images", name="other")
    assert held_out(dataset, other) is None and judged(dataset, other) == {1, 2, 3, 4, 5, 6}


def test_a_set_whose_workspace_was_moved_is_still_the_same(make, tmp_path, weights):
    assert held_out(make(), run_of(tmp_path, weights, tmp_path / "gone" / "set")) == {4, 5, 6}


def test_a_copy_of_the_weights_says_itself_what_it_was_trained_on(make, tmp_path, weights):
    dataset = make()
    copy = tmp_path / "mine.pt"
    run_of(tmp_path, weights, dataset.folder).joinpath("best.pt").rename(copy)
    assert held_out(dataset, copy) == {4, 5, 6}
    editing.move(dataset, [1], "valid")
    assert held_out(dataset, copy) == {4, 5, 6}


def test_what_a_run_began_from_counts_too(make, tmp_path, weights):
    dataset = make()
    first = run_of(tmp_path, weights, dataset.folder, name="first")
    editing.move(dataset, [1], "valid")
    editing.move(dataset, [4], "train")
    second = run_of(tmp_path, weights, dataset.folder, age=-5.0, name="second", weights=str(first / "best.pt"))
    assert held_out(dataset, second) == {5, 6}


def test_images_that_were_moved_since_are_left_out(make, tmp_path, weights):
    dataset = make()
    editing.move(dataset, [2], "test")  # before the run: it has not learnt it
    run = run_of(tmp_path, weights, dataset.folder, age=-5.0)
    assert held_out(dataset, run) == {2, 4, 5, 6}
    run = run_of(tmp_path, weights, dataset.folder, name="older")
    assert held_out(dataset, run) == {4, 5, 6}
    editing.trash(dataset, [4])
    assert held_out(dataset, run) == {5, 6}


def test_where_splits_were_moved_and_moved_back_nobody_can_tell(make, tmp_path, weights):
    dataset = make()
    run = run_of(tmp_path, weights, dataset.folder, age=-5.0)
    editing.undo(dataset, editing.move(dataset, [4], "train").id)
    assert key_of(lambda: judged(dataset, run)) == "held_out_unknown"
    assert held_out(dataset, run_of(tmp_path, weights, dataset.folder, name="older")) == {4, 5, 6}  # it had ended before


def test_when_all_that_was_held_out_is_checked_nothing_is_left_to_judge(make, tmp_path, weights):
    dataset = make()
    run = run_of(tmp_path, weights, dataset.folder)
    for image in (4, 5, 6):
        save(dataset, image, None, expected=dataset.row(image).revision, mark="checked")
    assert key_of(lambda: judged(dataset, run)) == "held_out_nothing"


def test_a_validation_part_that_a_run_has_dealt_is_dealt_again_while_nothing_was_edited(make, tmp_path, weights):
    dataset = make(("train",) * 10)
    run = run_of(tmp_path, weights, dataset.folder, age=-5.0, seed=3, valid_fraction=0.3)
    dealt = {int(each.name.split(".")[0]) + 1 for each in with_valid(dataset.collection(), 0.3, 3).split("valid")}
    assert held_out(dataset, run) == dealt and len(dealt) == 3
    dataset.set_labels(1, None)
    older = run_of(tmp_path, weights, dataset.folder, name="older", seed=3, valid_fraction=0.3)
    assert key_of(lambda: held_out(dataset, older)) == "held_out_unknown"
    copy = tmp_path / "mine.pt"
    (run / "best.pt").rename(copy)
    assert key_of(lambda: held_out(dataset, copy)) == "held_out_unknown"


@pytest.mark.parametrize("splits", [SPLITS, ("train",) * 6])
def test_a_run_that_was_really_trained_tells_what_it_has_not_learnt(make, tmp_path, splits, monkeypatch):
    dataset, learnt = make(splits), set()
    run = runs.create(tmp_path / "runs" / "run", TrainConfig(data=str(dataset.folder), epochs=1, image_size=64, batch=2, precision="none",
                                                              layout="contiguous", device="cpu", augment="none"))
    (run.folder / "state.json").write_text(json.dumps({**json.loads((run.folder / "state.json").read_text()), "created": time.time() + 2}))
    from engine.session import Session

    begin = Session.start_epoch

    def told(session):
        learnt.update(int(each.name.split(".")[0]) + 1 for each in session.data.train)
        begin(session)
    monkeypatch.setattr(Session, "start_epoch", told)
    for event in train(run.config(), run.folder):
        if event.kind == "recorded":
            run.write_config(event.values["config"])
    assert learnt and held_out(dataset, run.folder) == set(range(1, 7)) - learnt == judged(dataset, run.folder)


def test_the_command_line_refuses_what_was_learnt_and_does_as_it_is_told(make, tmp_path, weights, capsys):
    dataset = make(("train",) * 4)
    dataset.set_labels(1, BOX)
    run = run_of(tmp_path, weights, dataset.folder)
    asked = ["label-errors", "--data", str(dataset.folder), "--model", str(run), "--lang", "en"]
    assert main(asked) == 2 and "--folds 3" in capsys.readouterr().err
    assert main([*asked, "--split", "all", "--json"]) == 0
    assert {each["image"] for each in json.loads(capsys.readouterr().out)} == {1, 2, 3, 4}
    assert main([*asked[:3], "--lang", "en"]) == 2 and "--model" in capsys.readouterr().err
    assert main([*asked[:3], "--folds", "3", "--lang", "en"]) == 2 and "4 labeled images" in capsys.readouterr().err

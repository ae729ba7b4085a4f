"""A model at work on a set in a process of its own: what is told of it, a second one, one that is cancelled, killed or fails."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from engine import checkpoint, suggest_jobs
from engine.datasets import labeling, labeling_lists, labeling_suggested
from engine.datasets.store import Dataset
from engine.models import create, models
from engine.types import Instances, Reading, Sample, UserError
from engine.workspace import Workspace

CLASSES = ("cat", "dog")


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    """A detector as training leaves it, but for the training."""
    torch.manual_seed(0)
    file, spec = tmp_path_factory.mktemp("model") / "best.pt", models.get("deimv2_atto")
    checkpoint.save({"model": create("deimv2_atto", 2).state_dict(), "model_name": "deimv2_atto", "options": {"num_classes": 2}, "task": "detect",
                     "classes": list(CLASSES), "preprocess": {"resize": "stretch", "size": 64, "mean": list(spec.mean), "std": list(spec.std)},
                     "thresholds": {"score": 0.3}, "metrics": {}, "config": {}, "version": "test"}, file)
    return file


@pytest.fixture
def workspace(tmp_path, best):
    made = Workspace(tmp_path / "workspace")
    (made.runs_folder / "run-1").mkdir()
    (made.runs_folder / "run-1" / "best.pt").symlink_to(best)
    return made


@pytest.fixture
def make(tmp_path, workspace, picture):
    def made(count, labels=None):
        samples = [Sample(picture(tmp_path / "images" / f"{number}.png", seed=number % 3), (64, 48), labels, "train", None, f"{number}.png")
                   for number in range(count)]
        with workspace.stage() as stage:
            return workspace.adopt(Dataset.create(stage / "set", "set", Reading(CLASSES, iter(samples), "detect")))
    return made


def until(dataset, fits, patience=180):
    deadline = time.monotonic() + patience
    while not fits(state := suggest_jobs.state(dataset)):
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    return state


def here(monkeypatch, meanwhile=lambda job: None):
    """Jobs that begin from now on are done by this process, before `start` returns."""
    def work(folder):
        job = suggest_jobs._Job(Dataset(folder))
        meanwhile(job)
        suggest_jobs.run(job)
    monkeypatch.setattr(suggest_jobs, "_launch", work)


def over(state):
    return state["phase"] not in suggest_jobs.ACTIVE


def test_a_job_that_is_killed_keeps_what_it_did_reads_as_stopped_and_can_go_on(workspace, make, monkeypatch):
    dataset = make(80)
    assert suggest_jobs.state(dataset) is None
    begun = suggest_jobs.start(workspace, dataset.id, "run-1", "unlabeled", threshold=0.0)
    assert (begun["phase"] in ("starting", "running"), begun["source"], begun["work"]) == (True, "run-1", "suggest")
    with pytest.raises(UserError) as told:
        suggest_jobs.start(workspace, dataset.id, "run-1")
    assert told.value.key == "suggest_running"
    until(dataset, lambda state: state["phase"] == "running" and state["done"] >= 4)
    process = int(re.search(r"-p(\d+)t", suggest_jobs.state(dataset)["owner"])[1])
    os.kill(process, signal.SIGKILL)
    state = until(dataset, over)
    assert state["phase"] == "stopped"
    kept = labeling_suggested.with_suggestions(dataset)
    assert 4 <= len(kept) <= 80 and all(labeling_suggested.of(Dataset(dataset.folder), image).count for image in kept)
    at = labeling_suggested.of(dataset, kept[0]).at
    here(monkeypatch)
    state = suggest_jobs.start(workspace, dataset.id, "run-1", "unlabeled", threshold=0.0)
    assert (state["phase"], state["failed"], state["total"], state["images"]) == ("done", 0, 80 - len(kept), 80 - len(kept))
    assert len(labeling_suggested.with_suggestions(dataset)) == 80 and labeling_suggested.of(dataset, kept[0]).at == at
    assert labeling.progress(dataset)["suggested"] == 80


def test_a_job_that_is_cancelled_stops_after_a_few_images(workspace, make, monkeypatch):
    dataset = make(12)

    def meanwhile(job):
        told, job.progress = job.progress, lambda done, total: (told(done, total), suggest_jobs.cancel(dataset))
    here(monkeypatch, meanwhile)
    state = suggest_jobs.start(workspace, dataset.id, "run-1", "unlabeled", threshold=0.0)
    assert (state["phase"], state["images"]) == ("stopped", 4) and labeling_suggested.with_suggestions(dataset) == [1, 2, 3, 4]
    monkeypatch.undo()
    here(monkeypatch)
    assert suggest_jobs.start(workspace, dataset.id, "run-1", "next", count=3, around=3, threshold=0.0)["phase"] == "done"
    assert labeling_suggested.with_suggestions(dataset) == [1, 2, 3, 4, 5, 6, 7]


def test_ranking_and_suspects_are_jobs_too(workspace, make, monkeypatch):
    dataset = make(6, Instances(np.array([[1, 1, 9, 9]]), np.array([0])))
    here(monkeypatch)
    assert suggest_jobs.start(workspace, dataset.id, "run-1", work="suspects")["shapes"] == 6
    assert {each.kind for each in labeling_lists.suspects(dataset)} == {"unpredicted"}
    state = suggest_jobs.start(workspace, dataset.id, "run-1", [4, 5, 6], count=2, work="rank")
    assert (state["phase"], state["images"], state["done"]) == ("done", 2, 3)
    assert sorted(image for image, _ in labeling.queue(dataset, order="uncertain", after=3).images) == [4, 5, 6]


def test_a_job_that_fails_says_why(workspace, make, monkeypatch):
    dataset = make(1)
    (workspace.runs_folder / "run-1" / "best.pt").unlink()
    (workspace.runs_folder / "run-1" / "best.pt").write_bytes(b"no weights")
    here(monkeypatch)
    state = suggest_jobs.start(workspace, dataset.id, "run-1")
    assert state["phase"] == "failed" and UserError(state["error"]["key"], **state["error"]["values"]).message()
    monkeypatch.setitem(suggest_jobs.WORK, "rank", lambda job, predictor, request: 1 / 0)
    monkeypatch.setattr("engine.predict.load", lambda path: None)
    state = suggest_jobs.start(workspace, dataset.id, "run-1", work="rank")
    assert state["error"]["key"] == "suggest_bug" and "ZeroDivisionError" in UserError("suggest_bug", **state["error"]["values"]).message()


def test_what_is_told_by_a_process_that_is_gone_is_not_believed(make):
    dataset = make(1)
    for content, phase in (({"phase": "running", "owner": "suggest-p999999t1h00000000-1"}, "running"),  # another machine: nobody knows
                           ({"phase": "starting", "started": time.time() - 3600}, "stopped"), ({"phase": "done"}, "done")):
        (dataset.folder / suggest_jobs.FILE).write_text(json.dumps(content))
        assert suggest_jobs.state(dataset)["phase"] == phase
    for damaged in ("", "[]", "{", '"text"', '{"phase": 7}'):
        (dataset.folder / suggest_jobs.FILE).write_text(damaged)
        assert suggest_jobs.state(dataset)["phase"] == "failed"


@pytest.mark.parametrize(("asked", "key"), [
    ({"model": "run-9"}, "model_unknown"), ({"model": "../run-1"}, "model_unknown"), ({"model": "/etc/passwd"}, "model_unknown"),
    ({"work": "guess"}, "browse_unknown"), ({"threshold": 7}, "option_bounds"), ({"threshold": "high"}, "option_bounds"),
    ({"images": "everything"}, "browse_unknown"), ({"images": "next", "count": 0}, "option_bounds"), ({"images": ["1"]}, "labels_unreadable"),
    ({"count": 10**12, "images": "next"}, "option_bounds"), ({"around": "x", "images": "next"}, "option_bounds")])
def test_what_makes_no_sense_is_refused_before_anything_starts(workspace, make, asked, key):
    dataset = make(1, Instances(np.array([[1, 1, 9, 9]]), np.array([0])))
    with pytest.raises(UserError) as told:
        suggest_jobs.start(workspace, dataset.id, **{"model": "run-1", **asked})
    assert told.value.key == key and told.value.remedy() and suggest_jobs.state(dataset) is None


def test_a_model_is_a_run_or_a_file_among_the_weights(workspace, best):
    (workspace.weights / "mine.pt").symlink_to(best)
    assert suggest_jobs.model_of(workspace, "run-1")[1] == "run-1"
    assert suggest_jobs.model_of(workspace, "mine.pt") == (workspace.weights / "mine.pt", "mine.pt")
    (workspace.runs_folder / "run-2").mkdir()
    with pytest.raises(UserError) as told:
        suggest_jobs.model_of(workspace, "run-2")
    assert told.value.key == "run_without_best"


def test_a_process_that_died_before_it_said_who_it_is_does_not_block_the_next(make):
    dataset = make(1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    begun = {**suggest_jobs.NOTHING, "phase": "starting", "started": time.time()}
    (dataset.folder / suggest_jobs.FILE).write_text(json.dumps(begun))
    assert suggest_jobs.state(dataset)["phase"] == "starting"  # no process yet: it is being started
    (dataset.folder / suggest_jobs.NUMBER).write_text(str(gone.pid))
    assert suggest_jobs.state(dataset)["phase"] == "stopped"
    (dataset.folder / suggest_jobs.NUMBER).write_text(str(os.getpid()))
    assert suggest_jobs.state(dataset)["phase"] == "starting"

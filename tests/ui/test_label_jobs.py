"""The header counts what Label has begun, and stops it."""

import time

import pytest

from engine import suggest_jobs
from engine.datasets.store import Dataset
from engine.runs import write_json
from engine.types import Reading, Sample, UserError
from engine.workspace import Workspace
from ui import header


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def dataset(workspace, tmp_path, picture):
    sample = Sample(picture(tmp_path / "a.png"), (64, 48), None, "train", None, "a.png")
    with workspace.stage() as stage:
        return workspace.adopt(Dataset.create(stage / "set", "<i>set</i>", Reading(("cat",), iter([sample]), "detect")))


def begun(dataset, **more):
    write_json(dataset.folder / suggest_jobs.FILE, {**suggest_jobs.NOTHING, "phase": "starting", "started": time.time(), **more})


WORDS = [("suggest", "Suggesting"), ("rank", "Ranking"), ("suspects", "Looking for"), ("kfold", "Cross-checking")]


@pytest.mark.parametrize(("work", "words"), WORDS)
def test_what_looks_through_a_set_is_counted_among_the_jobs(workspace, dataset, work, words):
    assert "No jobs" in header.jobs_html(workspace, "en")
    begun(dataset, work=work, done=5, total=10)
    shown = header.jobs_html(workspace, "en")
    assert "1 running" in shown and words in shown and "width:50%" in shown and "&lt;i&gt;set" in shown
    begun(dataset, work=work, phase="done")
    assert "No jobs" in header.jobs_html(workspace, "en")


def test_it_is_stopped_from_there(workspace, dataset):
    begun(dataset)
    header.stop_job(workspace, None, dataset.id)
    assert suggest_jobs.state(dataset)["phase"] == "stopping" and "disabled" in header.jobs_html(workspace, "en")
    with pytest.raises(UserError):
        header.stop_job(workspace, None, "no-such-set")

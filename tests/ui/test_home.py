"""The first door: a sample that is made, imported and told about step by step."""

import pytest

from engine import runs
from engine.config import TrainConfig
from engine.datasets import import_steps
from engine.workspace import Workspace
from ui.pages import home
from ui.pages.data.stops import Stopped


def test_making_the_sample_tells_its_steps_as_an_import_does_and_can_be_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(home, "SAMPLE_IMAGES", 4)
    monkeypatch.setattr(import_steps, "EVERY_S", 0)
    workspace, told = Workspace(tmp_path / "workspace"), []
    home.make_sample(workspace, lambda *said: told.append(said), "en")
    assert [len(said) for said in told] == [3] * len(told)
    assert told[-1] == (4, 0, "Reading images and labels")
    assert [each.total() for each in workspace.datasets()] == [4]

    def stop(done, total, text):
        if text == "Reading images and labels":
            raise Stopped

    with pytest.raises(Stopped):
        home.make_sample(workspace, stop, "en")
    assert len(workspace.datasets()) == 1


@pytest.mark.parametrize("kind", ["instance", "semantic", "classify"])
def test_there_is_a_sample_of_every_task(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(home, "SAMPLE_IMAGES", 4)
    workspace = Workspace(tmp_path / "workspace")
    home.make_sample(workspace, lambda *said: None, "en", kind)
    (made,) = workspace.datasets()
    assert made.task == kind
    assert made.name == home.sample_name(kind)


def test_a_run_is_told_by_the_metric_of_its_task(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    run = runs.create(workspace.runs_folder / "a", TrainConfig(model="unet", task="semantic"))
    run.append_metrics({"time": 1.0, "step": 1, "epoch": 2, "split": "valid", "dice": 0.87})
    assert "Dice 0.87" in home.recent_html(workspace, "en")

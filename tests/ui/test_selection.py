"""What the header offers: data sets and runs by name, newest first, told apart where names repeat."""

import os

import pytest

from engine import runs
from engine.config import TrainConfig
from engine.datasets.samples import generate
from engine.workspace import Workspace
from ui.selection import dataset_choices, name_of, pick, run_choices


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


def test_nothing_is_offered_in_a_new_workspace(workspace):
    assert dataset_choices(workspace) == [] and run_choices(workspace) == [] and pick([], "gone") == ""


def test_sets_of_the_same_name_are_told_apart_and_the_newest_stands_first(workspace, tmp_path):
    generate("detect", tmp_path / "scenes", images=4, seed=0)
    first, _ = workspace.import_dataset(tmp_path / "scenes", "场景")
    second, _ = workspace.import_dataset(tmp_path / "scenes", "场景")
    os.utime(second.folder, (1, 1))  # reading a set touches its folder: that says nothing
    assert dataset_choices(workspace) == [("场景 (2)", second.id), ("场景", first.id)]


def test_runs_show_their_name_and_what_they_do(workspace):
    run = runs.create(workspace.new_run_folder("pets Atto"), TrainConfig(data="x", epochs=1))
    assert run_choices(workspace, "en") == [("pets-Atto · queued", run.id)]
    run.write_state(phase="done")
    assert run_choices(workspace, "en") == [("pets-Atto", run.id)]


def test_what_was_chosen_stays_chosen_while_it_is_there():
    choices = [("b", "2"), ("a", "1")]
    assert (pick(choices, "1"), pick(choices, "gone"), pick(choices, None)) == ("1", "2", "2")


def test_the_time_in_a_run_id_is_not_its_name():
    assert name_of("20261121-050650-pets-Atto") == "pets-Atto"
    assert name_of("20261121-050650-") == "20261121-050650-"
    assert name_of("my own run") == "my own run"

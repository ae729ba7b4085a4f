"""What makes a page look again: each kind of change, and nothing else."""

import json
import time

import pytest

from engine import runs
from engine.config import TrainConfig
from engine.workspace import Workspace
from ui import build, pulse
from ui.selection import PAGES


@pytest.fixture
def workspace(tmp_path, yolo_folder):
    made = Workspace(tmp_path / "workspace")
    made.import_dataset(yolo_folder(), "cats")
    return made


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_nothing_is_told_while_nothing_happens(workspace):
    runs.create(workspace.runs_folder / "first", TrainConfig(data="x")).write_state(phase="done")
    assert pulse.state_of(workspace, "no jobs") == pulse.state_of(workspace, "no jobs")


def test_each_change_is_told_to_what_shows_it(workspace, yolo_folder):
    now = pulse.state_of(workspace, "")
    assert changed(now, pulse.state_of(workspace, "1 job")) == {"header"}
    workspace.import_dataset(yolo_folder(name="more"), "dogs")
    now, before = pulse.state_of(workspace, ""), now
    assert changed(before, now) == {"header"}
    run = runs.create(workspace.runs_folder / "first", TrainConfig(data="x"))
    run.write_state(phase="done")
    now, before = pulse.state_of(workspace, ""), now
    assert changed(before, now) == {"header", "train", "runs"}
    with (run.folder / "metrics.jsonl").open("a") as rows:
        rows.write(json.dumps({"step": 1}) + "\n")
    assert changed(now, pulse.state_of(workspace, "")) == {"train", "runs"}


def test_a_picture_that_comes_later_is_told_to_the_monitor(workspace):
    run = runs.create(workspace.runs_folder / "first", TrainConfig(data="x"))
    run.write_state(phase="done")
    before = pulse.state_of(workspace, "")
    time.sleep(0.02)  # longer than the clock of the file system
    (run.folder / "training_history.png").write_bytes(b"")
    assert "train" in changed(before, pulse.state_of(workspace, ""))


def test_every_event_is_listened_to_and_its_page_is_there(tmp_path):
    blocks = build(tmp_path / "workspace")
    heart = next(key for key, block in blocks.blocks.items() if getattr(block, "elem_id", "") == "lb-pulse")
    heard = {name for each in blocks.fns.values() for target, name in each.targets if target == heart}
    assert heard == set(pulse.PAGES)
    assert {page.removeprefix("lb-page-") for page in pulse.PAGES.values() if page} <= set(PAGES)

"""Run folders: what is written, what is read, and what is derived."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from engine import runs
from engine.config import TrainConfig
from engine.runs import Run
from engine.types import UserError


@pytest.fixture
def run(tmp_path):
    return runs.create(tmp_path / "run 1", TrainConfig(data="set", epochs=3))


def test_a_new_run_is_queued_and_tells_its_command(run):
    assert run.state()["phase"] == "queued"
    assert run.command() == f'python -m engine train --run "{run.folder}" --data set --model deimv2_atto --epochs 3'
    assert run.config() == TrainConfig(data="set", epochs=3)


def test_a_folder_with_content_is_never_overwritten(run):
    with pytest.raises(UserError, match=str(run.folder)):
        runs.create(run.folder, TrainConfig(data="set"))


def test_a_run_that_failed_before_its_first_step_can_be_started_anew(run):
    run.write_state(phase="failed")
    again = runs.create(run.folder, TrainConfig(data="other", epochs=3))
    assert again.config().data == "other" and again.state()["phase"] == "queued"
    again.append_metrics({"step": 1})
    again.write_state(phase="failed")
    with pytest.raises(UserError):
        runs.create(run.folder, TrainConfig(data="other", epochs=3))


def test_a_dead_worker_reads_as_interrupted_even_when_its_number_is_reused(run):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = psutil.Process(child.pid).create_time()
    run.write_state(phase="running", pid=child.pid, pid_started=started)
    assert run.state()["phase"] == "running"
    run.write_state(pid=os.getpid())
    assert run.state()["phase"] == "interrupted", "another process with that number is not our worker"
    run.write_state(pid=child.pid)
    child.kill()
    time.sleep(0.2)
    assert run.state()["phase"] == "interrupted", "a zombie does not train"
    child.wait()
    assert run.state()["phase"] == "interrupted"


def test_metrics_are_read_from_an_offset_and_a_half_written_row_is_left_for_later(run):
    run.append_metrics({"step": 1, "loss": 2.0})
    rows, offset = run.metrics()
    assert [row["step"] for row in rows] == [1]
    with (run.folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 2, "lo')
    assert run.metrics(offset) == ([], offset)
    with (run.folder / "metrics.jsonl").open("a") as stream:
        stream.write('ss": 1.5}\n')
    assert [row["step"] for row in run.metrics(offset)[0]] == [2]


def test_rows_after_the_checkpoint_are_dropped_on_resume(run):
    for step in (1, 2, 3, 4):
        run.append_metrics({"step": step})
    run.forget_metrics_after(2)
    assert [row["step"] for row in run.metrics()[0]] == [1, 2]


@pytest.mark.parametrize("name", ["config.json", "state.json", "metrics.jsonl"])
def test_a_damaged_file_never_breaks_reading(run, name):
    run.append_metrics({"step": 1, "loss": 2.0})
    whole = (run.folder / name).read_bytes()
    for length in range(len(whole)):
        (run.folder / name).write_bytes(whole[:length])
        assert run.state()["phase"] in ("queued", "failed")
        assert isinstance(run.metrics()[0], list)
        if name == "config.json":
            with pytest.raises(UserError):
                run.config()


def test_only_a_finished_or_broken_off_run_can_be_resumed(run):
    with pytest.raises(UserError):
        runs.requeue(run)
    run.write_state(phase="stopped")
    run.request_stop()
    runs.requeue(run)
    assert run.state()["phase"] == "queued" and not run.stop_requested()
    run.write_state(phase="done")
    with pytest.raises(UserError):
        runs.requeue(run)


def test_state_is_replaced_whole(run):
    run.write_state(phase="done", step=5)
    assert json.loads((run.folder / "state.json").read_text())["step"] == 5
    assert not [file for file in run.folder.iterdir() if file.suffix == ".tmp"]
    assert Run(run.folder).state()["phase"] == "done"

"""The queue on this machine: one run at a time, first in, first out, whoever asks."""

import subprocess
import sys
import threading
import time

import psutil
import pytest

from engine import runs
from engine.config import TrainConfig
from engine.jobs import local
from engine.runs import FINISHED, Run


@pytest.fixture
def started(monkeypatch):
    """Runs in the order in which their workers were started; each worker is a sleeping process that claims its run."""
    order = []

    def launch(run: Run):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        run.write_state(phase="running", pid=child.pid, pid_started=psutil.Process(child.pid).create_time())
        order.append((run.id, child))
        return True

    monkeypatch.setattr(local, "_launch", launch)
    yield order
    for _, child in order:
        child.kill()


def new(tmp_path, name):
    return runs.create(tmp_path / name, TrainConfig(data="x", epochs=1))


def end(order):
    order[-1][1].kill()
    order[-1][1].wait()


def test_runs_start_in_the_order_in_which_they_came_and_one_at_a_time(tmp_path, started):
    positions = []
    for name in ("b", "a", "c"):
        positions.append(local.submit(new(tmp_path, name)))
    assert positions == [0, 1, 2] and [name for name, _ in started] == ["b"]
    end(started)
    local.advance(tmp_path)
    assert [name for name, _ in started] == ["b", "a"], "a dead worker does not block the queue"


def test_a_run_that_another_asker_is_just_starting_has_none_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "advance", lambda folder: None)  # whoever holds the lock starts it
    assert local.submit(new(tmp_path, "a")) == 0
    assert local.submit(new(tmp_path, "b")) == 1


def test_many_askers_at_once_start_a_run_once(tmp_path, started):
    new(tmp_path, "only")
    threads = [threading.Thread(target=local.advance, args=(tmp_path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 1


def test_a_worker_that_dies_at_once_leaves_a_failed_run_and_the_next_one_starts(tmp_path):
    broken, second = new(tmp_path, "1"), new(tmp_path, "2")
    (broken.folder / "config.json").write_text("{")
    (second.folder / "config.json").write_text("{")
    local.advance(tmp_path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not all(run.state()["phase"] in FINISHED for run in (broken, second)):
        time.sleep(0.1)
        local.advance(tmp_path)
    assert [run.state()["phase"] for run in (broken, second)] == ["failed", "failed"]
    assert broken.state()["error"]["key"] == "run_damaged"

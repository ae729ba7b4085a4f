import multiprocessing
import os
import signal
import sys
import threading
import time

import psutil
import pytest

from engine.datasets import owners

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="no fork")


def start(target, *arguments):
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def test_what_this_process_made_has_a_living_owner_and_a_name_of_its_own():
    names = {owners.marked("import") for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("import-p") and owners.is_living(name) for name in names)


@needs_fork
def test_an_owner_is_dead_once_killed_even_before_anybody_noticed():
    ends = multiprocessing.Pipe()
    process = start(lambda: (ends[1].send(owners.marked("x")), time.sleep(60)))
    name = ends[0].recv()
    assert owners.is_living(name) is True
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while owners.is_living(name) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert psutil.pid_exists(process.pid)
    assert owners.is_living(name) is False
    process.join()
    assert owners.is_living(name) is False


def test_a_number_that_another_process_has_now_does_not_count():
    name = owners.marked("x")
    begun = name.split("t")[1].split("h")[0]
    assert owners.is_living(name.replace(f"t{begun}h", f"t{int(begun) + 500}h")) is False


def test_a_clock_that_was_set_changes_nothing(monkeypatch):
    name, boot, create = owners.marked("x"), psutil.boot_time(), psutil.Process().create_time()
    monkeypatch.setattr(psutil, "boot_time", lambda: boot - 7200)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create - 7200)
    assert owners.is_living(name) is True


@pytest.mark.parametrize("name", ["old", "scratch-abc", "import-p1-x", ".partial-0123456789abcdef"])
def test_names_that_say_nothing_are_nobodys(name):
    assert owners.is_living(name) is None


def test_another_machine_cannot_be_asked():
    name = owners.marked("x")
    assert owners.is_living(name.replace(owners._machine(), "00000000" if owners._machine() != "00000000" else "11111111")) is None


def test_only_one_thread_is_behind_the_lock(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with owners.locked(tmp_path / ".lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(most) == 80
    assert max(most) == 1


@needs_fork
def test_the_lock_of_a_killed_process_is_free_again(tmp_path):
    ends = multiprocessing.Pipe()

    def hold():
        with owners.locked(tmp_path / ".lock"):
            ends[1].send(1)
            time.sleep(60)
    process = start(hold)
    ends[0].recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with owners.locked(tmp_path / ".lock"):
        pass


@needs_fork
def test_what_a_killed_process_left_goes_away_when_the_next_one_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(owners.tempfile, "gettempdir", lambda: str(tmp_path))
    ends = multiprocessing.Pipe()

    def begin():
        with owners.temporary("x") as folder:
            (folder / "half.bin").write_bytes(b"x")
            ends[1].send(folder.name)
            time.sleep(60)
    process = start(begin)
    left = ends[0].recv()
    with owners.temporary("x") as mine:
        assert {path.name for path in tmp_path.iterdir()} == {left, mine.name}
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (tmp_path / "other").mkdir()
    with owners.temporary("x") as mine:
        assert {path.name for path in tmp_path.iterdir()} == {mine.name, "other"}
    assert [path.name for path in tmp_path.iterdir()] == ["other"]

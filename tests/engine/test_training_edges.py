"""Training where things go wrong: odd data, broken files, crashes at any moment, settings that cannot work."""

import gc
import json
import multiprocessing
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from engine import checkpoint, runs
from engine import train as training
from engine.config import TrainConfig
from engine.datasets.collection import load
from engine.datasets.images import open_image
from engine.session import Session
from engine.tasks.task import tasks
from engine.types import UserError
from engine.weights import safe_load
from engine.worker import work

REPOSITORY = Path(__file__).resolve().parents[2]
BOX, OTHER = "0 0.5 0.5 0.4 0.4\n", "1 0.3 0.3 0.2 0.3\n"


class Crash(Exception):
    """Stands for the sudden end of the process."""


@pytest.fixture
def plain(yolo_folder):
    return yolo_folder({"train": dict.fromkeys("abcdefgh", BOX + OTHER), "valid": dict.fromkeys("vwx", BOX + OTHER)})


def tiny(data, **changes):
    values = {"data": str(data), "epochs": 2, "batch": 2, "image_size": 64, "precision": "none", "threads": 1, "workers": 0, "device": "cpu"}
    return TrainConfig(**{**values, **changes})


def weights_of(run):
    return safe_load(run.last)["model"]


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def rows_of(run):
    return [{k: v for k, v in row.items() if k not in ("time", "images_per_s", "trained_s")} for row in run.metrics()[0]]


def crash_at(number):
    """A watcher that ends the run at event `number`; the events seen so far stand in its list `seen`."""
    def watch(event):
        watch.seen.append(event.kind)
        if len(watch.seen) == number:
            raise Crash
    watch.seen = []
    return watch


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_boxes_of_a_turned_photo_lie_on_the_object_in_target_and_picture(tmp_path, orientation):
    upright = np.zeros((60, 100, 3), np.uint8)
    upright[10:20, 70:90] = 255
    turns = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    stored = Image.fromarray(upright) if turns is None else Image.fromarray(upright).transpose(turns)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    stored.save(tmp_path / "images" / "a.jpg", exif=exif, quality=100)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.8 0.25 0.2 0.16667\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nnames: [thing]\n")
    sample = load(tmp_path, tmp_path / "scratch").samples[0]
    assert sample.size == (100, 60) and np.allclose(sample.labels.boxes, [[70, 10, 90, 20]], atol=0.1)
    pixels, target = tasks.get("detect").encode(tiny(tmp_path, augment="none"), sample, open_image(sample.image), 0, False)
    x, y, width, height = (target["boxes"][0] * 64).tolist()
    lit = np.argwhere(pixels[..., 0] > 127)
    assert np.allclose([*lit.min(0), *(lit.max(0) + 1)], [y - height / 2, x - width / 2, y + height / 2, x + width / 2], atol=1.5)


def test_loader_processes_do_not_change_the_result(plain, tmp_path):
    first, second = (runs.create(tmp_path / f"{n}", tiny(plain, workers=n, epochs=1)) for n in (0, 2))
    assert work(first) == work(second) == "done"
    assert same(weights_of(first), weights_of(second)) and rows_of(first) == rows_of(second)


@pytest.mark.parametrize("stopped", [False, True])
def test_loader_processes_end_with_the_training(plain, tmp_path, stopped):
    """And not some time later, when the collector of cycles happens to find them."""
    run = runs.create(tmp_path / "run", tiny(plain, workers=2, epochs=1))
    if stopped:
        run.request_stop()
    gc.collect()
    gc.disable()
    try:
        assert work(run) == ("stopped" if stopped else "done")
        assert not multiprocessing.active_children()
    finally:
        gc.enable()


def truncate(file):
    file.write_bytes(file.read_bytes()[:80])


def test_a_torn_image_in_the_very_first_batch_is_left_out(plain, tmp_path):
    for name in ("a", "b"):
        truncate(plain / "train" / "images" / f"{name}.png")
    run = runs.create(tmp_path / "run", tiny(plain, batch=1, epochs=1, precision="auto"))
    assert work(run) == "done"
    assert "a.png" in run.log() and "b.png" in run.log()


@pytest.mark.parametrize("precision", ["auto", "none"])
def test_training_images_that_are_all_torn_are_an_error_not_an_untrained_model(yolo_folder, tmp_path, precision):
    folder = yolo_folder({"train": {"a": BOX}})
    truncate(folder / "train" / "images" / "a.png")
    with pytest.raises(UserError) as caught:
        work(runs.create(tmp_path / "run", tiny(folder, precision=precision)))
    assert caught.value.key in ("no_readable_images", "no_training_images")


def test_a_torn_validation_image_is_named_and_left_out(plain, tmp_path):
    truncate(plain / "valid" / "images" / "w.png")
    run = runs.create(tmp_path / "run", tiny(plain))
    assert work(run) == "done" and run.log().count("w.png") == 1


def test_a_data_set_deleted_after_the_first_epoch_does_not_end_the_run(plain, tmp_path):
    run = runs.create(tmp_path / "run", tiny(plain))
    assert work(run, lambda event: shutil.rmtree(plain) if event.kind == "checkpoint" and plain.exists() else None) == "done"


# ---- crashes and resumes


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """A data set, and a finished run on it that gathers gradients over two batches."""
    from tests.conftest import write_picture

    folder = tmp_path_factory.mktemp("steady")
    for split, names in {"train": "abcdefgh", "valid": "vw"}.items():
        for number, name in enumerate(names):
            write_picture(folder / "data" / split / "images" / f"{name}.png", seed=number)
            label = folder / "data" / split / "labels" / f"{name}.txt"
            label.parent.mkdir(exist_ok=True)
            label.write_text(BOX + OTHER)
    (folder / "data" / "data.yaml").write_text("path: .\ntrain: train/images\nval: valid/images\nnames: [cat, dog]\n")
    run = runs.create(folder / "run", tiny(folder / "data", batch=1, accumulate=3))
    watch = crash_at(-1)
    assert work(run, watch) == "done"
    return folder / "data", run, watch.seen


MOMENTS = ["before the first checkpoint", "amid the second epoch", "between figures and checkpoint", "after the last checkpoint"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_crash_at_any_moment_leaves_no_epoch_twice_and_the_same_weights(steady, tmp_path, moment):
    data, finished, events = steady
    first, last = events.index("checkpoint"), len(events) - events[::-1].index("checkpoint")
    number = {"before the first checkpoint": first - 2, "amid the second epoch": first + 4, "between figures and checkpoint": last - 1,
              "after the last checkpoint": last}[moment]
    run = runs.create(tmp_path / "run", tiny(data, batch=1, accumulate=3))
    with pytest.raises(Crash):
        work(run, crash_at(number))
    with (run.folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 1, "epo')
    runs.requeue(run)
    assert work(run) == "done"
    assert rows_of(run) == rows_of(finished) and same(weights_of(run), weights_of(finished))


def test_a_stop_waits_until_gathered_gradients_are_used(steady, tmp_path):
    data, finished, _ = steady
    run = runs.create(tmp_path / "run", tiny(data, batch=1, accumulate=3))
    run.request_stop()
    assert work(run) == "stopped" and safe_load(run.last)["batch"] == 3
    runs.requeue(run)
    assert work(run) == "done"
    assert same(weights_of(run), weights_of(finished)) and rows_of(run) == rows_of(finished)


def test_of_many_workers_that_claim_a_run_at_once_one_gets_it(plain, tmp_path):
    run = runs.create(tmp_path / "run", tiny(plain))
    claim = "import sys, time\nfrom engine.runs import Run\nRun(sys.argv[1]).claim()\nprint('mine', flush=True)\ntime.sleep(2)"
    workers = [subprocess.Popen([sys.executable, "-c", claim, str(run.folder)], cwd=REPOSITORY, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(4)]
    said = [each.communicate(timeout=60)[0].strip() for each in workers]
    assert sorted(said) == ["", "", "", "mine"] and run.state()["pid"] == workers[said.index("mine")].pid
    assert run.state()["phase"] == "interrupted" and not (run.folder / ".claim.lock").exists()


def test_a_claim_is_refused_while_another_process_trains(plain, tmp_path):
    run = runs.create(tmp_path / "run", tiny(plain))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        run.write_state(phase="running", pid=child.pid, pid_started=psutil.Process(child.pid).create_time())
        with pytest.raises(UserError) as caught:
            work(run)
    finally:
        child.kill()
        child.wait()
    assert caught.value.key == "run_active" and run.state()["pid"] == child.pid
    assert work(run) == "done"


def test_a_write_that_breaks_off_leaves_the_old_checkpoint(plain, tmp_path, monkeypatch):
    file = tmp_path / "last.pt"
    checkpoint.save({"step": 1}, file)

    def half(state, stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(UserError):
        checkpoint.save({"step": 2}, file)
    monkeypatch.undo()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(UserError, match="MiB"):
        checkpoint.save({"step": 2}, file)
    assert safe_load(file)["step"] == 1 and [each.name for each in tmp_path.iterdir() if each.suffix in (".pt", ".tmp")] == ["last.pt"]


def test_a_full_disk_is_named_wherever_it_shows(plain, tmp_path, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device", str(tmp_path / "metrics.jsonl"))

    run = runs.create(tmp_path / "run", tiny(plain))
    monkeypatch.setattr(runs.Run, "append_metrics", full)
    with pytest.raises(OSError):
        work(run)
    assert run.state()["error"]["key"] == "no_space_to_write"


@pytest.fixture
def stopped(steady, tmp_path):
    run = runs.create(tmp_path / "stopped", tiny(steady[0]))
    run.request_stop()
    assert work(run) == "stopped"
    runs.requeue(run)
    return run


@pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "nonsense", "something else"])
def test_a_damaged_checkpoint_is_named_on_resume(stopped, content):
    if content is None:
        torch.save([1, 2], stopped.last)
    else:
        stopped.last.write_bytes(content)
    with pytest.raises(UserError) as caught:
        work(stopped)
    assert caught.value.key == stopped.state()["error"]["key"] == "weights_broken" and stopped.state()["phase"] == "failed"


@pytest.mark.parametrize("changes, key", [
    ({"model": "deimv2_femto"}, "checkpoint_foreign"), ({"epochs": "many"}, "option_number"), ({"colour": 1}, "unknown_option"),
    ({"data": "/gone"}, "path_missing"), ({"epochs_plan": [3]}, "option_plan"), ({"epochs_plan": {"0": "x"}}, "option_plan"),
])
def test_a_config_edited_to_nonsense_is_named_on_resume(stopped, changes, key):
    file = stopped.folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(UserError) as caught:
        work(stopped)
    assert caught.value.key == key and not re.search(r"\{\w+\}|error\.", str(caught.value))


# ---- numbers that go wrong


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_run_that_only_finds_numbers_that_are_none_ends_even_when_epochs_are_short(plain, tmp_path, monkeypatch, where):
    original = Session._backward

    def broken(session, batch):
        terms = original(session, batch)
        for each in session.network.parameters():
            if each.grad is not None:
                each.grad.fill_(float("nan"))
        return {**terms, "loss": float("nan")} if where == "loss" else terms

    monkeypatch.setattr(Session, "_backward", broken)
    run = runs.create(tmp_path / "run", tiny(plain, batch=4, epochs=9))
    with pytest.raises(UserError) as caught:
        work(run)
    assert caught.value.key == "loss_not_finite"
    assert all(torch.isfinite(each).all() for each in safe_load(run.best)["model"].values() if each.is_floating_point())


def test_time_that_runs_out_within_an_epoch_still_leaves_a_measured_model(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(training.Clock, "out_of_time", lambda clock: clock.session.step == 2)
    run = runs.create(tmp_path / "run", tiny(plain, epochs=0, minutes=0.0001))
    assert work(run) == "done" and run.best.is_file()
    assert run.state()["epochs"] == run.state()["epoch"] == 1 and run.config().epochs_plan == {"0": 1}


def test_a_run_may_end_with_the_epoch_that_used_up_its_time(plain):
    session = Session(tiny(plain, epochs=10), plain / "scratch", "none")
    session.epoch = 4
    session.set_epochs(3)
    assert session.epochs == 3
    session.batch = 1
    session.set_epochs(3)
    assert session.epochs == 4

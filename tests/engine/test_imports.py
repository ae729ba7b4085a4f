"""Imports that are watched, ended, killed, repeated and done at once."""

import hashlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from engine.datasets import archive, import_steps
from engine.types import UserError
from engine.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="no fork")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "ws")


@pytest.fixture
def packed(yolo_folder, tmp_path):
    """A zip of a YOLO data set of `count` images."""
    def make(count=3, name="set.zip"):
        folder = yolo_folder({"train": {f"image_{number}": "0 0.5 0.5 0.5 0.5\n" for number in range(count)}}, name=f"yolo-{count}")
        with zipfile.ZipFile(tmp_path / name, "w") as target:
            for file in sorted(folder.rglob("*.*")):
                target.write(file, file.relative_to(folder).as_posix())
        return tmp_path / name
    return make


@pytest.fixture
def often(monkeypatch):
    """Every count is told, and not only ten a second."""
    monkeypatch.setattr(archive, "EVERY_S", 0)
    monkeypatch.setattr(import_steps, "EVERY_S", 0)


def leftovers(workspace):
    """What lies where unfinished work lies; nothing of it may ever be listed."""
    return sorted(str(path.relative_to(workspace.root)) for kind in ("tmp", "datasets", "uploads")
                  for path in (workspace.root / kind).iterdir() if kind == "tmp" or path.name.startswith("."))


def uploaded(workspace):
    return [path.name for path in workspace.uploads.rglob("*") if path.is_file()]


def whole(dataset, images):
    return sum(row["images"] for row in dataset.counts().values()) == images and all(row.path.is_file() for row in dataset.page(0, images))


# ---- watched and ended

def test_files_and_then_images_are_counted(workspace, packed, often):
    told, shares = [], []
    workspace.import_dataset(packed(5), "x", shares.append, report=lambda *step: told.append(step))
    stages = [stage for stage, _, _ in told]
    assert stages == sorted(stages, key=("unpacking", "looking", "reading").index)
    assert ("unpacking", 11, 11) in told
    assert told[-1] == ("reading", 5, 0)
    assert [done for stage, done, _ in told if stage == "reading"] == sorted(done for stage, done, _ in told if stage == "reading")
    assert shares[0] < 0.5
    assert 1.0 in shares
    assert shares[-1] == 0.0


@pytest.mark.parametrize("at", [("unpacking", 0), ("unpacking", 4), ("reading", 1), ("reading", 5)])
@pytest.mark.parametrize("error", [UserError("import_cancelled"), KeyboardInterrupt()])
def test_who_watches_may_end_it_and_only_the_upload_remains(workspace, packed, often, at, error):
    def report(stage, done, total):
        if (stage, done) == at:
            raise error
    with pytest.raises(type(error)):
        workspace.import_dataset(packed(5), "x", report=report)
    assert workspace.datasets() == []
    assert leftovers(workspace) == []
    assert uploaded(workspace) == ["set.zip"]
    upload = next(path for path in workspace.uploads.rglob("*.zip"))
    dataset, imported = workspace.import_dataset(upload, "x")
    assert whole(dataset, 5)
    assert imported.upload == upload


def test_the_old_listener_may_end_it_too(workspace, packed):
    def enough(share):
        raise UserError("import_cancelled")
    with pytest.raises(UserError):
        workspace.import_dataset(packed(), "x", enough)
    assert (workspace.datasets(), leftovers(workspace)) == ([], [])


def test_too_little_space_is_said_with_numbers_before_anything_is_written(workspace, packed, monkeypatch):
    path = packed()
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5 << 20))
    for links in (True, False):
        if not links:
            monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError("no links")))
        with pytest.raises(UserError) as caught:
            workspace.import_dataset(path, "x")
        assert caught.value.key == ("no_space_to_unpack" if links else "no_space_to_copy")
        assert caught.value.values["free"] == 5
        assert caught.value.values["need"] >= 64
        assert leftovers(workspace) == []


def test_an_upload_is_copied_where_the_disk_has_no_links(workspace, packed, monkeypatch):
    monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    dataset, imported = workspace.import_dataset(packed(), "x")
    assert whole(dataset, 3)
    assert imported.upload.is_file()
    assert leftovers(workspace) == []


# ---- a person's own files

@pytest.mark.parametrize("kind", ["folder", "coco folder", "label file"])
def test_a_folder_or_label_file_is_left_exactly_as_it_was(workspace, yolo_folder, coco_folder, kind):
    root = yolo_folder() if kind == "folder" else coco_folder()
    given = root / "annotations.json" if kind == "label file" else root

    def state():
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino, path.stat().st_nlink, path.stat().st_mode,
                       hashlib.sha256(path.read_bytes()).digest() if path.is_file() else sorted(path.iterdir()))
                for path in [root, *root.rglob("*")]}
    before = state()
    dataset, imported = workspace.import_dataset(given, "x", source_format="yolo" if kind == "folder" else "coco")
    for row in dataset.page(0, 10):
        row.path.write_bytes(b"changed in the data set")
    workspace.delete_dataset(dataset.id)
    assert state() == before
    assert imported.upload is None
    assert uploaded(workspace) == []


def test_deep_and_medical_images_get_thumbnails_like_all_others(workspace, yolo_folder, reference, tmp_path):
    root = yolo_folder({"train": {"a": "0 0.5 0.5 0.5 0.5\n", "deep": "1 0.5 0.5 0.5 0.5\n", "ct": "0 0.5 0.5 0.25 0.25\n"}})
    cv2.imwrite(str(root / "train/images/deep.png"), np.random.default_rng(0).integers(0, 4096, (40, 60, 3)).astype(np.uint16))
    (root / "train/images/ct.png").unlink()
    (root / "train/images/ct.dcm").write_bytes((reference / "data/formats/images/dicom/CT_small.dcm").read_bytes())
    dataset, _ = workspace.import_dataset(root, "x")
    assert {row.name.rpartition("/")[2]: row.size for row in dataset.page(0, 5)} == {"a.png": (64, 48), "ct.dcm": (128, 128), "deep.png": (60, 40)}
    for row in dataset.page(0, 5):
        assert cv2.imread(str(dataset.thumbnail(row.id))).std() > 10


# ---- at once

def names_and_ids(workspace):
    datasets = workspace.datasets()
    return sorted(dataset.name for dataset in datasets), sorted(dataset.id for dataset in datasets)


def test_threads_that_import_the_same_archive_at_once_get_a_data_set_each(workspace, packed):
    path, failed = packed(20), []

    def work():
        try:
            workspace.import_dataset(path, "手术 x")
        except BaseException as error:  # noqa: BLE001
            failed.append(error)
    threads = [threading.Thread(target=work) for _ in range(5)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failed == []
    names, ids = names_and_ids(workspace)
    assert names == ["手术 x", *(f"手术 x ({number})" for number in range(2, 6))]
    assert len(set(ids)) == 5
    assert all(whole(dataset, 20) for dataset in workspace.datasets())
    assert leftovers(workspace) == []


@needs_fork
def test_processes_that_import_the_same_archive_at_once_get_a_data_set_each(workspace, packed):
    path = packed(20)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=lambda: workspace.import_dataset(path, "x") and None) for _ in range(4)]
    [process.start() for process in processes]
    [process.join() for process in processes]
    assert [process.exitcode for process in processes] == [0] * 4
    assert names_and_ids(workspace)[0] == ["x", "x (2)", "x (3)", "x (4)"]
    assert len(set(names_and_ids(workspace)[1])) == 4
    assert all(whole(dataset, 20) for dataset in workspace.datasets())
    assert leftovers(workspace) == []


# ---- killed

@needs_fork
@pytest.mark.parametrize("moment", ["unpacking", "reading", "before it is listed"])
def test_a_killed_import_lists_nothing_and_is_cleaned_at_the_next_start_but_not_before(workspace, packed, often, monkeypatch, moment):
    path, (here, there) = packed(5), multiprocessing.Pipe()

    def hang(*_):
        there.send(1)
        time.sleep(60)
    if moment == "before it is listed":
        monkeypatch.setattr(Workspace, "adopt", hang)
    process = multiprocessing.get_context("fork").Process(daemon=True, target=workspace.import_dataset, args=(path, "x"),
        kwargs={"report": lambda stage, done, total: hang() if stage == moment and done == 3 else None})
    process.start()
    here.recv()
    monkeypatch.undo()
    working = leftovers(workspace)
    assert len(working) == 2
    Workspace(workspace.root).clean()
    assert leftovers(workspace) == working
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert workspace.datasets() == []
    again = Workspace(workspace.root)
    again.clean()
    assert leftovers(again) == []
    assert again.datasets() == []
    upload = next(again.uploads.rglob("*.zip"))
    assert whole(again.import_dataset(upload, "x")[0], 5)


SCRIPT = """
import sys
from pathlib import Path
from engine.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
workspace.clean()
while True:
    print("begins", flush=True)
    workspace.import_dataset(Path(sys.argv[2]), "x")
"""


def test_a_program_killed_at_any_moment_leaves_only_whole_data_sets(workspace, packed):
    path, chance = packed(60), random.Random(0)
    for _ in range(3):
        program = subprocess.Popen([sys.executable, "-c", SCRIPT, workspace.root, path], cwd=ROOT, stdout=subprocess.PIPE)
        program.stdout.readline()
        time.sleep(chance.uniform(0.01, 0.3))
        program.kill()
        program.wait()
        program.stdout.close()
        assert all(whole(dataset, 60) for dataset in workspace.datasets())
        Workspace(workspace.root).clean()
        assert leftovers(workspace) == []
    names = [dataset.name for dataset in workspace.datasets()]
    assert len(set(names)) == len(names)
    assert set(uploaded(workspace)) <= {"set.zip"}


def test_uploads_of_an_open_page_stay_for_a_day(workspace):
    for name, hours in (("new", 0), ("morning", 5), ("yesterday", 25)):
        folder = workspace.tmp / "gradio" / name
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - 3600 * hours,) * 2)
    os.utime(workspace.tmp / "gradio", (0, 0))
    workspace.clean()
    assert sorted(path.name for path in (workspace.tmp / "gradio").iterdir()) == ["morning", "new"]

import stat
import time
import zipfile

import pytest

from engine import runs
from engine.config import TrainConfig
from engine.types import UserError
from engine.workspace import Workspace, free_name, slug


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "ws")


def packed(folder, path):
    with zipfile.ZipFile(path, "w") as target:
        for file in sorted(folder.rglob("*.*")):
            target.write(file, file.relative_to(folder).as_posix())
    return path


def key_of(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return caught.value.key


def test_it_belongs_to_its_owner_alone(workspace):
    assert {path.name for path in workspace.root.iterdir()} >= {"datasets", "runs", "weights", "uploads", "tmp"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in workspace.root.iterdir())


def test_an_archive_becomes_a_data_set_and_the_upload_is_kept(workspace, yolo_folder, tmp_path):
    path = packed(yolo_folder(), tmp_path / "upload.zip")
    dataset, report = workspace.import_dataset(path, "Cats & 狗")
    assert (dataset.id, dataset.name, report.format) == ("Cats-狗", "Cats & 狗", "yolo")
    assert report.splits["train"]["images"] == 2
    assert report.upload.parent.parent == workspace.uploads
    assert list(workspace.tmp.iterdir()) == []
    assert [found.id for found in workspace.datasets()] == ["Cats-狗"]
    assert workspace.dataset("Cats-狗").counts() == report.splits
    assert all(row.path.is_file() for row in dataset.page(0, 10))
    again, second = workspace.import_dataset(report.upload, "Cats & 狗")
    assert (again.id, again.name, second.name, second.renamed_from) == ("Cats-狗-2", "Cats & 狗 (2)", "Cats & 狗 (2)", "Cats & 狗")
    assert report.renamed_from is None
    assert second.as_dict()["renamed_from"] == "Cats & 狗"
    assert second.upload == report.upload


def test_a_folder_is_copied_and_not_linked(workspace, yolo_folder):
    root = yolo_folder()
    dataset, report = workspace.import_dataset(root, "x")
    assert report.upload is None
    (root / "train/images/a.png").unlink()
    assert dataset.page(0, 1)[0].path.is_file()
    assert dataset.page(0, 1)[0].path.stat().st_nlink == 1


@pytest.mark.parametrize("content", [b"", b"PK\5\6" + bytes(18), b"hello", None])
def test_a_failing_import_lists_nothing_but_keeps_the_upload(workspace, tmp_path, content):
    path = tmp_path / "bad.zip"
    if content is None:
        with zipfile.ZipFile(path, "w") as target:
            target.writestr("notes.txt", "nothing here")
    else:
        path.write_bytes(content)
    key_of(workspace.import_dataset, path, "x")
    assert workspace.datasets() == []
    assert [list((workspace.root / kind).iterdir()) for kind in ("datasets", "tmp")] == [[], []]
    assert len(list(workspace.uploads.iterdir())) == 1


@pytest.mark.parametrize("name", ["../x", "/etc", "..", "", "x\0y", "a/../x", ".hidden"])
def test_ids_are_looked_up_and_never_joined(workspace, yolo_folder, name):
    workspace.import_dataset(yolo_folder(), "x")
    workspace.new_run_folder("x")
    (workspace.root / "datasets" / ".hidden").mkdir()
    assert key_of(workspace.dataset, name) == "dataset_unknown"
    assert key_of(workspace.run_folder, name) == "run_unknown"
    assert key_of(workspace.delete_dataset, name) == "dataset_unknown"


@pytest.mark.parametrize(("name", "taken", "wanted"), [("x", {"y"}, "x"), ("x", {"x"}, "x (2)"), ("x", {"x", "x (2)"}, "x (3)"),
    ("x (2)", {"x (2)", "x"}, "x (3)"), ("x (7)", {"x"}, "x (7)"), ("(2)", {"(2)"}, "(2) (2)")])
def test_a_name_that_is_taken_gets_the_next_number(name, taken, wanted):
    assert free_name(name, taken) == wanted


def test_a_data_set_that_a_waiting_or_working_run_uses_is_not_deleted(workspace, yolo_folder):
    dataset, _ = workspace.import_dataset(yolo_folder(), "x")
    other, _ = workspace.import_dataset(yolo_folder(), "y")
    run = runs.create(workspace.new_run_folder("night"), TrainConfig(data=str(dataset.folder), model="deimv2_atto"))
    (workspace.new_run_folder("torn") / "config.json").write_text("{")
    with pytest.raises(UserError) as caught:
        workspace.delete_dataset(dataset.id)
    assert caught.value.key == "dataset_in_use"
    assert run.id in str(caught.value)
    assert workspace.used_by(dataset.id) == [run.id]
    workspace.delete_dataset(other.id)
    run.write_state(phase="done")
    workspace.delete_dataset(dataset.id)
    assert workspace.datasets() == []


def test_a_damaged_data_set_does_not_hide_the_others(workspace, yolo_folder):
    workspace.import_dataset(yolo_folder(), "good")
    bad, _ = workspace.import_dataset(yolo_folder(), "bad")
    (bad.folder / "labels.sqlite").write_bytes(b"torn")
    assert [dataset.id for dataset in workspace.datasets()] == ["good"]
    assert key_of(workspace.dataset, "bad") == "dataset_damaged"


def test_a_deleted_data_set_lies_in_the_trash(workspace, yolo_folder):
    dataset, _ = workspace.import_dataset(yolo_folder(), "x")
    lies = workspace.delete_dataset(dataset.id)
    assert workspace.datasets() == []
    assert lies.parent == workspace.root / "trash"
    assert (lies / "labels.sqlite").is_file()


def test_runs_of_one_second_and_name_are_apart_and_the_newest_comes_first(workspace):
    made = [workspace.new_run_folder(name) for name in ("first", "first", "手术", "../..", "first")]
    assert len(set(made)) == 5
    assert all(path.parent == workspace.root / "runs" for path in made)
    assert set(workspace.runs()) == set(made)
    time.sleep(0.02)
    (made[1] / "state.json").write_text("{}")
    assert workspace.runs()[0] == made[1]
    assert workspace.run_folder(made[2].name) == made[2]


def test_what_a_killed_process_left_is_cleaned_but_not_what_one_is_doing(workspace):
    import os
    for name in ("datasets/.partial-old", "tmp/old", "datasets/.partial-new"):
        (workspace.root / name).mkdir()
    for name in ("datasets/.partial-old", "tmp/old"):
        os.utime(workspace.root / name, (0, 0))
    workspace.clean()
    assert [path.name for path in (workspace.root / "datasets").iterdir()] == [".partial-new"]
    assert list(workspace.tmp.iterdir()) == []


@pytest.mark.parametrize(("name", "wanted"), [("Scissors & 手术 (2)", "Scissors-手术-2"), ("../../etc", "etc"), ("???", ""), ("a" * 100, "a" * 60),
    ("Été", "Été")])
def test_slugs_keep_letters_of_every_script(name, wanted):
    assert slug(name) == wanted


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    assert key_of(Workspace, tmp_path / "file" / "ws") == "workspace_not_writable"

import zipfile

import pytest

from engine.datasets.source import opened, recognise, unwrapped
from engine.types import UserError


def packed(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as target:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                target.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def key_of(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    return caught.value


def test_a_folder_stays_where_it_is_and_an_archive_is_gone_afterwards(yolo_folder, tmp_path):
    root = yolo_folder()
    with opened(root) as there:
        assert there == root
    with opened(packed(root, tmp_path / "set.zip", "outer/inner/")) as there:
        assert (there / "data.yaml").is_file()
    assert not there.exists()


def test_with_a_scratch_folder_the_content_stays(yolo_folder, tmp_path):
    with opened(packed(yolo_folder(), tmp_path / "set.zip"), tmp_path / "scratch") as there:
        pass
    assert (there / "data.yaml").is_file()


def test_problems_of_the_archive_are_handed_on(yolo_folder, tmp_path):
    path = packed(yolo_folder(), tmp_path / "set.zip")
    with zipfile.ZipFile(path, "a") as target:
        target.writestr("../evil", "x")
    problems = []
    with opened(path, problems=problems):
        assert [problem.code for problem in problems] == ["archive_unsafe_path"]


@pytest.mark.parametrize(("entries", "inner"), [(["a/b/x.yaml"], "a/b"), (["train/images/x.png"], ""), (["a/x.png", "README.md"], "a"),
                                                (["a/x.png", "data.yaml"], ""), (["images/x.png"], ""), (["a/x.png", "b/x.png"], "")])
def test_wrapping_folders_are_gone_through_but_parts_of_a_data_set_are_not(tmp_path, entries, inner):
    for entry in entries:
        (tmp_path / entry).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / entry).write_text("x")
    assert unwrapped(tmp_path) == tmp_path / inner


def test_label_files_stand_for_their_data_set(yolo_folder, coco_folder):
    for path, name in ((yolo_folder() / "data.yaml", "yolo"), (coco_folder() / "annotations.json", "coco")):
        with opened(path) as there:
            assert recognise(there)[0].name == name


def test_none_and_several_formats_are_told_apart_with_the_evidence(yolo_folder, tmp_path, coco_content):
    import json
    root = yolo_folder()
    (root / "instances_all.json").write_text(json.dumps(coco_content()))
    error = key_of(recognise, root)
    assert error.key == "several_formats"
    assert "data.yaml" in str(error)
    assert "instances_all.json" in str(error)
    assert recognise(root, "yolo")[0].name == "yolo"
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "holiday.doc").write_text("x")
    error = key_of(recognise, tmp_path / "nothing")
    assert error.key == "no_format"
    assert "holiday.doc" in str(error)
    assert key_of(recognise, tmp_path / "nothing", "coco").key == "format_not_found"
    assert key_of(recognise, root, "unheard").key == "unknown_format"


def test_an_archive_of_archives_names_the_inner_ones(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "inner.zip").write_bytes(b"PK")
    error = key_of(recognise, tmp_path / "x")
    assert error.key == "only_nested_archives"
    assert "inner.zip" in str(error)


def test_what_is_not_there_or_not_a_data_set_is_said(tmp_path):
    (tmp_path / "letter.doc").write_text("dear")
    for path, key in ((tmp_path / "gone", "path_missing"), (tmp_path / "letter.doc", "not_an_archive")):
        with pytest.raises(UserError) as caught, opened(path):
            pass
        assert caught.value.key == key
        assert path.name in str(caught.value)


def test_the_images_alone_can_be_asked_for_whatever_lies_beside_them(tmp_path, picture):
    picture(tmp_path / "a.png")
    (tmp_path / "measurements.csv").write_text("day,rain\n1,2\n")
    with pytest.raises(UserError):
        recognise(tmp_path)
    assert recognise(tmp_path, "images")[0].name == "images"

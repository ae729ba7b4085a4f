import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from engine.datasets import convert as module
from engine.datasets.collection import load
from engine.datasets.convert import convert
from engine.datasets.outlines import area_of
from engine.datasets.store import Dataset
from engine.types import UserError


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def key_of(*arguments, **options):
    with pytest.raises(UserError) as caught:
        convert(*arguments, **options)
    return caught.value.key


def test_the_tutorials_folder_becomes_the_tutorials_tree(tmp_path, yolo_folder):
    """Tutorial 003: datasets/Data/{data.yaml,train,val,test} -> dataset/{train,valid,test}/_annotations.coco.json + images."""
    labels = {"train": {"a": "0 .5 .5 .5 .5", "b": ""}, "val": {"c": "1 .5 .5 .25 .5"}, "test": {"d": None}}
    root = yolo_folder(labels, "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n", "datasets/Data")
    summary = convert(root, tmp_path / "dataset", to="coco")
    assert tree(tmp_path / "dataset") == ["test/_annotations.coco.json", "test/d.png", "train/_annotations.coco.json", "train/a.png", "train/b.png",
                                          "valid/_annotations.coco.json", "valid/c.png"]
    assert (summary.images, summary.boxes, summary.splits) == (4, 2, {"train": 2, "valid": 1, "test": 1})
    document = json.loads((tmp_path / "dataset/train/_annotations.coco.json").read_text())
    assert document["categories"] == [{"id": 0, "name": "cat", "supercategory": "object"}, {"id": 1, "name": "dog", "supercategory": "object"}]
    assert document["annotations"] == [{"id": 1, "image_id": 1, "category_id": 0, "bbox": [16, 12, 32, 24], "area": 768, "iscrowd": 0,
        "segmentation": []}]


def test_only_splits_that_the_source_has_are_written(tmp_path, yolo_folder):
    convert(yolo_folder({"train": {"a": "0 .5 .5 .5 .5"}}), tmp_path / "out", to="coco")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train"]


def test_the_cones_convert_with_every_box_and_the_oracle_agrees(reference, tmp_path):
    summary = convert(reference / "data/det_cones_yolo", tmp_path / "out", to="coco", images="link")
    assert (summary.images, summary.boxes, summary.classes, summary.skipped) == (270, 633, ("cone", "cube"), 0)
    for split, images, boxes in (("train", 180, [276, 147]), ("valid", 50, [76, 46]), ("test", 40, [55, 33])):
        loaded = COCO(str(tmp_path / "out" / split / "_annotations.coco.json"))
        assert len(loaded.imgs) == images
        assert [len(loaded.getAnnIds(catIds=[number])) for number in (0, 1)] == boxes
        assert all((tmp_path / "out" / split / image["file_name"]).is_file() for image in loaded.imgs.values())


@pytest.mark.parametrize("name", ["det_cones_yolo", "inst_facade_coco", "inst_brain_tumor_coco"])
@pytest.mark.parametrize(("to", "labels"), [("coco", "*.json"), ("yolo", "*.txt")])
def test_a_second_trip_changes_not_a_single_character(reference, tmp_path, name, to, labels):
    convert(reference / "data" / name, tmp_path / "first", to=to, images="link")
    convert(tmp_path / "first", tmp_path / "second", to=to, images="link")
    written = {path.relative_to(tmp_path / "first"): path for path in (tmp_path / "first").rglob(labels)}
    assert written
    assert {path.relative_to(tmp_path / "second") for path in (tmp_path / "second").rglob(labels)} == set(written)
    different = [path.name for relative, path in written.items() if path.read_bytes() != (tmp_path / "second" / relative).read_bytes()]
    assert different == []


def test_the_facades_survive_a_trip_through_yolo_and_back(reference, tmp_path):
    convert(reference / "data/inst_facade_coco", tmp_path / "yolo", to="yolo")
    summary = convert(tmp_path / "yolo", tmp_path / "coco", to="coco")
    assert (summary.images, summary.boxes, len(summary.classes)) == (115, 3319, 10)
    before, after = (COCO(str(folder / "valid/_annotations.coco.json")) for folder in (reference / "data/inst_facade_coco", tmp_path / "coco"))
    assert len(before.anns) == len(after.anns) == 720
    area = [sum(int(loaded.annToMask(entry).sum()) for entry in loaded.anns.values()) for loaded in (before, after)]
    assert area[1] == pytest.approx(area[0], rel=0.001)


@pytest.mark.parametrize("name", ["derived_coco_rle_iscrowd", "derived_chinese_names", "derived_yolo_seg"])
def test_odd_reference_sets_convert_and_load_in_the_oracle(reference, tmp_path, name):
    source = reference / "data/formats/annotations" / name
    source = source / "标注.json" if name == "derived_chinese_names" else source
    summary = convert(source, tmp_path / "out", to="coco")
    loaded = [COCO(str(path)) for path in (tmp_path / "out").rglob("*.json")]
    assert sum(len(document.anns) for document in loaded) == summary.boxes > 50
    for document in loaded:
        for annotation in document.anns.values():
            image = document.imgs[annotation["image_id"]]
            assert document.annToMask(annotation).shape == (image["height"], image["width"])


def test_masks_and_crowds_become_outlines_in_yolo(reference, tmp_path):
    summary = convert(reference / "data/formats/annotations/derived_coco_rle_iscrowd", tmp_path / "yolo", to="yolo")
    crowds = sum(problem.values["count"] for problem in summary.problems if problem.code == "crowd_left_out")
    again = convert(tmp_path / "yolo", tmp_path / "coco", to="coco")
    assert again.boxes == summary.boxes - crowds > 50
    before = load(reference / "data/formats/annotations/derived_coco_rle_iscrowd", tmp_path / "s")
    after = load(tmp_path / "coco", tmp_path / "s")
    areas = [sum(area_of(shape, box) for sample in loaded.samples for shape, box, crowd in zip(
        sample.labels.shapes, sample.labels.boxes, sample.labels.crowd if sample.labels.crowd is not None else [False] * len(sample.labels),
        strict=True)
        if not crowd) for loaded in (before, after)]
    assert areas[1] == pytest.approx(areas[0], rel=0.05)


def test_an_archive_converts_and_its_problems_are_reported(tmp_path, yolo_folder):
    with tarfile.open(tmp_path / "set.tgz", "w:gz") as target:
        target.add(yolo_folder(), "set")
        link = tarfile.TarInfo("set/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        target.addfile(link)
    summary = convert(tmp_path / "set.tgz", tmp_path / "out", to="yolo")
    assert [problem.code for problem in summary.problems] == ["archive_link"]
    assert summary.images == 3


def test_images_that_had_to_take_another_name_are_counted_and_none_is_lost(tmp_path, picture):
    folder = tmp_path / "set"
    for name in ("a.png", "a.jpg", "b?.png", "b*.png", "caf\u00e9.png", "cafe\u0301.png", "sub/a.png", "Sub/a.png", "plain.png"):
        picture(folder / name)
    summary = convert(folder, tmp_path / "out", to="yolo")
    assert summary.images == 9
    assert len(tree(tmp_path / "out" / "train")) == 9
    found = [problem for problem in summary.problems if "rename" in problem.code]
    assert [(problem.code, problem.values["count"]) for problem in found] == [("images_renamed", 7)]


def test_a_stored_data_set_is_exported(tmp_path, yolo_folder):
    Dataset.create(tmp_path / "stored", "x", load(yolo_folder(), tmp_path / "s"))
    summary = convert(tmp_path / "stored", tmp_path / "out", to="coco")
    assert (summary.format_from, summary.images, summary.boxes) == ("lightbox", 3, 3)


def test_splits_are_dealt_on_demand(tmp_path, yolo_folder):
    root = yolo_folder({"train": {str(number): "0 .5 .5 .2 .2" for number in range(10)}})
    summary = convert(root, tmp_path / "out", to="coco", split={"train": 0.8, "valid": 0.2})
    assert summary.splits == {"train": 8, "valid": 2}


def test_a_target_that_holds_something_or_lies_in_the_source_is_left_alone(tmp_path, yolo_folder):
    root = yolo_folder()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    before = tree(root)
    assert key_of(root, tmp_path / "full", to="coco") == "out_not_empty"
    assert key_of(root, tmp_path / "full/mine.txt", to="coco") == "out_not_empty"
    assert key_of(root, root / "out", to="coco") == "out_inside_source"
    assert key_of(root, tmp_path / "x", to="coco", split={"train": 3.0}) == "bad_split"
    assert key_of(root, tmp_path / "x", to="unheard") == "unknown_format"
    assert tree(tmp_path / "full") == ["mine.txt"]
    assert tree(root) == before


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("failure", [UserError("dataset_without_images", name="x", problems=0), KeyboardInterrupt(), OSError(28,
    "No space left on device")])
def test_a_failure_leaves_nothing_half_written(tmp_path, yolo_folder, monkeypatch, exists, failure):
    root, out = yolo_folder(), tmp_path / "deep" / "out"
    if exists:
        out.mkdir(parents=True)
    original = module._counted

    def failing(items, summary, progress):
        for number, sample in enumerate(original(items, summary, progress)):
            if number == 2:
                raise failure
            yield sample
    monkeypatch.setattr(module, "_counted", failing)
    with pytest.raises((UserError, KeyboardInterrupt)) as caught:
        convert(root, out, to="coco")
    if isinstance(failure, OSError):
        assert caught.value.key == "no_space_to_write"
    assert out.exists() == exists
    assert [path for path in (tmp_path / "deep").rglob("*") if path != out] == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said(tmp_path, yolo_folder):
    root = yolo_folder()
    (tmp_path / "locked").mkdir(mode=0o500)
    assert key_of(root, tmp_path / "locked" / "out", to="coco") == "cannot_write"


def test_the_summary_speaks_json_and_languages(tmp_path, yolo_folder):
    summary = convert(yolo_folder({"train": {"a": "0 .5 .5 .2 .2\n9 .5 .5 .2 .2"}}), tmp_path / "out", to="coco")
    told = json.loads(json.dumps(summary.as_dict("zh-CN")))
    assert (told["format_from"], told["format_to"], told["images"], told["boxes"]) == ("yolo", "coco", 1, 1)
    assert told["problems"][0]["where"] == "train/labels/a.txt:2"
    assert "类别" in told["problems"][0]["message"]


def test_progress_counts_images_and_may_stop_the_work(tmp_path, yolo_folder):
    root = yolo_folder({"train": {str(number): "" for number in range(250)}})
    seen = []
    convert(root, tmp_path / "out", to="coco", images="none", progress=seen.append)
    assert seen == [100, 200]

    def stop(count):
        raise InterruptedError
    with pytest.raises((InterruptedError, UserError)):
        convert(root, tmp_path / "other", to="coco", images="none", progress=stop)
    assert not (tmp_path / "other").exists()


def test_nothing_is_asked_of_the_network_and_torch_is_never_loaded(tmp_path, yolo_folder):
    code = ("import socket, sys; socket.socket.connect = None\n"
            "from engine.__main__ import main\n"
            f"assert main(['convert', {str(yolo_folder())!r}, {str(tmp_path / 'out')!r}, '--to', 'coco']) == 0\n"
            "from engine.datasets import health, store; import engine.workspace\n"
            "assert not {'torch', 'gradio', 'timm'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path.cwd(), capture_output=True)
    shutil.rmtree(tmp_path / "out")

import numpy as np

from engine.datasets.collection import Collection, load
from engine.datasets.health import check
from engine.types import Instances, Sample


def codes(report):
    return [problem.code for problem in report.problems]


def test_a_sound_data_set_gets_nothing_worse_than_notes(yolo_folder, tmp_path):
    line = "0 .5 .5 .2 .2\n1 .3 .3 .2 .2\n"
    report = check(load(yolo_folder({"train": {str(n): line for n in range(12)}, "valid": {f"v{n}": line for n in range(3)}}), tmp_path / "s"),
        decode=True)
    assert report.problems == []
    assert report.as_dict()["splits"]["valid"] == {"images": 3, "boxes": 6, "unlabeled": 0, "classes": {"cat": 3, "dog": 3}}
    assert set(report.as_dict()) == {"format", "task", "classes", "splits", "problems"}


def test_what_only_the_whole_can_show_is_found(yolo_folder, tmp_path):
    root = yolo_folder({"train": {"a": "0 .5 .5 .2 .2", "b": "0 .5 .5 .2 .2"}, "valid": {"c": "1 .5 .5 .2 .2"}})
    (root / "valid/images/c.png").write_bytes((root / "train/images/b.png").read_bytes())
    report = check(load(root, tmp_path / "s"))
    found = {problem.code: problem for problem in report.problems}
    assert found["class_absent_from_train"].values == {"name": "dog", "count": 1}
    assert found["same_image_in_splits"].where == "valid/images/c.png"
    assert found["same_image_in_splits"].values["other"] == "train/images/b.png"
    assert found["class_rare"].values == {"name": "cat", "count": 2}


def test_missing_splits_objects_and_classes_are_told(yolo_folder, tmp_path):
    assert codes(check(load(yolo_folder({"train": {"a": "", "b": None}}), tmp_path / "s"))) == ["images_without_labels", "no_objects"]
    lone = yolo_folder({"train": {"a": "0 .5 .5 .2 .2"}}, name="lone")
    assert {"no_valid_split", "class_unused"} <= set(codes(check(load(lone, tmp_path / "s"))))
    assert "no_train_split" in codes(check(load(yolo_folder({"test": {"a": "0 .5 .5 .2 .2"}}, name="t"), tmp_path / "s")))


def test_boxes_outside_without_area_and_tiny_are_counted(picture, tmp_path):
    image = picture(tmp_path / "x.png")
    labels = Instances([[-5, 0, 10, 10], [5, 5, 5, 9], [1, 1, 1.2, 1.2], [0, 0, 64, 48]], [0, 0, 0, 0])
    report = check(Collection(("a",), [Sample(image, (64, 48), labels, "train", None, "x.png")]))
    found = {problem.code: problem.values for problem in report.problems}
    assert found["boxes_outside"]["count"] == 1
    assert found["boxes_without_area"]["count"] == 1
    assert found["boxes_tiny"]["count"] == 2


def test_imbalance_is_noted(picture, tmp_path):
    image = picture(tmp_path / "x.png")
    labels = Instances(np.tile([0, 0, 20, 20], (101, 1)), [0] * 100 + [1])
    found = {problem.code: problem.values for problem in check(Collection(("a", "b"), [Sample(image, (64, 48), labels, "train", None,
        "x")])).problems}
    assert found["class_imbalance"] == {"most": "a", "many": 100, "least": "b", "few": 1}


def test_only_full_decoding_finds_a_torn_image(yolo_folder, tmp_path, picture):
    root = yolo_folder()
    whole = picture(root / "train/images/a.png", 400, 300).read_bytes()
    (root / "train/images/a.png").write_bytes(whole[:len(whole) // 2])
    collection = load(root, tmp_path / "s")
    assert "image_damaged" not in codes(check(collection))
    seen = []
    report = check(collection, decode=True, progress=lambda done, total: seen.append((done, total)))
    assert [problem.where for problem in report.problems if problem.code == "image_damaged"] == ["train/images/a.png"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_real_sets_have_no_errors(reference, tmp_path):
    for name in ("det_cones_yolo", "inst_facade_coco"):
        report = check(load(reference / "data" / name, tmp_path / "s"), decode=True)
        assert {problem.severity for problem in report.problems} == {"note"}

import numpy as np
import pytest

from engine.datasets.formats import formats
from engine.datasets.outlines import rle_of_mask
from engine.types import Instances, Polygons, Problem, Sample, UserError


def read(root):
    reading = formats.get("yolo").read(root)
    items = list(reading.items)
    return reading, {item.name: item for item in items if isinstance(item, Sample)}, [item for item in items if isinstance(item, Problem)]


def found(problems, code):
    return [problem for problem in problems if problem.code == code]


# ---- layouts

def test_the_common_layout_is_read_with_splits_and_background(yolo_folder):
    reading, samples, problems = read(yolo_folder())
    assert reading.classes == ("cat", "dog")
    assert reading.task == "detect"
    assert {name: (sample.split, len(sample.labels)) for name, sample in samples.items()} \
        == {"train/images/a.png": ("train", 2), "train/images/b.png": ("train", 0), "valid/images/c.png": ("valid", 1)}
    assert problems == []


def test_images_without_label_files_are_kept_unlabeled_and_counted_once(yolo_folder):
    _, samples, problems = read(yolo_folder({"train": {"a": None, "b": None, "c": "0 .5 .5 .2 .2"}}))
    assert samples["train/images/a.png"].labels is None
    assert [(problem.code, problem.values["count"]) for problem in problems] == [("images_without_labels", 2)]


def test_paths_that_do_not_resolve_are_looked_for_beside_the_yaml(yolo_folder):
    text = "train: ../train/images\nval: /content/old/place/valid/images\ntest: ../test/images\nnames: [cat, dog]\n"
    _, samples, problems = read(yolo_folder(yaml=text))
    assert sorted({sample.split for sample in samples.values()}) == ["train", "valid"]
    assert [(problem.code, problem.severity) for problem in problems] \
        == [("yaml_path_repaired", "note"), ("yaml_path_outside", "warning"), ("yaml_path_outside_unused", "warning")]


def test_paths_outside_the_data_set_are_never_followed(yolo_folder, tmp_path, picture):
    picture(tmp_path / "secret" / "x.png")
    (tmp_path / "yolo-link").symlink_to(tmp_path / "secret")
    root = yolo_folder(yaml=f"path: {tmp_path}\ntrain: ../secret\nval: {tmp_path}/secret\ntest: ../../../etc\nnames: [cat, dog]\n")
    _, samples, problems = read(root)
    assert {sample.image.parent.parent.name for sample in samples.values()} == {"train", "valid"}
    assert any(problem.code.startswith("yaml_path_outside") for problem in problems)


@pytest.mark.parametrize("text", ["train: [train/images, valid/images]\nnames: [cat, dog]", "train: list.txt\nnames: [cat, dog]",
                                  "path: train\ntrain: images\nval: ../valid/images\nnames: [cat, dog]",
                                  "train: ./train\nval: ./valid\nnames: {0: cat, 1: dog}",
                                  "names: [cat, dog]"])
def test_splits_may_be_lists_files_or_folders_above(yolo_folder, text):
    root = yolo_folder(yaml=text)
    (root / "list.txt").write_text("./train/images/a.png\nanother/disk/train/images/b.png\nvalid/images/c.png\n")
    _, samples, problems = read(root)
    assert len(samples) == 3
    assert sum(len(sample.labels) for sample in samples.values()) == 3
    assert not [problem for problem in problems if problem.severity != "note"]


def test_a_listed_image_that_is_missing_is_named_with_its_line(yolo_folder):
    root = yolo_folder(yaml="train: list.txt\nnames: [cat, dog]")
    (root / "list.txt").write_text("train/images/a.png\ntrain/images/gone.png\n/etc/passwd\n")
    _, samples, problems = read(root)
    assert len(samples) == 1
    assert [problem.where for problem in found(problems, "listed_image_missing")] == ["list.txt:2", "list.txt:3"]


def test_a_test_folder_that_the_yaml_forgot_is_taken_in(yolo_folder):
    root = yolo_folder({"train": {"a": "0 .5 .5 .2 .2"}, "valid": {"b": ""}, "test": {"c": ""}},
        "train: train/images\nval: valid/images\nnames: [cat, dog]")
    _, samples, problems = read(root)
    assert samples["test/images/c.png"].split == "test"
    assert found(problems, "yaml_split_unlisted")


@pytest.mark.parametrize("layout", ["images/{split}|labels/{split}", "{split}/images|{split}/labels", "{split}|{split}",
    "Images/{split}|Labels/{split}"])
def test_layouts_without_yaml_are_understood(tmp_path, picture, layout):
    images, labels = layout.split("|")
    for split in ("train", "val"):
        picture(tmp_path / images.format(split=split) / "x.png")
        (tmp_path / labels.format(split=split)).mkdir(parents=True, exist_ok=True)
        (tmp_path / labels.format(split=split) / "x.txt").write_text("1 .5 .5 .2 .2")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert formats.get("yolo").detects(tmp_path)
    reading, samples, problems = read(tmp_path)
    assert reading.classes == ("cat", "dog")
    assert sorted(sample.split for sample in samples.values()) == ["train", "valid"]
    assert all(len(sample.labels) == 1 for sample in samples.values())
    assert problems == []


def test_a_flat_folder_with_classes_and_upper_case_suffixes(tmp_path, picture):
    picture(tmp_path / "x.png").rename(tmp_path / "x.PNG")
    (tmp_path / "x.txt").write_text("0 .5 .5 .2 .2")
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / "README.txt").write_text("hello")
    reading, samples, problems = read(tmp_path)
    assert (reading.classes, list(samples), problems) == (("cat",), ["x.PNG"], [])
    assert samples["x.PNG"].split is None


def test_darknet_files_are_read(tmp_path, picture):
    picture(tmp_path / "obj_train_data" / "1.png")
    (tmp_path / "obj_train_data" / "1.txt").write_text("1 .5 .5 .2 .2")
    (tmp_path / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    (tmp_path / "obj.names").write_text("cat\ndog\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/1.png\n")
    reading, samples, _ = read(tmp_path)
    assert reading.classes == ("cat", "dog")
    assert [(sample.split, len(sample.labels)) for sample in samples.values()] == [("train", 1)]


def test_images_and_labels_are_matched_by_exact_name_first(tmp_path, picture):
    for number, stem in enumerate(("A", "a", "caf\u00e9")):
        picture(tmp_path / "images" / f"{stem}.png", seed=number)
    for stem, line in (("A", "0 .5 .5 .2 .2"), ("a", "1 .5 .5 .2 .2"), ("cafe\u0301", "1 .5 .5 .4 .4")):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{stem}.txt").write_text(line)
    _, samples, problems = read(tmp_path)
    assert {name: sample.labels.classes.tolist() for name, sample in samples.items()} == {"images/A.png": [0], "images/a.png": [1],
        "images/caf\u00e9.png": [1]}
    assert found(problems, "label_without_image") == []


def test_labels_without_images_and_damaged_images_are_named(yolo_folder):
    root = yolo_folder()
    (root / "train/labels/orphan.txt").write_text("0 .5 .5 .2 .2")
    (root / "train/images/a.png").write_bytes(b"\x89PNG\r\n\x1a\nshort")
    _, samples, problems = read(root)
    assert [(problem.code, problem.where) for problem in problems] == [("image_damaged", "train/images/a.png"), ("label_without_image",
        "train/labels/orphan.txt")]
    assert "train/images/a.png" not in samples


def test_images_that_share_a_label_file_are_named(yolo_folder, picture):
    root = yolo_folder()
    picture(root / "train/images/a.jpg")
    _, samples, problems = read(root)
    assert len(samples["train/images/a.jpg"].labels) == len(samples["train/images/a.png"].labels) == 2
    assert [(problem.code, problem.where, problem.values["count"]) for problem in problems] == [("label_shared", "train/labels/a.txt", 1)]


# ---- class names

@pytest.mark.parametrize(("names", "classes"), [("[no, 007]", ("no", "007")), ("{0: no, 1: 007}", ("no", "007")), ("\n  '0': a b\n  1: 手术剪",
    ("a b",
    "手术剪"))])
def test_names_are_the_written_text(yolo_folder, names, classes):
    reading, _, _ = read(yolo_folder(yaml=f"train: train/images\nnames: {names}\n"))
    assert reading.classes == classes


def test_sparse_ids_become_contiguous_and_used_gaps_get_a_name(yolo_folder):
    labels = {"train": {"a": "17 .5 .5 .2 .2\n90 .5 .5 .3 .3\n"}}
    reading, samples, problems = read(yolo_folder(labels, "train: train/images\nnames: {17: cat, 90: dog}\n"))
    assert reading.classes == ("cat", "dog")
    assert samples["train/images/a.png"].labels.classes.tolist() == [0, 1]
    assert found(problems, "yolo_names_gap")
    reading, samples, _ = read(yolo_folder({"train": {"b": "1 .5 .5 .2 .2"}}, "train: train/images\nnc: 3\nnames: {0: cat, 2: dog}\n", name="gap"))
    assert reading.classes == ("cat", "class 1", "dog")


def test_without_any_names_the_ids_become_names(yolo_folder):
    reading, samples, problems = read(yolo_folder(yaml=None))
    assert reading.classes == ("class 0", "class 1")
    assert found(problems, "yolo_no_names")
    assert len(samples["train/images/a.png"].labels) == 2


def test_equal_names_become_one_class(yolo_folder):
    reading, samples, problems = read(yolo_folder(yaml="train: train/images\nnames: [cat, cat]\n"))
    assert reading.classes == ("cat",)
    assert samples["train/images/a.png"].labels.classes.tolist() == [0, 0]
    assert found(problems, "class_name_twice")


@pytest.mark.parametrize("names", ["{a: cat}", "{-1: cat}", "{99999999: cat}", "[[cat]]", "cat", "{0: [cat]}", "*x"])
def test_names_that_make_no_sense_are_refused(yolo_folder, names):
    with pytest.raises(UserError) as caught:
        read(yolo_folder(yaml=f"x: &x {{}}\ntrain: train/images\nnames: {names}\n" if names != "*x" else "x: &x [[a]]\ntrain: t\nnames: *x\n"))
    assert caught.value.key == "yaml_names"
    assert "data.yaml" in str(caught.value)


# ---- writing

def test_labels_are_written_beside_the_images_and_never_twice(tmp_path, picture, yolo_folder):
    samples = [Sample(picture(tmp_path / folder / f"x{suffix}", seed=number), (64, 48), labels, split, name=f"{folder}/x{suffix}")
               for number, (folder, suffix, split, labels) in enumerate([("p", ".png", "train", Instances.empty()), ("q", ".png", "val", None),
                                                                         ("q", ".jpg", None, Instances([[0, 0, 10, 10]], [1]))])]
    out = tmp_path / "out"
    out.mkdir()
    problems = list(formats.get("yolo").write(("no", "手"), samples, out, "copy"))
    assert [(problem.code, problem.values) for problem in problems] == [("image_renamed", {"new": "q_x.jpg"})]
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "data.yaml", "train/images/q_x.jpg", "train/images/x.png", "train/labels/q_x.txt", "train/labels/x.txt", "valid/images/x.png"]
    reading, again, _ = read(out)
    assert reading.classes == ("no", "手")
    assert again["train/images/x.png"].labels is not None
    assert again["valid/images/x.png"].labels is None
    assert np.allclose(again["train/images/q_x.jpg"].labels.boxes, [[0, 0, 10, 10]], atol=1e-4)


def test_crowds_are_left_out_and_parts_are_joined_with_a_word(tmp_path, picture):
    ring = np.array([[2, 2], [20, 2], [20, 20], [2, 20]], float)
    labels = Instances([[2, 2, 40, 40], [0, 0, 5, 5]], [0, 0], shapes=(Polygons((ring, ring + 20)), None), crowd=[False, True])
    problems = list(formats.get("yolo").write(("a",), [Sample(picture(tmp_path / "x.png"), (64, 48), labels, name="x.png")], tmp_path, "none"))
    assert [problem.code for problem in problems] == ["crowd_left_out", "outline_joined", "yolo_split_stands_in"]
    assert len((tmp_path / "train/labels/x.txt").read_text().splitlines()) == 1


def test_what_the_lines_cannot_say_is_named(tmp_path, picture):
    ring = np.array([[2, 2], [20, 2], [20, 20], [2, 20]], float)
    mask = np.zeros((48, 64), bool)
    mask[5:20, 5:40] = True
    labels = Instances([[2, 2, 20, 20], [5, 5, 40, 20], [0, 0, 9, 9], [0, 0, 60, 40]], [0, 0, 0, 0],
                       shapes=(Polygons((ring,)), rle_of_mask(mask), None, Polygons((ring,))))
    suggested = Instances([[0, 0, 9, 9]], [0], scores=[0.5])
    samples = [Sample(picture(tmp_path / f"{number}.png"), (64, 48), each, group="p1", name=f"{number}.png")
               for number, each in enumerate([labels, suggested])]
    problems = list(formats.get("yolo").write(("a",), samples, tmp_path, "none"))
    assert {problem.code: problem.values["count"] for problem in problems if problem.code != "yolo_split_stands_in"} == {
        "groups_left_out": 2, "scores_left_out": 1, "mask_traced": 1, "yolo_boxes_among_outlines": 1, "box_from_outline": 1}
    assert {problem.severity for problem in problems} == {"note"}

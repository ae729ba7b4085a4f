"""Which yaml counts where there are several or one lies deep, and the yaml that others demand of an export."""

import pytest
import yaml

from engine.datasets.formats import formats
from engine.types import Instances, Problem, Sample, UserError


def read(root):
    reading = formats.get("yolo").read(root)
    items = list(reading.items)
    return reading, {item.name: item for item in items if isinstance(item, Sample)}, [item for item in items if isinstance(item, Problem)]


def codes(problems):
    return [(problem.code, problem.severity) for problem in problems]


USUAL = "train: train/images\nval: valid/images\nnames: [cat, dog]\n"


def test_a_yaml_in_a_folder_beside_documents_is_found(yolo_folder, tmp_path):
    yolo_folder(yaml="train: ../train/images\nval: ../valid/images\nnames: [cat, dog]\n", name="set/dataset")
    (tmp_path / "set/docs").mkdir()
    (tmp_path / "set/docs/notes.yaml").write_text("names: of those who wrote this\nauthors: 3\n")
    reading, samples, problems = read(tmp_path / "set")
    assert reading.classes == ("cat", "dog")
    assert {name: sample.split for name, sample in samples.items()} == {
        "dataset/train/images/a.png": "train", "dataset/train/images/b.png": "train", "dataset/valid/images/c.png": "valid"}
    assert ("yolo_configs_left_out", "note") in codes(problems)
    assert {severity for _, severity in codes(problems)} == {"note"}


def test_of_two_yamls_the_one_that_fits_is_taken_and_the_other_named(yolo_folder):
    root = yolo_folder(yaml="train: elsewhere/a\nval: elsewhere/b\nnames: [old]\n")
    (root / "mine.yaml").write_text(USUAL)
    reading, samples, problems = read(root)
    assert (reading.classes, len(samples)) == (("cat", "dog"), 3)
    assert [(problem.code, problem.where, problem.values["names"]) for problem in problems] == [("yolo_configs_left_out", "mine.yaml", "data.yaml")]


def test_two_yamls_that_fit_and_differ_are_refused_by_name(yolo_folder):
    root = yolo_folder(yaml=USUAL)
    (root / "other.yaml").write_text(USUAL.replace("[cat, dog]", "[dog, cat]"))
    with pytest.raises(UserError) as caught:
        read(root)
    assert (caught.value.key, caught.value.values) == ("yolo_several_configs", {"first": "data.yaml", "second": "other.yaml"})
    assert read(root / "other.yaml")[0].classes == ("dog", "cat")


def test_two_yamls_that_say_the_same_are_one(yolo_folder):
    root = yolo_folder(yaml=USUAL)
    (root / "other.yaml").write_text("# a copy\n" + USUAL)
    assert (len(read(root)[1]), codes(read(root)[2])) == (3, [("yolo_configs_left_out", "note")])


def test_two_data_sets_in_one_folder_are_refused_by_name(yolo_folder, tmp_path):
    for name in ("one", "two"):
        yolo_folder(yaml=USUAL.replace("train/", "../train/"), name=f"sets/{name}")
    with pytest.raises(UserError, match="one/data.yaml"):
        read(tmp_path / "sets")


def test_images_that_no_list_names_are_counted_and_their_labels_are_no_orphans(yolo_folder):
    root = yolo_folder(yaml="train: train.txt\nval: val.txt\nnames: [cat, dog]\n")
    (root / "train.txt").write_text("./train/images/a.png\n")
    (root / "val.txt").write_text("valid/images/c.png\n")
    _, samples, problems = read(root)
    assert sorted(samples) == ["train/images/a.png", "valid/images/c.png"]
    assert codes(problems) == [("yolo_images_unlisted", "warning")]
    assert problems[0].values == {"count": 1, "labeled": 1, "names": "train/images/b.png"}


@pytest.mark.parametrize("splits", [["train"], ["valid"], ["test"], ["valid", "test"], ["train", "valid"]])
def test_an_export_always_has_the_keys_that_others_demand_and_comes_back_as_it_was(tmp_path, picture, splits):
    samples = [Sample(picture(tmp_path / f"{split}.png"), (64, 48), Instances([[0, 0, 9, 9]], [0]), split, name=f"{split}.png") for split in splits]
    out = tmp_path / "out"
    out.mkdir()
    problems = list(formats.get("yolo").write(("cat",), samples, out, "copy"))
    missing = [key for key, split in (("train", "train"), ("val", "valid")) if split not in splits]
    assert [problem.values["missing"] for problem in problems] == ([", ".join(missing)] if missing else [])
    config = yaml.safe_load((out / "data.yaml").read_text())
    assert all((out / config[key]).is_dir() for key in ("train", "val"))
    _, again, problems = read(out)
    assert (sorted(sample.split for sample in again.values()), problems) == (sorted(splits), [])

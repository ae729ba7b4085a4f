import zipfile

import pytest
from PIL import Image

from engine.datasets.collection import Collection, load, with_splits, with_valid
from engine.types import Instances, Sample, UserError


def collection(count, groups=None):
    samples = [Sample(f"{n}.png", (10, 10), Instances.empty(), None, None if groups is None else f"g{n % groups}", f"{n}.png") for n in range(count)]
    return Collection(("a",), samples)


def test_counts_tell_images_boxes_unlabeled_and_classes(yolo_folder, tmp_path):
    loaded = load(yolo_folder({"train": {"a": "0 .5 .5 .2 .2\n1 .5 .5 .3 .3", "b": None}, "valid": {"c": "1 .5 .5 .2 .2"}}), tmp_path / "scratch")
    assert loaded.format == "yolo"
    assert loaded.counts() == {"train": {"images": 2, "boxes": 2, "unlabeled": 1, "classes": {"cat": 1, "dog": 1}},
                               "valid": {"images": 1, "boxes": 1, "unlabeled": 0, "classes": {"cat": 0, "dog": 1}}}
    assert [sample.name for sample in loaded.split("valid")] == ["valid/images/c.png"]


def test_an_archive_is_loaded_and_its_images_stay_readable(yolo_folder, tmp_path):
    root = yolo_folder()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as target:
        for file in root.rglob("*.*"):
            target.write(file, f"wrapped/{file.relative_to(root)}")
    loaded = load(tmp_path / "set.zip", tmp_path / "scratch")
    assert len(loaded.samples) == 3
    assert all(sample.image.is_file() for sample in loaded.samples)


def test_a_data_set_without_images_is_refused_but_tells_what_was_found(coco_folder, tmp_path):
    root = coco_folder()
    for image in (root / "images").iterdir():
        image.unlink()
    problems = []
    with pytest.raises(UserError) as caught:
        load(root, tmp_path / "scratch", problems=problems)
    assert caught.value.key == "dataset_without_images"
    assert [problem.code for problem in problems] == ["image_missing", "image_missing"]


def test_splits_have_the_wanted_sizes_and_depend_on_names_and_seed_alone():
    whole = collection(100)
    dealt = with_splits(whole, {"train": 0.7, "valid": 0.2, "test": 0.1}, seed=1)
    assert [len(dealt.split(name)) for name in ("train", "valid", "test")] == [70, 20, 10]
    backwards = Collection(("a",), whole.samples[::-1])
    assert {sample.name: sample.split for sample in with_splits(backwards, {"train": 0.7, "valid": 0.2, "test": 0.1}, seed=1).samples} \
        == {sample.name: sample.split for sample in dealt.samples}
    assert [sample.split for sample in with_splits(whole, {"train": 0.8, "valid": 0.2}, seed=2).samples] \
        != [sample.split for sample in with_splits(whole, {"train": 0.8, "valid": 0.2}, seed=3).samples]


@pytest.mark.parametrize("groups", [3, 7, 20])
def test_groups_are_never_parted(groups):
    dealt = with_splits(collection(60, groups), {"train": 0.8, "valid": 0.2})
    assert all(len({sample.split for sample in dealt.samples if sample.group == f"g{n}"}) == 1 for n in range(groups))
    assert dealt.split("valid")


def test_copies_and_look_alikes_are_never_parted(tmp_path, picture):
    samples = []
    for number in range(12):
        for copy, size in (("a", 1.0), ("b", 0.6)):
            path = picture(tmp_path / f"{number}{copy}.png", 320, 240, seed=number)
            if size < 1:
                with Image.open(path) as whole:
                    whole.resize((192, 144)).save(path := path.with_suffix(".jpg"), quality=60)
            samples.append(Sample(path, (320, 240), Instances.empty(), None, None, path.name))
    for seed in range(3):
        dealt = {sample.name: sample.split for sample in with_splits(Collection(("a",), samples), {"train": 0.6, "valid": 0.4}, seed).samples}
        assert all(dealt[f"{number}a.png"] == dealt[f"{number}b.jpg"] for number in range(12))
        assert set(dealt.values()) == {"train", "valid"}


def test_every_split_sees_every_class_in_proportion():
    samples = [Sample(f"{n}.png", (10, 10), Instances([[0, 0, 5, 5]], [n % 4 == 0]), None, None, f"{n}.png") for n in range(100)]
    counts = with_splits(Collection(("a", "b"), samples), {"train": 0.8, "valid": 0.2}).counts()
    assert {split: row["classes"] for split, row in counts.items()} == {"train": {"a": 60, "b": 20}, "valid": {"a": 15, "b": 5}}


def test_every_wanted_split_gets_something_when_there_is_enough():
    for count in (2, 3, 5):
        dealt = with_splits(collection(count), {"train": 0.98, "valid": 0.02})
        assert dealt.split("train")
        assert dealt.split("valid")


@pytest.mark.parametrize("fractions", [{}, {"train": 2.0}, {"training": 1.0}, {"train": -0.5, "valid": 0.5}, {"train": 0.0}])
def test_fractions_that_make_no_sense_are_refused(fractions):
    with pytest.raises(UserError) as caught:
        with_splits(collection(4), fractions)
    assert caught.value.key == "bad_split"


def test_a_missing_valid_split_is_made_and_said(yolo_folder, tmp_path):
    loaded = load(yolo_folder({"train": {str(n): "0 .5 .5 .2 .2" for n in range(10)}, "test": {"t": ""}}), tmp_path / "s")
    made = with_valid(loaded)
    assert {name: len(made.split(name)) for name in ("train", "valid", "test")} == {"train": 8, "valid": 2, "test": 1}
    assert [problem.code for problem in made.problems] == ["valid_split_made"]
    assert with_valid(made) is made


def named(names, group=None):
    return Collection(("a",), [Sample(name, (10, 10), Instances.empty(), None, group, name) for name in names])


def test_groups_that_the_names_tell_stay_together_and_a_note_says_so():
    names = [f"video{video}_frame_{frame:04}.jpg" for video in range(5) for frame in range(6)]
    made = with_valid(named(names))
    assert all(len({sample.split for sample in made.samples if sample.name.startswith(f"video{video}_")}) == 1 for video in range(5))
    assert [(problem.code, problem.values) for problem in made.problems][:1] == [("groups_guessed", {"rule": "video #", "count": 5, "images": 30})]
    assert all(sample.group is None for sample in made.samples)


def test_names_are_not_asked_when_groups_are_known():
    names = [f"video{video}_frame_{frame:04}.jpg" for video in range(5) for frame in range(6)]
    assert with_splits(named(names, "one"), {"train": 0.5, "valid": 0.5}).problems == []

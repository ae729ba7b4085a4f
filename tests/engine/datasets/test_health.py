import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from engine.datasets import health, health_facts
from engine.datasets.collection import Collection, load
from engine.datasets.health import check
from engine.types import IGNORE, Instances, Problem, Sample, SemanticMask, Tags


def codes(report):
    return [problem.code for problem in report.problems]


def found(report):
    return {problem.code: problem for problem in report.problems}


@pytest.fixture
def sample(tmp_path, picture):
    """Makes samples, each with an image of its own unless told otherwise."""
    made = []

    def make(labels=None, split="train", group=None, size=(64, 48), same_as=None):
        name = f"{split}/{len(made)}.png"
        path = tmp_path / "pictures" / name
        if same_as is None:
            picture(path, *size, seed=len(made))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(same_as.image, path)
        made.append(Sample(path, size, labels, split, group, name))
        return made[-1]
    return make


def boxes(*classes):
    return Instances([[4, 4, 24, 24]] * len(classes) if len(set(classes)) == len(classes) else [[4 + 20 * n, 4, 20 + 20 * n, 24]
                     for n in range(len(classes))], classes)


def test_a_sound_data_set_gets_nothing_worse_than_notes(yolo_folder, tmp_path):
    line = "0 .5 .5 .2 .2\n1 .3 .3 .2 .2\n"
    report = check(load(yolo_folder({"train": {str(n): line for n in range(12)}, "valid": {f"v{n}": line for n in range(5)}}), tmp_path / "s"),
        decode=True)
    assert report.problems == []
    assert report.as_dict()["splits"]["valid"] == {"images": 5, "boxes": 10, "unlabeled": 0, "classes": {"cat": 5, "dog": 5}}
    assert set(report.as_dict()) == {"format", "task", "classes", "splits", "problems", "sizes"}


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
        assert "error" not in {problem.severity for problem in report.problems}


def test_the_counts_are_those_of_the_collection(yolo_folder, tmp_path, sample):
    loaded = load(yolo_folder({"train": {"a": "0 .5 .5 .2 .2\n1 .5 .5 .3 .3", "b": None}, "valid": {"c": ""}}), tmp_path / "s")
    assert health_facts.of_samples(loaded.classes, loaded.task, loaded.samples).counts() == loaded.counts()
    tags = Collection(("a", "b"), [sample(Tags([1, 0.5])), sample(Tags([np.nan, 1]), "test"), sample()])
    assert health_facts.of_samples(tags.classes, "classify", tags.samples).counts() == tags.counts()
    masks = Collection(("background", "b"), [sample(SemanticMask(classes=np.array([[0, 1], [IGNORE, 1]], np.uint16))),
                                             sample(SemanticMask(layers=np.zeros((2, 4, 4), bool)))])
    assert health_facts.of_samples(masks.classes, "semantic", masks.samples).counts() == masks.counts()


def test_sizes_are_summed_up(sample):
    labels = Instances([[0, 0, 10, 20], [0, 0, 32, 16]], [0, 0])
    sizes = check(Collection(("a",), [sample(labels), sample(Instances.empty(), size=(128, 96))])).as_dict()["sizes"]
    assert sizes["images"]["width"] == {"min": 64, "p05": 67.2, "p25": 80, "median": 96, "p75": 112, "p95": 124.8, "max": 128}
    assert sizes["images"]["common"] == [{"width": 64, "height": 48, "images": 1}, {"width": 128, "height": 96, "images": 1}]
    assert (sizes["boxes"]["aspect"]["min"], sizes["boxes"]["aspect"]["max"], sizes["boxes"]["side"]["min"]) == (0.5, 2, 100)
    assert sizes["objects_per_image"]["max"] == 2
    assert json.dumps(sizes)
    assert check(Collection((), [])).as_dict()["sizes"] == {}


def test_objects_that_are_there_twice_are_counted(sample):
    labels = Instances([[0, 0, 20, 20], [0.2, 0, 20, 20], [0, 0, 20, 20], [30, 0, 50, 20], [0, 0, 20, 30]], [0, 0, 1, 0, 0])
    report = check(Collection(("a", "b"), [sample(labels), sample(Instances([[0, 0, 20, 20]], [0]))]))
    assert [(each.where, each.values) for each in report.problems if each.code == "objects_twice"] == [("train/0.png", {"count": 1})]


def test_doubles_are_those_that_comparing_all_finds():
    from engine.datasets.health_labels import doubled

    chance = np.random.default_rng(0)
    corners = chance.uniform(0, 40, (400, 2)).round(1)
    labels = np.concatenate([corners, corners + chance.uniform(5, 40, (400, 2)).round(1)], 1).astype(np.float32)
    labels[200:] = labels[:200] + chance.normal(0, 0.4, (200, 4))
    keys = chance.integers(0, 3, 400)
    keys[300:] = keys[100:200]
    width, height = (np.minimum(labels[:, None, 2 + axis], labels[None, :, 2 + axis]) - np.maximum(labels[:, None, axis], labels[None, :, axis])
                     for axis in (0, 1))
    shared = np.clip(width, 0, None) * np.clip(height, 0, None)
    areas = (labels[:, 2:] - labels[:, :2]).prod(1)
    same = (shared / (areas[:, None] + areas[None] - shared) > 0.95) & (keys[:, None] == keys[None])
    assert doubled(labels, keys).tolist() == np.tril(same, -1).any(1).tolist()
    assert 20 < doubled(labels, keys).sum() < 200


def test_more_objects_than_a_model_can_find_are_told(sample):
    many = Instances(np.array([[n % 60, n // 60, n % 60 + 3, n // 60 + 3] for n in range(301)]), [0] * 301)
    collection = Collection(("a",), [sample(boxes(0)), sample(many)])
    assert found(check(collection))["objects_over_capacity"].where == "train/1.png"
    assert found(check(collection))["objects_over_capacity"].values == {"count": 1, "most": 301, "capacity": 300}
    assert "objects_over_capacity" not in codes(check(collection, capacity=400))


def test_tiny_depends_on_the_image_size_of_the_training(sample):
    collection = Collection(("a",), [sample(Instances([[0, 0, 1, 30]], [0]))])
    assert found(check(collection, image_size=160))["boxes_tiny"].values == {"count": 1, "total": 1, "side": 4.0, "reference": 160}
    assert "boxes_tiny" not in codes(check(collection, image_size=640))


def test_a_patient_in_two_splits_is_named(sample):
    report = check(Collection(("a",), [sample(boxes(0), group="p7"), sample(boxes(0), group="p7"), sample(boxes(0), "valid", group="p7"),
                                       sample(boxes(0), "valid", group="p8")]))
    leak = found(report)["group_in_splits"]
    assert (leak.where, leak.values) == ("valid/2.png", {"group": "p7", "count": 3, "splits": "train (2), valid (1)"})
    assert codes(report).count("group_in_splits") == 1


def test_copies_within_a_split_are_a_note_with_an_example(sample):
    first = sample(boxes(0))
    report = check(Collection(("a",), [first, sample(boxes(0), same_as=first), sample(boxes(0))]))
    copies = found(report)["same_images"]
    assert (copies.severity, copies.where) == ("note", "train")
    assert copies.values == {"count": 2, "split": "train", "example": "train/0.png", "other": "train/1.png"}
    assert not {"same_image_in_splits", "similar_images", "copies_labeled_differently"} & set(codes(report))


def test_copies_with_other_labels_are_a_warning(sample):
    first = sample(boxes(0))
    more = sample(Instances([[4, 4, 24, 24], [30, 30, 40, 40]], [0, 0]), same_as=first)
    assert "copies_labeled_differently" not in codes(check(Collection(("a", "b"), [first, more, sample(same_as=first)])))
    contrary = sample(boxes(1), same_as=first)
    problem = found(check(Collection(("a", "b"), [first, more, contrary])))["copies_labeled_differently"]
    assert (problem.where, problem.values) == ("train/3.png", {"other": "train/1.png"})


def test_a_copy_in_every_split_is_named_once_each(sample):
    first = sample(boxes(0), "test")
    second = sample(boxes(0), "valid", same_as=first)
    third = sample(boxes(0), "train", same_as=first)
    report = check(Collection(("a",), [first, second, third]))
    leaks = [(each.where, each.values["other"]) for each in report.problems if each.code == "same_image_in_splits"]
    assert leaks == [("test/0.png", "train/2.png"), ("valid/1.png", "train/2.png")]


def test_a_scaled_copy_in_another_split_is_named_with_its_like(tmp_path, sample):
    first = sample(boxes(0), size=(320, 240))
    picture = Image.open(first.image)
    (tmp_path / "pictures/valid").mkdir()
    picture.resize((160, 120)).save(tmp_path / "pictures/valid/small.jpg", quality=50)
    like = Sample(tmp_path / "pictures/valid/small.jpg", (160, 120), boxes(0), "valid", None, "valid/small.jpg")
    problem = found(check(Collection(("a",), [first, sample(boxes(0)), like])))["similar_images_in_splits"]
    assert (problem.severity, problem.where) == ("warning", "valid/small.jpg")
    assert problem.values == {"split": "valid", "other": "train/0.png", "other_split": "train"}
    assert "similar_images_in_splits" not in codes(check(Collection(("a",), [first, like]), look=False))


def test_pictures_of_one_colour_are_no_leak(sample, tmp_path):
    samples = []
    for number, (split, level) in enumerate((("train", 10), ("train", 12), ("valid", 11))):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (64, 48), (level,) * 3).save(path)
        samples.append(Sample(path, (64, 48), boxes(0), split, None, f"{number}.png"))
    assert not {"similar_images", "similar_images_in_splits"} & set(codes(check(Collection(("a",), samples))))


def test_small_and_large_valid_splits_and_uneven_images_are_noted(sample):
    report = check(Collection(("a",), [sample(boxes(0)), sample(boxes(0), "valid"), sample(boxes(0), "valid", size=(300, 200))]))
    assert found(report)["valid_small"].values == {"images": 2}
    assert found(report)["valid_larger"].values == {"images": 2, "train": 1}
    assert found(report)["image_sizes_differ"].values == {"small": "64 x 48", "large": "300 x 200", "other": "valid/2.png"}


def test_unlabeled_images_are_told_once(sample):
    collection = Collection(("a",), [sample(boxes(0)), sample(), sample()])
    assert found(check(collection))["unlabeled_share"].values == {"count": 2, "total": 3, "split": "train"}
    collection.problems.append(Problem("images_without_labels", "note", ".", {"count": 2}))
    assert "unlabeled_share" not in codes(check(collection))
    assert codes(check(Collection((), [sample()], [Problem("only_images", "note", ".", {})]))) == ["only_images"]


@pytest.mark.parametrize(("classes", "alike"), [(("Car", "car ", "bus"), "Car, car "), (("a_b", "A-B"), "a_b, A-B"), (("A", "a", "b"), None),
                                                (("cat", "cats"), None)])
def test_class_names_that_differ_only_by_case_or_blanks_are_told(sample, classes, alike):
    problem = found(check(Collection(classes, [sample(boxes(0))]))).get("class_names_alike")
    assert (problem and problem.values["names"]) == alike


def test_tags_that_no_curve_can_be_drawn_for_are_told(sample):
    nan = np.nan
    samples = [sample(Tags([1, 1, 0.5, 0])), sample(Tags([0, 1, 1, nan])), sample(Tags([0, 1, 1, 0]), "valid"), sample(Tags([0, 0, nan, 0]), "valid")]
    report = check(Collection(("a", "b", "c", "d"), samples, task="classify"))
    told = [(each.code, each.where, each.values["names"]) for each in report.problems if each.code.startswith("class_without")]
    assert told == [("class_without_negative", "train", "b, c"), ("class_without_positive", "valid", "a"), ("class_without_negative", "valid", "c")]
    assert found(report)["tags_uncertain"].values == {"count": 1, "total": 16, "images": 1}
    assert found(report)["tags_unknown"].values == {"count": 2, "total": 16, "images": 2}
    assert found(report)["class_unused"].values == {"name": "d"}


def test_masks_tell_empty_ones_unused_classes_and_ignored_pixels(sample):
    some, none = np.zeros((48, 64), np.uint16), np.zeros((48, 64), np.uint16)
    some[:24], some[40:] = 1, IGNORE
    samples = [sample(SemanticMask(classes=some)), sample(SemanticMask(classes=none))]
    report = check(Collection(("background", "cell", "nucleus"), samples, task="semantic"))
    assert found(report)["masks_empty"].values == {"count": 1, "total": 2}
    assert found(report)["masks_void"].values == {"share": "8.3", "images": 1}
    assert found(report)["class_without_pixel"].values == {"name": "nucleus"}
    assert not {"class_unused", "class_imbalance"} & set(codes(report))


def test_how_an_image_is_shown_is_remarked_without_end(sample, tmp_path):
    samples = [sample(boxes(0))]
    for number in range(5):
        path = tmp_path / f"deep{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 60000, (48, 64), np.uint16)).save(path)
        samples.append(Sample(path, (64, 48), boxes(0), "train", None, path.name))
    report = check(Collection(("a",), samples), decode=True)
    assert codes(report).count("image_windowed") == 3
    assert found(report)["problems_more"].values == {"kind": "image_windowed", "count": 2}


def test_long_lists_are_capped_with_a_count(sample):
    wrong = sample(Instances([[-9, 0, 10, 10]], [0]))
    report = check(Collection(("a",), [wrong] * 250), look=False)
    assert codes(report).count("boxes_outside") == health.MAX_LISTED
    assert found(report)["problems_more"].values == {"kind": "boxes_outside", "count": 50}
    assert found(report)["problems_more"].severity == "warning"


def test_a_missing_file_is_told_even_when_damage_is_not_asked_for(sample):
    samples = [sample(boxes(0)), sample(boxes(0))]
    samples[1].image.unlink()
    assert [(each.code, each.where) for each in check(Collection(("a",), samples)).problems if each.severity == "error"] \
        == [("file_unreadable", "train/1.png")]


def test_every_problem_has_texts_in_every_language(sample):
    from engine import messages

    nan = np.nan
    first = sample(Tags([1, 0.5, nan]))
    reports = [check(Collection(("Car", "car", "b"), [first, sample(Tags([1, 0, 0]), "valid", same_as=first), sample(group="g"),
                                                     sample(Tags([1, 0, 0]), "valid", group="g", size=(320, 240))], task="classify")),
               check(Collection(("a", "b"), [sample(boxes(0)), sample(boxes(0), "valid"), sample(boxes(1), "valid")]))]
    for language in messages.LANGUAGES:
        for problem in [each for report in reports for each in report.problems]:
            for words in (problem.message(language), problem.remedy(language)):
                assert words
                assert not words.startswith("problem.")
                assert "{" not in words


def test_a_hundred_thousand_images_are_checked_within_seconds(sample):
    image, chance = sample().image, np.random.default_rng(0)
    labels = [Instances(chance.uniform(0, 300, (9, 2)).repeat(2, 0).reshape(9, 4) + [0, 0, 30, 40], chance.integers(0, 80, 9)) for _ in range(500)]
    samples = [Sample(image, (640, 480), labels[n % 500], "train" if n % 5 else "valid", f"g{n}", f"{n}.jpg") for n in range(100_000)]
    started = time.perf_counter()
    check(Collection(tuple(f"c{n}" for n in range(80)), samples), look=False)
    assert time.perf_counter() - started < 12  # about 2 s alone


def test_augmented_copies_of_one_picture_in_two_splits_are_named(sample):
    parts = [("train", "im7_jpg.rf.0a"), ("train", "im8_jpg.rf.0b"), ("valid", "im7_jpg.rf.0c")]
    report = check(Collection(("a",), [replace(sample(boxes(0), split), name=f"{split}/images/{name}.png") for split, name in parts]))
    leak = found(report)["source_in_splits"]
    assert (leak.severity, leak.where, leak.values) == ("warning", "valid/images/im7_jpg.rf.0c.png",
                                                        {"group": "im7", "count": 2, "splits": "train (1), valid (1)"})

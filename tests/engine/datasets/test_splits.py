import csv
import random
import time
from collections import Counter, defaultdict

import numpy as np
import pytest

from engine.datasets import splits
from engine.datasets.splits import Item, deal, groups_by, preview
from engine.datasets.splits_guess import guessed
from engine.types import UserError

THREE = {"train": 0.7, "valid": 0.2, "test": 0.1}


def random_items(seed, count=300, classes=6):
    chance = random.Random(seed)
    groups, crowd = chance.randint(1, count), chance.randint(1, count)
    return [Item(n, f"{n}.png", f"g{chance.randrange(groups)}" if chance.random() < 0.7 else None, None,
                 tuple(chance.randrange(classes) for _ in range(chance.randrange(4))), chance.randrange(crowd) if chance.random() < 0.4 else None)
            for n in range(count)]


def shares(items, dealt, split):
    """Of every class, the share of its images that lie in `split`."""
    whole, here = Counter(), Counter()
    for item in items:
        for label in set(item.classes):
            whole[label] += 1
            here[label] += dealt[item.id] == split
    return {label: here[label] / whole[label] for label in whole}


@pytest.mark.parametrize("seed", range(12))
def test_groups_and_look_alikes_are_never_parted(seed):
    items = random_items(seed)
    dealt = deal(items, THREE, seed=seed)
    assert set(dealt) == {item.id for item in items}
    for key in ("group", "alike"):
        splits_of = defaultdict(set)
        for item in items:
            if getattr(item, key) is not None:
                splits_of[getattr(item, key)].add(dealt[item.id])
        assert all(len(found) == 1 for found in splits_of.values())


def test_groups_joined_by_a_look_alike_stay_together():
    items = [Item(0, "a", "p1"), Item(1, "b", "p1", alike=7), Item(2, "c", "p2", alike=7), Item(3, "d", "p2")]
    items += [Item(n, f"x{n}") for n in range(4, 40)]
    for seed in range(10):
        dealt = deal(items, {"train": 0.5, "valid": 0.5}, seed=seed)
        assert len({dealt[n] for n in range(4)}) == 1


def test_the_order_of_the_items_does_not_matter_and_the_seed_does():
    items = random_items(3)
    shuffled = random.Random(0).sample(items, len(items))
    assert deal(shuffled, THREE, seed=5) == deal(items, THREE, seed=5)
    alone = [Item(n, f"{n}.png", classes=(n % 3,)) for n in range(100)]
    assert deal(alone, THREE, seed=1) != deal(alone, THREE, seed=2)


def test_images_on_their_own_are_dealt_to_the_very_number():
    items = [Item(n, f"{n}.png", classes=(n % 7,)) for n in range(1000)]
    assert Counter(deal(items, THREE).values()) == {"train": 700, "valid": 200, "test": 100}
    assert Counter(deal(items, THREE, stratify=False).values()) == {"train": 700, "valid": 200, "test": 100}


def test_a_share_of_zero_gets_nothing_and_every_other_split_something():
    items = [Item(n, f"{n}.png") for n in range(50)]
    assert set(deal(items, {"train": 0.98, "valid": 0.02, "test": 0}).values()) == {"train", "valid"}
    for count in (3, 4, 9):
        assert set(deal(items[:count], {"train": 0.98, "valid": 0.01, "test": 0.01}).values()) == {"train", "valid", "test"}
    uneven = [Item(n, f"{n}.png", "big" if n < 45 else f"g{n}") for n in range(47)]
    assert set(deal(uneven, {"train": 0.9, "valid": 0.05, "test": 0.05}).values()) == {"train", "valid", "test"}
    assert set(deal([Item(0, "a", "g"), Item(1, "b", "g")], {"train": 0.8, "valid": 0.2}).values()) == {"train"}
    assert deal([], {"train": 1.0}) == {}


def test_group_sizes_that_can_meet_the_shares_do():
    items = [Item(f"{g}-{n}", f"{g}-{n}", f"g{g}") for g, size in enumerate([40, 25, 10, 8, 7, 5, 3, 2]) for n in range(size)]
    assert Counter(deal(items, THREE).values()) == {"train": 70, "valid": 20, "test": 10}


@pytest.mark.parametrize("fractions", [{}, {"train": 2.0}, {"training": 1.0}, {"train": -0.5, "valid": 0.5}, {"train": 0.0}, {"train": float("nan")}])
def test_fractions_that_make_no_sense_are_refused(fractions):
    with pytest.raises(UserError) as caught:
        deal([Item(0, "a")], fractions)
    assert caught.value.key == "bad_split"


def test_a_rare_class_reaches_every_split_that_can_have_it():
    items = [Item(n, f"{n}.png", classes=(1,) if n < 10 else (0,)) for n in range(400)]
    dealt = deal(items, THREE, seed=4)
    assert Counter(dealt[n] for n in range(10)) == {"train": 7, "valid": 2, "test": 1}


def test_images_without_objects_are_spread_too():
    items = [Item(n, f"{n}.png", classes=() if n < 40 else (0, 0, 1)) for n in range(100)]
    dealt = deal(items, {"train": 0.8, "valid": 0.2})
    assert sum(dealt[n] == "valid" for n in range(40)) == 8


def test_single_labels_are_spread_as_evenly_as_scikit_learn_spreads_them():
    model_selection = pytest.importorskip("sklearn.model_selection")
    chance = np.random.default_rng(0)
    labels = chance.choice(9, 700, p=np.array([40, 25, 12, 8, 6, 4, 2, 2, 1]) / 100)
    items = [Item(n, f"{n}.png", classes=(int(label),)) for n, label in enumerate(labels)]
    _, valid = next(model_selection.StratifiedShuffleSplit(1, test_size=0.2, random_state=0).split(labels, labels))
    theirs = {n: "valid" if n in set(valid.tolist()) else "train" for n in range(700)}
    for seed in range(3):
        ours = deal(items, {"train": 0.8, "valid": 0.2}, seed=seed)
        assert deviation(items, ours) <= deviation(items, theirs) + 1e-9


def test_grouped_labels_are_spread_more_evenly_than_scikit_learn_spreads_them(reference):
    model_selection = pytest.importorskip("sklearn.model_selection")
    with next((reference / "data/multilabel_nih64_csv").glob("*.csv")).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = sorted({row["Finding Labels"].split("|")[0] for row in rows})
    labels = [found.index(row["Finding Labels"].split("|")[0]) for row in rows]
    patients = [row["Patient ID"] for row in rows]
    items = [Item(n, row["Image Index"], row["Patient ID"], None, (labels[n],)) for n, row in enumerate(rows)]
    folds = model_selection.StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, patients)
    theirs = [deviation(items, {n: "valid" if n in set(fold.tolist()) else "train" for n in range(len(items))}) for _, fold in folds]
    ours = [deal(items, {"train": 0.8, "valid": 0.2}, seed=seed) for seed in range(3)]
    assert max(deviation(items, dealt) for dealt in ours) < min(theirs)
    assert all(sum(split == "valid" for split in dealt.values()) == 147 for dealt in ours)


def deviation(items, dealt):
    """Mean distance between the share of a class in valid and the share that was wanted."""
    return float(np.mean([abs(share - 0.2) for share in shares(items, dealt, "valid").values()]))


def test_several_labels_an_image_are_all_spread():
    chance = np.random.default_rng(1)
    often = np.linspace(0.02, 0.4, 12)
    items = [Item(n, f"{n}.png", f"p{n // 3}", None, tuple(np.flatnonzero(chance.random(12) < often).tolist())) for n in range(900)]
    dealt = deal(items, THREE)
    for split, wanted in THREE.items():
        assert max(abs(share - wanted) for share in shares(items, dealt, split).values()) < 0.06


def test_a_hundred_thousand_images_are_dealt_within_seconds():
    chance = random.Random(0)
    items = [Item(n, f"{n}.jpg", f"g{n // 5}" if n % 2 else None, None, tuple(chance.randrange(20) for _ in range(chance.randrange(6))))
             for n in range(100_000)]
    started = time.perf_counter()
    dealt = deal(items, THREE)
    assert time.perf_counter() - started < 10  # about 1.5 s alone
    assert max(abs(share - 0.2) for share in shares(items, dealt, "valid").values()) < 0.01


def test_the_preview_counts_images_groups_and_objects():
    items = [Item(1, "a", "p", "train", (0, 0, 1)), Item(2, "b", "p", "train", (1,)), Item(3, "c", None, "train", ())]
    assert preview(items, {1: "valid", 2: "valid"}, ("cat", "dog")) == {
        "train": {"images": 1, "groups": 1, "classes": {"cat": 0, "dog": 0}}, "valid": {"images": 2, "groups": 1, "classes": {"cat": 2, "dog": 2}}}


@pytest.mark.parametrize(("rule", "names", "wanted"), [
    ("none", ["a/1.png"], [None]),
    ("folder", ["train/images/p1/a.png", "valid/p1/b.png", "test/images/c.png", "d.png", "val2017/x/y/e.png"], ["p1", "p1", None, None, "x/y"]),
    ("prefix", ["patient12_slice003.png", "valid/patient12_slice004.png", "00000013_005.png", "frame-0001.jpg", "cat.png", "0001.png", "v1/0001.png"],
     ["patient12_slice", "patient12_slice", "00000013", "frame", None, None, "v1"]),
    ("prefix", ["train/images/WIN_2023_Pro_mp4-8_jpg.rf.8bcb04.jpg", "valid/images/WIN_2023_Pro_mp4-12_jpg.rf.0a1b.jpg"], ["WIN_2023_Pro_mp4"] * 2)])
def test_groups_are_read_from_names(rule, names, wanted):
    assert groups_by(names, rule) == wanted


def test_a_pattern_of_ones_own_finds_groups_or_says_what_is_wrong_with_it():
    assert groups_by(["p12_a.png", "p7_b.png", "x.png"], "pattern", r"p(\d+)_") == ["12", "7", None]
    assert groups_by(["p12_a.png"], "pattern", r"p\d+") == ["p12"]
    for pattern in ("(", "", "(a)(b)", "x" * 500):
        with pytest.raises(UserError) as caught:
            groups_by(["a"], "pattern", pattern)
        assert caught.value.key == "group_pattern_bad"
    with pytest.raises(UserError) as caught:
        groups_by(["a"], "sorcery")
    assert caught.value.key == "group_rule_unknown"


def test_rules_are_listed():
    assert splits.RULES == ("none", "folder", "prefix", "pattern")


@pytest.mark.parametrize(("name", "source"), [("train/images/im7_jpg.rf.0a1b.jpg", "im7"), ("im7.rf.00000000000000000000000000000032.png", "im7"),
                                              ("cats/7_PNG.rf.Ab12.jpg", "cats/7"), ("im7.jpg", None), ("a.rf.b.jpg", None)])
def test_an_augmented_copy_names_the_picture_that_it_was_made_from(name, source):
    assert splits.source_of(name) == source


def test_augmented_copies_of_one_picture_are_never_parted():
    items = [Item((n, copy), f"images/im{n}_jpg.rf.{n * 7 + copy:032x}.jpg") for n in range(15) for copy in range(3)]
    dealt = deal(items, {"train": 0.6, "valid": 0.4})
    assert all(len({dealt[n, copy] for copy in range(3)}) == 1 for n in range(15))
    assert set(dealt.values()) == {"train", "valid"}


@pytest.mark.parametrize(("form", "rule"), [
    ("patient_{:03}/images/{}.png", "patient #"), ("images/Case-{}_{}.png", "patient #"), ("video{}_frame_{:05}.jpg", "video #"),
    ("images/BraTS20_Training_{:03}_slice_{:03}.png", "# slice"), ("vid{}_frame_{}_jpg.rf.{:x}.jpg", "video #")])
def test_names_that_speak_of_patients_or_videos_make_groups(form, rule):
    names = [form.format(group, piece, piece) for group in range(4) for piece in range(3)]
    found, groups = guessed(names)
    assert found == rule
    assert [len(set(groups[start:start + 3])) for start in (0, 3, 6, 9)] == [1, 1, 1, 1]
    assert len(set(groups)) == 4


@pytest.mark.parametrize("names", [["a.png", "b.png"], ["video1_frame_1.png", "video1_frame_2.png"], ["case1.png", "case2.png"],
                                   ["showcase1_a.png", "showcase1_b.png", "showcase2_a.png"], ["frame_1.png", "frame_2.png"]])
def test_names_that_say_nothing_or_name_one_group_make_none(names):
    assert guessed(names) is None


def test_names_without_end_are_no_burden():
    start = time.perf_counter()
    guessed(["1" * 100_000, "_slice1" * 20_000, "patient" * 20_000, "1_" * 50_000] * 50)
    assert time.perf_counter() - start < 5

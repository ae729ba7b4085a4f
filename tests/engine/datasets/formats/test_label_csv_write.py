"""Writing tables of labels: nothing lost, nothing that a spreadsheet would run."""

import csv

import numpy as np
import pandas as pd
import pytest

from engine.datasets.collection import collect
from engine.datasets.formats import label_csv
from engine.datasets.formats.csv_tables import guarded, unguarded
from engine.types import UNCERTAIN, Instances, Sample, Tags

NAN = np.nan


@pytest.fixture
def written(tmp_path, picture):
    """(problems, what reading gives) of tags, one row an image."""
    def make(classes, rows, splits=(None,), groups=(None,), names="{}.png"):
        samples = []
        for k, row in enumerate(rows):
            image = picture(tmp_path / "in" / f"{k}.png", seed=k)
            labels = row if row is None or isinstance(row, Instances) else Tags(np.array(row, np.float32))
            samples.append(Sample(image, (64, 48), labels, splits[k % len(splits)], groups[k % len(groups)], names.format(k)))
        (tmp_path / "out").mkdir()
        problems = list(label_csv.write(classes, samples, tmp_path / "out", "copy"))
        return problems, samples, collect(label_csv.read(tmp_path / "out"))
    return make


def assert_equal(again, samples):
    copies = {sample.name: sample for sample in again.samples}
    assert len(copies) == len(samples)
    for original in samples:
        copy = copies[f"images/{original.name}"]
        assert (copy.split, copy.group, copy.size) == (original.split, original.group, original.size)
        assert (copy.labels is None) == (original.labels is None)
        if original.labels is not None:
            assert np.array_equal(copy.labels.values, original.labels.values, equal_nan=True)


def test_ones_and_zeros_become_one_column_of_names(written, tmp_path):
    problems, samples, again = written(("cat", "dog", "unused"), [[1, 0, 0], [1, 1, 0], [0, 0, 0]], ("train", "valid", "test"), ("p1", None))
    assert (problems, again.problems, again.classes) == ([], [], ("cat", "dog", "unused"))
    assert_equal(again, samples)
    frame = pd.read_csv(tmp_path / "out/labels.csv", keep_default_na=False)
    assert frame.to_dict("list") == {"image": [f"images/{k}.png" for k in range(3)], "labels": ["cat", "cat|dog", ""],
                                     "split": ["train", "valid", "test"], "group": ["p1", "", "p1"]}


def test_unknown_and_uncertain_need_a_column_a_class(written, tmp_path):
    problems, samples, again = written(("cat", "dog"), [[1, NAN], [UNCERTAIN, 0], [0, 1]], ("train", None), ("p1", "p2"))
    assert (problems, again.classes) == ([], ("cat", "dog"))
    assert_equal(again, samples)
    frame = pd.read_csv(tmp_path / "out/labels.csv")
    assert frame["dog"].isna().tolist() == [True, False, False]
    assert frame["cat"].tolist() == [1, -1, 0]


def test_unlabeled_images_keep_split_and_group(written):
    _, samples, again = written(("cat", "dog"), [[1, 0], None, [0, 1]], ("test",), ("p1", "p2", "p3"))
    assert_equal(again, samples)


@pytest.mark.parametrize("classes", [
    ("=1+1", "-2", "@x", "+3"), ("'quoted", "''=x", "a|b"), ("No Finding", "normal"), ("split", "group", "image"), ("a;b", "c,d"), ("Age", "Sex"),
    ("a, b", "a", "b"), ("[x]", "y"), ('say "hi"', "new  line"), ("no", "yes"), ("0", "1"), ("手术 剪", "é"), ("labels", "path"), ("none", "nan")])
def test_strange_names_survive_in_both_layouts(written, classes):
    rows = [np.eye(len(classes))[k % len(classes)] for k in range(4)]
    _, samples, again = written(classes, rows, ("train", "valid"), ("=p", "p2"))
    assert again.classes == tuple(" ".join(name.split()) for name in classes)
    assert_equal(again, samples)


@pytest.mark.parametrize("classes", [("=1+1", "-2", "@x"), ("split", "group", "image"), ("Age", "x", "labels"), ("a|b", "No Finding", "none")])
def test_strange_names_survive_beside_unknowns(written, classes):
    _, samples, again = written(classes, [[1, NAN, 0], [0, 1, UNCERTAIN], [0, 0, 0]], ("train", "valid"), ("p1", "p2"))
    assert again.classes == classes
    assert_equal(again, samples)


def test_no_cell_begins_with_a_formula(written, tmp_path):
    written(("=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-1"), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, NAN]], ("train",), ("=g", "-g"))
    with (tmp_path / "out/labels.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in tuple("=+@\t\r") or (cell[:1] == "-" and cell != "-1")]


@pytest.mark.parametrize("text", ["=1", "'=1", "''=1", "'a", "a", "", "-", "\tx", "\rx", "@", "+", "'", "''", "1-"])
def test_the_guard_against_formulas_comes_off_again(text):
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in tuple("=+-@\t\r")


def test_other_labels_are_left_out_and_named(written):
    problems, _, again = written(("cat",), [[1], Instances.empty(), [0.7]])
    assert [(problem.code, problem.where) for problem in problems] == [("labels_left_out", "1.png"), ("tags_rounded", "2.png")]
    assert [sample.labels is None for sample in again.samples] == [False, True, False]


def test_random_tags_survive(written):
    rng = np.random.default_rng(0)
    rows = rng.choice([0, 1, UNCERTAIN, NAN], (40, 7))
    rows[:, 0] = 1
    _, samples, again = written(tuple(f"class {k}" for k in range(7)), rows, ("train", "valid", "test", None), tuple(f"p{k}" for k in range(9)))
    assert_equal(again, samples)


def test_nobody_has_any_label(written):
    _, samples, again = written(("cat", "dog"), [[0, 0], [0, 0]])
    assert again.classes == ("cat", "dog")
    assert_equal(again, samples)

"""Tables of labels with slips in them: words that are no split, other ways to say yes and no, fractions, lists that overlap."""

import pytest

from engine.datasets import source
from engine.datasets.collection import collect
from engine.datasets.convert import convert
from engine.types import UNCERTAIN, UserError


@pytest.fixture
def read(tmp_path, picture):
    """Reads a folder with images x0.png ... and the table `text`."""
    def make(text, count=4, **files):
        for k in range(count):
            picture(tmp_path / f"x{k}.png", seed=k)
        for name, content in {"labels": text, **files}.items():
            (tmp_path / f"{name}{'.csv' if name == 'labels' else '.txt'}").write_text(content, encoding="utf-8")
        return collect(source.read(tmp_path))
    return make


def tags(collection):
    return {sample.name: None if sample.labels is None else sample.labels.values.tolist() for sample in collection.samples}


def problems(collection):
    return {problem.code: problem for problem in collection.problems}


# ---- splits

def test_a_word_that_is_no_split_costs_only_its_own_rows(read):
    found = read("image,labels,split\nx0.png,a,train\nx1.png,b,VAL\nx2.png,a,holdout\nx3.png,b,test\n")
    assert [sample.split for sample in found.samples] == ["train", "valid", None, "test"]
    assert problems(found)["table_split_unknown"].values == {"count": 1, "words": "holdout"}


def test_a_slip_in_a_column_of_splits_without_a_heading_is_forgiven(read):
    body = "".join(f"x{k}.png,{'ab'[k % 2]},{'train' if k < 9 else 'test'}\n" for k in range(11))
    found = read(f"{body}x11.png,a,tset\n", count=12)
    assert [sample.split for sample in found.samples] == ["train"] * 9 + ["test"] * 2 + [None]
    assert "tset" in problems(found)["table_split_unknown"].message()


def test_a_word_that_is_no_split_in_a_table_of_boxes_is_named(read):
    found = read("filename,split,xmin,ymin,xmax,ymax,class\nx0.png,train,1,1,9,9,a\nx1.png,other,1,1,9,9,a\nx2.png,val,1,1,9,9,a\n", count=3)
    assert [sample.split for sample in found.samples] == ["train", None, "valid"]
    assert problems(found)["table_split_unknown"].values == {"count": 1, "words": "other"}


def test_an_image_in_two_lists_of_splits_is_a_problem_and_the_first_counts(read):
    lists = {"train_val_list": "x0.png\nx1.png\nx2.png\n", "test_list": "x2.png\nx3.png\ngone.png\n"}
    found = read("image,labels\nx0.png,a\nx1.png,b\nx2.png,a\nx3.png,b\n", **lists)
    assert [sample.split for sample in found.samples] == ["train", "train", "test", "test"]
    overlap, missing = problems(found)["voc_in_two_splits"], problems(found)["list_images_missing"]
    assert (overlap.where, overlap.values) == ("train_val_list.txt", {"count": 1, "name": "x2.png", "split": "test", "other": "train"})
    assert (missing.where, missing.values) == ("test_list.txt", {"count": 1})


# ---- images that are not there

def test_missing_images_are_counted_as_images_and_not_as_rows(read, monkeypatch):
    monkeypatch.setattr("engine.datasets.formats.csv_missing.MAX_NAMED", 2)
    rows = "".join(f"gone{k}.png,1,1,9,9,a\n" * 3 for k in range(5))
    found = read(f"filename,xmin,ymin,xmax,ymax,class\nx0.png,1,1,9,9,a\n{rows}", count=1)
    said = [(problem.code, problem.values.get("count")) for problem in found.problems]
    assert said == [("listed_image_missing", None)] * 2 + [("listed_images_missing", 3)]


# ---- yes and no

@pytest.mark.parametrize("yes, no", [
    ("Y", "N"), ("T", "F"), ("yes", "No"), ("TRUE", "false"), ("1,0", "0,0"), ("1.00", "0.00"), ("+1", "0"), ("是", "否")])
def test_every_way_to_say_yes_and_no_means_the_same(read, yes, no):
    found = read(f"image;Edema;Pneumonia\nx0.png;{yes};{no}\nx1.png;{no};{no}\nx2.png;{yes};{yes}\nx3.png;{no};{yes}\n")
    assert found.classes == ("Edema", "Pneumonia")
    assert tags(found) == {"x0.png": [1, 0], "x1.png": [0, 0], "x2.png": [1, 1], "x3.png": [0, 1]}
    assert found.problems == []


def test_a_half_is_uncertain_and_other_fractions_are_named(read):
    found = read("image,Edema,Pneumonia\nx0.png,1,0.5\nx1.png,0,1\nx2.png,1,0.25\nx3.png,0,1\n")
    assert found.classes == ("Edema", "Pneumonia")
    assert [tags(found)[f"x{k}.png"][1] for k in (0, 1, 3)] == [UNCERTAIN, 1, 1]
    assert (problems(found)["tag_value_unknown"].where, problems(found)["tag_value_unknown"].values["value"]) == ("labels.csv:4", "0.25")


def test_a_column_of_probabilities_among_others_is_left_out_and_named(read):
    found = read("image,Edema,Pneumonia\nx0.png,1,0.93\nx1.png,0,0.12\nx2.png,1,0.25\nx3.png,0,0.5\n")
    assert found.classes == ("Edema",)
    assert problems(found)["table_probabilities_left_out"].values == {"count": 1, "names": "Pneumonia"}


@pytest.mark.parametrize("text, key, told", [
    ("image,Edema,Pneumonia\nx0.png,0.2,0.93\nx1.png,0.8,0.12\nx2.png,0.1,0.25\nx3.png,0.97,0.4\n", "table_of_probabilities", "Edema"),
    ("image,label\nx0.png,0.27\nx1.png,0.21\n", "table_of_probabilities", "0.27"),
    ("image;a;b\nx0.png;0,27;0,3\nx1.png;0,21;0,8\n", "table_of_probabilities", "0,27"),
    ("image,Edema,Pneumonia\nx0.png,3,7\nx1.png,2,5\nx2.png,4,4\nx3.png,8,9\n", "table_without_labels", "Edema"),
    ("image,labels\ngone0.png,a\ngone1.png,b\n", "table_names_no_image", "gone0.png"),
    ('image,labels\nx0.png,"a\nx1.png,b\nx2.png,a\n', "table_quote_open", "labels.csv:2"),
    ("image,labels\nx0.png," + "a" * (5 << 20) + "\nx1.png,b\n", "table_damaged", "labels.csv:2")])
def test_a_table_that_cannot_be_used_is_refused_with_the_reason(read, text, key, told):
    with pytest.raises(UserError) as caught:
        read(text)
    assert caught.value.key == key
    assert told in caught.value.message()
    assert not caught.value.remedy().startswith("error.")


def test_a_conversion_counts_the_missing_images_that_are_not_named_too(tmp_path, picture, monkeypatch):
    monkeypatch.setattr("engine.datasets.formats.csv_missing.MAX_NAMED", 2)
    picture(tmp_path / "in" / "x0.png")
    (tmp_path / "in" / "labels.csv").write_text("image,labels\nx0.png,a\n" + "".join(f"gone{k}.png,a\n" for k in range(5)))
    assert convert(tmp_path / "in", tmp_path / "out", to="class_folders").skipped == 5

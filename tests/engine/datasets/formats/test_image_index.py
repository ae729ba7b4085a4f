"""Finding images by what tables and lists call them."""

import time

import pytest

from engine.datasets.formats.image_index import ImageIndex, natural, split_of_list
from engine.datasets.tree import Tree


@pytest.fixture
def index(tmp_path):
    def make(*paths):
        return ImageIndex(Tree(tmp_path), paths)
    return make


@pytest.mark.parametrize(("text", "found"), [
    ("images/a.png", "images/a.png"), ("a.png", "images/a.png"), ("a", "images/a.png"), ("A.PNG", "images/a.png"),
    ("/x/y/images/a.png", "images/a.png"), ("C:\\data\\a.png", "images/a.png"), ("https://host/p/a.png", "images/a.png"),
    ("../../a.png", "images/a.png"), ("a.jpg", "images/a.png"), ("b.png", None),
    ("", None), ("..", None), ("images", None), ("/etc/passwd", None), ("other/b/c.png", "b/c.png"), ("deep/b/c.png", "b/c.png"), ("c.png", None),
    ("d/c.png", "d/c.png"), ("e/c.png", None)])
def test_the_path_that_shares_the_longest_end_is_found(index, text, found):
    assert index("images/a.png", "b/c.png", "d/c.png").find(text) == found


def test_a_name_in_another_numbered_folder_is_another_image(index):
    known = index("train/patient1/view.jpg", "photos/cats/1.jpg", "photos/dogs/2.jpg")
    assert known.find("train/patient2/view.jpg") is None
    assert known.find("x/train/patient1/view.jpg") == "train/patient1/view.jpg"
    assert known.find("photos/dogs/1.jpg") is None


def test_the_image_beside_the_table_is_preferred(index):
    known = index("train/a.png", "valid/a.png")
    assert known.find("a.png", "valid") == "valid/a.png"
    assert known.find("a.png") is None
    assert len(known.candidates("a.png")) == 2


def test_many_images_of_one_name_do_not_slow_it_down(index):
    known = index(*(f"data/patient{k}/view.jpg" for k in range(5000)))
    begun = time.perf_counter()
    assert all(known.find(f"CheXpert/patient{k}/view.jpg") == f"data/patient{k}/view.jpg" for k in range(5000))
    assert not any(known.find(f"CheXpert/patient{k}/view.jpg") for k in range(5000, 9000))
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize(("name", "split"), [("train.txt", "train"), ("train_val_list.txt", "train"), ("test_list.txt", "test"), ("val.csv", "valid"),
                                             ("trainval.txt", None), ("train_test.txt", None), ("labels.csv", None)])
def test_lists_are_named_after_splits(name, split):
    assert split_of_list(name) == split


def test_numbers_sort_by_size():
    assert sorted(["b", "10", "9", "A", "01"], key=natural) == ["01", "9", "10", "A", "b"]

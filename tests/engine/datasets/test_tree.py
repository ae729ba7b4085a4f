import os

import pytest

from engine.datasets.tree import Tree, normal, safe_name, shared_listings, split_of
from engine.types import UserError


@pytest.mark.parametrize(("names", "split"), [
    (("images", "train"), "train"), (("val2017",), "valid"), (("instances_val2017",), "valid"), (("validation", "images"), "valid"),
    (("test_images",), "test"), (("训练", "图片"), "train"), (("验证集",), "valid"), (("images",), None), (("trainer",), None), ((), None),
    (("train", "valid"), "valid")])
def test_splits_are_told_by_their_names(names, split):
    assert split_of(*names) == split


@pytest.mark.parametrize(("text", "base", "path"), [
    ("a/./b//c", "", "a/b/c"), ("../x", "a", "x"), ("..", "", None), ("../../x", "a", None), ("/etc", "", None), ("C:/x", "", None),
    ("a\\b", "", "a/b"), ("\\\\host\\x", "", None), ("a/../../b", "", None), ("a/..", "", ""), ("x\0y", "", None), ("", "", None), (" a ", "", "a")])
def test_a_path_in_a_text_is_normal_or_nothing(text, base, path):
    assert normal(text, base) == path


def test_safe_names_keep_ordinary_ones_and_differ_where_the_originals_do():
    for name in ("a.jpg", "手术 (1).png", "x.y.z.txt", "README"):
        assert safe_name(name) == name
    assert safe_name("CON.txt") == "_CON.txt"
    assert safe_name("") == safe_name("...") == "_"
    assert safe_name("a" * 300 + ".jpg") != safe_name("a" * 301 + ".jpg")
    assert len(safe_name("字" * 300 + ".jpg").encode()) <= 220


def test_a_tree_lists_what_is_inside_and_nothing_else(tmp_path):
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "images").mkdir(parents=True)
    secret.mkdir()
    (secret / "key.jpg").write_text("secret")
    (root / "images" / "a.jpg").write_text("a")
    (root / "out").symlink_to(secret)
    (root / "images" / "stolen.jpg").symlink_to(secret / "key.jpg")
    (root / "images" / "loop").symlink_to(root)
    (root / "images" / "again.jpg").symlink_to(root / "images" / "a.jpg")
    (root / "dangling.jpg").symlink_to("/nowhere")
    os.mkfifo(root / "pipe.jpg")
    tree = Tree(root)
    assert [folder for folder, _ in tree.walk()] == ["", "images"]
    assert tree.folder("images").files == ["a.jpg", "again.jpg"]
    assert tree.folder("").files == []
    assert {problem.where for problem in tree.problems} == {"out", "images/stolen.jpg", "images/loop", "dangling.jpg", "pipe.jpg"}
    assert tree.find("out/key.jpg") is None
    assert not tree.has_folder("out")
    assert tree.find("images/../../secret/key.jpg") is None


def test_names_are_found_whatever_their_case_and_unicode_form_but_never_guessed(tmp_path):
    for name in ("Photo.JPG", "caf\u00e9.jpg", "a.jpg", "A.jpg"):
        (tmp_path / name).write_text("x")
    tree = Tree(tmp_path)
    assert tree.find("photo.jpg") == "Photo.JPG"
    assert tree.find("cafe\u0301.jpg") == "caf\u00e9.jpg"
    assert tree.find("a.jpg") == "a.jpg"
    assert tree.find("A.JPG") is None


def test_a_file_may_not_be_larger_than_its_reader_wants(tmp_path):
    (tmp_path / "big").write_bytes(bytes(2000))
    with pytest.raises(UserError) as caught:
        Tree(tmp_path).read("big", 1000)
    assert caught.value.key == "file_too_large"
    with pytest.raises(UserError):
        Tree(tmp_path / "absent")


def test_trees_of_one_root_share_their_listings_only_where_they_are_told_to(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.png").write_bytes(b"")
    (tmp_path / "a/out").symlink_to("/etc")
    listed = []
    monkeypatch.setattr(Tree, "_list", lambda self, relative, real=Tree._list: (listed.append(relative), real(self, relative))[1])
    with shared_listings():
        for _ in range(3):
            tree = Tree(tmp_path)
            assert tree.find("a/x.png") == "a/x.png"
            assert [problem.code for problem in tree.problems] == ["link_outside"]
        assert Tree(tmp_path).problems == []
    assert listed == ["", "a"]
    (tmp_path / "a/y.png").write_bytes(b"")
    assert Tree(tmp_path).find("a/y.png")
    with shared_listings():
        assert Tree(tmp_path).find("a/y.png")


def test_files_of_any_length_are_read_whole(tmp_path):
    for length in (0, 1, 65_535, 65_536, 65_537, 300_000):
        (tmp_path / "x.txt").write_bytes(b"a\r\n" * (length // 3) + b"b" * (length % 3))
        assert len(Tree(tmp_path).read("x.txt", 1 << 20)) == length
    with pytest.raises(UserError) as caught:
        Tree(tmp_path).read("x.txt", 1000)
    assert caught.value.key == "file_too_large"


def test_links_that_lead_to_each_other_or_nowhere_cost_only_themselves(tmp_path):
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "images/a.jpg").write_bytes(b"a")
    (root / "images/self.jpg").symlink_to("self.jpg")
    (root / "images/there").symlink_to(root / "images/back")
    (root / "images/back").symlink_to(root / "images/there")
    (root / "images/gone.jpg").symlink_to(root / "images/nothing.jpg")
    os.mkfifo(root / "images/pipe.jpg")
    tree = Tree(root)
    assert (tree.folder("images").files, tree.folder("images").folders) == (["a.jpg"], [])
    assert [(problem.code, problem.where) for problem in tree.problems] == [
        ("link_broken", "images/back"), ("link_broken", "images/gone.jpg"), ("special_file", "images/pipe.jpg"),
        ("link_broken", "images/self.jpg"), ("link_broken", "images/there")]

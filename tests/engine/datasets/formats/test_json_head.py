"""What a JSON file is, from its first bytes."""

import json

import pytest

from engine.datasets.formats.json_head import documents, outer_keys
from engine.datasets.tree import Tree


@pytest.mark.parametrize(("text", "opening", "keys"), [
    ('{"a": {"b": 1}, "c": [1, {"d": 2}], "e": "x{[', "{", {"a", "c", "e"}), ('[{"x": {"y": 1}}, {"z": 1}]', "[", {"x"}), ("[1, 2]", "[", set()),
    ('"x"', "", set()), ("", "", set()), ('[[{"a": 1}]]', "[", set()), ('{"q\\"uote": 1, "\\u56fe": 2}', "{", {'q"uote', "图"}),
    ('{"a": "b\\', "{", {"a"}), ("\ufeff {", "{", set()), ("]}{", "", set())])
def test_only_outer_keys_count(text, opening, keys):
    assert outer_keys(text.encode()) == (opening, keys)


def test_a_cut_head_gives_a_part_of_the_keys():
    whole = json.dumps({"version": "5", "shapes": [{"points": [[1, 2], [3, 4]], "text": 'a "quoted" {brace}'}] * 20, "imagePath": "a.png"}).encode()
    for end in range(len(whole)):
        assert outer_keys(whole[:end])[1] <= {"version", "shapes", "imagePath"}
    assert outer_keys(whole)[1] == {"version", "shapes", "imagePath"}


def test_files_called_like_images_are_asked_first(tmp_path, picture):
    picture(tmp_path / "x7.png")
    for number in range(10):
        (tmp_path / f"x{number}.json").write_text("{}")
    assert next(path for path, _ in documents(Tree(tmp_path))) == "x7.json"

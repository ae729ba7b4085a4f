"""Pascal VOC with slips in it: namespaces, objects without a name, lists in Chinese, lines of labelmap.txt that are none."""

import pytest

from engine.datasets import source
from engine.datasets.collection import collect

BOX = "<bndbox><xmin>4</xmin><ymin>5</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>"
CAT = f"<object><name>cat</name>{BOX}</object>"


@pytest.fixture
def read(tmp_path, picture):
    """Reads a folder of {path: text of a file, or None for an image}."""
    def make(files):
        for number, (path, text) in enumerate(files.items()):
            if text is None:
                picture(tmp_path / path, seed=number)
            else:
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_bytes(text if isinstance(text, bytes) else text.encode())
        return collect(source.read(tmp_path))
    return make


def annotation(content, opening="<annotation>"):
    return f"{opening}<filename>a.png</filename><size><width>64</width><height>48</height></size>{content}</annotation>"


def prefixed(text):
    return text.replace("</", "\0").replace("<", "<v:").replace("\0", "</v:").replace("<v:annotation>", '<v:annotation xmlns:v="http://x/y">')


@pytest.mark.parametrize("text", [
    annotation(CAT, '<annotation xmlns="http://x/y">'),
    annotation(CAT, '<annotation xmlns="http://x/y" xmlns:xsi="http://z">').encode("utf-16"),
    annotation(CAT.replace("<object>", '<object xmlns="http://x/y">')),
    annotation(CAT.replace("<bndbox>", "<bndbox xmlns='http://x/y'>")),
    prefixed(annotation(CAT))])
def test_namespaces_change_nothing(read, text):
    found = read({"a.png": None, "a.xml": text})
    assert (found.classes, found.samples[0].labels.boxes.tolist(), found.problems) == (("cat",), [[4, 5, 20, 30]], [])


@pytest.mark.parametrize("name", ["", "<name/>", "<name>  </name>"])
def test_an_object_without_a_name_is_kept_and_named_with_its_place(read, name):
    found = read({"a.png": None, "a.xml": annotation(f"{CAT}<object>{name}{BOX.replace('30', '31')}</object>")})
    assert (found.classes, found.samples[0].labels.classes.tolist()) == (("cat", "unnamed"), [0, 1])
    assert [(problem.code, problem.where, problem.values) for problem in found.problems] == [
        ("object_without_name", "a.xml", {"object": "2", "name": "unnamed"})]


@pytest.mark.parametrize("encoding", ["gb18030", "cp950", "utf-8"])
def test_a_list_of_one_chinese_name_is_read_in_the_encoding_that_names_an_image(read, encoding):
    found = read({"JPEGImages/牛.png": None, "JPEGImages/b.png": None, "Annotations/牛.xml": annotation(CAT), "Annotations/b.xml": annotation(CAT),
                  "ImageSets/Main/val.txt": "牛\n".encode(encoding), "ImageSets/Main/train.txt": "b\n"})
    assert {sample.name: sample.split for sample in found.samples} == {"JPEGImages/牛.png": "valid", "JPEGImages/b.png": "train"}
    assert "listed_image_missing" not in [problem.code for problem in found.problems]


def test_a_line_of_labelmap_that_is_none_is_named(read):
    found = read({"a.png": None, "a.xml": annotation(CAT), "labelmap.txt": "# label:color_rgb:parts:actions\ndog:1,2,3::\ncow;4,5:6\ncat:9,9,9::\n"})
    assert found.classes == ("dog", "cat")
    assert [(problem.code, problem.where) for problem in found.problems] == [("legend_line_wrong", "labelmap.txt:3")]

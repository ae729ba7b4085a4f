import codecs
import json
import unicodedata

import pytest

from engine.datasets import plain_json, plain_xml
from engine.datasets.collection import load
from engine.datasets.plain_text import decoded, encoding_of
from engine.types import UserError

SIMPLE, TRADITIONAL = "背景\n猫\n狗（1）\n第3张 图\n", "背景\n貓\n狗\n標籤檔案\n"


@pytest.mark.parametrize("mark", [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
                                  (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")])
def test_a_mark_tells_the_encoding(mark):
    assert decoded(mark[0] + SIMPLE.encode(mark[1])) == SIMPLE


@pytest.mark.parametrize(("text", "encoding"), [
    (SIMPLE, "utf-8"), (SIMPLE, "gbk"), (SIMPLE, "gb18030"), (TRADITIONAL, "big5"), ("螳螂\n瓢虫", "gbk"), ("貓\n狗", "big5"),
    ("cat\ndog", "utf-16-le"),
    ("café\nnaïve\nÄpfel\nçedille", "latin-1"), ("café", "latin-1"), ("café", "utf-8"), ("cat", "ascii"), ("", "ascii")])
def test_text_without_a_mark_is_read_as_it_was_written(text, encoding):
    assert decoded(text.encode(encoding)) == text


def test_a_head_that_ends_within_a_character_keeps_its_encoding():
    for encoding in ("utf-8", "gb18030"):
        data = ("猫和狗" * 3000).encode(encoding)
        assert all(encoding_of(data[:end]) == encoding for end in range(9000, 9012))


def test_one_broken_byte_does_not_make_utf_8_something_else():
    data = bytearray((SIMPLE * 5).encode())
    data[3] = 0xFF
    assert encoding_of(bytes(data)) == "utf-8"


@pytest.mark.parametrize("encoding", ["gbk", "big5"])
def test_json_in_a_chinese_encoding_is_read(encoding):
    content = {"name": "背景", "other": ["狗", "大象"]}
    assert plain_json.parse(json.dumps(content, ensure_ascii=False).encode(encoding), "a.json") == content


@pytest.mark.parametrize("data", [b'{"a": "\xff\xfe\xfa"}', b'{"a": "caf\xe9"}', b'{"a": "\x80"}'])
def test_json_with_damaged_bytes_stays_damaged(data):
    with pytest.raises(UserError) as caught:
        plain_json.parse(data, "a.json")
    assert caught.value.key == "json_damaged"


@pytest.mark.parametrize(("declared", "encoding", "shown"), [("big5", "big5", ["Big5"]), ("gbk", "gbk", ["GB18030"]), ("GB2312", "gbk", ["GB18030"]),
                                                             ("utf-8", "gbk", ["GB18030"]), ("gbk", "utf-8", []), ("big5", "ascii", [])])
def test_xml_in_a_chinese_encoding_is_read_by_its_declaration(declared, encoding, shown):
    name = "cat" if encoding == "ascii" else "大象"
    problems = []
    root = plain_xml.parse(f'<?xml version="1.0" encoding="{declared}"?><a><name>{name}</name></a>'.encode(encoding), "a.xml", problems)
    assert (root.findtext("name"), [problem.values["encoding"] for problem in problems]) == (name, shown)


def test_an_entity_behind_a_chinese_encoding_is_refused():
    data = '<?xml version="1.0" encoding="gbk"?><!DOCTYPE a [<!ENTITY x "狗">]><a>&x;</a>'.encode("gbk")
    with pytest.raises(UserError) as caught:
        plain_xml.parse(data, "a.xml")
    assert caught.value.key == "xml_entities"


def test_coco_finds_images_whose_names_a_mac_has_taken_apart(tmp_path, picture):
    names = ["\u00e9 猫.jpg", "sub/\u00fc.jpg"]
    root = tmp_path / "set"
    for name in names:
        path = root / "images" / unicodedata.normalize("NFD", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(path, 40, 30)
    content = {"images": [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(names)],
               "categories": [{"id": 1, "name": "a"}],
               "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}]}
    (root / "a.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    loaded = load(root, tmp_path / "scratch")
    assert (len(loaded.samples), [problem for problem in loaded.problems if problem.severity == "error"]) == (2, [])

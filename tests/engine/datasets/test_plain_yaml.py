import pytest

from engine.datasets.plain_yaml import parse
from engine.types import UserError


def key_of(text):
    with pytest.raises(UserError) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), "data.yaml")
    assert "data.yaml" in str(caught.value)
    return caught.value.key


def test_scalars_stay_as_they_were_written():
    text = "names: {0: no, 1: 007, 2: 1e3, 3: ~, 4: yes, 5: 'it''s', 6: 0x10, 7: 2001-01-01}"
    assert list(parse(text.encode(), "x")["names"].values()) == ["no", "007", "1e3", "~", "yes", "it's", "0x10", "2001-01-01"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_every_common_encoding_is_read(encoding):
    assert parse("names: [手术剪]\n".encode(encoding), "x") == {"names": ["手术剪"]}


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!evil", "!<tag:x>", "!!binary"])
def test_tags_that_could_build_something_are_refused(tag):
    assert key_of(f"names: {tag} ['touch /tmp/x']") == "yaml_unsafe_tag"


def test_bombs_and_mazes_are_refused_at_once():
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    for text in (bomb, "[" * 100_000, "- " * 100_000, "{a: " * 100_000):
        assert key_of(text) == "yaml_too_complex"
    assert key_of("x" * (2 << 20)) == "yaml_too_large"


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\ta: b", "a: *nobody\nb: [", "%YAML 9.9\n---\na", "a: \x01", b"\xff\xfe\x00"])
def test_what_is_no_yaml_is_refused_with_its_place(text):
    assert key_of(text) == "yaml_damaged"


def test_a_list_that_holds_itself_is_harmless():
    value = parse(b"a: &x [*x, 1]", "x")["a"]
    assert value[1] == "1"


def test_nothing_is_an_empty_text():
    assert parse(b"", "x") == ""
    assert parse(b"# only a comment", "x") == ""


@pytest.mark.parametrize("text", ["names: [cat]\ntrain: a\nnames: [dog]\n", "names:\n  0: cat\n  0: dog\n", "a: 1\nb: {c: 1,\n  c: 2}\n"])
def test_a_key_that_stands_twice_is_refused_with_its_line(text):
    with pytest.raises(UserError) as caught:
        parse(text.encode(), "data.yaml")
    assert caught.value.key == "yaml_key_twice"
    assert caught.value.values["where"] == f"data.yaml:{text.count(chr(10))}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "big5"])
def test_chinese_names_are_read_in_every_encoding_that_chinese_tools_write(encoding):
    names = ["安全帽", "工人", "反光背心"] if encoding == "gb18030" else ["貓", "狗", "機車", "行人", "紅綠燈"]
    assert parse(f"names: [{', '.join(names)}]\ntrain: 影像/train\n".encode(encoding), "data.yaml") == {"names": names, "train": "影像/train"}

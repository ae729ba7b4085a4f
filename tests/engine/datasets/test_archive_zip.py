import io
import struct
import zipfile
import zlib

import pytest

from engine.datasets import archive_zip
from engine.datasets.archive import unpack
from engine.types import UserError

FILES = {"data.yaml": b"names: [a]", "images/a.png": b"one", "labels/a.txt": b"0 .5 .5 .1 .1"}
UTF8 = 0x800


def entry(name, content, *, flags=0, method=0):
    return {"name": name if isinstance(name, bytes) else name.encode(), "content": content, "flags": flags, "method": method}


def zipped(entries, *, disk=0):
    """A stored zip, written by hand: the standard library would refuse to."""
    body, table = io.BytesIO(), b""
    for each in entries:
        name, content = each["name"], each["content"]
        fields = struct.pack("<HHHHHIIIHH", 20, each["flags"], each["method"], 0, 0x21, zlib.crc32(content), len(content), len(content), len(name), 0)
        table += b"PK\1\2\x14\0" + fields + struct.pack("<HHHII", 0, 0, 0, 0, body.tell()) + name
        body.write(b"PK\3\4" + fields + name + content)
    return body.getvalue() + table + b"PK\5\6" + struct.pack("<HHHHIIH", disk, disk, len(entries), len(entries), len(table), body.tell(), 0)


def whole():
    return [entry(name, content) for name, content in FILES.items()]


def unpacked(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    problems = unpack(tmp_path / "a.zip", tmp_path / "out")
    return {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}, \
        [problem.code for problem in problems]


def refusal(path, data):
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        unpack(path, path.parent / "out")
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return caught.value


def test_names_marked_as_utf_8_that_are_none_are_refused_in_words(tmp_path):
    data = zipped([*whole(), entry("images/手术.png".encode("gbk"), b"x", flags=UTF8)])
    assert refusal(tmp_path / "a.zip", data).key == "archive_names_unreadable"


def test_a_name_that_only_its_own_header_garbles_costs_its_file(tmp_path):
    data = bytearray(zipped([*whole(), entry("images/手.png", b"x", flags=UTF8)]))
    data[data.find("手".encode())] = 0xFF
    assert unpacked(tmp_path, bytes(data)) == (FILES, ["archive_entry_damaged"])


@pytest.mark.parametrize("name", [b"", b"\0", b"\0.png", b"images/b\0.png", b"/", b"."])
def test_entries_without_a_name_or_with_nul_in_it_are_left_out_and_told(tmp_path, name):
    files, codes = unpacked(tmp_path, zipped([*whole(), entry(name, b"x")]))
    assert files == FILES
    assert codes in (["archive_no_name"], ["archive_unsafe_path"], [])
    assert codes or name in (b"/", b".")


@pytest.mark.parametrize(("method", "name"), [(9, "Deflate64"), (98, "PPMd"), (93, "Zstandard"), (77, "#77")])
def test_a_compression_method_that_is_not_known_is_named_with_the_file(tmp_path, method, name):
    error = refusal(tmp_path / "a.zip", zipped([*whole(), entry("images/b.png", b"x", method=method)]))
    assert (error.key, error.values["entry"], error.values["method"]) == ("archive_method", "images/b.png", name)
    assert "images/b.png" in str(error)
    assert name in str(error)


def test_junk_in_an_unknown_compression_does_not_matter(tmp_path):
    assert unpacked(tmp_path, zipped([*whole(), entry("__MACOSX/._b", b"x", method=9)])) == (FILES, [])


@pytest.mark.parametrize("name", ["a.z01", "a.zip.001", "a.Z12", "a.zip"])
def test_a_part_of_a_split_zip_is_told_so(tmp_path, name):
    data = zipped(whole(), disk=2)
    if name != "a.zip":
        data = b"PK\7\x08" + data[:len(data) // 2]
    assert refusal(tmp_path / name, data).key == "archive_split"
    tail = bytes(100) + data[-60:]
    assert refusal(tmp_path / name, tail).key == "archive_split"


def test_names_that_are_repaired_alike_stay_different_and_keep_label_and_image_together(tmp_path):
    entries = [entry(f"{folder}/{stem}.{suffix}", (stem + suffix).encode()) for stem in ("a?", "a*", "a_")
               for folder, suffix in (("images", "png"), ("labels", "txt"))]
    entries.remove(next(each for each in entries if each["name"] == b"labels/a?.txt"))
    files, codes = unpacked(tmp_path, zipped(entries))
    assert set(codes) == {"archive_renamed"}
    assert len(files) == 5
    labels = {path[7:-4]: content for path, content in files.items() if path.startswith("labels")}
    images = {path[7:-4]: content for path, content in files.items() if path.startswith("images")}
    assert {images[stem][:2]: labels.get(stem, b"")[:2] for stem in images} == {b"a?": b"", b"a*": b"a*", b"a_": b"a_"}


def test_folders_that_differ_by_case_only_become_one(tmp_path):
    entries = [entry("images/train/x.png", b"1"), entry("Images/Train/y.png", b"2"), entry("Images/Train/x.png", b"3")]
    assert unpacked(tmp_path, zipped(entries)) == ({"images/train/x.png": b"1", "images/train/y.png": b"2"},
        ["archive_renamed", "archive_renamed", "archive_duplicate"])


def test_a_zip_of_empty_files_is_refused_before_any_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_zip, "MAX_EMPTY", 10)
    assert refusal(tmp_path / "a.zip", zipped([entry(f"images/{number}.png", b"") for number in range(12)])).key == "archive_all_empty"
    entries = [entry(f"images/{number}.png", b"x") for number in range(12)] + [entry(f"labels/{number}.txt", b"") for number in range(12)]
    assert len(unpacked(tmp_path, zipped(entries))[0]) == 24


def test_the_table_of_contents_may_be_read_by_the_standard_library(tmp_path):
    assert zipfile.ZipFile(io.BytesIO(zipped(whole()))).testzip() is None
    assert unpacked(tmp_path, zipped(whole())) == (FILES, [])

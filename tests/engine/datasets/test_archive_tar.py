import gzip
import io
import tarfile
import time

import pytest

from engine.datasets.archive import unpack
from engine.datasets.archive_tar_headers import is_header
from engine.types import UserError

FILES = {"data.yaml": b"names: [a]", "images/a.png": b"one" * 300, "labels/a.txt": b"0 .5 .5 .1 .1"}


def tarred(files, **options):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", **options) as target:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def header(name, size, kind=b"0"):
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.USTAR_FORMAT)


def extension(body, kind=b"x"):
    return header("extension", len(body), kind) + body + bytes(-len(body) % 512)


def record(key, value):
    length = len(key) + len(value) + 3
    while len(str(length)) + len(key) + len(value) + 3 != length:
        length += 1
    return f"{length} {key}={value}\n".encode()


def unpacked(tmp_path, data):
    """The files and the codes of the problems."""
    (tmp_path / "a.tar").write_bytes(data)
    problems = unpack(tmp_path / "a.tar", tmp_path / "out")
    return {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}, \
        [(problem.code, problem.where) for problem in problems]


def refusal(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(UserError) as caught:
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    return caught.value


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_length_and_alphabet_are_read_as_the_standard_library_wrote_them(tmp_path, form):
    names = {f"{'d' * depth}/{'n' * (150 - depth)}.txt" for depth in (60, 100, 120)} | {"images/手術器械.png", "été.txt"}
    if form != tarfile.USTAR_FORMAT:
        names |= {"/".join(["x" * 90] * 9) + ".txt"}
    files = {name: name.encode() for name in names if form != tarfile.USTAR_FORMAT or len(name) < 155}
    assert unpacked(tmp_path, tarred(files, format=form)) == (files, [])


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_of_half_a_megabyte_is_refused_at_once(tmp_path, kind):
    started = time.process_time()
    for body in (b"1" * 500_000, b"1" * 60_000):
        data = extension(body, kind) + tarred(FILES)
        if len(body) > 64 << 10 or kind in (b"x", b"g"):
            assert refusal(tmp_path, data).key == "archive_damaged"
    assert time.process_time() - started < 1


def test_many_headers_before_one_file_are_refused_however_small_each_is(tmp_path):
    assert refusal(tmp_path, extension(record("comment", "x" * 400)) * 200 + tarred(FILES)).key == "archive_damaged"


def test_a_comment_for_all_files_as_git_writes_it_changes_nothing(tmp_path):
    assert unpacked(tmp_path, extension(record("comment", "0" * 40), b"g") + tarred(FILES)) == (FILES, [])


@pytest.mark.parametrize("records", [
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "images/b.png", "GNU.sparse.realsize": "9"},
    {"GNU.sparse.map": "a,b,c,d", "GNU.sparse.size": "1000"}, {"GNU.sparse.numblocks": "x", "GNU.sparse.offset": "9" * 30}])
def test_a_sparse_file_is_left_out_by_name_and_the_rest_is_read(tmp_path, records):
    data = extension(b"".join(record(*each) for each in records.items())) + header("images/b.png", 512) + b"9" * 512 + tarred(FILES)
    assert unpacked(tmp_path, data) == (FILES, [("archive_sparse", "images/b.png")])


def test_an_old_sparse_file_is_left_out_with_all_its_headers(tmp_path):
    block = bytearray(header("images/b.png", 512, b"S"))
    block[482] = 1
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256)
    more = bytearray(512)
    more[504] = 1
    data = bytes(block) + bytes(more) + bytes(512) + b"9" * 512 + tarred(FILES)
    assert unpacked(tmp_path, data) == (FILES, [("archive_sparse", "images/b.png")])


def test_a_broken_header_in_the_middle_is_damage_and_not_the_end(tmp_path):
    for name in FILES:
        data = bytearray(tarred(FILES))
        data[data.find(name.encode()) + 148] ^= 1
        assert refusal(tmp_path, bytes(data)).key == "archive_damaged"


@pytest.mark.parametrize("size", [b"zzzzzzzzzzz\0", b"\xff" * 12, b"-0000000100\0", b"1_0\0"])
def test_a_size_that_is_no_number_is_damage(tmp_path, size):
    block = bytearray(header("images/b.png", 0))
    block[124:124 + len(size)] = size
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256)
    assert refusal(tmp_path, tarred(FILES)[:-10240] + bytes(block) + bytes(10240)).key == "archive_damaged"


def test_tars_put_one_after_the_other_are_all_read(tmp_path):
    first, second = dict(list(FILES.items())[:1]), dict(list(FILES.items())[1:])
    assert unpacked(tmp_path, tarred(first) + tarred(second)) == (FILES, [])


def test_what_stands_behind_the_end_and_is_no_tar_is_told(tmp_path):
    assert unpacked(tmp_path, tarred(FILES) + b"x" * 2000) == (FILES, [("archive_tail", "a.tar")])


def test_a_tar_without_its_end_is_told(tmp_path):
    whole = tarred(FILES)
    assert unpacked(tmp_path, whole[:whole.find(bytes(1024)) // 512 * 512 + 512]) == (FILES, [("archive_no_end", "a.tar")])


def test_a_size_in_a_pax_header_and_one_in_base_256_count(tmp_path):
    data = extension(record("size", "3") + record("path", "images/b.png")) + header("x", 0) + b"abc" + bytes(509)
    block = bytearray(header("c.txt", 0))
    block[124:136] = b"\x80" + (2).to_bytes(11, "big")
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256)
    files, problems = unpacked(tmp_path, data + bytes(block) + b"de" + bytes(510) + tarred(FILES))
    assert (files, problems) == ({**FILES, "images/b.png": b"abc", "c.txt": b"de"}, [])


def test_checksums_of_signed_bytes_are_known(tmp_path):
    block = bytearray(512)
    block[:3], block[124:135], block[156:157] = b"\xe9.t", b"00000000000", b"0"
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256 - 256)
    assert is_header(bytes(block))
    assert not is_header(bytes(512))


def test_a_packed_empty_tar_is_empty(tmp_path):
    assert refusal(tmp_path, gzip.compress(bytes(10240))).key == "archive_empty"

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest

from engine.datasets import archive
from engine.datasets.archive import unpack
from engine.types import UserError

FILES = {"data.yaml": b"names: [a]", "images/a.png": b"one", "labels/a.txt": b"0 .5 .5 .1 .1"}


def zipped(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, content in files.items() if isinstance(files, dict) else files:
            target.writestr(name, content)
    return path


def tarred(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as target:
        for name, content in files.items():
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return path


def inside(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def codes(problems):
    return [problem.code for problem in problems]


def refused(path, target):
    """The key of the UserError; asserts that nothing remains beside or in the target."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(UserError) as caught:
        unpack(path, target)
    assert not target.exists()
    assert sorted(path.parent.iterdir()) == before
    assert path.name in str(caught.value)
    return caught.value.key


@pytest.mark.parametrize("kind", ["zip", "stored zip", "w:", "w:gz", "w:bz2", "w:xz"])
def test_every_kind_is_told_by_content_and_unpacked_whole(tmp_path, kind):
    path = tmp_path / "upload.bin"
    if kind.endswith("zip"):
        zipped(path, FILES, zipfile.ZIP_STORED if kind.startswith("stored") else zipfile.ZIP_DEFLATED)
    else:
        tarred(path, FILES, kind)
    assert unpack(path, tmp_path / "out") == []
    assert inside(tmp_path / "out") == FILES


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:\\evil", "\\\\host\\share\\evil", "..\\evil", "a/" * 40 + "evil",
    "x" * 5000, ("x" * 150 + "/") * 20 + "evil"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_names_that_lead_outside_are_left_out_and_named(tmp_path, name, pack):
    folder = tmp_path / "in"
    folder.mkdir()
    problems = unpack(pack(folder / "a", {**FILES, name: b"x"}), folder / "out")
    assert codes(problems) == ["archive_unsafe_path"]
    assert "evil" in problems[0].where or "xxx" in problems[0].where
    assert inside(folder / "out") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_links_and_devices_in_a_tar_are_never_made(tmp_path):
    files = dict(FILES)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo(f"images/{kind!r}.png")
        member.type, member.linkname = kind, "/etc/passwd"
        files[member] = b""
    problems = unpack(tarred(tmp_path / "a.tar", files), tmp_path / "out")
    assert sorted(codes(problems)) == ["archive_link", "archive_link", "archive_special", "archive_special"]
    assert inside(tmp_path / "out") == FILES


def test_a_file_behind_a_link_stays_inside(tmp_path):
    path = zipped(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(path, "a") as target:
        link = zipfile.ZipInfo("images/out")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, str(tmp_path))
        target.writestr("images/out/file.txt", "x")
    assert codes(unpack(path, tmp_path / "out")) == ["archive_link"]
    assert not (tmp_path / "file.txt").exists()
    assert not any(entry.is_symlink() for entry in (tmp_path / "out").rglob("*"))


def test_a_bomb_is_refused_by_its_claims_before_a_byte_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "RATIO_FLOOR", 1 << 20)
    path = zipped(tmp_path / "a.zip", {"big.bin": bytes(4 << 20)})
    monkeypatch.setattr(archive.Writer, "write", lambda *_: pytest.fail("written"))
    assert refused(path, tmp_path / "out") == "archive_too_large"


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_tar_bomb_is_stopped_while_it_unfolds(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(archive, "RATIO_FLOOR", 1 << 20)
    monkeypatch.setattr(archive, "MAX_RATIO", 10)
    assert refused(tarred(tmp_path / "a.tar", {f"{number}.bin": bytes(300_000) for number in range(10)}, mode),
        tmp_path / "out") == "archive_too_large"


def test_a_tar_header_that_wants_all_memory_is_refused(tmp_path):
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    (tmp_path / "a.tar").write_bytes(member.tobuf() + bytes(4096))
    assert refused(tmp_path / "a.tar", tmp_path / "out") in ("archive_damaged", "archive_too_large")


def test_too_many_files_and_too_little_disk_are_refused(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(archive, "MAX_FILES", 2)
    assert refused(path, tmp_path / "out") == "archive_too_many_files"
    monkeypatch.setattr(archive, "MAX_FILES", 10)
    monkeypatch.setattr(archive, "SPARE_BYTES", 1 << 60)
    with pytest.raises(UserError) as caught:
        unpack(path, tmp_path / "out")
    assert caught.value.key == "no_space_to_unpack"


def overlapping(path):
    """Two names for one stretch of bytes."""
    zipped(path, {"a.png": b"x" * 1000})
    with zipfile.ZipFile(path) as source:
        data = path.read_bytes()
        start = source.start_dir
    entry = data[start:-22]
    end = struct.pack("<HHHHIIH", 0, 0, 2, 2, 2 * len(entry), start, 0)
    path.write_bytes(data[:start] + entry + entry.replace(b"a.png", b"b.png") + b"PK\5\6" + end)
    return path


def test_entries_that_share_bytes_are_refused(tmp_path):
    assert refused(overlapping(tmp_path / "a.zip"), tmp_path / "out") == "archive_overlap"


def lying(path, size):
    """One deflated entry of 100,000 zeros that claims to hold `size` bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(os.urandom(50_000)) + packer.flush()
    header = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0x21, 0, len(packed), size, 5, 0)
    central = b"PK\1\2" + struct.pack("<H", 20) + header + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"a.png"
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), 35 + len(packed), 0)
    path.write_bytes(b"PK\3\4" + header + b"a.png" + packed + central + b"PK\5\6" + end)
    return path


def test_a_size_that_cannot_be_true_is_refused_and_one_that_is_not_costs_the_file(tmp_path):
    assert refused(lying(tmp_path / "a.zip", 100), tmp_path / "out") == "archive_lying_size"
    assert refused(lying(tmp_path / "b.zip", 49_000), tmp_path / "out") == "archive_empty"


def test_encrypted_empty_torn_and_foreign_archives_are_refused_with_the_reason(tmp_path):
    whole = zipped(tmp_path / "whole.zip", FILES).read_bytes()
    locked = bytearray(whole)
    with zipfile.ZipFile(tmp_path / "whole.zip") as source:
        locked[source.start_dir + 8] |= 1
    cases = {"archive_encrypted": bytes(locked), "archive_empty": b"PK\5\6" + bytes(18), "archive_truncated": whole[:len(whole) * 7 // 10],
             "archive_empty_file": b"", "archive_unsupported": b"Rar!\x1a\x07\x01\0" + bytes(100), "not_an_archive": b"hello"}
    for key, content in cases.items():
        (tmp_path / "case.zip").write_bytes(content)
        assert refused(tmp_path / "case.zip", tmp_path / "out") == key


def test_a_packed_file_that_is_no_tar_is_told_so(tmp_path):
    (tmp_path / "labels.json.gz").write_bytes(gzip.compress(b"{}" * 2000))
    assert refused(tmp_path / "labels.json.gz", tmp_path / "out") == "archive_unsupported"


def test_every_truncation_of_an_archive_is_refused_or_reported(tmp_path):
    for pack in (zipped, tarred):
        whole = pack(tmp_path / "a", FILES).read_bytes()
        for length in range(1, len(whole) - 1, 7):
            (tmp_path / "a").write_bytes(whole[:length])
            try:
                problems = unpack(tmp_path / "a", tmp_path / f"out{length}{pack.__name__}")
                assert problems or inside(tmp_path / f"out{length}{pack.__name__}").items() <= FILES.items()
            except UserError as error:
                assert error.key.startswith(("archive_", "not_an_archive"))


def test_every_changed_byte_of_a_zip_is_survived(tmp_path):
    whole = zipped(tmp_path / "a.zip", FILES, zipfile.ZIP_STORED).read_bytes()
    for position in range(0, len(whole), 2):
        data = bytearray(whole)
        data[position] ^= 0xFF
        (tmp_path / "a.zip").write_bytes(data)
        try:
            unpack(tmp_path / "a.zip", tmp_path / f"out{position}")
        except UserError as error:
            assert error.key.startswith(("archive_", "not_an_archive", "no_space"))


def test_one_damaged_entry_costs_only_itself(tmp_path):
    data = bytearray(zipped(tmp_path / "a.zip", FILES, zipfile.ZIP_STORED).read_bytes())
    data[data.find(b"one")] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    problems = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [(problem.code, problem.where) for problem in problems] == [("archive_entry_damaged", "images/a.png")]
    assert set(inside(tmp_path / "out")) == set(FILES) - {"images/a.png"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_is_overwritten_by_a_second_file_of_the_same_name(tmp_path):
    problems = unpack(zipped(tmp_path / "a.zip", [*FILES.items(), ("images/a.png", b"two")]), tmp_path / "out")
    assert [(problem.code, problem.where) for problem in problems] == [("archive_duplicate", "images/a.png")]
    assert inside(tmp_path / "out") == FILES


def test_a_file_and_a_folder_of_one_name_do_not_cost_the_folder(tmp_path):
    for order in ([("images", b"x"), *FILES.items()], [*FILES.items(), ("images", b"x")]):
        out = tmp_path / f"out-{order[0][0]}"
        assert codes(unpack(zipped(tmp_path / "a.zip", order), out)) == ["archive_conflict"]
        assert inside(out) == FILES


def test_junk_of_operating_systems_is_dropped_without_a_word(tmp_path):
    junk = dict.fromkeys(["__MACOSX/images/._a.png", ".DS_Store", "images/Thumbs.db", "images/._a.png", "desktop.ini"], b"x")
    assert unpack(zipped(tmp_path / "a.zip", {**FILES, **junk}), tmp_path / "out") == []
    assert inside(tmp_path / "out") == FILES


@pytest.mark.parametrize(("encoding", "name"), [("gbk", "手术器械"), ("big5", "手術器械照片"), ("utf-8", "手术器械"), ("cp437", "été ñandú")])
def test_names_without_an_encoding_mark_are_read_as_their_writer_meant(tmp_path, encoding, name):
    class Raw(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):  # noqa: N802
            return f"images/{name}.png".encode(encoding), 0
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        target.writestr(Raw("x"), b"x")
        target.writestr("plain.txt", b"x")
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert f"images/{name}.png" in inside(tmp_path / "out")


def test_names_that_some_system_cannot_hold_are_repaired_and_keep_their_stem(tmp_path):
    stems = ["L" * 300, "con", "a:b", "new\nline", "dot.", 'q"uote', "<img src=x>"]
    files = {f"{folder}/{stem}.{suffix}": stem.encode() for stem in stems for folder, suffix in (("images", "png"), ("labels", "txt"))}
    problems = unpack(zipped(tmp_path / "a.zip", files), tmp_path / "out")
    found = inside(tmp_path / "out")
    assert len(found) == len(files)
    assert {PurePosixPath(path).stem for path in found if path.startswith("images")} \
        == {PurePosixPath(path).stem for path in found if path.startswith("labels")}
    assert set(codes(problems)) == {"archive_renamed"}
    assert not any(set('<>:"|?*\n') & set(path) or len(path.encode()) > 230 for path in found)


def test_backslashes_are_folders_and_decomposed_letters_are_composed(tmp_path):
    problems = unpack(tarred(tmp_path / "a.tar", {"images\\cafe\u0301.png": b"x"}), tmp_path / "out")
    assert list(inside(tmp_path / "out")) == ["images/caf\u00e9.png"]
    assert codes(problems) in ([], ["archive_renamed"])


def test_an_archive_in_the_archive_is_noted_and_stays_packed(tmp_path):
    problems = unpack(zipped(tmp_path / "a.zip", {**FILES, "inner.zip": b"PK"}), tmp_path / "out")
    assert [(problem.code, problem.where) for problem in problems] == [("archive_nested", "inner.zip")]
    assert inside(tmp_path / "out")["inner.zip"] == b"PK"


def test_a_failure_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", FILES)
    original = archive.Writer.write

    def failing(self, name, *rest):
        if self.files:
            raise OSError(28, "No space left on device")
        return original(self, name, *rest)
    monkeypatch.setattr(archive.Writer, "write", failing)
    with pytest.raises(UserError) as caught:
        unpack(path, tmp_path / "out")
    assert caught.value.key == "no_space_to_unpack"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_packed_tar_with_a_changed_byte_is_damaged(tmp_path, mode):
    data = bytearray(tarred(tmp_path / "a.tar", {"a.png": os.urandom(50_000)}, mode).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(data)
    assert refused(tmp_path / "a.tar", tmp_path / "out") == "archive_damaged"


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_files_are_counted_as_they_come_out(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(archive, "EVERY_S", 0)
    shares, counts = [], []
    unpack(pack(tmp_path / "a", FILES), tmp_path / "out", shares.append, counted=lambda done, total: counts.append((done, total)))
    assert counts == sorted(counts)
    assert counts[-1] == (3, 3 if pack is zipped else 0)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("listener", ["progress", "counted"])
def test_who_listens_may_end_it_and_nothing_remains(tmp_path, pack, listener):
    def enough(*_):
        raise KeyboardInterrupt
    path = pack(tmp_path / "a", {"big.bin": os.urandom(5 << 20)})
    with pytest.raises(KeyboardInterrupt):
        unpack(path, tmp_path / "out", **{listener: enough})
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_space_is_compared_with_what_the_archive_needs_before_a_byte_is_written(tmp_path, monkeypatch, pack):
    path = pack(tmp_path / "a", {"big.bin": os.urandom(3 << 20)})
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda folder: SimpleNamespace(free=archive.SPARE_BYTES + (2 << 20)))
    monkeypatch.setattr(archive.Writer, "write", lambda *_: pytest.fail("written"))
    with pytest.raises(UserError) as caught:
        unpack(path, tmp_path / "out")
    assert caught.value.key == "no_space_to_unpack"
    assert caught.value.values == {"need": 67, "free": 66}

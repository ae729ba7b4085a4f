"""Names inside archives: which are refused, which are repaired, and in which alphabet they were written."""

from __future__ import annotations

import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable

from engine.datasets.tree import folded, is_junk, normal, safe_name

ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".7z", ".rar", ".zst")
UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075
MAX_PARTS = 32
MAX_PATH_BYTES = 1000
COMMON = {"gb18030": ("gb2312", range(0xB0, 0xD8)), "big5": ("big5", range(0xA4, 0xC7))}  # lead bytes of everyday characters


def clean(name: str) -> str | None:
    """The relative path under which an entry may be written; "" for junk, None for one that leads outside or is absurd."""
    path = normal(name)
    if path is None or len(name) > 4096 or ".." in name.replace("\\", "/").split("/"):
        return None
    parts = [part for part in path.split("/") if part]
    if len(parts) > MAX_PARTS:
        return None
    if any(is_junk(part) for part in parts):
        return ""
    cleaned = "/".join(safe_name(part) for part in parts)
    return cleaned if len(cleaned.encode()) <= MAX_PATH_BYTES else None


class Names:
    """The places of the entries of one archive: different names stay different although they were repaired alike.

    What tells them apart depends on the name alone, not on folder or suffix, so an image and its label file keep sharing a stem. Folders
    that differ by case or Unicode form only are one, as they are on most disks.
    """

    def __init__(self) -> None:
        self._written: dict[str, str] = {}  # repaired -> as the archive wrote it first
        self._folders: dict[str, str] = {"": ""}

    def own(self, path: str, name: str) -> str:
        """The place of the entry `name`, whose cleaned path is `path`."""
        *folders, last = path.split("/")
        if "_" in path:  # what a repair puts in
            written = [part for part in unicodedata.normalize("NFC", name.strip()).replace("\\", "/").split("/") if part not in ("", ".")]
            folders = [self._apart(part, before) for part, before in zip(folders, written, strict=False)]
            stem, suffix = os.path.splitext(last)  # noqa: PTH122 - a name, not a path
            last = self._apart(stem, os.path.splitext(written[-1].rstrip(". "))[0]) + suffix  # noqa: PTH122
        folder = self._folder(folders)
        return f"{folder}/{last}" if folder else last

    def _apart(self, repaired: str, written: str) -> str:
        if self._written.setdefault(repaired, written) == written:
            return repaired
        return f"{repaired}~{zlib.crc32(written.encode('utf-8', 'surrogatepass')):08x}"

    def _folder(self, parts: list[str]) -> str:
        """As it was spelled when it first came."""
        path = "/".join(parts)
        if path not in self._folders:
            above = self._folder(parts[:-1])
            here = f"{above}/{parts[-1]}" if above else parts[-1]
            self._folders[path] = self._folders.setdefault(folded(here), here)
        return self._folders[path]


def is_nested_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def guess_encoding(names: Iterable[bytes]) -> str:
    """The encoding of names that carry no mark: UTF-8, Chinese (GB18030 or Big5) or the DOS page that zip prescribes.

    The Chinese candidates are weighed by how many of their characters are everyday ones.
    """
    text = b"\n".join(name for name in names if not name.isascii())
    if not text:
        return "ascii"
    if _decodes(text, "utf-8"):
        return "utf-8"
    shares = {encoding: _everyday_share(text, encoding) for encoding in COMMON if _decodes(text, encoding)}
    best = max(shares, key=lambda encoding: shares[encoding], default="")
    return best if best and shares[best] >= 0.5 else "cp437"


def _decodes(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _everyday_share(text: bytes, encoding: str) -> float:
    codec, leads = COMMON[encoding]
    characters = [char for char in text.decode(encoding) if not char.isascii()]
    known = (char.encode(codec, "ignore") for char in characters)
    return sum(bool(code) and code[0] in leads for code in known) / max(len(characters), 1)


def raw_zip_name(info: zipfile.ZipInfo) -> bytes | None:
    """The bytes of a name without the UTF-8 mark, which zipfile has read as CP437; None when the name is certain."""
    if info.flag_bits & UTF8_FLAG or info.orig_filename.isascii():
        return None
    try:
        return info.orig_filename.encode("cp437")
    except UnicodeEncodeError:
        return None


def unicode_path(info: zipfile.ZipInfo) -> str | None:
    """The name in the Info-ZIP Unicode Path field, when it belongs to this entry."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4:4 + size], extra[4 + size:]
        if kind == UNICODE_PATH and len(field) > 5 and struct.unpack_from("<I", field, 1)[0] == zlib.crc32(raw_zip_name(info) or b""):
            return field[5:].decode("utf-8", "replace")
    return None

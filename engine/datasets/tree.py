"""The files under a data set's root, and the words by which data sets name their splits.

Every path that a format follows comes from a `Tree`, which lists only what truly lies inside the root: text such as
`../../etc` or `/etc` cannot be expressed, and links that lead outside are reported instead of followed.
"""

from __future__ import annotations

import os
import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from engine.datasets.images import is_image
from engine.types import Problem, UserError

MAX_DEPTH = 32
MAX_FOLDERS = 100_000
JUNK = frozenset(("__macosx", ".ds_store", "thumbs.db", "desktop.ini", "@eadir", ".git", ".ipynb_checkpoints", "__pycache__"))
SPLIT_WORDS = {
    "train": "train", "training": "train", "trainset": "train", "trn": "train", "训练": "train", "訓練": "train", "训练集": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "validate": "valid", "dev": "valid", "eval": "valid",
    "验证": "valid", "驗證": "valid", "验证集": "valid",
    "test": "test", "testing": "test", "testset": "test", "测试": "test", "測試": "test", "测试集": "test",
}
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/\u2028\u2029\ud800-\udfff]')
_PLAIN = re.compile(r"[A-Za-z0-9_][\w. ()-]{0,98}[A-Za-z0-9_]", re.ASCII)
_DRIVE = re.compile(r"^[A-Za-z]:")
MAX_NAME_BYTES = 200


@lru_cache(4096)
def split_of(*names: str) -> str | None:
    """The split that the last telling name stands for: ("images", "val2017") -> "valid"; None when none tells."""
    for name in reversed(names):
        for word in reversed(re.split(r"[^a-z\u3400-\u9fff]+", name.casefold())):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return None


def normal(text: str, base: str = "") -> str | None:
    """`text` as a clean path relative to the root, seen from the folder `base`; None when it leads outside or is absolute."""
    text = text.strip().replace("\\", "/")
    if not text or text.startswith("/") or _DRIVE.match(text) or "\0" in text:
        return None
    parts = [part for part in base.split("/") if part]
    for part in text.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def safe_name(name: str) -> str:
    """One path component that every system can hold: no control or reserved characters, no device name, <= 200 bytes.

    Stem and suffix are treated apart, so an image and its label file keep sharing a stem.
    """
    if _PLAIN.fullmatch(name) and not _RESERVED.match(name):
        return name
    name = unicodedata.normalize("NFC", _FORBIDDEN.sub("_", name)).rstrip(". ") or "_"
    if _RESERVED.match(name):
        name = f"_{name}"
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    if len(suffix.encode()) > 20:
        stem, suffix = name, ""
    if len(stem.encode()) > MAX_NAME_BYTES:
        mark = f"{_checksum(stem):08x}"
        stem = stem.encode()[:MAX_NAME_BYTES - 9].decode("utf-8", "ignore") + "~" + mark
    return stem + suffix


def is_junk(name: str) -> bool:
    """What operating systems and tools leave behind."""
    return name.startswith("._") or name.casefold() in JUNK


@dataclass
class Folder:
    """One listed folder: names of regular files and of sub-folders, sorted."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    _known: frozenset[str] | None = None
    _folded: dict[str, str] | None = None
    _images: list[str] | None = None

    def file(self, name: str) -> str | None:
        """The file of that name; else the only one that differs by case, Unicode form or a repaired character."""
        if self._known is None:
            self._known = frozenset(self.files)
        if name in self._known:
            return name
        if self._folded is None:
            self._folded = {}
            for known in self.files:
                self._folded[folded(known)] = "" if folded(known) in self._folded else known
        return self._folded.get(folded(name)) or self._folded.get(folded(safe_name(name))) or None

    def images(self) -> list[str]:
        if self._images is None:
            self._images = [name for name in self.files if is_image(name)]
        return self._images


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


class Tree:
    """Lists folders once each, on demand. Paths are texts relative to the root with `/` between the parts; "" is the root."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError("path_missing", path=root.name or str(root))
        self.root = os.path.realpath(root)
        self.problems: list[Problem] = []
        self._folders: dict[str, Folder] = {}

    def path(self, relative: str) -> Path:
        return Path(self.root, relative)

    def folder(self, relative: str) -> Folder:
        """An empty Folder when there is none of that name."""
        if relative not in self._folders:
            self._folders[relative] = self._list(relative)
        return self._folders[relative]

    def has_folder(self, relative: str) -> bool:
        """Every step is looked up in a listing, so a link can never carry the path out of the root."""
        parts = relative.split("/") if relative else []
        return all(part in self.folder("/".join(parts[:depth])).folders for depth, part in enumerate(parts))

    def find(self, relative: str) -> str | None:
        """The file at `relative`, forgiving case and Unicode form in its name; None when there is none."""
        parent, _, name = relative.rpartition("/")
        found = self.folder(parent).file(name) if self.has_folder(parent) else None
        return None if found is None else f"{parent}/{found}" if parent else found

    def walk(self, relative: str = "") -> Iterator[tuple[str, Folder]]:
        """`relative` and every folder below it, parents first. Raises UserError when that is no data set but half a disk."""
        waiting, seen = [relative], 0
        while waiting:
            here = waiting.pop()
            seen += 1
            if seen > MAX_FOLDERS:
                raise UserError("too_many_folders", path=Path(self.root).name, limit=MAX_FOLDERS)
            folder = self.folder(here)
            yield here, folder
            waiting += [f"{here}/{name}" if here else name for name in reversed(folder.folders)]

    def read(self, relative: str, limit: int) -> bytes:
        """The bytes of a file that `find` or a listing named. Raises UserError when there are more than `limit`."""
        with open(f"{self.root}/{relative}", "rb", buffering=0) as file:  # noqa: PTH123 - called for every label file
            if os.fstat(file.fileno()).st_size > limit:
                raise UserError("file_too_large", name=relative, limit=limit >> 20)
            return file.readall()

    def head(self, relative: str, count: int = 1 << 16) -> bytes:
        """The first bytes of a file, enough to tell what it is."""
        with open(f"{self.root}/{relative}", "rb") as file:  # noqa: PTH123
            return file.read(count)

    def _list(self, relative: str) -> Folder:
        folder = Folder()
        if relative.count("/") >= MAX_DEPTH:
            self.problems.append(Problem("folders_too_deep", "error", relative[:200], {"limit": MAX_DEPTH}))
            return folder
        try:
            entries = sorted(os.scandir(f"{self.root}/{relative}"), key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(Problem("folder_unreadable", "error", relative, {"reason": error.strerror or str(error)}))
            return folder
        for entry in entries:
            if is_junk(entry.name):
                continue
            if entry.is_symlink() and not self._stays_inside(entry):
                where = f"{relative}/{entry.name}" if relative else entry.name
                self.problems.append(Problem("link_outside", "error", where))
            elif entry.is_dir():
                folder.folders.append(entry.name)
            elif entry.is_file():
                folder.files.append(entry.name)
        return folder

    def _stays_inside(self, link: os.DirEntry[str]) -> bool:
        """Inside the root, and not one of its own parents (a loop)."""
        target = os.path.realpath(link.path)
        parent = os.path.realpath(os.path.dirname(link.path))  # noqa: PTH120
        return target.startswith(self.root + os.sep) and not (parent + os.sep).startswith(target + os.sep)


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))

"""The files under a data set's root, and the words by which data sets name their splits.

Every path that a format follows comes from a `Tree`, which lists only what truly lies inside the root: text such as
`../../etc` or `/etc` cannot be expressed, and links that lead outside are reported instead of followed.
"""

from __future__ import annotations

import errno
import os
import re
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from engine.datasets import looking
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
SMALL = 1 << 16  # bytes that one call reads
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # Windows would turn line ends


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
    """One listed folder: names of regular files and of sub-folders, sorted; `problems` met on the way."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
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
            suffixes = {suffix for suffix in {name[name.rfind("."):] for name in self.files} if is_image(f"x{suffix}")}
            self._images = [name for name in self.files if name[name.rfind("."):] in suffixes and name.rfind(".") > 0]
        return self._images


def folded(name: str) -> str:
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


_LISTED: ContextVar[dict[str, dict[str, Folder]] | None] = ContextVar("listed", default=None)


@contextmanager
def shared_listings() -> Iterator[None]:
    """Inside, all trees of one root list each folder once between them: to recognise a format, a dozen of them look at the same folders."""
    before = _LISTED.get()
    _LISTED.set({})
    try:
        yield
    finally:
        _LISTED.set(before)


class Tree:
    """Lists folders once each, on demand. Paths are texts relative to the root with `/` between the parts; "" is the root."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError("path_missing", path=root.name or str(root))
        self.root = os.path.realpath(root)
        shared = _LISTED.get()
        self._known: dict[str, Folder] = {} if shared is None else shared.setdefault(self.root, {})
        self._folders: dict[str, Folder] = {}

    @property
    def problems(self) -> list[Problem]:
        """What was wrong with the folders that were asked for so far."""
        return [problem for folder in self._folders.values() for problem in folder.problems]

    def path(self, relative: str) -> Path:
        return Path(self.root, relative)

    def folder(self, relative: str) -> Folder:
        """An empty Folder when there is none of that name."""
        if relative not in self._folders:
            if relative not in self._known:
                self._known[relative] = self._list(relative)
            self._folders[relative] = self._known[relative]
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
        handle = os.open(f"{self.root}/{relative}", _READ)  # called for every label file; a file object takes twice as long
        try:
            size = os.fstat(handle).st_size
            if size > limit:
                raise UserError("file_too_large", name=relative, limit=limit >> 20)
            data = os.read(handle, SMALL) if size < SMALL else b""
            if data and len(data) >= size or not size:
                return data
            os.lseek(handle, 0, os.SEEK_SET)
            with open(handle, "rb", closefd=False) as file:  # noqa: PTH123
                return file.read()
        finally:
            os.close(handle)

    def head(self, relative: str, count: int = 1 << 16) -> bytes:
        """The first bytes of a file, enough to tell what it is."""
        with open(f"{self.root}/{relative}", "rb") as file:  # noqa: PTH123
            return file.read(count)

    def _list(self, relative: str) -> Folder:
        folder = Folder()
        if relative.count("/") >= MAX_DEPTH:
            folder.problems.append(Problem("folders_too_deep", "error", relative[:200], {"limit": MAX_DEPTH}))
            return folder
        try:
            with os.scandir(f"{self.root}/{relative}") as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        folder.files.append(entry.name)
                    elif not is_junk(entry.name):
                        self._sort_in(folder, entry, f"{relative}/{entry.name}" if relative else entry.name)
        except OSError as error:
            folder.problems.append(Problem("folder_unreadable", "error", relative, {"reason": error.strerror or str(error)}))
            return Folder(problems=folder.problems)
        looking.listed(len(folder.files) + len(folder.folders))
        folder.files = sorted(name for name in folder.files if not is_junk(name))
        folder.folders = sorted(name for name in folder.folders if not is_junk(name))
        folder.problems.sort(key=lambda problem: problem.where)
        return folder

    def _sort_in(self, folder: Folder, entry: os.DirEntry[str], where: str) -> None:
        """Anything but a plain file. A link costs itself at most, wherever it leads."""
        if entry.is_symlink() and not self._stays_inside(entry):
            folder.problems.append(Problem("link_outside", "error", where))
            return
        try:
            if entry.is_dir():
                folder.folders.append(entry.name)
            elif entry.is_file():
                folder.files.append(entry.name)
            elif entry.is_symlink():
                folder.problems.append(Problem("link_broken", "error", where, {"reason": os.strerror(errno.ENOENT)}))
            else:
                folder.problems.append(Problem("special_file", "warning", where))
        except OSError as error:  # links that lead to each other
            folder.problems.append(Problem("link_broken", "error", where, {"reason": error.strerror or str(error)}))

    def _stays_inside(self, link: os.DirEntry[str]) -> bool:
        """Inside the root, and not one of its own parents (a loop)."""
        target = os.path.realpath(link.path)
        parent = os.path.realpath(os.path.dirname(link.path))  # noqa: PTH120
        return target.startswith(self.root + os.sep) and not (parent + os.sep).startswith(target + os.sep)


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))

"""The kinds of weights files, told by their content and never by their names."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from engine.types import UserError
from engine.weights_reading import builders
from engine.weights_reading.inert import SIZES, Storage
from engine.weights_reading.machine import Budget, Machine
from engine.weights_reading.source import Blob, DamagedError, Stream, TooMuchError, blob_of

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")
OLD_PICKLES = b"(])}clNIJKM"  # protocols 0 and 1 begin with one of these
MAX_STORAGES = 100_000
SHOWN = 60
NAMED = 5  # of the names that a file asks for
HEAD = 400
ALARMING = ("os", "subprocess", "builtins", "sys", "shutil", "socket", "runpy", "importlib", "ctypes", "pty", "pickle", "operator", "webbrowser")


@dataclass
class Content:
    """`container`: safetensors, torch_zip, torch_legacy, torchscript, npz or pickle.

    `names`: what it wants imported; `calls`: what unknown names would be given.
    """

    path: Path
    container: str
    root: Any = None
    names: dict[str, None] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)

    @property
    def unsafe(self) -> list[str]:
        return [name for name in self.names if not builders.is_plain(name) and not builders.is_object(name)]

    @property
    def objects(self) -> list[str]:
        return [name for name in self.names if builders.is_object(name)]


class Reader:
    """Follows the pickles of one file within one budget."""

    def __init__(self, file: BinaryIO, content: Content) -> None:
        self.file, self.content, self.budget = file, content, Budget()
        self.storages: dict[str, Storage] = {}
        self.decoded: dict[tuple[int, int], BinaryIO] = {}
        self.nested = 0

    def follow(self, stream: Stream) -> Any:
        return Machine(stream, self.budget, self.build, self.persistent, self.content.names).run()

    def build(self, name: str, args: tuple[Any, ...]) -> Any:
        if name == builders.LOAD_BYTES:
            return self.storage_in_bytes(args[0])
        if not builders.is_plain(name) and not builders.is_object(name) and name not in self.content.calls:
            self.content.calls[name] = ", ".join(_shown(arg) for arg in args[:3])
        return builders.build(name, args)

    def persistent(self, identity: Any) -> Any:
        """('storage', class, key, place, length, …), as torch writes it. The numbers are found afterwards."""
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise DamagedError
        key = str(identity[2])[:200]
        if key not in self.storages:
            self.storages[key] = builders.storage_of(identity[1], identity[4])
            if len(self.storages) > MAX_STORAGES:
                raise TooMuchError
        return self.storages[key]

    def storage_in_bytes(self, value: Any) -> Any:
        """A storage that torch.save wrote into a text inside this pickle."""
        blob = blob_of(value)
        if blob is None or self.nested:
            raise DamagedError
        file, start = self._uncoded(blob)
        inner = Reader(file, self.content)
        inner.budget, inner.nested = self.budget, 1
        return inner.legacy(start, start + blob.length if not blob.coded else file.seek(0, 2))

    def _uncoded(self, blob: Blob) -> tuple[BinaryIO, int]:
        if not blob.coded:
            return blob.file, blob.start
        place = (blob.start, blob.length)
        if place not in self.decoded:
            self.decoded[place] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the descriptions that point into it
            for chunk in blob.chunks():
                self.decoded[place].write(chunk)
        return self.decoded[place], 0

    def legacy(self, start: int, end: int) -> Any:
        """torch.save before 1.6: three small pickles, the content, the keys of its storages, and these one after the other."""
        stream = Stream(self.file, start, end)
        magic, _, system = (self.follow(stream) for _ in range(3))
        if magic != MAGIC:
            raise DamagedError
        root = self.follow(stream)
        keys = self.follow(stream)
        order = ">" if isinstance(system, dict) and system.get("little_endian") is False else "<"
        for key in keys if isinstance(keys, list) else []:
            storage = self.storages.get(str(key)[:200])
            if storage is None or stream.number(8) != storage.numel:
                raise DamagedError
            storage.data, storage.order = stream.skip(storage.numel * SIZES[storage.dtype]), order
        if any(storage.data is None for storage in self.storages.values()):
            raise DamagedError
        return root


def _shown(arg: Any) -> str:
    if isinstance(arg, str | int | float | bytes):
        text = repr(arg[:SHOWN]) if isinstance(arg, str | bytes) else str(arg)[:SHOWN]
        return text + ("…" if isinstance(arg, str | bytes) and len(arg) > SHOWN else "")
    return "…"


@contextmanager
def reading(path: Path) -> Iterator[Content]:
    """The description of a file, which stays open so that its numbers can be read.

    Raises UserError when there is no such file, when it is no weights file or damaged, or when following it would take too much.
    """
    try:
        with path.open("rb") as file:
            yield open_content(path, file)
    except DamagedError as error:
        raise UserError("weights_broken", path=str(path)) from error
    except TooMuchError as error:
        raise UserError("weights_too_much", path=str(path)) from error
    except OSError as error:
        raise UserError("weights_not_opened", path=str(path), reason=error.strerror or str(error)) from error


def open_content(path: Path, file: BinaryIO) -> Content:
    """Describes the open file. Raises DamagedError, TooMuchError and UserError."""
    from engine.weights_reading import npz, safetensors_file, torch_zip

    kind = kind_of(file.read(HEAD), path)
    size = file.seek(0, 2)
    if kind == "torch_zip":
        return torch_zip.read(path, file, size)
    if kind == "npz":
        return npz.read(path, file, size)
    if kind == "safetensors":
        return safetensors_file.read(path, file, size)
    if not kind:
        raise DamagedError
    content = Content(path, kind)
    reader = Reader(file, content)
    content.root = reader.legacy(0, size) if kind == "torch_legacy" else reader.follow(Stream(file, 0, size))
    return content


def kind_of(head: bytes, path: Path) -> str:
    """The container that a file with these first bytes is, "" for none. The name decides only for a safetensors file whose head is damaged."""
    if head.startswith(b"PK\x03\x04"):
        first = head[30:30 + int.from_bytes(head[26:28], "little")]
        return "npz" if first.endswith(b".npy") else "torch_zip"
    if head[4:9] == bytes(4) + b"{":  # the length of a header of less than 4 GiB; no pickle begins so
        return "safetensors"
    if head[2:].startswith(LEGACY) and head[:1] == b"\x80":
        return "torch_legacy"
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return "pickle"
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return "safetensors"
    return "pickle" if head[:1] and head[:1] in OLD_PICKLES else ""


def wanted(content: Content) -> str:
    """The names that an honest checkpoint does not ask for, with what they would be given; parts of a pickled torch module come last."""
    names = sorted(content.unsafe, key=lambda name: (name.startswith("torch."), name.partition(".")[0] not in ALARMING))
    shown = [f"{name}({content.calls[name]})" if name in content.calls else name for name in names[:NAMED]]
    return ", ".join(each[:160] for each in shown) + (", …" if len(names) > NAMED else "")

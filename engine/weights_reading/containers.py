"""The kinds of weights files, told by their content and never by their names."""

from __future__ import annotations

import tempfile
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


@dataclass
class Content:
    """`container`: safetensors, torch_zip, torch_legacy or pickle; `names`: what it wants imported; `calls`: what unknown names would be given."""

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


def open_content(path: Path, file: BinaryIO) -> Content:
    """Describes the open file. Raises UserError when it is no weights file, is damaged, or would take too much to follow."""
    from engine.weights_reading import safetensors_file, torch_zip

    head, size = file.read(64), file.seek(0, 2)
    try:
        if head.startswith(b"PK\x03\x04"):
            return torch_zip.read(path, file, size)
        if head[2:].startswith(LEGACY) and head[:1] == b"\x80":
            content = Content(path, "torch_legacy")
            content.root = Reader(file, content).legacy(0, size)
            return content
        if head[:1] == b"\x80" and head[1:2] <= b"\x05":
            return _pickle(path, file, size)
        if head[8:9] == b"{" or path.suffix == ".safetensors":
            return safetensors_file.read(path, file, size)
        if head[:1] in [bytes((each,)) for each in OLD_PICKLES]:
            return _pickle(path, file, size)
    except DamagedError as error:
        raise UserError("weights_broken", path=str(path)) from error
    except TooMuchError as error:
        raise UserError("weights_too_much", path=str(path)) from error
    raise UserError("weights_broken", path=str(path))


def _pickle(path: Path, file: BinaryIO, size: int) -> Content:
    content = Content(path, "pickle")
    content.root = Reader(file, content).follow(Stream(file, 0, size))
    return content

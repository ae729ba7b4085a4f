"""The zip that torch.save writes: a pickle named data.pkl, and one uncompressed member for each storage."""

from __future__ import annotations

import io
import re
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from engine.types import UserError
from engine.weights_reading.containers import Content, Reader
from engine.weights_reading.inert import SIZES
from engine.weights_reading.source import Blob, DamagedError, Stream, TooMuchError

MAX_MEMBERS = 200_000
MAX_DIRECTORY = MAX_MEMBERS * 200
ELSEWHERE = 2**32 - 1  # the length then stands in the record for large archives
MAX_PICKLE = 64 * 2**20
MAX_INFLATED = 2**30
SCRATCH = 2**20
TAIL = 66_000  # the end record of a zip and its longest comment


def read(path: Path, file: BinaryIO, size: int) -> Content:
    """Raises DamagedError, TooMuchError, and UserError for a zip that is something else."""
    check_directory(file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(path, file, archive)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeError, OSError, ValueError, RuntimeError, struct.error,
            zlib.error) as error:
        raise DamagedError from error


def check_directory(file: BinaryIO, size: int) -> None:
    """The list of members is read as a whole by the zip module: it must be of bearable length."""
    file.seek(max(0, size - TAIL))
    tail = file.read(TAIL)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < 22:
        raise DamagedError
    claims = [struct.unpack_from("<HI", tail, place + 10)]
    claims += [struct.unpack_from("<QQ", tail, found.start() + 32) for found in re.finditer(rb"PK\x06\x06", tail) if found.start() + 48 <= len(tail)]
    if any(count > MAX_MEMBERS or MAX_DIRECTORY < length != ELSEWHERE for count, length in claims):
        raise TooMuchError


def _read(path: Path, file: BinaryIO, archive: zipfile.ZipFile) -> Content:
    members = {info.filename: info for info in archive.infolist()}
    if len(members) != len(archive.infolist()) or any(info.flag_bits & 1 for info in members.values()):
        raise DamagedError
    name = next((name for name in members if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)), None)
    if name is None:
        raise UserError("weights_other_zip", path=str(path), found=", ".join(list(members)[:3]) or "-")
    prefix, content = name.removesuffix("data.pkl"), Content(path, "torch_zip")
    if any(member.startswith(f"{prefix}code/") for member in members):
        content.container, content.names["TorchScript program"] = "torchscript", None
    reader = Reader(file, content)
    blob = blob_in(file, archive, members[name], MAX_PICKLE)
    content.root = reader.follow(Stream(blob.file, blob.start, blob.start + blob.length))
    order = members.get(f"{prefix}byteorder")
    big = order is not None and order.file_size < 16 and archive.read(order) == b"big"
    left = MAX_INFLATED
    for key, storage in reader.storages.items():
        member = members.get(f"{prefix}data/{key}")
        if member is None or member.file_size < storage.numel * SIZES[storage.dtype]:
            raise DamagedError
        left -= member.file_size if member.compress_type != zipfile.ZIP_STORED else 0
        storage.data, storage.order = blob_in(file, archive, member, left), ">" if big else "<"
    return content


def blob_in(file: BinaryIO, archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> Blob:
    """Where the bytes of a member stand; compressed ones, which torch does not write, are unpacked up to `limit`."""
    if member.compress_type == zipfile.ZIP_STORED:
        file.seek(member.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04" or member.file_size != member.compress_size:
            raise DamagedError
        names = struct.unpack_from("<HH", header, 26)
        return Blob(file, member.header_offset + 30 + sum(names), member.file_size)
    if member.file_size > limit:
        raise TooMuchError
    target: Any = io.BytesIO() if member.file_size <= SCRATCH else tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the blob
    with archive.open(member) as stream:
        written = 0
        while chunk := stream.read(2**20):
            written += len(chunk)
            if written > limit:
                raise TooMuchError
            target.write(chunk)
    return Blob(target, 0, written)


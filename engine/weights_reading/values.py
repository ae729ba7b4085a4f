"""The numbers of a described file as tensors. They are read where they stand: nothing is unpickled, nothing that the file names is called."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.types import UserError
from engine.weights_reading.containers import reading, wanted
from engine.weights_reading.inert import NUMPY, Array, Made, NumpyType, Storage, contiguous
from engine.weights_reading.source import Blob, DamagedError, blob_of

QUANTISED = ("qint8", "quint8", "qint32")
COMPLEX = ("complex32", "complex64", "complex128")
GROWTH = 8  # a tensor under several names is stored once
ROOM = 64 * 2**20
DEEPEST = 200
MOST_AXES, MOST_NUMBERS = 8, 50_000_000  # of a tensor written as lists
DROPPED = None  # what stands for an object that is not made


def load(path: Path) -> Any:
    """The whole content: dictionaries and lists as they are, arrays as tensors, records as None.

    Raises UserError for a file that asks for anything that an honest checkpoint does not need, that is damaged, or no weights file.
    """
    with reading(path) as content:
        if content.container == "torchscript":
            raise UserError("weights_torchscript", path=str(path))
        if content.unsafe:
            raise UserError("weights_unsafe", path=str(path), found=wanted(content))
        check_growth(_arrays(content.root), path)
        return plain(content.root)


def tensor_of(array: Array) -> Tensor:
    """Its numbers, contiguous and in memory of their own. Raises DamagedError when they are not in the file or of a type that torch lacks."""
    dtype = getattr(torch, array.dtype, None)
    if array.storage is None or not isinstance(dtype, torch.dtype) or array.dtype in QUANTISED:
        raise DamagedError
    if not array.numel:
        return torch.empty(array.shape, dtype=dtype)
    if array.offset + array.span > array.stored:
        raise DamagedError
    numbers = _numbers(array, dtype)
    if array.stride == contiguous(array.shape):
        return numbers.view(array.shape)
    return numbers.as_strided(array.shape, array.stride).contiguous()


def is_readable(array: Array) -> bool:
    """Whether `tensor_of` knows its type and its numbers are stored."""
    return array.storage is not None and isinstance(getattr(torch, array.dtype, None), torch.dtype) and array.dtype not in QUANTISED


def _numbers(array: Array, dtype: torch.dtype) -> Tensor:
    """From the first to the last that belongs to it, in the order in which they are stored."""
    storage = array.storage
    if storage is None or storage.data is None:
        raise DamagedError
    found = torch.frombuffer(_piece(storage.data, array.offset * array.itemsize, array.span * array.itemsize), dtype=torch.uint8)
    parts = 2 if array.dtype in COMPLEX else 1
    if storage.order == ">" and array.itemsize // parts > 1:
        found = found.view(-1, array.itemsize // parts).flip(1).contiguous().view(-1)
    return found != 0 if dtype == torch.bool else found.view(dtype)


def _piece(blob: Blob, start: int, length: int) -> bytearray:
    """`length` bytes from `start` on, read once."""
    if not blob.coded:
        if start + length > blob.length:
            raise DamagedError
        blob, start = Blob(blob.file, blob.start + start, length), 0
    piece, position = bytearray(length), 0
    for chunk in blob.chunks():
        low, high = max(position, start), min(position + len(chunk), start + length)
        if low < high:
            piece[low - start:high - start] = chunk[low - position:high - position]
        position += len(chunk)
    if position < start + length:
        raise DamagedError
    return piece


def check_growth(arrays: Iterable[Array], path: Path) -> None:
    """Raises UserError when the tensors together claim far more numbers than are stored for them."""
    listed = [each for each in arrays if each.storage is not None]
    storages: dict[int, Storage] = {id(each.storage): each.storage for each in listed if each.storage is not None}
    stored = sum(each.data.length for each in storages.values() if each.data is not None)
    claimed = sum(each.numel * each.itemsize for each in listed)
    if claimed > GROWTH * stored + ROOM:
        largest = max(listed, key=lambda each: each.numel)
        raise UserError("weights_expanded", path=str(path), shape=" × ".join(map(str, largest.shape)), stored=f"{largest.stored:,}")


def plain(value: Any) -> Any:
    """What a description stands for, without objects. Raises DamagedError for numbers that are not in the file."""
    return _plain(value, {}, 0)


def _plain(value: Any, made: dict[int, Any], depth: int) -> Any:
    """`made` holds what stands at several places, so that it is made once."""
    if id(value) in made:
        return made[id(value)]
    if depth > DEEPEST:
        raise DamagedError
    if isinstance(value, dict):
        table = made[id(value)] = {}
        table.update((key, _plain(each, made, depth + 1)) for key, each in value.items())
        return table
    if isinstance(value, list | tuple):
        row: list[Any] = []
        if isinstance(value, list):
            made[id(value)] = row
        row += [_plain(each, made, depth + 1) for each in value]
        return made.setdefault(id(value), row if isinstance(value, list) else tuple(row))
    if isinstance(value, Array):
        return made.setdefault(id(value), tensor_of(value) if is_readable(value) else DROPPED)
    return _single(value)


def _single(value: Any) -> Any:
    if isinstance(value, Made):
        return number_of(value)
    if isinstance(value, Blob):
        stored = bytes(_piece(Blob(value.file, value.start, value.length), 0, value.length))
        return stored.decode("utf-8", "replace") if value.coded else stored
    return value if value is None or isinstance(value, str | int | float | bytes) else DROPPED


def number_of(made: Made) -> int | float | bool | None:
    """The number that a numpy scalar stands for, None for any other object."""
    kind, data = (made.args[:2] if made.name.startswith("numpy.") and len(made.args) == 2 else (None, None))
    blob = blob_of(data)
    if not isinstance(kind, NumpyType) or kind.code not in NUMPY or blob is None or kind.code.startswith("c"):
        return None
    stored = np.frombuffer(bytes(_piece(blob, 0, blob.length)), np.dtype(kind.order + kind.code))
    return stored[0].item() if len(stored) == 1 else None


def numbers_in(rows: Any) -> Tensor | None:
    """A tensor of lists within lists, int64 for whole numbers and float32 for others. None when they are no regular table of numbers."""
    shape: list[int] = []
    level = rows
    while isinstance(level, list) and level and len(shape) <= MOST_AXES:
        shape.append(len(level))
        level = level[0]
    if len(shape) > MOST_AXES or math.prod(shape) > MOST_NUMBERS:
        return None
    flat = list(_flat(rows, shape))
    if not shape or len(flat) != math.prod(shape) or any(type(each) not in (int, float) for each in flat):
        return None
    try:
        whole = all(type(each) is int for each in flat)
        return torch.tensor(flat, dtype=torch.int64 if whole else torch.float32).view(shape)
    except (OverflowError, RuntimeError):
        return None


def _flat(rows: Any, shape: list[int]) -> Iterable[Any]:
    if not shape:
        yield rows
    elif isinstance(rows, list) and len(rows) == shape[0]:
        for each in rows:
            yield from _flat(each, shape[1:])


def _arrays(root: Any) -> Iterable[Array]:
    """Every array of the content, each description once."""
    waiting, seen = [root], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        if isinstance(value, Array):
            yield value
        elif isinstance(value, dict | list | tuple):
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)

"""What stands for the objects of a checkpoint: descriptions that do nothing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from engine.weights_reading.source import Blob, DamagedError, blob_of

SIZES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "uint16": 2, "uint32": 4,
         "uint64": 8, "bool": 1, "complex32": 4, "complex64": 8, "complex128": 16, "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1,
         "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1, "qint8": 1, "quint8": 1, "qint32": 4}
STORAGES = {"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32", "Short": "int16",
            "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexDouble": "complex128", "ComplexFloat": "complex64", "QInt8": "qint8",
            "QUInt8": "quint8", "QInt32": "qint32", "Untyped": "uint8"}
NUMPY = {"f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8", "u8": "uint64", "u4": "uint32",
         "u2": "uint16", "u1": "uint8", "b1": "bool", "c16": "complex128", "c8": "complex64"}
MAX_DIMENSIONS = 64
MAX_NUMBER = 2**62


@dataclass(frozen=True)
class Ref:
    """A name that the file wants imported."""

    name: str


@dataclass(eq=False)
class Made:
    """What would come out of calling `name`; `items` and `state` are what the file puts into it."""

    name: str
    args: tuple[Any, ...] = ()
    items: dict[Any, Any] = field(default_factory=dict)
    state: Any = None


class Ordered(dict[Any, Any]):
    """A collections.OrderedDict."""


@dataclass(eq=False)
class Storage:
    """Numbers in a row; `order` is "<" or ">". `numel` counts in `dtype`; `data` may follow later in the file."""

    dtype: str
    numel: int
    data: Blob | None = None
    order: str = "<"
    untyped: bool = False


@dataclass(eq=False)
class NumpyType:
    code: str
    order: str = "<"

    @property
    def dtype(self) -> str:
        return NUMPY.get(self.code, self.code)

    def rebuild(self, state: Any) -> None:
        """As numpy pickles it: (version, byte order, …)."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1] if state[1] == ">" else "<"


@dataclass(eq=False)
class Array:
    """A tensor or a numpy array: a view of a storage. `shape`, `stride` and `offset` count elements."""

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: Storage | None

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return SIZES.get(self.dtype, 1)

    @property
    def stored(self) -> int:
        """Elements that its storage has room for."""
        return 0 if self.storage is None else self.storage.numel * SIZES.get(self.storage.dtype, 1) // self.itemsize

    @property
    def span(self) -> int:
        """Elements of the storage from the first to the last that belongs to it."""
        return 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True)) if self.numel else 0


@dataclass(eq=False)
class NumpyArray(Array):
    """A numpy array, empty until its state is known."""

    dtype: str = "float64"
    shape: tuple[int, ...] = (0,)
    stride: tuple[int, ...] = (1,)
    offset: int = 0
    storage: Storage | None = None

    def rebuild(self, state: Any) -> None:
        """As numpy pickles it: (version, shape, type, column-major, data)."""
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], NumpyType):
            raise DamagedError
        self.fill(state[2], dimensions(state[1]), state[4], column_major=bool(state[3]))

    def fill(self, kind: NumpyType, shape: tuple[int, ...], data: Any, *, column_major: bool) -> None:
        blob = blob_of(data)
        self.dtype, self.shape = kind.dtype, shape
        self.stride = contiguous(shape[::-1])[::-1] if column_major else contiguous(shape)
        if blob is not None and kind.code in NUMPY:
            count = self.numel if blob.coded else blob.length // self.itemsize
            self.storage = Storage(self.dtype, count, blob, kind.order)


def dimensions(value: Any) -> tuple[int, ...]:
    """A shape or strides. Raises DamagedError for anything that is not a short row of counts."""
    if isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, tuple) or len(value) > MAX_DIMENSIONS or any(type(each) is not int or not 0 <= each < MAX_NUMBER for each in value):
        raise DamagedError
    return value


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= max(size, 1)
    return tuple(reversed(steps))


def storage_type(name: str) -> str | None:
    """torch.FloatStorage -> float32; None for what is no storage."""
    found = re.fullmatch(r"torch\.(?:cuda\.|storage\.)?_?(\w+)Storage", name)
    return STORAGES.get(found[1]) if found else None


def type_name(value: Any) -> str:
    """As Python shows the type of the object that `value` stands for."""
    if isinstance(value, Ordered):
        return "collections.OrderedDict"
    if isinstance(value, Array):
        return "numpy.ndarray" if isinstance(value, NumpyArray) else "torch.Tensor"
    if isinstance(value, Made):
        return value.name
    if isinstance(value, Ref):
        return "type"
    return "bytes" if isinstance(value, Blob) else type(value).__name__

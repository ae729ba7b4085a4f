"""Safetensors: the length of a JSON header, the header, the numbers. https://huggingface.co/docs/safetensors (format)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

from engine.types import UserError
from engine.weights_reading.containers import Content
from engine.weights_reading.inert import SIZES, Array, Storage, contiguous, dimensions
from engine.weights_reading.source import Blob, DamagedError, TooMuchError

MAX_HEADER = 16 * 2**20
MAX_TENSORS = 100_000
TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
         "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
         "C64": "complex64", "F8_E8M0": "float8_e8m0fnu"}


def read(path: Path, file: BinaryIO, size: int) -> Content:
    """Raises UserError for a header that contradicts itself or the file."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 10 or length > size - 8 or length > MAX_HEADER:
        raise UserError("safetensors_header", path=str(path), length=length, size=size)
    try:
        header = json.loads(file.read(length).decode("utf-8"))
        if len(header) > MAX_TENSORS:
            raise TooMuchError
        content = Content(path, "safetensors")
        content.root = {name: _array(file, entry, 8 + length, size) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DamagedError) as error:
        raise UserError("safetensors_header", path=str(path), length=length, size=size) from error
    return content


def _array(file: BinaryIO, entry: dict[str, Any], start: int, size: int) -> Array:
    dtype, shape = TYPES.get(entry["dtype"], str(entry["dtype"])[:20]), dimensions(entry["shape"])
    begin, end = dimensions(entry["data_offsets"])
    if end < begin or start + end > size or (dtype in SIZES and math.prod(shape) * SIZES[dtype] != end - begin):
        raise DamagedError
    return Array(dtype, shape, contiguous(shape), 0, Storage(dtype, math.prod(shape), Blob(file, start + begin, end - begin)))

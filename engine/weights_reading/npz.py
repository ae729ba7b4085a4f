"""numpy.savez: a zip of .npy members, each a short header and the numbers. Arrays of objects would be pickles, and are named, not read.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html (the format).
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.weights_reading.containers import Content
from engine.weights_reading.inert import NUMPY, NumpyArray, Storage, contiguous, dimensions
from engine.weights_reading.source import Blob, DamagedError
from engine.weights_reading.torch_zip import MAX_INFLATED, blob_in, check_directory

SUFFIX = ".npy"
MAX_HEADER = 10_000
PICKLED = "pickle of a numpy array of objects"


def read(path: Path, file: BinaryIO, size: int) -> Content:
    """Raises DamagedError, and TooMuchError for what would grow too large when it is unpacked."""
    check_directory(file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(path, file, archive)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, TypeError, RuntimeError, SyntaxError, MemoryError, tokenize.TokenError,
            struct.error, zlib.error) as error:
        raise DamagedError from error


def _read(path: Path, file: BinaryIO, archive: zipfile.ZipFile) -> Content:
    content, left = Content(path, "npz", {}), MAX_INFLATED
    for member in archive.infolist():
        if member.flag_bits & 1 or not member.filename.endswith(SUFFIX):
            raise DamagedError
        blob = blob_in(file, archive, member, left)
        left -= blob.length if blob.file is not file else 0
        array = _array(blob)
        if array is None:
            content.names[PICKLED] = None
        else:
            content.root[member.filename.removesuffix(SUFFIX)] = array
    return content


def _array(blob: Blob) -> NumpyArray | None:
    """None for an array of objects. Raises ValueError for a header that numpy does not know."""
    blob.file.seek(blob.start)
    version = np.lib.format.read_magic(blob.file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, column_major, kind = header(blob.file, max_header_size=MAX_HEADER)
    if kind.hasobject:
        return None
    used = blob.file.tell() - blob.start
    code, sizes = kind.str[1:], dimensions(tuple(int(each) for each in shape))
    array = NumpyArray(NUMPY.get(code, code), sizes, contiguous(sizes[::-1])[::-1] if column_major else contiguous(sizes))
    if blob.length - used < array.numel * kind.itemsize:
        raise DamagedError
    if code in NUMPY:
        array.storage = Storage(array.dtype, array.numel, Blob(blob.file, blob.start + used, blob.length - used), ">" if kind.str[0] == ">" else "<")
    return array

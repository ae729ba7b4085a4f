"""Which tensors hold NaN or infinity. Every storage is read once, in pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.weights_reading.inert import Array, Storage
from engine.weights_reading.source import DamagedError

REAL = {"float64": "f8", "float32": "f4", "float16": "f2", "complex128": "f8", "complex64": "f4", "complex32": "f2"}
MASKED = {"bfloat16": ("u2", 0x7F80), "float8_e4m3fn": ("u1", 0x7F), "float8_e5m2": ("u1", 0x7C)}  # all of these bits set: NaN or infinity
NEGATIVE_ZERO = ("float8_e4m3fnuz", "float8_e5m2fnuz")  # there it stands for NaN
MOST_PLACES = 1_000_000


def non_finite(tensors: Mapping[str, Array]) -> list[str]:
    """Names of the tensors with such numbers. Raises DamagedError when the file ends before."""
    places: dict[tuple[int, str], np.ndarray] = {}
    bad = []
    for name, tensor in tensors.items():
        if tensor.storage is None or not tensor.numel:
            continue
        key = (id(tensor.storage), tensor.dtype)
        if key not in places:
            places[key] = _places(tensor.storage, tensor.dtype)
        if len(places[key]) and _touches(tensor, places[key]):
            bad.append(name)
    return bad


def _places(storage: Storage, dtype: str) -> np.ndarray:
    """Sorted positions i64[N] in elements of `dtype`, at most MOST_PLACES."""
    look = _look(dtype, storage.order)
    found: list[np.ndarray] = []
    position = count = 0
    for chunk in storage.data.chunks() if look and storage.data else ():
        kind, test, parts = look
        whole = len(chunk) // (kind.itemsize * parts) * kind.itemsize * parts
        wrong = test(np.frombuffer(chunk[:whole] if whole < len(chunk) else chunk, kind)).reshape(-1, parts).any(1)
        if wrong.any():
            found.append(position + np.flatnonzero(wrong))
            count += len(found[-1])
        position += len(wrong)
        if count > MOST_PLACES:
            break
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _look(dtype: str, order: str) -> Any:
    """(numpy type, test of an array of it, how many make one element); None when the type cannot hold such numbers."""
    if dtype in REAL:
        return np.dtype(order + REAL[dtype]), lambda values: ~np.isfinite(values), 2 if dtype.startswith("complex") else 1
    if dtype in MASKED:
        code, bits = MASKED[dtype]
        return np.dtype(order + code), lambda values: (values & bits) == bits, 1
    if dtype in NEGATIVE_ZERO:
        return np.dtype("u1"), lambda values: values == 0x80, 1
    return None


def _touches(tensor: Array, places: np.ndarray) -> bool:
    """Whether one of the places belongs to the view. Exact where its steps do not overlap, else by its first and last element."""
    if tensor.offset > places[-1]:
        return False
    low, high = np.searchsorted(places, [tensor.offset, min(tensor.offset + tensor.span, int(places[-1]) + 1)])
    left = places[low:high] - tensor.offset
    steps = sorted(((step, size) for step, size in zip(tensor.stride, tensor.shape, strict=True) if step and size > 1), reverse=True)
    if any(step < below * size for (step, _), (below, size) in zip(steps, steps[1:], strict=False)):
        return len(left) > 0
    for step, size in steps:
        index = left // step
        left = left[index < size] - index[index < size] * step
    return bool((left == 0).any())


def outside(tensors: Mapping[str, Array]) -> str | None:
    """The first tensor that claims more numbers than its storage holds."""
    for name, tensor in tensors.items():
        if tensor.storage is not None and tensor.numel and tensor.offset + tensor.span > tensor.stored:
            return name
    return None


def check_numbers(tensors: Mapping[str, Array]) -> None:
    """Raises DamagedError when the numbers of a tensor are not in the file."""
    if any(tensor.storage is not None and tensor.storage.numel and tensor.storage.data is None for tensor in tensors.values()):
        raise DamagedError

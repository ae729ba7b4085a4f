"""Decoders written in C print what they dislike straight to the error stream; here they do it unheard. Python's own messages go another way."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import cv2
import numpy as np

_LOCK = threading.Lock()
_inside = 0


def imdecode(data: np.ndarray, flags: int) -> np.ndarray | None:
    """As OpenCV does it: None for what it cannot read. Raises cv2.error."""
    with decoders():
        return cv2.imdecode(data, flags)


@contextmanager
def decoders() -> Iterator[None]:
    """The C library's `stderr` leads nowhere while any thread is inside; where the system does not let us, everything stays."""
    _switch(1)
    try:
        yield
    finally:
        _switch(-1)


def _switch(step: int) -> None:
    global _inside
    streams = _streams()
    if streams is not None:
        variable, loud, silent = streams
        with _LOCK:
            _inside += step
            variable.value = silent if _inside else loud


@lru_cache(1)
def _streams() -> tuple[ctypes.c_void_p, int | None, int | None] | None:
    """glibc's variable `stderr`, what it holds, and a stream to nowhere. Other C libraries keep theirs constant."""
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        library = ctypes.CDLL(None)
        variable = ctypes.c_void_p.in_dll(library, "stderr")
        library.fopen.restype = ctypes.c_void_p
        silent = library.fopen(os.devnull.encode(), b"w")
    except (OSError, AttributeError, ValueError):
        return None
    if not silent:
        return None
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_start_over)
    return variable, variable.value, silent


def _start_over() -> None:
    """In a new process no other thread is inside."""
    global _inside
    _inside = 0
    _LOCK.release()
    _switch(0)

"""Memory that a process has once got from the system stays with it."""

from __future__ import annotations

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
SETTINGS = ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**30), (M_TOP_PAD, 2**26))


def keep_memory() -> bool:
    """Makes the C library keep freed memory for what comes next; says whether it does.

    A training step frees and takes the same tensors again and again. By itself GNU's library gives them back to the system each time, and the
    system clears every page anew. What MALLOC_... variables of the environment say stands; other libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(setting, value) == 1 for setting, value in SETTINGS])

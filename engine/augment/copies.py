"""Resized copies of images that stay in memory: made once for as long as the image itself lives."""

from __future__ import annotations

import weakref

import numpy as np

from engine.datasets.images import resize

ROOM = 256 << 20  # bytes of copies in a process


class Copies:
    """Like `resize`, for images that come again and again and are never written to: up to `room` bytes of copies are kept beside them."""

    def __init__(self, room: int = ROOM) -> None:
        self.room = room
        self._found: dict[tuple[int, tuple[int, int]], tuple[weakref.ref[np.ndarray], np.ndarray]] = {}

    def __call__(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        key = (id(image), size)
        known = self._found.get(key)
        if known is not None and known[0]() is image:
            return known[1]
        made = resize(image, size)
        if made is not image and made.nbytes <= self.room:
            self.room -= made.nbytes
            self._found[key] = (weakref.ref(image, lambda _: self._forget(key)), made)
        return made

    def _forget(self, key: tuple[int, tuple[int, int]]) -> None:
        """The image is gone, and its number may become that of another one."""
        known = self._found.pop(key, None)
        if known is not None:
            self.room += known[1].nbytes

"""Masks of a whole data set in memory: kept compressed, unpacked when somebody looks, the last few kept open."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict

import cv2
import numpy as np

from engine.types import Labels, SemanticMask

OPEN_BYTES = 256 * 2**20
FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]


class _Open:
    """The masks that were unpacked last, up to OPEN_BYTES of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[SemanticMask, np.ndarray]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, mask: PackedClasses | PackedLayers) -> np.ndarray:
        with self._lock:
            if id(mask) in self._kept:
                self._kept.move_to_end(id(mask))
                return self._kept[id(mask)][1]
        found = mask.unpacked()
        found.setflags(write=False)
        with self._lock:
            if id(mask) not in self._kept:
                self._kept[id(mask)] = mask, found
                self._bytes += found.nbytes
            while self._bytes > OPEN_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1][1].nbytes
        return found


_open = _Open()


class PackedClasses(SemanticMask):
    """A SemanticMask whose `classes`, u16[H,W], are kept as PNG. `table` u16[65536] turns what is stored into class ids."""

    _png: bytes
    _table: np.ndarray | None
    _values: np.ndarray | None

    def __init__(self, png: bytes, table: np.ndarray | None = None, values: np.ndarray | None = None) -> None:
        self.__dict__.update(_png=png, _table=table, _values=values)

    @property
    def classes(self) -> np.ndarray:
        """u16[H,W], not to be written to. Raises ValueError when what is stored is damaged."""
        return _open(self)

    def unpacked(self) -> np.ndarray:
        stored = cv2.imdecode(np.frombuffer(self._png, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is None:
            raise ValueError("a stored mask is damaged")
        return stored.astype(np.uint16) if self._table is None else self._table[stored]

    def values(self) -> np.ndarray:
        """u16[K]: the ids that have a pixel; counted once."""
        if self._values is None:
            self.__dict__["_values"] = values_of(self.classes)
        return np.asarray(self._values)

    def mapped(self, table: np.ndarray) -> PackedClasses:
        """The same pixels with other ids, table u16[65536]."""
        return PackedClasses(self._png, table if self._table is None else table[self._table],
                             None if self._values is None else np.unique(table[self._values]))


class PackedLayers(SemanticMask):
    """A SemanticMask whose `layers`, bool[C,H,W], are kept as compressed bits."""

    _bits: bytes
    _shape: tuple[int, ...]

    def __init__(self, layers: np.ndarray) -> None:
        self.__dict__.update(_bits=zlib.compress(np.packbits(layers).tobytes(), 1), _shape=layers.shape)

    @property
    def layers(self) -> np.ndarray:
        """bool[C,H,W], not to be written to."""
        return _open(self)

    def unpacked(self) -> np.ndarray:
        bits = np.frombuffer(zlib.decompress(self._bits), np.uint8)
        return np.unpackbits(bits, count=int(np.prod(self._shape))).astype(bool).reshape(self._shape)


def pack(labels: Labels | None) -> Labels | None:
    """The same labels, masks of truth compressed."""
    if type(labels) is not SemanticMask or labels.probabilities is not None:
        return labels
    if labels.layers is not None:
        return PackedLayers(labels.layers)
    if labels.classes is None:
        return labels
    return PackedClasses(cv2.imencode(".png", labels.classes.astype(np.uint16), FAST)[1].tobytes(), None, values_of(labels.classes))


def values_of(classes: np.ndarray) -> np.ndarray:
    """u16[K]: the values in u16[H,W], sorted."""
    return np.flatnonzero(np.bincount(classes.ravel(), minlength=1)).astype(np.uint16)


def ids(mask: SemanticMask) -> np.ndarray:
    """u16[K]: the values of a mask of classes; none of layers."""
    if isinstance(mask, PackedClasses):
        return mask.values()
    return np.zeros(0, np.uint16) if mask.classes is None else values_of(mask.classes)

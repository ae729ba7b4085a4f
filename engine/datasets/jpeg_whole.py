"""Whether a JPEG holds the whole picture that its header promises. Decoders fill what is missing with gray and say nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.datasets.image_headers import Header

END = b"\xff\xd9"
TAIL = 64
GRAY = 128  # what stands where no data was
BLOCKS_A_BYTE = 16  # at least half a bit for each 8x8 block: one bit, on channels that are sampled at half the rate
_MORE = np.random.default_rng(0).integers(1, 255, 4096, dtype=np.uint8)  # no byte in it starts a marker


def least_bytes(header: Header) -> int:
    """No file of fewer bytes can hold so many blocks, however alike they are: a Huffman code takes a bit at least."""
    if header.kind != "jpeg" or "arithmetic" in header.traits:
        return 0
    return -(-header.width // 8) * -(-header.height // 8) // BLOCKS_A_BYTE


def ends_gray(pixels: np.ndarray) -> bool:
    """Whether the last corner looks as if no data were there, at any scale; few whole pictures do."""
    return bool((pixels[-2:, -2:] == GRAY).all())


def is_cut(pixels: np.ndarray, header: Header, data: np.ndarray, decode: Callable[[np.ndarray], np.ndarray | None]) -> bool:
    """Whether the last part of uint8 RGB `pixels` [H,W,3] was never in the file `data`.

    Decided by decoding it once more with further data before its end mark: a whole picture does not look at it, one with a hole takes it in. Asked
    only where the last corner is gray.
    """
    if "several" in header.traits or not ends_gray(pixels):
        return False
    end = len(data) - TAIL + data[-TAIL:].tobytes().rfind(END) if len(data) >= TAIL else -1
    if end < 0:
        return False
    other = decode(np.concatenate((data[:end], _MORE, data[end:])))
    return other is not None and not np.array_equal(pixels, other)

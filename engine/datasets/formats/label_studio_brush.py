"""The run lengths in which Label Studio keeps brush masks: a stream of bits over the RGBA bytes of the picture.

Layout, as the documentation of the packer (@thi.ng/rle-pack) gives it: 32 bits count of values, 5 bits width of a value minus 1, four times
4 bits width of a length minus 1. Then blocks: 1 bit "repeated", 2 bits which of the four widths, the length minus 1, and the value once
(repeated) or `length` values. The picture is painted where its alpha, every fourth byte, is not zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

VALUE_BITS = 8
LENGTH_BITS = (3, 4, 8, 16)
CHANNELS = 4


def decode(data: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """bool[H,W] of the bytes `data` for an image of `size` = (width, height). Raises ValueError when they do not describe one."""
    width, height = size
    try:
        bits = _Bits(bytes(data if isinstance(data, list | tuple) else [-1]))  # bytes(10**9) would be a gigabyte of zeros
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("a list of bytes was wanted") from error
    count, value_bits = bits.take(32), bits.take(5) + 1
    lengths = [bits.take(4) + 1 for _ in range(4)]
    if count != width * height * CHANNELS or value_bits != VALUE_BITS:
        raise ValueError(f"{count} values of {value_bits} bits for {width}x{height}")
    painted, at = np.zeros(width * height, bool), 0
    while at < count:
        repeated, which = bits.take(1), bits.take(2)
        length = bits.take(lengths[which]) + 1
        if at + length > count:
            raise ValueError("the runs are longer than the image")
        first, end = at // CHANNELS, (at + length) // CHANNELS  # the pixels whose alpha, their last byte, lies in the block
        if repeated:
            if bits.take(VALUE_BITS):
                painted[first:end] = True
        else:
            values = bits.take_bytes(length)
            painted[first:end] = values[first * CHANNELS + CHANNELS - 1 - at::CHANNELS] > 0
        at += length
    return painted.reshape(height, width)


def encode(mask: np.ndarray) -> list[int]:
    """bool[H,W] -> bytes: every pixel as four equal values, 255 where it is painted."""
    flat = np.ascontiguousarray(mask, bool).ravel()
    borders = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], borders])
    runs = np.diff(np.concatenate([starts, [flat.size]])) * CHANNELS
    parts = [f"{flat.size * CHANNELS:032b}", f"{VALUE_BITS - 1:05b}", *(f"{bits - 1:04b}" for bits in LENGTH_BITS)]
    for value, run in zip(flat[starts].tolist(), runs.tolist(), strict=True):
        while run > 0:
            length = min(run, 1 << LENGTH_BITS[-1])
            which = next(number for number, bits in enumerate(LENGTH_BITS) if length <= 1 << bits)
            parts.append(f"1{which:02b}{length - 1:0{LENGTH_BITS[which]}b}{'1' * VALUE_BITS if value else '0' * VALUE_BITS}")
            run -= length
    text = "".join(parts)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


class _Bits:
    """Reads numbers of a few bits, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.end = data, 0, len(data) * 8

    def take(self, count: int) -> int:
        """The next `count` <= 32 bits. Raises ValueError at the end."""
        if self.at + count > self.end:
            raise ValueError("the bits end too early")
        start = self.at >> 3
        window = int.from_bytes(self.data[start:start + 5].ljust(5, b"\0"), "big")
        value = window >> (40 - (self.at & 7) - count) & ((1 << count) - 1)
        self.at += count
        return value

    def take_bytes(self, count: int) -> np.ndarray:
        """u8[count], wherever between two bytes they begin. Raises ValueError at the end."""
        if self.at + 8 * count > self.end:
            raise ValueError("the bits end too early")
        start, shift = self.at >> 3, self.at & 7
        self.at += 8 * count
        window = np.frombuffer(self.data[start:start + count + 1].ljust(count + 1, b"\0"), np.uint8).astype(np.uint16)
        return ((window[:-1] << 8 | window[1:]) >> (8 - shift) & 0xFF).astype(np.uint8)

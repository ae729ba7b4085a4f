"""Images that are the same, byte by byte or to the eye: digests of files, looks of pictures, and a search for pairs that needs no comparison of all.

A look is two times 256 bits: the signs of the 16 x 16 lowest frequencies (DCT) of the picture at 64 x 64 gray pixels, and the same for the picture
without its outer 2.5%. Scaling, JPEG and a change of brightness turn few of the signs, so copies differ in a handful of bits; comparing the one
with the other view finds copies that were cropped a little. Different pictures of one kind (X-rays, cells) differ in a third of the bits or more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engine.datasets import images, jpeg_whole, quiet
from engine.types import UserError

DIGEST_BYTES = 16
VIEW_BYTES = 32
SIDE = 64  # pixels of the gray picture that the frequencies are taken from
LOW = 16  # frequencies a direction
MARGIN = 0.025
NEAR = 40  # bits of 255 that may differ
FAINT = 0.25  # gray levels: waves weaker than that say nothing
MIN_TELLING = 16  # pictures with fewer telling frequencies have no look: they would be like everything
ORDERS, NEIGHBOURS, KEY_BITS = 64, 6, 64
THREADS = 2
CROWD = 4 * ORDERS  # hits after which an image is known well enough
BATCH = 8
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Seen:
    """What opening an image gave. `digest` and `look` are empty where it could not be had; `remarks` as in `images.remarks`."""

    digest: bytes = b""
    look: bytes = b""
    remarks: tuple[str, ...] = ()
    error: UserError | None = None


# ---- one image

def digest_of(data: bytes | memoryview) -> bytes:
    """16 bytes that two files only share when they are the same."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def look_of(picture: np.ndarray) -> bytes:
    """64 bytes from uint8 [H,W] gray or [H,W,3] RGB; none for a picture that is all one colour, or nearly so."""
    gray = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    rows, columns = (int(side * MARGIN) for side in gray.shape)
    whole = _signs(gray)
    inner = _signs(gray[rows:gray.shape[0] - rows, columns:gray.shape[1] - columns])
    return whole + (inner or whole) if whole else b""


def _signs(gray: np.ndarray) -> bytes:
    small = images.resize(np.ascontiguousarray(gray), (SIDE, SIDE)).astype(np.float32)
    low = cv2.dct(small)[:LOW, :LOW].ravel()
    if (np.abs(low[1:]) > FAINT * SIDE / 2).sum() < MIN_TELLING:
        return b""
    signs = low > 1e-3
    signs[0] = False
    return np.packbits(signs).tobytes()


def see(path: Path, *, look: bool = True) -> Seen:
    """Reads and, with `look`, decodes an image as cheaply as its look allows; errors come in the answer."""
    try:
        if os.stat(path).st_size > images.MAX_FILE_BYTES:  # noqa: PTH116
            return Seen(remarks=images.remarks(path), look=look_of(images.open_image(path)) if look else b"")
        notes, data = images.remarks(path), np.fromfile(path, np.uint8)
        return Seen(digest_of(data.data), look_of(_small(path, data)) if look else b"", notes)
    except UserError as error:
        return Seen(error=error)
    except OSError as error:
        return Seen(error=UserError("file_unreadable", reason=error.strerror or str(error)))


def _small(path: Path, data: np.ndarray) -> np.ndarray:
    """The picture, gray or RGB, upright; a large JPEG at a half, a quarter or an eighth of its size. Raises UserError."""
    if data[:2].tobytes() == b"\xff\xd8" and b"\xff\xd9" in data[-64:].tobytes():
        shorter = min(images.size_of(path))
        for factor, flag in ((8, cv2.IMREAD_REDUCED_GRAYSCALE_8), (4, cv2.IMREAD_REDUCED_GRAYSCALE_4), (2, cv2.IMREAD_REDUCED_GRAYSCALE_2)):
            if shorter >= 2 * SIDE * factor:
                try:
                    gray = quiet.imdecode(data, flag)
                except cv2.error:
                    break
                if gray is not None and jpeg_whole.ends_gray(gray):
                    break
                if gray is not None:
                    return gray
    return images.open_image(path)


def see_all(paths: Sequence[Path], *, look: bool = True, progress: Progress | None = None) -> Iterator[Seen]:
    """One answer for each path, in order, from two threads. `progress(done, of)` may raise to end it."""
    batches = [paths[start:start + BATCH] for start in range(0, len(paths), BATCH)]
    pool = ThreadPoolExecutor(max(1, min(THREADS, os.cpu_count() or 1)))
    try:
        done = 0
        for batch in pool.map(lambda batch: [see(path, look=look) for path in batch], batches):
            for seen in batch:
                done += 1
                yield seen
                if progress is not None:
                    progress(done, len(paths))
    finally:
        pool.shutdown(cancel_futures=True)


# ---- many images

def clusters(fingerprints: Sequence[tuple[bytes, bytes]], pairs: np.ndarray | None = None) -> list[int | None]:
    """A number for every (digest, look): images of one number are the same or look alike, by chains; None for those that stand alone."""
    parents = list(range(len(fingerprints)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for a, b in (similar_pairs(fingerprints) if pairs is None else pairs).tolist():
        first, second = sorted((root(a), root(b)))
        parents[second] = first
    roots = [root(index) for index in range(len(parents))]
    sizes = np.bincount(roots, minlength=len(parents))
    return [each if sizes[each] > 1 else None for each in roots]


def similar_pairs(fingerprints: Sequence[tuple[bytes, bytes]]) -> np.ndarray:
    """i64[P,2], first < second: every image with the first of the same bytes, and pairs that look alike.

    In a crowd of look-alikes not every pair is named, but all of them are joined by chains of pairs.
    """
    same: dict[bytes, int] = {}
    copies = [(first, index) for index, (digest, _) in enumerate(fingerprints) if digest and (first := same.setdefault(digest, index)) != index]
    copied = {index for _, index in copies}
    kept = np.array([i for i, (_, look) in enumerate(fingerprints) if len(look) == 2 * VIEW_BYTES and i not in copied], np.int64)
    found = np.array(copies, np.int64).reshape(-1, 2)
    if len(kept) < 2:
        return found
    looks = np.frombuffer(b"".join(fingerprints[i][1] for i in kept), np.uint8).reshape(-1, 2 * VIEW_BYTES)
    return np.concatenate([found, kept[_near(looks[:, :VIEW_BYTES], looks[:, VIEW_BYTES:])]])


def _near(whole: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """i64[P,2] of rows whose views u8[N,32] differ in at most NEAR bits, whole with whole or whole with inner.

    All views are sorted by many random choices of bits; look-alikes stand next to each other in some of these orders.
    """
    count = len(whole)
    codes = np.ascontiguousarray(np.concatenate([whole, inner]))
    bits, words = np.unpackbits(codes, axis=1), codes.view(np.uint64)
    random = np.random.default_rng(0)
    hits = np.zeros(count, np.int64)
    found = [np.zeros(0, np.int64)]
    for _ in range(ORDERS):
        keys = np.packbits(bits[:, random.choice(VIEW_BYTES * 8, KEY_BITS, replace=False)], axis=1)
        order = np.argsort(np.ascontiguousarray(keys).view(">u8").ravel(), kind="stable")
        ordered = words[order]
        for step in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
            near = np.flatnonzero(np.bitwise_count(ordered[step:] ^ ordered[:-step]).sum(1, dtype=np.uint16) <= NEAR)
            one, other = order[near], order[near + step]
            useful = (np.minimum(one, other) < count) & (one % count != other % count)
            one, other = one[useful] % count, other[useful] % count
            crowded = (hits[one] >= CROWD) & (hits[other] >= CROWD)
            one, other = one[~crowded], other[~crowded]
            hits += np.bincount(one, minlength=count) + np.bincount(other, minlength=count)
            found.append(np.minimum(one, other) * count + np.maximum(one, other))
    return np.stack(np.divmod(np.unique(np.concatenate(found)), count), axis=1)

"""Small pictures of a data set's images, made once. Large JPEGs are decoded at a fraction of their size."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from engine.datasets import image_headers, jpeg_whole, quiet
from engine.datasets.images import MAX_PIXELS, open_image, resize
from engine.types import UserError

if TYPE_CHECKING:
    from engine.datasets.store import Dataset

JPEG, JPEG_END = b"\xff\xd8", b"\xff\xd9"
REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def place(folder: Path, image_id: int, side: int) -> Path:
    """Where the thumbnail of an image lies, or will lie, in the data set `folder`."""
    return folder / "thumbs" / str(int(side)) / f"{int(image_id)}.webp"


def make(source: Path, target: Path, side: int) -> None:
    """Writes a WebP of at most `side` pixels. Raises UserError when `source` is no image."""
    picture = small(source, side)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{uuid.uuid4().hex}.webp"
    Image.fromarray(picture).save(part, quality=80, method=2)
    part.replace(target)


def small(source: Path, side: int) -> np.ndarray:
    """u8[H,W,3] RGB, upright, its longer side at most `side`. Raises UserError when `source` is no image."""
    picture = reduced(source, side)
    if picture is None:
        picture = open_image(source)
    scale = min(1.0, side / max(picture.shape[:2]))
    return resize(picture, (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))))


def reduced(source: Path, side: int, of: Callable[[tuple[int, int]], int] = max) -> np.ndarray | None:
    """A whole JPEG, u8[H,W,3] RGB and upright, decoded at 1/2, 1/4 or 1/8 of its size; the longer (or, `of` min, the shorter) side keeps `side`.

    None when that is no use here, or when `open_image` should say what is wrong.
    """
    try:
        with source.open("rb", buffering=0) as file:
            start = file.read(image_headers.HEADER_BYTES)
            header = image_headers.parse(file, start) if start.startswith(JPEG) else None
        if header is None or not header.plain or header.width * header.height > MAX_PIXELS:
            return None
        flag = next((flag for share, flag in REDUCED if of(header.size) >= share * side), None)
        if flag is None:
            return None
        data = np.fromfile(source, np.uint8)
        if JPEG_END not in data[-64:].tobytes():
            return None
        pixels = quiet.imdecode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except (OSError, ValueError, LookupError, struct.error, cv2.error):
        return None
    return None if pixels is None or jpeg_whole.ends_gray(pixels) else _upright(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), header.orientation)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF 1..8 -> as seen."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows, columns = (-1 if orientation in (3, 4, 7, 8) else 1), (-1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(pixels[::rows, ::columns])


def forget(folder: Path, image_id: int) -> None:
    """Removes the thumbnails of an image that is no more."""
    for file in (folder / "thumbs").glob(f"*/{int(image_id)}.webp"):
        file.unlink(missing_ok=True)


def make_all(dataset: Dataset, image_ids: Iterable[int], side: int, threads: int = 2) -> None:
    """The thumbnails of many images at once. Those that cannot be read are left out; asking for one alone says why."""
    def one(image_id: int) -> None:
        with suppress(UserError):
            dataset.thumbnail(image_id, side)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, image_ids))

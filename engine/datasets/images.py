"""Opening images that nobody vouches for: EXIF turned upright, any colour mode to RGB, bombs and torn files refused.

One header parser serves `size_of` and `open_image`, so what a size says and what a picture shows can never disagree.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from engine.types import UserError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif",
                            ".ppm", ".pgm", ".pbm", ".mpo"))
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 1 << 30
PILLOW_FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM")
HEADER_BYTES = 4096
ORIENTATION = 0x0112
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, MemoryError, RuntimeError,
          AttributeError, struct.error, zlib.error, cv2.error, Image.DecompressionBombError)
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow then warns where this module refuses, and stays armed for everyone else


class NotAnImage(ValueError):
    """The bytes are no picture that this module reads; `args[0]` says what was seen."""


@dataclass(frozen=True)
class Header:
    """What the first bytes say: stored `width` x `height`, the EXIF `orientation` 1..8, `plain` = OpenCV decodes it alone."""

    kind: str
    width: int
    height: int
    orientation: int = 1
    plain: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as seen."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def is_image(path: Path | str) -> bool:
    """Whether the name is that of an image; the content is looked at when it is opened."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - called for every file of a data set


def size_of(path: Path | str) -> tuple[int, int]:
    """(width, height) as seen, from the header alone. Raises UserError when this is no image or too large a one."""
    return _checked(path, _header_of_file(path)).size


def open_image(path: Path | str) -> np.ndarray:
    """The picture as people see it: uint8 RGB [H,W,3], upright, first frame, transparency over white.

    Samples of more than 8 bits are stretched from their own minimum..maximum to 0..255. Raises UserError naming the file.
    """
    header = _checked(path, _header_of_file(path))
    if os.path.getsize(path) > MAX_FILE_BYTES:  # noqa: PTH202
        raise UserError("image_file_too_large", name=Path(path).name, limit=MAX_FILE_BYTES >> 20)
    try:
        data = np.fromfile(path, np.uint8)
        pixels = _decode_plain(data) if header.plain and _ends_properly(header.kind, data) else None
        if pixels is None:
            pixels = _decode_with_pillow(data)
    except DAMAGE as error:
        raise UserError("image_damaged", name=Path(path).name, reason=_reason(error)) from error
    if pixels.shape[:2] != (header.height, header.width):
        raise UserError("image_damaged", name=Path(path).name, reason=f"{pixels.shape[1]}x{pixels.shape[0]} != {header.width}x{header.height}")
    return np.ascontiguousarray(_upright(pixels, header.orientation))


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To `size` = (width, height): the one filter of training, evaluation, prediction and exported demos."""
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    shrinking = width <= image.shape[1] and height <= image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def save_image(path: Path | str, rgb: np.ndarray) -> None:
    """Writes uint8 RGB [H,W,3] (or gray [H,W]) in the format that the suffix names."""
    path = Path(path)
    done, encoded = cv2.imencode(path.suffix.lower() or ".png", rgb if rgb.ndim == 2 else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"OpenCV cannot write {path.suffix}")
    path.write_bytes(encoded.tobytes())


# ---- headers

def _checked(path: Path | str, header: Header) -> Header:
    if header.width < 1 or header.height < 1:
        raise UserError("image_damaged", name=Path(path).name, reason=f"{header.width}x{header.height}")
    if header.width * header.height > MAX_PIXELS:
        raise UserError("image_too_large", name=Path(path).name, width=header.width, height=header.height, limit=MAX_PIXELS // 1_000_000)
    return header


def _header_of_file(path: Path | str) -> Header:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - Path.open costs more than reading the header
            start = file.read(HEADER_BYTES)
            if not start:
                raise UserError("image_empty", name=Path(path).name)
            if start.startswith(b"\xff\xd8"):
                header = _jpeg_header(file, start)
            elif start.startswith(b"\x89PNG\r\n\x1a\n"):
                header = _png_header(file, start)
            else:
                header = _pillow_header(file, start)
            return header
    except NotAnImage as error:
        raise UserError("not_an_image", name=Path(path).name, kind=error.args[0]) from error
    except DAMAGE as error:
        raise UserError("image_damaged", name=Path(path).name, reason=_reason(error)) from error


def _jpeg_header(file: BinaryIO, start: bytes) -> Header:
    """Walks the markers up to the frame header; an EXIF block on the way gives the orientation."""
    position, base, orientation, buffer = 2, 0, 1, start
    for _ in range(1000):
        if position - base + 10 > len(buffer):
            file.seek(position)
            base, buffer = position, file.read(HEADER_BYTES)
        at = position - base
        if len(buffer) < at + 4 or buffer[at] != 0xFF:
            break
        marker = buffer[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 1 if marker == 0xFF else 2
            continue
        length = buffer[at + 2] << 8 | buffer[at + 3]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            depth, height, width, channels = struct.unpack_from(">BHHB", buffer, at + 4)
            return Header("jpeg", width, height, orientation, plain=depth == 8 and channels in (1, 3))
        if marker == 0xE1 and orientation == 1:
            block = buffer[at + 4:at + 2 + length]
            if len(block) < length - 2:
                file.seek(position + 4)
                block = file.read(length - 2)
            orientation = _exif_orientation(block[6:]) if block.startswith(b"Exif\0\0") else 1
        elif marker in (0xD9, 0xDA) or length < 2:
            break
        position += 2 + length
    raise ValueError("no frame header")


def _png_header(file: BinaryIO, start: bytes) -> Header:
    if start[12:16] != b"IHDR" or len(start) < 29:
        raise ValueError("no IHDR chunk")
    width, height, depth, colour = struct.unpack_from(">IIBB", start, 16)
    plain, orientation, position = depth == 8 and colour in (0, 2), 1, 33
    for _ in range(100):
        head = start[position:position + 8]
        if len(head) < 8:
            file.seek(position)
            head = file.read(8)
        name = head[4:8]
        if len(head) < 8 or name in (b"IDAT", b"IEND"):
            break
        length = struct.unpack(">I", head[:4])[0]
        if name == b"tRNS":
            plain = False
        elif name == b"eXIf":
            file.seek(position + 8)
            orientation = _exif_orientation(file.read(min(length, 1 << 16)))
        position += 12 + length
    return Header("png", width, height, orientation, plain)


def _exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory; 1 when it is absent or makes no sense."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 14:
        return 1
    offset = struct.unpack_from(order + "I", tiff, 4)[0]
    if offset + 2 > len(tiff):
        return 1
    for index in range(struct.unpack_from(order + "H", tiff, offset)[0]):
        entry = offset + 2 + 12 * index
        if entry + 12 > len(tiff):
            break
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == ORIENTATION:
            value = struct.unpack_from(order + ("I" if kind == 4 else "H"), tiff, entry + 8)[0]
            return value if 1 <= value <= 8 else 1
    return 1


def _pillow_header(file: BinaryIO, start: bytes) -> Header:
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if head.startswith(b"<"):
        raise NotAnImage("SVG" if b"<svg" in head else "HTML/XML")
    file.seek(0)
    try:
        with _open_with_pillow(file) as picture:
            return Header((picture.format or "").lower(), *picture.size, _orientation_of(picture))
    except Image.UnidentifiedImageError as error:
        raise NotAnImage(ascii(start[:12].decode("latin-1"))) from error


def _orientation_of(picture: Image.Image) -> int:
    """Pillow turns TIFF by itself, size included; the others it leaves as they are stored."""
    return 1 if picture.format == "TIFF" else _exif_orientation(picture.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def _open_with_pillow(file: BinaryIO) -> Image.Image:
    """Only the formats named above: none that runs a program or reads other files."""
    Image.init()
    return Image.open(file, formats=PILLOW_FORMATS)


# ---- pixels

def _ends_properly(kind: str, data: np.ndarray) -> bool:
    """A torn JPEG or PNG lacks its end mark. OpenCV would fill the rest with gray in silence; Pillow says so."""
    tail = data[-64:].tobytes()
    return b"\xff\xd9" in tail if kind == "jpeg" else b"IEND" in tail


def _decode_plain(data: np.ndarray) -> np.ndarray | None:
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def _decode_with_pillow(data: np.ndarray) -> np.ndarray:
    with _open_with_pillow(io.BytesIO(data.tobytes())) as picture:
        picture.load()
        if picture.mode.startswith("I") or picture.mode == "F":
            return _stretched(np.asarray(picture))
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            ground = Image.new("RGBA", layer.size, "white")
            return np.asarray(Image.alpha_composite(ground, layer).convert("RGB"))
        return np.asarray(picture.convert("RGB"))


def _stretched(values: np.ndarray) -> np.ndarray:
    """Gray of more than 8 bits -> uint8 RGB, its own minimum..maximum over 0..255; values that fit 8 bits stay as they are."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255 or high <= 1:
        values = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return np.repeat(np.round(values).astype(np.uint8)[:, :, None], 3, axis=2)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF 1..8 -> as seen."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _reason(error: BaseException) -> str:
    """The decoder's own words, on one short line."""
    return " ".join((str(error) or type(error).__name__).split())[:120]

"""Opening images that nobody vouches for: EXIF turned upright, any colour mode and depth to 8-bit RGB, bombs and torn files refused.

One header parser serves `size_of` and `open_image`, so what a size says and what a picture shows can never disagree.
"""

from __future__ import annotations

import io
import os
import re
import struct
import textwrap
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from engine.datasets import dicom, image_headers, jpeg_whole, quiet, tiff_headers, tiff_planes, tones
from engine.datasets.image_headers import HEADER_BYTES, ORIENTATION, Header, NotAnImage
from engine.types import UserError

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "ORIENTATION", "group_of", "is_image", "open_image", "remarks", "resize", "save_image", "size_of"]
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif",
                            ".ppm", ".pgm", ".pbm", ".pnm", ".mpo", *dicom.SUFFIXES))
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 1 << 30
MAX_UNPACKED_BYTES = 600 << 20  # of all samples as they are stored: three times 16 bits for each of the pixels above
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, MemoryError, RuntimeError,
          AttributeError, struct.error, zlib.error, cv2.error, Image.DecompressionBombError)
REMARKS = {"several": "first_page", "deep": "windowed", "cmyk": "cmyk"}
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow then warns where this module refuses, and stays armed for everyone else
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # about EXIF blocks that are cut short; nobody can act on it
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it cannot decode, this module tells


class Unsupported(ValueError):
    """A picture in good order that no decoder here can read."""


def is_image(path: Path | str) -> bool:
    """Whether the name is that of an image; the content is looked at when it is opened."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - called for every file of a data set


def size_of(path: Path | str) -> tuple[int, int]:
    """(width, height) as seen, from the header alone. Raises UserError when this is no image or too large a one."""
    return _checked(path, _header_of_file(path)).size


def remarks(path: Path | str) -> tuple[str, ...]:
    """What a person should know about how this image is shown, from the header alone; the texts are `problem.image_<remark>`.

    "first_page": more pages or frames follow and are not shown; "windowed": more than 8 bits, floats or a DICOM window, so a range of values
    is spread over 0..255 (see `tones`); "cmyk": inks, turned into RGB without a colour profile. Raises UserError as `size_of` does.
    """
    header = _checked(path, _header_of_file(path))
    traits = set(header.traits)
    if header.kind == "gif":
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                traits |= {"several"} if image_headers.goes_on(file) else set()
        except DAMAGE as error:
            raise UserError("image_damaged", name=Path(path).name, reason=_reason(error)) from error
    return tuple(text for trait, text in REMARKS.items() if trait in traits)


def group_of(path: Path | str) -> str | None:
    """Whose picture this is: the PatientID of a DICOM file, None for everything else. Splits keep a group together.

    It names a person: callers keep it in the data set's `group` and write it into no log.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            start = file.read(dicom.MAGIC_AT + 4)
        return dicom.patient_of(os.fspath(path)) if dicom.is_dicom(start, os.fspath(path)) else None
    except (UserError, *DAMAGE):
        return None  # whoever asks for its size is told why


def open_image(path: Path | str) -> np.ndarray:
    """The picture as people see it: uint8 RGB [H,W,3], upright, first page or frame, transparency over white.

    Samples of more than 8 bits are windowed as in `tones.to_8_bits`, DICOM as in `dicom.picture`. Raises UserError naming the file.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise UserError("special_file", name=Path(path).name)  # opening a pipe would wait for ever
    header = _checked(path, _header_of_file(path))
    if os.path.getsize(path) > MAX_FILE_BYTES:  # noqa: PTH202
        raise UserError("image_file_too_large", name=Path(path).name, limit=MAX_FILE_BYTES >> 20)
    try:
        with quiet.decoders():
            pixels = dicom.picture(os.fspath(path)) if header.kind == "dicom" else _decoded(header, np.fromfile(path, np.uint8))
    except Unsupported as error:
        if header.kind == "jpeg" and header.plain:  # every decoder reads this kind when it is whole
            raise UserError("image_damaged", name=Path(path).name, reason="no picture data") from error
        raise UserError("image_unsupported", name=Path(path).name) from error
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
    if header.unpacked > MAX_UNPACKED_BYTES:
        raise UserError("image_file_too_large", name=Path(path).name, limit=MAX_UNPACKED_BYTES >> 20)
    return header


def _header_of_file(path: Path | str) -> Header:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - Path.open costs more than reading the header
            start = file.read(HEADER_BYTES)
            if not start:
                raise UserError("image_empty", name=Path(path).name)
            if not start.startswith(image_headers.FREQUENT) and dicom.is_dicom(start, os.fspath(path)):
                return dicom.header(os.fspath(path))
            header = image_headers.parse(file, start)
            size = os.fstat(file.fileno()).st_size
    except NotAnImage as error:
        raise UserError("not_an_image", name=Path(path).name, kind=error.args[0]) from error
    except DAMAGE as error:
        raise UserError("image_damaged", name=Path(path).name, reason=_reason(error)) from error
    if size < jpeg_whole.least_bytes(header) and header.width * header.height <= MAX_PIXELS:
        raise UserError("image_damaged", name=Path(path).name, reason=f"{header.width}x{header.height} pixels in {size} bytes")
    return header


# ---- pixels

def _decoded(header: Header, data: np.ndarray) -> np.ndarray:
    pixels = None
    if header.plain and _ends_properly(header.kind, data):
        pixels = _plain(data)
        if pixels is not None and header.kind == "jpeg" and jpeg_whole.is_cut(pixels, header, data, _plain):
            raise ValueError("the picture data ends too early")
    elif "deep" in header.traits:
        pixels = _deep(header, data)
    return _with_pillow(data) if pixels is None else pixels


def _plain(data: np.ndarray) -> np.ndarray | None:
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def _ends_properly(kind: str, data: np.ndarray) -> bool:
    """A torn JPEG or PNG lacks its end mark. OpenCV would fill the rest with gray in silence; Pillow says so."""
    tail = data[-64:].tobytes()
    return b"\xff\xd9" in tail if kind == "jpeg" else b"IEND" in tail


def _with_pillow(data: np.ndarray) -> np.ndarray:
    try:
        opened = image_headers.open_with_pillow(io.BytesIO(data.tobytes()))
    except Image.UnidentifiedImageError as error:
        raise Unsupported from error
    with opened as picture:
        picture.load()
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            ground = Image.new("RGBA", layer.size, "white")
            return np.asarray(Image.alpha_composite(ground, layer).convert("RGB"))
        return np.asarray(picture.convert("RGB"))


def _deep(header: Header, data: np.ndarray) -> np.ndarray | None:
    """Samples of more than 8 bits, windowed; None when neither decoder hands them out unshortened."""
    values: np.ndarray | None
    if "planar" in header.traits:
        values = _planes(header, data)
    else:
        values = None if "wide" in header.traits else _deep_gray(data)
        values = _deep_colour(header, data) if values is None else values
    if values is None:
        return None
    alpha = None
    if values.ndim == 3 and values.shape[2] == 4:
        whole = np.iinfo(values.dtype).max if values.dtype.kind in "ui" else 1.0
        alpha = np.clip(np.nan_to_num(values[:, :, 3].astype(np.float32) / whole), 0.0, 1.0)
        values = values[:, :, :3]
        if "premultiplied" in header.traits:
            values = values / np.maximum(alpha, 1e-6)[:, :, None]
    shown = tones.to_8_bits(values, looked_at=None if alpha is None else alpha > 0)
    shown = 255 - shown if "inverted" in header.traits else shown
    shown = np.repeat(shown[:, :, None], 3, axis=2) if shown.ndim == 2 else shown
    return shown if alpha is None else tones.over_white(shown, alpha)


def _deep_gray(data: np.ndarray) -> np.ndarray | None:
    """[H,W] as Pillow reads it: 12 and 16 bits, signed 32 bits, floats."""
    try:
        with image_headers.open_with_pillow(io.BytesIO(data.tobytes())) as picture:
            return np.asarray(picture) if picture.mode.startswith(("I", "F")) else None
    except Image.UnidentifiedImageError:
        return None


def _deep_colour(header: Header, data: np.ndarray) -> np.ndarray | None:
    """[H,W] or RGB(A) [H,W,3..4] as OpenCV reads it; None where it would shorten or mix up the samples."""
    if "cmyk" in header.traits or (header.kind == "png" and ("several" in header.traits or not _ends_properly("png", data))):
        return None
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype == np.uint8 or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        return None
    return values[:, :, [2, 1, 0, 3][:values.shape[2]]] if values.ndim == 3 else values


def _planes(header: Header, data: np.ndarray) -> np.ndarray:
    """RGB [H,W,3] of a TIFF whose channels lie apart; what follows the first three is left out."""
    whole = data.tobytes()
    channels = tiff_headers.read(io.BytesIO(whole), whole[:16]).first(tiff_headers.SAMPLES)
    if channels < 3 or "cmyk" in header.traits:
        raise Unsupported
    planes = []
    for index in range(3):
        values = cv2.imdecode(np.frombuffer(tiff_planes.plane(whole, index, channels), np.uint8), cv2.IMREAD_UNCHANGED)
        if values is None or values.ndim != 2:
            raise Unsupported
        planes.append(values)
    return np.stack(planes, axis=2)


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
    """The decoder's own words, on one short line and without bytes of the file."""
    words = re.split(r"""\(?(?:\w+ )?b?['"][^'"]*\\x""", str(error))[0]
    return textwrap.shorten(words, 120, placeholder="…") or type(error).__name__

"""The numbers in a PNG whose pixels are labels, as they are stored: no colour conversion, no turning."""

from __future__ import annotations

import base64
import binascii
import io

import cv2
import numpy as np
from PIL import Image

from engine.datasets.images import DAMAGE
from engine.types import UserError

MAX_PIXELS = 100_000_000


def decode(data: bytes, name: str) -> np.ndarray:
    """[H,W] palette indices, bits, 8 or 16 bit gray, or [H,W,C] colours. Raises UserError naming `name` when that is no such PNG."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UserError("image_too_large", name=name, width=picture.width, height=picture.height, limit=MAX_PIXELS // 1_000_000)
            picture.load()
            return np.asarray(picture)
    except DAMAGE as error:
        reason = " ".join((str(error) or type(error).__name__).split())[:120]
        raise UserError("image_damaged", name=name, reason=reason) from error


def size_of(data: bytes, name: str) -> tuple[int, int]:
    """(width, height) and nothing decoded. Raises UserError."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            return picture.size
    except DAMAGE as error:
        raise UserError("image_damaged", name=name, reason=type(error).__name__) from error


def decode_text(text: object, name: str, limit: tuple[int, int]) -> np.ndarray:
    """bool[h,w] of a PNG in base64, at most `limit` = (width, height) large: true where it is neither zero nor transparent.

    Raises UserError.
    """
    try:
        data = base64.b64decode(text, validate=False) if isinstance(text, str) else b""
    except (binascii.Error, ValueError) as error:
        raise UserError("image_damaged", name=name, reason="base64") from error
    width, height = size_of(data, name)
    if width > limit[0] or height > limit[1]:
        raise UserError("image_damaged", name=name, reason=f"{width}x{height} > {limit[0]}x{limit[1]}")
    return painted(decode(data, name))


def painted(pixels: np.ndarray) -> np.ndarray:
    """bool[H,W]: where a mask is painted. Transparency decides where there is any, else any value but zero."""
    if pixels.ndim == 2:
        return np.asarray(pixels > 0)
    if pixels.shape[2] in (2, 4) and not pixels[..., -1].all():
        return np.asarray(pixels[..., -1] > 0)
    return np.asarray(pixels[..., :3 if pixels.shape[2] >= 3 else 1].any(-1))


def encode_text(mask: np.ndarray) -> str:
    """bool[h,w] -> a PNG of 0 and 255 in base64."""
    return base64.b64encode(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()).decode("ascii")

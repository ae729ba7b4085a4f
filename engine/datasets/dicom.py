"""DICOM pictures: the first frame in the tones that the file asks for. pydicom does the reading and stays optional."""

from __future__ import annotations

import logging
import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from engine.datasets import tones
from engine.datasets.image_headers import Header, NotAnImage
from engine.types import UserError

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")
MAGIC, MAGIC_AT = b"DICM", 128
BARE_STARTS = (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")  # the first group of a file without preamble
LONG_KINDS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT")
DEFLATED = b"1.2.840.10008.1.2.1.99"
MAX_INFLATED_BYTES = 1 << 30
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
CODECS = {"HTJ2K": "pylibjpeg pylibjpeg-openjpeg", "JPEG-LS": "pyjpegls", "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg", "JPEG": "python-gdcm"}


@dataclass(frozen=True)
class Tone:
    """How stored values become what is seen: first slope and intercept, then a window when the file has one."""

    slope: float = 1.0
    intercept: float = 0.0
    centre: float | None = None
    width: float = 0.0
    function: str = "LINEAR"


def is_dicom(start: bytes, name: str = "") -> bool:
    """Whether a file of these first bytes is DICOM; one without preamble only when its name says so."""
    if start[MAGIC_AT:MAGIC_AT + 4] == MAGIC:
        return True
    return start.startswith(BARE_STARTS) and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122


def header(path: str) -> Header:
    """Size and traits without the pixels. Raises NotAnImage for a report or a plan, UserError without pydicom."""
    data = _read(path, pixels=False)
    if not data.get("Rows") or not data.get("Columns"):
        raise NotAnImage("DICOM without a picture")
    several = int(data.get("NumberOfFrames") or 1) > 1
    deep = int(data.get("BitsStored") or data.get("BitsAllocated") or 8) > 8 or _tone(data).centre is not None or "VOILUTSequence" in data
    traits = frozenset(name for name, there in (("several", several), ("deep", deep)) if there)
    return Header("dicom", int(data.Columns), int(data.Rows), traits=traits)


def picture(path: str) -> np.ndarray:
    """uint8 RGB [H,W,3] of the first frame: slope and intercept, VOI table or first window, else a window of percentiles; MONOCHROME1 inverted.

    Raises UserError when no decoder for its transfer syntax is installed; ValueError and its like for damaged files.
    """
    from pydicom.pixels import apply_color_lut, pixel_array

    data = _read(path, pixels=True)
    if not any(name in data for name in PIXELS):
        raise ValueError("no pixel data")
    _check_codec(data, path)
    try:
        stored = pixel_array(data, index=0)
    except RuntimeError as error:
        if "does not support" in str(error):
            raise _codec_missing(data, path) from error
        raise
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        stored = apply_color_lut(stored, data)
        return (stored >> 8 if stored.dtype.itemsize > 1 and stored.max() > 255 else stored).astype(np.uint8)
    if stored.ndim == 3:
        return tones.to_8_bits(stored[:, :, :3], keep=_bits(data) <= 8) if stored.dtype != np.uint8 else np.ascontiguousarray(stored[:, :, :3])
    gray = _gray(stored, data)
    return np.repeat((255 - gray if data.get("PhotometricInterpretation") == "MONOCHROME1" else gray)[:, :, None], 3, axis=2)


def patient_of(path: str) -> str | None:
    """The PatientID, None when it has none."""
    name = str(_read(path, pixels=False).get("PatientID") or "").strip()
    return name or None


def spacing_of(path: str) -> tuple[float, float] | None:
    """Millimetres (down, across) as the file says: between rows and columns of the body, else of the detector. May be any number."""
    data = _read(path, pixels=False)
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        said = _value(data, "PixelMeasuresSequence", name)
        if said is not None and not isinstance(said, str) and len(said) == 2:
            return float(said[0]), float(said[1])
    return None


# ---- reading

def _read(path: str, *, pixels: bool) -> Dataset:
    """The data set, with a transfer syntax even where the file lost the group that says it."""
    pydicom = _library(path)
    with open(path, "rb") as file:  # noqa: PTH123 - a name that is no Unicode must do
        _check_deflated(file, path)
        file.seek(0)
        data = pydicom.dcmread(file, force=True, stop_before_pixels=not pixels)
    if "TransferSyntaxUID" not in data.file_meta:
        implicit, little = data.original_encoding
        order = pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian if implicit else order
    return data


def _library(path: str) -> Any:
    """pydicom, told to keep what it reads to itself: its warnings hold values, and so names of people."""
    try:
        import pydicom
    except ImportError as error:
        raise UserError("dicom_needs_pydicom", name=Path(path).name) from error
    if pydicom.config.logger.level != logging.CRITICAL:
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        pydicom.config.logger.setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module="pydicom")
    return pydicom


def _check_deflated(file: BinaryIO, path: str) -> None:
    """Raises UserError when a compressed data set unfolds to more than a picture may hold: pydicom unfolds it whole."""
    start = file.read(MAGIC_AT + 4)
    file.seek(MAGIC_AT + 4 if start.endswith(MAGIC) else 0)
    if not _is_deflated(file):
        return
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while chunk := (inflater.unconsumed_tail or file.read(1 << 20)):
        total += len(inflater.decompress(chunk, 1 << 22))
        if total > MAX_INFLATED_BYTES:
            raise UserError("image_file_too_large", name=Path(path).name, limit=MAX_INFLATED_BYTES >> 20)


def _is_deflated(file: BinaryIO) -> bool:
    """Reads the elements of group 2 and stops behind them."""
    deflated = False
    while True:
        here, head = file.tell(), file.read(8)
        if len(head) < 8 or head[:2] != b"\x02\0":
            file.seek(here)
            return deflated
        length = struct.unpack("<I", file.read(4))[0] if head[4:6] in LONG_KINDS else struct.unpack_from("<H", head, 6)[0]
        value = file.read(min(length, 64))
        deflated = deflated or (head[2:4] == b"\x10\0" and value.rstrip(b"\0 ") == DEFLATED)
        file.seek(length - len(value), os.SEEK_CUR)


def _check_codec(data: Dataset, path: str) -> None:
    from pydicom.pixels import get_decoder

    try:
        known = get_decoder(data.file_meta.TransferSyntaxUID).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise _codec_missing(data, path)


def _codec_missing(data: Dataset, path: str) -> UserError:
    syntax = str(data.file_meta.TransferSyntaxUID.name)
    package = next((package for word, package in CODECS.items() if word in syntax or (word == "HTJ2K" and "High-Throughput" in syntax)), "pylibjpeg")
    return UserError("dicom_codec_missing", name=Path(path).name, syntax=syntax, package=package)


# ---- tones

def _gray(stored: np.ndarray, data: Dataset) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi

    tone = _tone(data)
    if data.get("ModalityLUTSequence"):
        values = apply_modality_lut(stored, data)
    else:
        plain = (tone.slope, tone.intercept) == (1.0, 0.0)
        values = stored if plain else stored.astype(np.float64) * tone.slope + tone.intercept
    if data.get("VOILUTSequence"):
        bits = int(data.VOILUTSequence[0].LUTDescriptor[2])
        return np.round(apply_voi(values.astype(np.int64), data).astype(np.float64) * (255.0 / (2 ** bits - 1))).clip(0, 255).astype(np.uint8)
    if tone.centre is not None:
        return tones.window(values, tone.centre, tone.width, tone.function)
    padding = data.get("PixelPaddingValue")
    looked_at = None if padding is None else stored != int(padding)
    return tones.to_8_bits(values, keep=_bits(data) <= 8 and values is stored, looked_at=looked_at)


def _bits(data: Dataset) -> int:
    return int(data.get("BitsStored") or data.get("BitsAllocated") or 8)


def _tone(data: Dataset) -> Tone:
    """The first window of several; in enhanced multi-frame files that of the first frame, or the one that all frames share."""
    slope, intercept = (_number(_value(data, "PixelValueTransformationSequence", name)) for name in ("RescaleSlope", "RescaleIntercept"))
    centre, width = (_number(_value(data, "FrameVOILUTSequence", name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(_value(data, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR")
    usable = centre is not None and width is not None and (width >= 1 if function == "LINEAR" else width > 0)
    return Tone(1.0 if slope is None else slope, intercept or 0.0, centre if usable else None, width or 0.0, function)


def _value(data: Dataset, sequence: str, name: str) -> Any:
    places = [data]
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in list(data.get(groups) or ())[:1]:
            places += list(group.get(sequence) or ())[:1]
    return next((place.get(name) for place in places if place.get(name) is not None), None)


def _number(value: Any) -> float | None:
    """The first of several values; None for what is no finite number."""
    from pydicom.multival import MultiValue

    if isinstance(value, (MultiValue, list, tuple)):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None

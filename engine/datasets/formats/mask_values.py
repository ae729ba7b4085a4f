"""The numbers in mask pictures of any kind, as they are stored, and what all masks of a set have in common."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from engine.datasets import quiet
from engine.datasets.image_headers import open_with_pillow
from engine.datasets.images import DAMAGE, MAX_FILE_BYTES, size_of
from engine.types import UserError

TRANSPARENT = 1 << 24  # the colour of a pixel that cannot be seen
MAX_COLOURS = 1 << 16  # of one picture; a photo has more
MAX_VALUE = 0xFFFF
BAND = 1 << 22  # pixels


@dataclass(frozen=True)
class Raw:
    """A mask as stored. `values` [H,W]: gray u8/u16, indices u8 of `palette` (u32[256] of 0xRRGGBB), or colours u32 of 0xRRGGBB.

    `lossy` = JPEG has been over it; `soft` = its transparency has more than two levels.
    """

    kind: Literal["gray", "index", "colour"]
    values: np.ndarray
    palette: np.ndarray | None = None
    lossy: bool = False
    soft: bool = False


def read_mask(path: Path | str) -> Raw:
    """Raises UserError for what is no picture, damaged, or larger than images may be."""
    name = Path(path).name
    size_of(path)  # refuses bombs by their header
    if Path(path).stat().st_size > MAX_FILE_BYTES:
        raise UserError("image_file_too_large", name=name, limit=MAX_FILE_BYTES >> 20)
    data = np.fromfile(path, np.uint8)
    start = data[:26].tobytes()
    png, jpeg = start.startswith(b"\x89PNG"), start.startswith(b"\xff\xd8")
    try:
        if (png and start[25] != 3 and b"IEND" in data[-64:].tobytes()) or (jpeg and b"\xff\xd9" in data[-64:].tobytes()):
            pixels = quiet.imdecode(data, cv2.IMREAD_UNCHANGED)
            if pixels is not None:
                return _of_opencv(pixels, start[24] if png and start[25] == 0 else 8, lossy=jpeg)
        return _of_pillow(data, lossy=jpeg)
    except DAMAGE as error:
        raise UserError("image_damaged", name=name, reason=" ".join((str(error) or type(error).__name__).split())[:120]) from error


def _of_opencv(pixels: np.ndarray, depth: int, *, lossy: bool) -> Raw:
    """`depth` bits of gray: fewer than 8 were spread over 0..255."""
    if pixels.ndim == 2:
        return Raw("gray", pixels // (255 // ((1 << depth) - 1)) if depth < 8 else pixels, lossy=lossy)
    if pixels.dtype != np.uint8:
        pixels = (pixels >> 8 if pixels.max() > 255 else pixels).astype(np.uint8)
    return _of_channels(list(cv2.split(pixels)[2::-1]), pixels[..., 3] if pixels.shape[2] == 4 else None, lossy=lossy)


def _of_pillow(data: np.ndarray, *, lossy: bool) -> Raw:
    with open_with_pillow(io.BytesIO(data.tobytes())) as picture:
        picture.load()
        if picture.mode == "P":
            colours = np.zeros((256, 3), np.uint8)
            given = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
            colours[:len(given)] = given
            return Raw("index", np.asarray(picture), _packed(*colours.T))
        if picture.mode in ("1", "L") or picture.mode.startswith(("I", "F")):
            return Raw("gray", _whole(np.asarray(picture)), lossy=lossy)
        if picture.has_transparency_data:
            layers = np.asarray(picture.convert("RGBA"))
            return _of_channels([layers[..., c] for c in range(3)], layers[..., 3], lossy=lossy)
        layers = np.asarray(picture.convert("RGB"))
        return _of_channels([layers[..., c] for c in range(3)], None, lossy=lossy)


def _whole(values: np.ndarray) -> np.ndarray:
    """Bits, 32-bit and float gray as u8 or u16; fractions of 1 become fractions of 255. Raises ValueError for what is no mask."""
    if values.dtype == np.uint8 or values.dtype == np.uint16:
        return values
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float64))
        fraction = values.max(initial=0) <= 1 and bool((values % 1).any())
        values = np.round(values * 255 if fraction else values)
    if values.min(initial=0) < 0 or values.max(initial=0) > MAX_VALUE:
        raise ValueError(f"values {values.min():g}..{values.max():g}; 0..{MAX_VALUE} was wanted")
    return values.astype(np.uint8 if values.max(initial=0) < 256 else np.uint16)


def _of_channels(rgb: list[np.ndarray], alpha: np.ndarray | None, *, lossy: bool) -> Raw:
    red, green, blue = rgb
    if alpha is not None and (alpha != 255).any():
        seen = alpha > 127
        soft = bool(((alpha != 255) & (alpha != 0)).any())
        return Raw("colour", np.where(seen, _packed(red, green, blue), np.uint32(TRANSPARENT)), lossy=lossy, soft=soft)
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return Raw("gray", np.ascontiguousarray(red), lossy=lossy)
    return Raw("colour", _packed(red, green, blue), lossy=lossy)


def _packed(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    packed = red.astype(np.uint32)
    for channel in (green, blue):
        packed <<= 8
        packed |= channel
    return packed


# ---- what a set of masks holds

@dataclass
class Tally:
    """How many pixels have a value, and how many of them have it all around: edges of soft masks have not."""

    count: int = 0
    solid: int = 0

    def add(self, other: Tally) -> None:
        self.count += other.count
        self.solid += other.solid


Levels = dict[int, Tally]


@dataclass
class Survey:
    """The values of all masks seen so far, by kind. `palette` = colour by index, `clash` = files whose palettes disagree."""

    gray: Levels = field(default_factory=dict)
    index: Levels = field(default_factory=dict)
    colour: Levels = field(default_factory=dict)
    by_palette: Levels = field(default_factory=dict)  # the colours of the indices
    palette: dict[int, int] = field(default_factory=dict)
    clash: bool = False
    lossy: str = ""
    soft: bool = False
    files: int = 0
    pixels: int = 0

    def add(self, raw: Raw, levels: Levels, name: str) -> None:
        """One more mask. Raises UserError when there are more colours than in any set of masks."""
        self.files += 1
        self.pixels += raw.values.size
        self.lossy = self.lossy or (name if raw.lossy and len(levels) > 2 else "")
        self.soft |= raw.soft
        target = {"gray": self.gray, "index": self.index, "colour": self.colour}[raw.kind]
        for value, tally in levels.items():
            target.setdefault(value, Tally()).add(tally)
            if raw.palette is not None:
                colour = int(raw.palette[value])
                self.by_palette.setdefault(colour, Tally()).add(tally)
                self.clash |= self.palette.setdefault(value, colour) != colour
        if len(self.colour) > MAX_COLOURS:
            raise UserError("masks_not_masks", name=name, levels=len(self.colour))


    def unite(self, other: Survey) -> None:
        for kind in ("gray", "index", "colour", "by_palette"):
            for value, tally in getattr(other, kind).items():
                getattr(self, kind).setdefault(value, Tally()).add(tally)
        self.clash |= other.clash or any(self.palette.get(value, colour) != colour for value, colour in other.palette.items())
        self.palette |= other.palette
        self.lossy, self.soft = self.lossy or other.lossy, self.soft or other.soft
        self.files, self.pixels = self.files + other.files, self.pixels + other.pixels


def levels_of(values: np.ndarray, name: str) -> Levels:
    """The distinct values of one mask. Raises UserError when it has the colours of a photo."""
    found: Levels = {}
    for band in bands(values.shape):
        for value, count in _counts(values[band], name).items():
            found.setdefault(value, Tally()).count += count
    if len(found) <= 2 or min(values.shape) < 3:
        return {value: Tally(tally.count, tally.count) for value, tally in found.items()}
    for band in bands(values.shape):
        around = values[max(0, band.start - 1):band.stop + 1]
        for value, count in _counts(around[1:-1, 1:-1][_solid(around)], name).items():
            found[value].solid += count
    return found


def bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of a picture of `shape`, a few million pixels at a time: numpy needs eight bytes for each that it counts or looks up."""
    rows = max(1, BAND // max(1, shape[1]))
    yield from (slice(top, min(top + rows, shape[0])) for top in range(0, shape[0], rows))


def _counts(values: np.ndarray, name: str) -> dict[int, int]:
    return _runs(values, name) if values.dtype == np.uint32 else _histogram(values)


def _histogram(values: np.ndarray) -> dict[int, int]:
    counts = np.bincount(values.ravel())
    there = np.flatnonzero(counts)
    return dict(zip(there.tolist(), counts[there].tolist(), strict=True))


def _runs(values: np.ndarray, name: str) -> dict[int, int]:
    """Counts by runs of equal pixels, of which a mask has few."""
    flat = values.ravel()
    if not flat.size:
        return {}
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size))
    there, place = np.unique(flat[starts], return_inverse=True)
    if len(there) > MAX_COLOURS:
        raise UserError("masks_not_masks", name=name, levels=len(there))
    counts = np.bincount(place, weights=lengths).astype(np.int64)
    return dict(zip(there.tolist(), counts.tolist(), strict=True))


def _solid(values: np.ndarray) -> np.ndarray:
    """bool[H-2,W-2]: pixels whose eight neighbours have the same value."""
    across = values[:, 1:] == values[:, :-1]
    triple = across[:, 1:] & across[:, :-1]
    down = values[1:, 1:-1] == values[:-1, 1:-1]
    return triple[:-2] & triple[1:-1] & triple[2:] & down[:-1] & down[1:]

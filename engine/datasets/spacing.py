"""How large a pixel is in nature, where a file says so and can be believed."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from PIL import Image, TiffImagePlugin

from engine.datasets import dicom
from engine.types import UserError

Spacing = tuple[float, float]
SMALLEST, LARGEST = 1e-6, 100.0  # millimetres
FINEST_PRINT = 0.02  # millimetres: no printer's resolution (1,270 dpi) is written into a picture of a microscope or a film scanner
MILLIMETRES = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "mm": 1.0, "cm": 10.0}
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
LONGEST_DESCRIPTION = 100_000
SIDEWAYS = (5, 6, 7, 8)
PER_CENTIMETRE = 3


def spacing_of(path: Path | str) -> Spacing | None:
    """Millimetres from one pixel to the next, (across, down) of the upright picture; None where the file does not say it.

    DICOM: PixelSpacing, else ImagerPixelSpacing (at the detector: what lies before it is shown larger than it is). TIFF: what ImageJ and
    OME-TIFF write into the description, else a resolution per centimetre that is finer than any print. The resolution of PNG, JPEG and other
    TIFFs is about paper (72, 96, 300 dpi, set by software) and is not read.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(256)
    except OSError:
        return None
    if dicom.is_dicom(start, str(path)):
        return _of_dicom(str(path))
    return _of_tiff(path) if start.startswith(TIFF) else None


def _of_dicom(path: str) -> Spacing | None:
    try:
        said = dicom.spacing_of(path)
    except (UserError, OSError, ValueError, TypeError):
        return None
    return _believed(said[1], said[0]) if said else None


def _of_tiff(path: Path | str) -> Spacing | None:
    try:
        with Image.open(path) as picture:
            tags = picture.tag_v2 if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}
            read = {number: tags.get(number) for number in (270, 274, 282, 283, 296)}
    except (OSError, ValueError, SyntaxError, TypeError, Image.DecompressionBombError):
        return None
    found = _of_description(str(read[270] or "")[:LONGEST_DESCRIPTION], read[282], read[283])
    if found is None and read[296] == PER_CENTIMETRE:
        found = _of_resolution(read[282], read[283], 10.0)
        found = found if found and max(found) <= FINEST_PRINT else None
    return (found[1], found[0]) if found and read[274] in SIDEWAYS else found


def _of_description(text: str, across: Any, down: Any) -> Spacing | None:
    """OME-XML: PhysicalSizeX and Y with their units; ImageJ: the unit of the tags, which count pixels per unit."""
    sizes = {axis: re.search(rf'PhysicalSize{axis}="([0-9.eE+-]{{1,40}})"', text) for axis in "XY"}
    if (x := sizes["X"]) and (y := sizes["Y"]):
        scales = [_unit(match[1] if match else "um") for match in (re.search(rf'PhysicalSize{axis}Unit="([^"]{{1,20}})"', text) for axis in "XY")]
        return _believed(_times(x[1], scales[0]), _times(y[1], scales[1]))
    unit = re.search(r"^unit=(\S{1,20})", text, re.MULTILINE)
    if text.startswith("ImageJ=") and unit:
        return _of_resolution(across, down, _unit(unit[1]))
    return None


def _unit(name: str) -> float | None:
    return MILLIMETRES.get(name.replace("\\u00B5", "µ"))


def _times(number: str, scale: float | None) -> float | None:
    try:
        return None if scale is None else float(number) * scale
    except ValueError:
        return None


def _of_resolution(across: Any, down: Any, unit: float | None) -> Spacing | None:
    """Pixels per unit of so many millimetres."""
    try:
        return None if unit is None else _believed(unit / float(across), unit / float(down))
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _believed(across: Any, down: Any) -> Spacing | None:
    """A size that a pixel can have; a file may say anything."""
    try:
        found = float(across), float(down)
    except (TypeError, ValueError):
        return None
    return found if all(math.isfinite(each) and SMALLEST <= each <= LARGEST for each in found) else None

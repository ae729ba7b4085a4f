"""The pictures of the page: the image with what was found on it, as a data address."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from engine.datasets.images import open_image, resize
from engine.overlay_labels import draw_heat, draw_labels, scaled
from engine.types import Instances, SemanticMask, Tags, UserError
from ui.pages.predict.models import Told, predictors
from ui.pages.predict.result import INSTANCE, Filter, Result, Shot

LONGEST, SHORTEST, FINE = 1600, 640, 1024  # FINE: where outlines of thin objects must not be thicker than these
THUMB = 96


def picture(result: Result, shot: Shot, chosen: Filter) -> str:
    """The image with what passes the filter drawn on it; never larger than a screen needs."""
    return encoded(drawn(shown_pixels(shot.file, FINE if result.task == INSTANCE else SHORTEST), result, shot, chosen))


def drawn(plain: np.ndarray, result: Result, shot: Shot, chosen: Filter, *, names: bool = False) -> np.ndarray:
    """A new u8[H,W,3]. `names`: tags are written on it too, for a picture that stands alone."""
    if chosen.opacity <= 0:
        return plain
    across, down = plain.shape[1] / shot.size[0], plain.shape[0] / shot.size[1]
    found = chosen(shot.labels)
    if isinstance(found, Tags):
        heated = plain if chosen.explain is None else draw_heat(plain, evidence_of(result, shot.file, chosen.explain), opacity=chosen.opacity)
        return draw_labels(heated, found, result.classes, thresholds=result.limits(chosen)) if names else heated
    found, filled = scaled(found, across, down), isinstance(found, SemanticMask) or (isinstance(found, Instances) and found.shapes is not None)
    if filled and not chosen.contours:
        return draw_labels(plain, found, result.classes, opacity=chosen.opacity)
    over = draw_labels(plain, found, result.classes, contours=chosen.contours)
    strength = min(1.0, 2 * chosen.opacity) if filled else chosen.opacity  # thin lines need more than areas do
    return over if strength >= 1 else (plain * (1 - strength) + over * strength).round().astype(np.uint8)


def evidence_of(result: Result, file: Path, class_id: int) -> np.ndarray:
    """f32[h,w] of 0..1: where the model sees the class. Raises UserError when the model is gone."""
    if result.source is None:
        return np.zeros((1, 1), np.float32)
    weights, told = result.source
    return _evidence(weights, weights.stat().st_mtime_ns if weights.is_file() else 0, told, file, class_id)


def heat(result: Result, file: Path, class_name: str) -> str:
    """The image with the heat map of a class. Raises UserError for a class that the model does not know, and for other models."""
    if class_name not in result.classes:
        raise UserError("unknown_class", name=class_name, known=", ".join(result.classes))
    return encoded(draw_heat(open_image(file), evidence_of(result, file, result.classes.index(class_name))))


@lru_cache(maxsize=256)
def _evidence(weights: Path, _changed: int, told: Told, file: Path, class_id: int) -> np.ndarray:
    from engine.explain import evidence

    return evidence(predictors(weights, told), file, class_id)


@lru_cache(maxsize=8)
def shown_pixels(file: Path, shortest: int = SHORTEST) -> np.ndarray:
    """The image at a size that suits a screen: small ones are enlarged to `shortest`, so that names on them can be read."""
    pixels = open_image(file)
    longest = max(pixels.shape[:2])
    scale = LONGEST / longest if longest > LONGEST else max(1.0, shortest / longest)
    return resize(pixels, (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))))


def thumbnail(file: Path) -> str:
    pixels = shown_pixels(file)
    scale = THUMB / max(pixels.shape[:2])
    return encoded(resize(pixels, (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))))


def fitted(pixels: np.ndarray, longest: int) -> np.ndarray:
    """The same picture, its longer side no longer than this."""
    scale = min(1.0, longest / max(pixels.shape[:2]))
    return resize(pixels, (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))))


def encoded(pixels: np.ndarray) -> str:
    """As a data address."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"

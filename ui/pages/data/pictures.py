"""Images of a data set with their labels drawn, as parts of a page."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from engine import overlay
from engine.datasets.images import open_image, resize
from engine.datasets.outlines import as_polygons
from engine.datasets.store import Dataset, Row
from engine.types import RLE, Instances, Polygons, SemanticMask, Shape, UserError
from ui.html import Html, tag

THUMBNAIL, STRIP = 256, 96
SMALLEST, LARGEST = 960, 2048
UNREADABLE = (UserError, OSError, ValueError)


def thumbnail(dataset: Dataset, image_id: int) -> str | None:
    """The small picture with labels but without names as a data: URL; None when it cannot be read or is gone."""
    try:
        return url(drawn(_loaded(dataset.thumbnail(image_id, THUMBNAIL)), dataset.row(image_id), dataset.classes, names=False))
    except UNREADABLE:
        return None


def large(row: Row, classes: tuple[str, ...], alt: str, *, bare: bool = False) -> Html:
    """The picture at the size of a screen, so that lines and names drawn on it are sharp. Raises UserError."""
    picture = open_image(row.path)
    longest = max(picture.shape[:2])
    scale = min(max(longest, SMALLEST), LARGEST) / longest
    if scale != 1:
        picture = resize(picture, (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))))
    return image(picture if bare else drawn(picture, row, classes), alt, quality=88)


def strip(dataset: Dataset, count: int = 4) -> Html:
    """A few thumbnails of a set in a row, for its card; decoration, so without a text of its own."""
    pictures = []
    for row in dataset.page(0, count, brief=True):
        try:
            pictures.append(image(_loaded(dataset.thumbnail(row.id, STRIP)), ""))
        except UNREADABLE:
            continue
    return tag("span", *pictures, class_="lb-thumbs")


def drawn(picture: np.ndarray, row: Row, classes: tuple[str, ...], *, names: bool = True) -> np.ndarray:
    """`picture`, which is `row` at another size, with its objects or its mask."""
    if isinstance(row.labels, SemanticMask):
        return overlay.draw_mask(picture, row.labels, classes)
    if not isinstance(row.labels, Instances):
        return picture
    height, width = picture.shape[:2]
    if not names:  # lines half a pixel wide; where nothing is drawn, every pixel stays what it was
        labels = scaled(row.labels, 2 * width / row.size[0], 2 * height / row.size[1])
        twice = overlay.draw(picture.repeat(2, axis=0).repeat(2, axis=1), labels, classes, scores=False, names=False, pen=overlay.FINE)
        return resize(twice, (width, height))
    labels = scaled(row.labels, width / row.size[0], height / row.size[1])
    return overlay.draw(picture, labels, classes, scores=False)


def scaled(labels: Instances, x: float, y: float) -> Instances:
    """Labels for a picture of another size; masks made of runs become outlines."""
    if x == 1 and y == 1:
        return labels
    shapes = None if labels.shapes is None else tuple(_scaled_shape(shape, x, y) for shape in labels.shapes)
    return replace(labels, boxes=labels.boxes * np.array([x, y, x, y], np.float32), shapes=shapes)


def _scaled_shape(shape: Shape, x: float, y: float) -> Shape:
    if shape is None:
        return None
    outline = as_polygons(shape, None) if isinstance(shape, RLE) else shape
    return Polygons(tuple(ring * (x, y) for ring in outline.rings), tuple(hole * (x, y) for hole in outline.holes))


def image(picture: np.ndarray, alt: str, quality: int = 80) -> Html:
    """An <img> that carries its own bytes, so that no file of the workspace has to be served."""
    return tag("img", src=url(picture, quality), alt=alt, width=picture.shape[1], height=picture.shape[0], draggable="false")


def url(picture: np.ndarray, quality: int = 80) -> str:
    """u8[H,W,3] as a data: URL."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _loaded(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))

"""Predictions as files: predictions.json and mask pictures."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from engine.datasets.outlines import mask_of, rle_of_mask
from engine.datasets.plain_text import decoded
from engine.overlay import color_of
from engine.types import NOTHING, RLE, Instances, Labels, Polygons, SemanticMask, Tags, UserError

Row = tuple[str, tuple[int, int], Labels]
Keep = Callable[[str, bytes], str]
Spacing = tuple[float, float]
BACKGROUND = "background"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
LONGEST_LIST = 1 << 20  # bytes of a text file with class names


def class_names(text: str) -> list[str]:
    """Names in any script, as a list with commas (Chinese ones too) or the name of a text file with one name a line.

    Raises UserError for a text file that is not there, is too large or names nothing, and for a name that stands twice.
    """
    names = _class_names(text)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError("class_names_twice", names=", ".join(twice[:20]))
    return names


def _class_names(text: str) -> list[str]:
    file = Path(text)
    try:
        there = file.is_file()
    except (OSError, ValueError):  # a long list is no name that a file system takes
        there = False
    if not there:
        if file.suffix.lower() == ".txt" and "," not in text:
            raise UserError("path_missing", path=text)
        return _parted(text)
    if file.stat().st_size > LONGEST_LIST:
        raise UserError("class_file_too_large", path=text, limit=LONGEST_LIST >> 20)
    lines = [line.strip() for line in decoded(file.read_bytes()).splitlines() if line.strip()]
    names = _parted(lines[0]) if len(lines) == 1 else lines
    if not names:
        raise UserError("class_file_empty", path=text)
    return names


def harmless(text: str) -> str:
    """A cell of a table that a spreadsheet would take for a formula gets an apostrophe."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _parted(text: str) -> list[str]:
    return [each.strip() for each in text.replace("，", ",").split(",") if each.strip()]


def inline(name: str, png: bytes) -> str:
    """A mask picture as a data URL, for answers that are no files."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def as_json(model: str, task: str, classes: Sequence[str], images: Iterable[Row], keep: Keep = inline,
            thresholds: Sequence[float] = (), *, single: bool = False) -> dict[str, Any]:
    """The predictions.json of `predict`: boxes as [x, y, width, height] in pixels, masks as run lengths or pictures, tags with their probabilities.

    `keep(name, PNG)` puts a mask picture somewhere and tells what to write of it; `thresholds` are those of the tags.
    """
    return document(model, task, classes, [entry(*row, classes, keep, thresholds, single=single) for row in images])


def document(model: str, task: str, classes: Sequence[str], entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"model": model, "task": task, "classes": list(classes), "images": entries}


def entry(file: str, size: tuple[int, int], labels: Labels, classes: Sequence[str], keep: Keep = inline,
          thresholds: Sequence[float] = (), spacing: Spacing | None = None, *, single: bool = False) -> dict[str, Any]:
    """What is told of one image. With the `spacing` of its pixels areas are told in mm2 as well.

    `single`: an image has one class, and the likeliest is it whatever its probability.
    """
    whole = {"file": file, "width": size[0], "height": size[1], **({"spacing_mm": list(spacing)} if spacing else {})}
    if isinstance(labels, Instances):
        return {**whole, "instances": _instances(labels, classes, size)}
    if isinstance(labels, Tags):
        return {**whole, "tags": _tags(labels, classes, thresholds, single)}
    return {**whole, **_mask(file, labels, classes, keep, spacing)}


def of_frame(labels: Labels, size: tuple[int, int], classes: Sequence[str], thresholds: Sequence[float] = (), *,
             single: bool = False) -> dict[str, Any]:
    """What is told of one frame of a video of `size`: as of an image, but areas without their masks."""
    if isinstance(labels, Instances):
        return {"instances": _instances(labels, classes, size)}
    if isinstance(labels, Tags):
        return {"tags": _tags(labels, classes, thresholds, single)}
    return {"areas": mask_areas(labels, classes)}


def _mask(file: str, labels: SemanticMask, classes: Sequence[str], keep: Keep, spacing: Spacing | None) -> dict[str, Any]:
    areas = mask_areas(labels, classes, spacing)
    if labels.layers is not None and len(labels.layers) > 1:  # areas may overlap: a picture for each class
        masks = [{"class": name, "class_id": i, "mask": keep(f"{file}.{i}", mask_png(SemanticMask(layers=labels.layers[i : i + 1]), (name,), i))}
                 for i, name in enumerate(classes)]
        return {"masks": masks, "areas": areas}
    return {"mask": keep(file, mask_png(labels, classes)), "values": mask_values(labels, classes), "areas": areas}


def _instances(labels: Instances, classes: Sequence[str], size: tuple[int, int]) -> list[dict[str, Any]]:
    corners = labels.boxes.astype(float).round(2)
    scores = labels.scores if labels.scores is not None else np.ones(len(labels))
    shapes = labels.shapes if labels.shapes is not None else (None,) * len(labels)
    return [
        {"class": classes[c], "class_id": int(c), "score": round(float(s), 4),
         "box": [float(b[0]), float(b[1]), round(float(b[2] - b[0]), 2), round(float(b[3] - b[1]), 2)],
         **({} if shape is None else {"mask": _run_lengths(shape, size)})}
        for b, c, s, shape in zip(corners, labels.classes, scores, shapes, strict=True)
    ]


def _run_lengths(shape: Polygons | RLE, size: tuple[int, int]) -> dict[str, Any]:
    """A mask as COCO writes it: {"size": [height, width], "counts": text}."""
    mask = shape if isinstance(shape, RLE) else rle_of_mask(mask_of(shape, size))
    return {"size": list(mask.size), "counts": mask.counts.decode("ascii")}


def object_area(shape: Polygons | RLE) -> int:
    """Pixels of a mask; of outlines, what they enclose."""
    if isinstance(shape, RLE):
        return int(coco_mask.area({"size": list(shape.size), "counts": shape.counts}))
    return round(sum(_enclosed(ring) for ring in shape.rings) - sum(_enclosed(hole) for hole in shape.holes))


def _enclosed(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def _tags(labels: Tags, classes: Sequence[str], thresholds: Sequence[float], single: bool) -> list[dict[str, Any]]:
    """Every class with its probability, the surest first; `present` where it reaches its threshold, or where it is the first of a `single` one."""
    order = [int(i) for i in np.argsort(-np.nan_to_num(labels.values, nan=-1), kind="stable") if not np.isnan(labels.values[i])]
    limit = [thresholds[i] if i < len(thresholds) else 0.5 for i in range(len(classes))]
    return [{"class": classes[i], "class_id": i, "score": round(float(labels.values[i]), 4),
             "present": place == 0 if single else bool(labels.values[i] >= limit[i])} for place, i in enumerate(order)]


def mask_values(labels: SemanticMask, classes: Sequence[str]) -> dict[str, str]:
    """What the values of a mask picture mean. 0 is always what is left."""
    shift = _shift(labels, classes)
    return {"0": BACKGROUND, **{str(i + shift): name for i, name in enumerate(classes)}}


def mask_indices(labels: SemanticMask, classes: Sequence[str]) -> np.ndarray:
    """u8[H,W]: the values of a mask picture of one layer, or of a class per pixel."""
    if labels.layers is not None:
        return labels.layers[0].astype(np.uint8)
    if labels.classes is None:
        raise ValueError("a mask has neither classes nor layers")
    plain = labels.classes.astype(np.int32) + _shift(labels, classes)
    return np.where(labels.classes >= NOTHING, 0, np.minimum(plain, 255)).astype(np.uint8)


def mask_png(labels: SemanticMask, classes: Sequence[str], first: int = 0) -> bytes:
    """An 8-bit palette picture that can be looked at: the app's colours for the classes from `first` on, black for what is left."""
    picture = Image.fromarray(mask_indices(labels, classes), "P")
    begin = first + 1 - _shift(labels, classes)
    colours = [(0, 0, 0)] + [_rgb(i + begin) for i in range(255)]
    picture.putpalette([channel for colour in colours for channel in colour])
    stream = BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def mask_areas(labels: SemanticMask, classes: Sequence[str], spacing: Spacing | None = None) -> list[dict[str, Any]]:
    """Pixels of each class that shows; not of what is left. mm2 with them where `spacing` (mm across, mm down) is known."""
    if labels.layers is not None:
        pixels = [int(layer.sum()) for layer in labels.layers]
    else:
        pixels = np.bincount(np.asarray(labels.classes).ravel(), minlength=len(classes))[: len(classes)].tolist()
    return [{"class": name, "class_id": i, "pixels": pixels[i], **({"mm2": _square_millimetres(pixels[i], spacing)} if spacing else {})}
            for i, name in enumerate(classes) if pixels[i] and name.strip().casefold() != BACKGROUND]


def _square_millimetres(pixels: int, spacing: Spacing) -> float:
    """Six digits that mean something: areas of cells are as true as those of lungs."""
    return float(f"{pixels * spacing[0] * spacing[1]:.6g}")


def _shift(labels: SemanticMask, classes: Sequence[str]) -> int:
    """How much larger a value is than the class id: 0 means what is left, unless class 0 does."""
    return int(labels.layers is not None or classes[0].casefold() != BACKGROUND)


def _rgb(class_id: int) -> tuple[int, int, int]:
    code = color_of(class_id)
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)

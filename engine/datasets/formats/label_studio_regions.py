"""The results of one Label Studio annotation, to objects and tags and back. Its coordinates are percent of the upright image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.datasets.formats import label_studio_brush, mask_pixels
from engine.datasets.formats.label_studio_config import WITHOUT_AREA
from engine.datasets.formats.label_studio_tasks import GEOMETRY
from engine.datasets.formats.labelme_shapes import circle, differs
from engine.datasets.objects import Classes, Objects, clean_name, number, pairs_of
from engine.datasets.outlines import joined, mask_of, rle_of_mask
from engine.types import RLE, Instances, Polygons, Shape, UserError

DECIMALS = 8  # of percents
CROWD = "crowd"  # a remark on a region


# ---- reading

@dataclass
class Region:
    """One region: `value` its geometry, `names` the labels given to it, `choices` what else was chosen for it."""

    ref: str
    value: dict[str, Any]
    result: dict[str, Any]
    names: list[str] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        return list(dict.fromkeys(self.names or self.choices or ["unnamed"]))


def regions_of(results: list[dict[str, Any]], left_out: Counter[str]) -> list[Region]:
    """The regions that have an area, with the labels of all results that share their id; `left_out` counts the others."""
    found: dict[str, Region] = {}
    for position, result in enumerate(results, 1):
        value, kind = result.get("value"), str(result.get("type", ""))
        if not isinstance(value, dict) or not GEOMETRY & value.keys():
            left_out["label_studio_others_left_out"] += kind not in ("choices", "taxonomy")
            continue
        if kind in WITHOUT_AREA or kind.startswith("keypoint") or "vertices" in value or ("x" in value and not {"height", "radiusX"} & value.keys()):
            left_out["label_studio_points_left_out"] += 1
            continue
        ref = str(result.get("id") or f"#{position}")[:40]
        region = found.setdefault(ref, Region(ref, value, result))
        names = list(names_in(value, kind))
        if kind in ("choices", "taxonomy"):
            region.choices += names
        elif names:
            region.names += names
    left_out["label_studio_attributes"] += sum(bool(region.names and region.choices) for region in found.values())
    left_out["regions_of_several_classes"] += sum(len(region.labels) > 1 for region in found.values())
    left_out["objects_without_class"] += sum(not (region.names or region.choices) for region in found.values())
    return list(found.values())


def names_in(value: dict[str, Any], kind: str) -> Iterator[str]:
    """The labels, choices or paths of a taxonomy in a result."""
    given = value.get(kind)
    for item in given if isinstance(given, list) else [given]:
        if isinstance(item, list):
            item = "/".join(clean_name(part) for part in item)
        if isinstance(item, str) and clean_name(item):
            yield clean_name(item)


def tags_in(results: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """(control, name) of everything chosen for the image as a whole."""
    for result in results:
        value, kind = result.get("value"), result.get("type")
        if kind in ("choices", "taxonomy") and isinstance(value, dict) and not GEOMETRY & value.keys():
            yield from ((str(result.get("from_name", "")), name) for name in names_in(value, str(kind)))


def add_region(region: Region, objects: Objects, classes: Classes, left_out: Counter[str]) -> None:
    """One object for each label of a region."""
    value = region.value
    meta = region.result.get("meta")
    crowd = isinstance(meta, dict) and meta.get("text") == [CROWD]
    for name in region.labels:
        class_id = classes.id_of(name)
        if "rle" in value or "imageDataURL" in value:
            _add_mask(region, objects, class_id, crowd)
        elif "points" in value:
            percents = pairs_of(value["points"])
            objects.add_polygons(class_id, [[] if percents is None else percents * objects.size / 100], ref=region.ref, crowd=crowd)
        elif "radiusX" in value:
            objects.add_polygons(class_id, [_ellipse(value, objects.size)], ref=region.ref, crowd=crowd)
        else:
            left_out["label_studio_turned_boxes"] += bool((number(value.get("rotation")) or 0) % 360)
            objects.add_box(class_id, _box(value, objects.size), region.ref, crowd=crowd)


def _measures(value: dict[str, Any], keys: tuple[str, str, str, str], size: tuple[int, int]) -> list[float] | None:
    """Four percents of width, height, width, height, in pixels."""
    numbers = [number(value.get(key)) for key in keys]
    sides = (*size, *size)
    return None if None in numbers else [percent * side / 100 for percent, side in zip(numbers, sides, strict=True) if percent is not None]


def _box(value: dict[str, Any], size: tuple[int, int]) -> list[Any]:
    """x1,y1,x2,y2 around a rectangle that may be turned clockwise about its top left corner."""
    measures = _measures(value, ("x", "y", "width", "height"), size)
    if measures is None:
        return [value.get(key) for key in ("x", "y", "width", "height")]
    x, y, width, height = measures
    turn = math.radians((number(value.get("rotation")) or 0.0) % 360)
    corners = [(x + a * math.cos(turn) - b * math.sin(turn), y + a * math.sin(turn) + b * math.cos(turn)) for a in (0, width) for b in (0, height)]
    return [min(c[0] for c in corners), min(c[1] for c in corners), max(c[0] for c in corners), max(c[1] for c in corners)]


def _ellipse(value: dict[str, Any], size: tuple[int, int]) -> list[list[float]]:
    measures = _measures(value, ("x", "y", "radiusX", "radiusY"), size)
    return [] if measures is None else circle(measures[0], measures[1], measures[2], measures[3], number(value.get("rotation")) or 0.0).tolist()


def _add_mask(region: Region, objects: Objects, class_id: int, crowd: bool) -> None:
    value, (width, height) = region.value, objects.size
    try:
        if "rle" in value:
            mask = label_studio_brush.decode(value["rle"], objects.size)
        else:
            mask = mask_pixels.decode_text(str(value["imageDataURL"]).rpartition(",")[2], objects.where, objects.size)
            if mask.shape != (height, width):
                raise ValueError(f"{mask.shape[1]}x{mask.shape[0]} for {width}x{height}")
    except (ValueError, UserError) as error:
        reason = error.values.get("reason", error.key) if isinstance(error, UserError) else error
        objects.fault("runs_damaged", region.ref, reason=str(reason)[:120])
        return
    if mask.any():
        rle = rle_of_mask(mask)
        objects.add_rle(class_id, rle.counts, rle.size, region.ref, crowd=crowd)
    else:
        objects.fault("object_without_area", region.ref, box="-")


# ---- writing

def results_of(labels: Instances, names: tuple[str, ...], size: tuple[int, int], kinds: dict[str, None], lost: Counter[str]) -> list[dict[str, Any]]:
    """Results as Label Studio imports them. Adds to `kinds` what the interface needs, to `lost` what they cannot say."""
    found = []
    for index, (box, class_id) in enumerate(zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True)):
        shape = labels.shapes[index] if labels.shapes is not None else None
        lost["outline_joined"] += isinstance(shape, Polygons) and len(shape.rings) + len(shape.holes) > 1
        lost["box_from_outline"] += differs(shape, box)
        kind, value = _value(shape, box, size)
        kinds[kind] = None
        result = {**_frame(kind, size, f"r{index + 1}"), "value": {**value, kind.lower(): [names[class_id]]}}
        if labels.crowd is not None and labels.crowd[index]:
            result["meta"] = {"text": [CROWD]}
        if labels.scores is not None:
            result["score"] = round(float(labels.scores[index]), 6)
        found.append(result)
    return found


def choice_of(chosen: list[str], size: tuple[int, int]) -> list[dict[str, Any]]:
    return [{**_frame("Choices", size, "t1"), "value": {"choices": chosen}}] if chosen else []


def _frame(kind: str, size: tuple[int, int], ref: str) -> dict[str, Any]:
    return {"id": ref, "type": kind.lower(), "from_name": kind.lower(), "to_name": "image", "origin": "manual", "image_rotation": 0,
            "original_width": size[0], "original_height": size[1]}


def _value(shape: Shape, box: list[float], size: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    if isinstance(shape, RLE):
        return "BrushLabels", {"format": "rle", "rle": label_studio_brush.encode(mask_of(shape, size))}
    percent = 100 / np.array(size, np.float64)
    if isinstance(shape, Polygons):
        return "PolygonLabels", {"closed": True, "points": np.round(joined(shape) * percent, DECIMALS).tolist()}
    x, y, width, height = np.round(np.array([box[0], box[1], box[2] - box[0], box[3] - box[1]]) * np.tile(percent, 2), DECIMALS).tolist()
    return "RectangleLabels", {"x": x, "y": y, "width": width, "height": height, "rotation": 0}

"""One Pascal VOC annotation: its objects read from XML, and written.

Coordinates are kept as they stand. VOC counted pixels from 1 and meant the last pixel of an object; the tools that write VOC today
count from 0 and mean the border. Nothing in a file says which, so nothing is added or taken away.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import numpy as np

from engine.datasets import plain_xml
from engine.datasets.formats.boxed_objects import BoxedObjects
from engine.datasets.objects import Classes, clean_name, number
from engine.datasets.outlines import as_polygons, joined
from engine.types import RLE, Instances, Polygons, Problem, Sample

MAX_XML_BYTES = 64 << 20
CORNERS = ("xmin", "ymin", "xmax", "ymax")
FLAGS = frozenset(("difficult", "truncated", "occluded"))
USUAL = frozenset((None, "0", "Unspecified"))
NOTHING = frozenset(("", "0", "no", "false", "none", "unspecified"))
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


# ---- reading

def load(data: bytes, where: str, problems: list[Problem] | None = None) -> Element:
    """The outermost element of a label file. Chinese encodings, which the parser does not know, are read with a note. Raises UserError."""
    return plain_xml.parse(data, where, problems)


def name_of(item: Element) -> str:
    return _class_name(item.findtext("name"))


@lru_cache(1 << 14)
def _class_name(text: str | None) -> str:
    return clean_name(text or "") or "unnamed"


def is_nameless(item: Element) -> bool:
    return not clean_name(item.findtext("name") or "")


def is_outlined(item: Element) -> bool:
    return any(len(polygon) for polygon in item.findall("polygon"))


def add_object(item: Element, position: int, objects: BoxedObjects, classes: Classes, left_out: Counter[str]) -> bool:
    """One <object>, whose name is among `classes`: its outline, else its box, else the box around its rotated box.

    What VOC says beyond that is counted in `left_out`. False when the object could not be kept.
    """
    name = name_of(item)
    class_id, ref = classes.names[name], f"{position} ({name})"
    if is_nameless(item):
        objects.fault("object_without_name", str(position), "warning", name=name)
    box: Sequence[Any] = ()
    rotated: Element | None = None
    rings: list[list[tuple[str | None, str | None]]] = []
    for child in item:
        tag = child.tag
        if tag == "bndbox":
            texts = {value.tag: value.text for value in child}
            box = [texts.get(corner) for corner in CORNERS]
        elif tag == "robndbox":
            rotated = child
        elif tag == "polygon" and len(child):
            rings.append(_ring(child))
        elif tag in FLAGS or tag == "pose":
            if child.text not in USUAL and (child.text or "").strip().lower() not in NOTHING:
                left_out[tag] += 1
        elif tag in ("part", "actions"):
            left_out[tag] += 1
    if rings and objects.add_polygons(class_id, rings, ref=ref):
        if box:
            objects.keep_box(box)
        return True
    if box or rotated is None:
        return objects.add_box(class_id, box, ref) if box or not rings else False
    left_out["robndbox"] += 1
    return objects.add_box(class_id, _around(rotated), ref)


def _ring(polygon: Element) -> list[tuple[str | None, str | None]]:
    """<pt><x/><y/></pt> ..., or x1, y1, x2, y2, ..."""
    points = polygon.findall("pt")
    if points:
        return [(point.findtext("x"), point.findtext("y")) for point in points]
    texts = {value.tag: value.text for value in polygon}
    numbers = sorted(int(tag[1:]) for tag in texts if tag[0] == "x" and tag[1:].isdecimal() and len(tag) < 8)
    return [(texts[f"x{index}"], texts.get(f"y{index}")) for index in numbers if f"x{index}" in texts]


def _around(rotated: Element) -> Sequence[Any]:
    """The upright box around cx, cy, w, h, angle (radians)."""
    values = [number(rotated.findtext(key)) for key in ("cx", "cy", "w", "h")]
    angle = number(rotated.findtext("angle") or 0)
    if angle is None or any(value is None for value in values):
        return [rotated.findtext(key) for key in ("cx", "cy", "w", "h")]
    cx, cy, w, h = (float(value) for value in values if value is not None)
    half_w = (abs(w * math.cos(angle)) + abs(h * math.sin(angle))) / 2
    half_h = (abs(w * math.sin(angle)) + abs(h * math.cos(angle))) / 2
    return cx - half_w, cy - half_h, cx + half_w, cy + half_h


# ---- writing

def text_for(sample: Sample, labels: Instances, file_name: str, classes: Sequence[str], said: Counter[str]) -> str:
    """The annotation of one image. `said` counts what it cannot hold as it is: "crowd", "joined", "traced"."""
    width, height = sample.size
    objects = list(_objects(labels, classes, said))
    outlined = any("<polygon>" in text for text in objects)
    group = f"\t<group>{plain(sample.group)}</group>\n" if sample.group is not None else ""
    return (f"<annotation>\n\t<folder>JPEGImages</folder>\n\t<filename>{plain(file_name)}</filename>\n"
            f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
            f"\t<segmented>{int(outlined)}</segmented>\n{group}{''.join(objects)}</annotation>\n")


def _objects(labels: Instances, classes: Sequence[str], said: Counter[str]) -> Iterator[str]:
    for index, (box, class_id) in enumerate(zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True)):
        if labels.crowd is not None and labels.crowd[index]:
            said["crowd"] += 1
            continue
        corners = "".join(f"\t\t\t<{tag}>{digits(value)}</{tag}>\n" for tag, value in zip(CORNERS, box, strict=True))
        shape = labels.shapes[index] if labels.shapes is not None else None
        outline = ""
        if shape is not None:
            ring = one_ring(shape, box, said)
            points = "".join(f"<x{place}>{digits(x)}</x{place}><y{place}>{digits(y)}</y{place}>" for place, (x, y) in enumerate(ring.tolist(), 1))
            outline = f"\t\t<polygon>{points}</polygon>\n"
        yield (f"\t<object>\n\t\t<name>{plain(classes[class_id])}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
               f"\t\t<difficult>0</difficult>\n\t\t<bndbox>\n{corners}\t\t</bndbox>\n{outline}\t</object>\n")


def one_ring(shape: Polygons | RLE, box: Sequence[float], said: Counter[str]) -> np.ndarray:
    """f64[K,2]: any shape as a single outline."""
    polygons = as_polygons(shape, box)
    said["traced"] += isinstance(shape, RLE)
    if len(polygons.rings) == 1 and not polygons.holes:
        return polygons.rings[0]
    said["joined"] += 1
    return joined(polygons)


def digits(value: float) -> str:
    """Four decimals, without the zeros that say nothing."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def plain(text: str) -> str:
    """`text` as it may stand between tags."""
    return escape(without_controls(text))


def without_controls(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return _ILLEGAL.sub("_", text)



"""Masks and tags in COCO documents, for which the format has no words of its own: how we write them so that nothing is lost.

An image with tags has `"tags": [names]`, and where needed `"tags_uncertain"` and `"tags_unknown"`. A mask becomes one annotation for each class,
which others read as objects; the image says `"mask": true` (a class for each pixel; what no annotation covers is background) or
`"mask": "layers"` (a layer for each class, which may overlap), and `"ignore"` holds the run lengths of the pixels nobody may judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.datasets.formats.coco_categories import TAG_KEYS, names_in
from engine.datasets.formats.coco_objects import Objects
from engine.datasets.outlines import box_of, mask_of, rle_of_mask
from engine.datasets.tree import folded
from engine.types import IGNORE, RLE, UNCERTAIN, Instances, SemanticMask, Tags

MAX_LAYER_PIXELS = 1 << 30


# ---- writing

def tag_lists(labels: Tags, classes: Sequence[str]) -> dict[str, list[str]]:
    """The image's keys. Uncertain and unknown ones only where there are any; all other tags are not there."""
    values = labels.values
    chosen = (values > UNCERTAIN, values == UNCERTAIN, np.isnan(values))
    lists = {key: [name for name, there in zip(classes, mask.tolist(), strict=True) if there] for key, mask in zip(TAG_KEYS, chosen, strict=True)}
    return {key: names for key, names in lists.items() if names or key == "tags"}


def regions_of(labels: SemanticMask, classes: Sequence[str]) -> tuple[dict[str, Any], Instances]:
    """(the image's keys, one region for each class that shows). A class for each pixel leaves the background unsaid."""
    regions: dict[int, RLE] = {}
    keys: dict[str, Any] = {"mask": True}
    if labels.layers is not None:
        keys["mask"] = "layers"
        regions = {number: rle_of_mask(layer) for number, layer in enumerate(labels.layers) if layer.any()}
    elif labels.classes is not None:
        for number in np.unique(labels.classes).tolist():
            if number == IGNORE:
                keys["ignore"] = rle_json(rle_of_mask(labels.classes == IGNORE))
            elif number < len(classes) and not is_background(classes[number]):
                regions[number] = rle_of_mask(labels.classes == number)
    return keys, Instances(np.array([box_of(rle) for rle in regions.values()]), np.array(list(regions)), shapes=tuple(regions.values()))


def rle_json(rle: RLE) -> dict[str, Any]:
    return {"size": list(rle.size), "counts": rle.counts.decode("ascii")}


def is_background(name: str) -> bool:
    return folded(name) == "background"


# ---- reading

def tags_of(image: dict[str, Any], classes: Sequence[str]) -> Tags | None:
    """None where the image does not say."""
    if not isinstance(image.get("tags"), list):
        return None
    values = np.zeros(len(classes), np.float32)
    places = {name: place for place, name in enumerate(classes)}
    for key, value in (("tags_unknown", np.nan), ("tags_uncertain", UNCERTAIN), ("tags", 1)):
        values[[places[name] for name in names_in(image.get(key))]] = value
    return Tags(values)


def is_mask(image: Any) -> bool:
    """Whether the annotations of this image entry are the regions of a mask. Other tools put file names under this key."""
    return isinstance(image, dict) and (image.get("mask") is True or image.get("mask") == "layers")


def mask_of_regions(image: dict[str, Any], objects: Objects, classes: Sequence[str]) -> SemanticMask | None:
    """The mask of an image whose annotations are the regions of one; None when it is too large to be put together."""
    width, height = objects.size
    pairs = zip(objects.classes, objects.shapes, objects.boxes, strict=True)
    if image.get("mask") == "layers":
        if len(classes) * width * height > MAX_LAYER_PIXELS:
            return None
        layers = np.zeros((len(classes), height, width), bool)
        for number, shape, box in pairs:
            layers[number] |= mask_of(shape, objects.size, box)
        return SemanticMask(layers=layers)
    rest = next((number for number, name in enumerate(classes) if is_background(name)), IGNORE)
    pixels = np.full((height, width), rest, np.uint16)
    for number, shape, box in pairs:
        pixels[mask_of(shape, objects.size, box)] = number
    if isinstance(image.get("ignore"), dict):
        try:
            pixels[mask_of(objects.rle(image["ignore"]), objects.size)] = IGNORE
        except (ValueError, TypeError, OverflowError) as error:
            objects.fault("coco_bad_rle", "warning", "ignore", reason=str(error)[:120])
    return SemanticMask(classes=pixels)

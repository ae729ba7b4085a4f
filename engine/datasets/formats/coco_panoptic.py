"""COCO panoptic: a picture beside each image in which every segment has a colour of its own, and a list of what the segments are."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.datasets.faults import problem_of
from engine.datasets.formats.coco_documents import Annotation, Document, key_of, packed
from engine.datasets.formats.coco_objects import Objects
from engine.datasets.images import open_image
from engine.datasets.outlines import box_of, rle_of_mask
from engine.datasets.tree import Tree, normal
from engine.types import Problem, UserError

MAX_SEGMENTS = 10_000


def mask_folders(document: Document) -> tuple[str, ...]:
    """Where the pictures of the segments may lie: in a folder called like the document."""
    stem = document.path.removesuffix(".json")
    parent = document.path.rpartition("/")[0]
    return stem, f"{stem}_masks", f"{parent}/masks" if parent else "masks"


def add_segments(objects: Objects, tree: Tree, document: Document, entry: dict[str, Any]) -> None:
    """Every segment becomes an object with a mask; things and stuff alike. Without the picture only its box remains."""
    segments = entry.get("segments_info")
    ids = _ids_of(objects, tree, document, entry.get("file_name"))
    for segment in segments[:MAX_SEGMENTS] if isinstance(segments, list) else ():
        number = key_of(segment.get("id")) if isinstance(segment, dict) else None
        key = key_of(segment.get("category_id")) if isinstance(segment, dict) else None
        own = document.ids.get(key) if key is not None else None
        if own is None:
            objects.fault("coco_unknown_category", "error", number, id=str(key)[:60], allowed=", ".join(map(str, list(document.ids)[:20])) or "-")
            continue
        mask = ids == number if ids is not None and isinstance(number, int) else None
        if mask is not None and mask.any():
            shape = rle_of_mask(mask)
            objects.keep(own, box_of(shape), shape, crowd=segment.get("iscrowd") in (1, True))
            continue
        if mask is not None:
            objects.fault("coco_segment_missing", "warning", number)
        annotation = Annotation(number, None, None, bbox=packed(segment.get("bbox")), iscrowd=segment.get("iscrowd"))
        objects.add(annotation, own)


def _ids_of(objects: Objects, tree: Tree, document: Document, name: Any) -> np.ndarray | None:
    """The segment of every pixel, i64[H,W]: red + 256 green + 65536 blue. None, and a problem, when there is no such picture."""
    clean = normal(name) if isinstance(name, str) else None
    found = next((path for folder in mask_folders(document) if clean and (path := tree.find(f"{folder}/{clean}"))), None)
    if found is None:
        objects.problems.append(Problem("coco_segments_missing", "warning", objects.where, {"name": str(name)[:120]}))
        return None
    try:
        pixels = open_image(tree.path(found)).astype(np.int64)
    except UserError as error:
        objects.problems.append(problem_of(error, found))
        return None
    if pixels.shape[1::-1] != objects.size:
        values = {"name": found, "size": f"{pixels.shape[1]}x{pixels.shape[0]}", "width": objects.size[0], "height": objects.size[1]}
        objects.problems.append(Problem("coco_segments_size", "warning", objects.where, values))
        return None
    return pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]

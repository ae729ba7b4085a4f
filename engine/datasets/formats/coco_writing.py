"""Writing COCO: `{train,valid,test}/_annotations.coco.json` beside the images."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets.formats import ImagePolicy
from engine.datasets.formats.coco_documents import ROBOFLOW
from engine.datasets.formats.coco_masks import regions_of, rle_json, tag_lists
from engine.datasets.outlines import area_of, mask_of, rle_of_mask
from engine.datasets.placing import Placer
from engine.datasets.tree import split_of
from engine.types import RLE, UNCERTAIN, Instances, Polygons, Problem, Sample, SemanticMask, Shape, Tags

_BOX = '{"id":%d,"image_id":%d,"category_id":%d,"bbox":[%.8g,%.8g,%.8g,%.8g],"area":%.8g,"iscrowd":0,"segmentation":[]}'
_ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_ENCODE_TEXT = json.JSONEncoder(separators=(",", ":"), check_circular=False, ensure_ascii=False).encode


class _Part:
    """The growing document of one split. Annotations wait in a file of their own, since the list of images comes first."""

    def __init__(self, folder: Path, classes: Sequence[str], open_files: ExitStack) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = open_files.enter_context((folder / ROBOFLOW).open("w", encoding="utf-8", errors="replace", newline="\n"))
        self.waiting = open_files.enter_context(tempfile.TemporaryFile("w+", encoding="ascii", newline="\n", dir=folder))  # noqa: SIM115
        self.images = self.annotations = 0
        categories = [{"id": number, "name": name, "supercategory": "object"} for number, name in enumerate(classes)]
        self.file.write('{"info":{},"licenses":[],"categories":' + json.dumps(categories, ensure_ascii=False) + ',\n"images":[\n')

    def add_image(self, name: str, size: tuple[int, int], extra: dict[str, Any]) -> None:
        before = ",\n" if self.images else ""
        self.images += 1
        more = f",{_ENCODE_TEXT(extra)[1:-1]}" if extra else ""
        self.file.write(f'{before}{{"id":{self.images},"file_name":{encode_basestring(name)},"width":{size[0]},"height":{size[1]}{more}}}')

    def add_annotations(self, texts: list[str]) -> None:
        if texts:
            before = ",\n" if self.annotations else ""
            self.annotations += len(texts)
            self.waiting.write(before + ",\n".join(texts))

    def finish(self) -> None:
        self.file.write('\n],\n"annotations":[\n')
        self.waiting.seek(0)
        shutil.copyfileobj(self.waiting, self.file, 1 << 20)
        self.file.write("\n]}\n")


def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """Categories from 0, image and annotation ids from 1.

    What COCO has no word for stands beside the image's name, where other readers pass it by and ours understands it: `"labeled": false` where
    nobody has looked, `"group"`, tags and masks (see coco_masks), `"suggested": true` where the scores are still to be confirmed.
    """
    placer = Placer(root, images)
    parts: dict[str, _Part] = {}
    lost: Counter[str] = Counter()
    with ExitStack() as open_files:
        for sample in samples:
            split = split_of(sample.split or "") or "train"
            if split not in parts:
                parts[split] = _Part(root / split, classes, open_files)
            part = parts[split]
            file_name = yield from placer.place(sample, split)
            if file_name is None:
                continue
            extra, objects = _said(sample, classes, lost)
            if objects is not None:
                part.add_annotations(_annotations(objects, sample.size, part.images + 1, part.annotations + 1, lost))
            part.add_image(file_name, sample.size, extra)
        for part in parts.values():
            part.finish()
    yield from (Problem(code, "note", ".", {"count": count}) for code, count in lost.items())


def _said(sample: Sample, classes: Sequence[str], lost: Counter[str]) -> tuple[dict[str, Any], Instances | None]:
    """(what stands beside the image's name, its objects)."""
    labels = sample.labels
    extra: dict[str, Any] = {} if sample.group is None else {"group": sample.group}
    if labels is None:
        return {"labeled": False, **extra}, None
    if isinstance(labels, Tags):
        rounded = int(((labels.values > 0) & (labels.values < 1) & (labels.values != UNCERTAIN)).sum())
        if rounded:
            lost["tags_rounded"] += rounded
        return {**tag_lists(labels, classes), **extra}, None
    if isinstance(labels, SemanticMask):
        keys, regions = regions_of(labels, classes)
        return {**keys, **extra}, regions
    return extra if labels.scores is None else {"suggested": True, **extra}, labels


def _annotations(labels: Instances, size: tuple[int, int], image_id: int, first_id: int, lost: Counter[str]) -> list[str]:
    """The annotations of one image as JSON texts. Eight digits hold a box to a ten-thousandth of a pixel."""
    if labels.shapes is None and labels.crowd is None and labels.scores is None:
        return [_BOX % (number, image_id, class_id, x1, y1, x2 - x1, y2 - y1, (x2 - x1) * (y2 - y1))
                for number, ((x1, y1, x2, y2), class_id) in enumerate(zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True), first_id)]
    texts = []
    for index, ((x1, y1, x2, y2), class_id) in enumerate(zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True)):
        w, h = x2 - x1, y2 - y1
        shape = labels.shapes[index] if labels.shapes is not None else None
        area, outline = w * h, "[]"
        if shape is not None:
            area, outline = area_of(shape, (x1, y1, x2, y2)), _ENCODE(_segmentation(shape, size, lost))
        crowd = 1 if labels.crowd is not None and labels.crowd[index] else 0
        score = "" if labels.scores is None else f',"score":{labels.scores[index]:.9g}'
        texts.append(f'{{"id":{first_id + index},"image_id":{image_id},"category_id":{class_id},"bbox":[{x1:.8g},{y1:.8g},{w:.8g},{h:.8g}],'
                     f'"area":{area:.8g},"iscrowd":{crowd},"segmentation":{outline}{score}}}')
    return texts


def _segmentation(shape: Shape, size: tuple[int, int], lost: Counter[str]) -> list[list[float]] | dict[str, Any]:
    """Polygons as they are; what COCO polygons cannot say (holes) as run lengths."""
    if isinstance(shape, Polygons) and not shape.holes:
        return [np.round(ring, 6).ravel().tolist() for ring in shape.rings]
    if isinstance(shape, Polygons):
        lost["holes_as_mask"] += 1
    return rle_json(shape if isinstance(shape, RLE) else rle_of_mask(mask_of(shape, size)))

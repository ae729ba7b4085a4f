"""Writing YOLO: `{split}/images`, `{split}/labels` and a data.yaml of relative paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from engine.datasets.formats import ImagePolicy
from engine.datasets.formats.yolo_layout import STANDING_IN
from engine.datasets.outlines import as_polygons, joined
from engine.datasets.placing import Placer
from engine.datasets.tree import split_of
from engine.types import RLE, Instances, Problem, Sample, Shape

KEYS = {"train": "train", "valid": "val", "test": "test"}
DEMANDED = ("train", "val")
TOLERATED = 1.0  # pixels by which a box may differ from its outline without a word


def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """Images without labels get no label file, images with nothing to see an empty one."""
    placer = Placer(root, images)
    splits: set[str] = set()
    lost: Counter[str] = Counter()
    for sample in samples:
        split = split_of(sample.split or "") or "train"
        if split not in splits:
            splits.add(split)
            (root / split / "labels").mkdir(parents=True)
        file_name = yield from placer.place(sample, f"{split}/images")
        lost["groups_left_out"] += sample.group is not None
        if sample.labels is None or file_name is None:
            continue
        if not isinstance(sample.labels, Instances):
            yield Problem("labels_not_objects", "error", sample.name or sample.image.name, {"format": "yolo"})
            continue
        here: Counter[str] = Counter()
        lines = lines_of(sample.labels, sample.size, here)
        if here:
            lost.update(here)
            yield from _image_problems(here, sample)
        with open(f"{root}/{split}/labels/{file_name.rpartition('.')[0]}.txt", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.writelines(lines)
    yield from (Problem(code, "note", ".", {"count": lost[code]}) for code in TOTALS if lost[code])
    yield from _write_config(root, splits, classes, outlined=lost["outlines"] > 0)


TOTALS = ("groups_left_out", "scores_left_out", "mask_traced", "yolo_boxes_among_outlines", "box_from_outline")


def _image_problems(lost: Counter[str], sample: Sample) -> Iterator[Problem]:
    where = sample.name or sample.image.name
    if lost["crowd_left_out"]:
        yield Problem("crowd_left_out", "warning", where, {"count": lost["crowd_left_out"]})
    if lost["outline_joined"]:
        yield Problem("outline_joined", "note", where, {"count": lost["outline_joined"]})


def _write_config(root: Path, splits: set[str], classes: Sequence[str], *, outlined: bool) -> Iterator[Problem]:
    """No `path`: without one every reader starts from the folder of the yaml; from "." some start elsewhere.

    Ultralytics refuses a yaml without `train` or `val`: one that is not there names the images of another split, which the file and a note say.
    """
    paths = {key: f"{split}/images" for split, key in KEYS.items() if split in splits}
    missing = [key for key in DEMANDED if paths and key not in paths]
    paths |= dict.fromkeys(missing, next(iter(paths.values()), ""))
    config: dict[str, Any] = {"task": "segment" if outlined else "detect"}
    config |= {key: paths[key] for key in KEYS.values() if key in paths}
    config |= {"nc": len(classes), "names": dict(enumerate(classes))}
    comment = ""
    if missing:
        config[STANDING_IN] = missing
        comment = f"# There is no split for {' and '.join(missing)}: it names the images of another one, since other readers demand the key.\n"
        yield Problem("yolo_split_stands_in", "note", "data.yaml", {"missing": ", ".join(missing), "used": paths[missing[0]]})
    text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False)
    (root / "data.yaml").write_text(comment + text, encoding="utf-8")


def lines_of(labels: Instances, size: tuple[int, int], lost: Counter[str]) -> list[str]:
    """The label lines of one image, each with its line end; what they cannot say is counted in `lost` under the problem's code."""
    width, height = size
    if labels.scores is not None:
        lost["scores_left_out"] += len(labels)
    if labels.crowd is not None and labels.crowd.any():
        lost["crowd_left_out"] += int(labels.crowd.sum())
        labels = labels[~labels.crowd]
    if labels.shapes is not None and any(shape is not None for shape in labels.shapes):
        return [_outline(class_id, box, shape, size, lost) for class_id, box, shape
                in zip(labels.classes.tolist(), labels.boxes.tolist(), labels.shapes, strict=True)]
    return [f"{class_id} {(x1 + x2) / 2 / width:.9g} {(y1 + y2) / 2 / height:.9g} {(x2 - x1) / width:.9g} {(y2 - y1) / height:.9g}\n"
            for class_id, (x1, y1, x2, y2) in zip(labels.classes.tolist(), labels.boxes.tolist(), strict=True)]


def _outline(class_id: int, box: list[float], shape: Shape, size: tuple[int, int], lost: Counter[str]) -> str:
    """Every vertex in its order; a box as its corners, the first one doubled (see yolo_lines)."""
    if shape is None:
        left, top, right, bottom = box
        lost["yolo_boxes_among_outlines"] += 1
        return _line(class_id, np.array([[left, top], [left, top], [right, top], [right, bottom], [left, bottom]], np.float64), size)
    polygons = as_polygons(shape, box)
    lost["outlines"] += 1
    lost["mask_traced"] += isinstance(shape, RLE)
    if len(polygons.rings) > 1 or polygons.holes:
        lost["outline_joined"] += 1
        return _line(class_id, joined(polygons), size)
    values = polygons.rings[0].ravel().tolist()
    x, y = values[::2], values[1::2]
    around = (min(x), min(y), max(x), max(y))
    lost["box_from_outline"] += any(abs(one - other) > TOLERATED for one, other in zip(around, box, strict=True))
    return _line(class_id, polygons.rings[0], size)


def _line(class_id: int, ring: np.ndarray, size: tuple[int, int]) -> str:
    values = (ring / size).ravel().tolist()
    if min(values) < 0 or max(values) > 1:
        values = [min(max(value, 0.0), 1.0) for value in values]
    return f"{class_id}{' %.9g' * len(values) % tuple(values)}\n"

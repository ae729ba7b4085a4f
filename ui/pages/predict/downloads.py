"""What was found as files: JSON as the command line writes it, CSV that is safe to open in a spreadsheet, and all of it with pictures as a zip."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from PIL import Image
from pycocotools import mask as coco_mask

from engine import predictions
from engine.datasets.images import open_image
from engine.predictions import FORMULA, Keep, harmless, inline
from ui.pages.predict.pictures import drawn
from ui.pages.predict.result import CLASSIFY, DETECT, INSTANCE, Filter, Result, Shot

__all__ = ["FORMULA", "as_json", "csv_file", "harmless", "json_file", "zip_file"]
COLUMNS = {
    "detect": ("file", "class", "score", "x", "y", "width", "height"),
    "instance": ("file", "class", "score", "x", "y", "width", "height", "area"),
    "semantic": ("file", "class", "pixels", "share", "mm2"),
    "classify": ("file", "class", "score", "threshold", "present"),
}


def as_json(result: Result, chosen: Filter, keep: Keep = inline, names: Sequence[str] = ()) -> dict[str, Any]:
    """The predictions.json of `predict`, with what passes the filter. Masks stand in it themselves unless `keep` puts them elsewhere."""
    limits = result.limits(chosen)
    single = result.exclusive and result.task == CLASSIFY
    entries = [predictions.entry(name, shot.size, chosen(shot.labels), result.classes, keep, limits, shot.spacing, single=single)
               for name, shot in zip(names or [each.name for each in result.shots], result.shots, strict=True)]
    return predictions.document(result.model, result.task, result.classes, entries)


def json_file(result: Result, chosen: Filter) -> Path:
    file = _new("predictions.json")
    file.write_text(json.dumps(as_json(result, chosen), ensure_ascii=False, indent=1), encoding="utf-8")
    return file


def csv_file(result: Result, chosen: Filter) -> Path:
    """One row an object (boxes and areas of masks in pixels), an area or a tag. With a byte order mark, so that spreadsheets read it as UTF-8."""
    file = _new("predictions.csv")
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        _write_rows(stream, result, chosen, as_json(result, chosen, keep=lambda name, png: name))
    return file


def zip_file(result: Result, chosen: Filter) -> Path:
    """predictions.json, predictions.csv, overlays/ as they are shown, at the images' own size, and masks/."""
    file, names = _new("predictions.zip"), _apart([shot.name for shot in result.shots])
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        told = as_json(result, chosen, _keeper(packed), names)
        packed.writestr("predictions.json", json.dumps(told, ensure_ascii=False, indent=1), zipfile.ZIP_DEFLATED)
        rows = io.StringIO(newline="")
        _write_rows(rows, result, chosen, told)
        packed.writestr("predictions.csv", rows.getvalue().encode("utf-8-sig"), zipfile.ZIP_DEFLATED)
        for name, shot in zip(names, result.shots, strict=True):
            packed.writestr(f"overlays/{Path(name).stem}.jpg", _overlay(result, shot, chosen))
    return file


def _overlay(result: Result, shot: Shot, chosen: Filter) -> bytes:
    visible = chosen if chosen.opacity > 0 else replace(chosen, opacity=1.0 if result.task == DETECT else 0.45)
    stream = io.BytesIO()
    Image.fromarray(drawn(open_image(shot.file), result, shot, visible, names=True)).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def _keeper(packed: zipfile.ZipFile) -> Callable[[str, bytes], str]:
    """Puts mask pictures under masks/: STEM.png, or STEM_CLASS.png for each class where areas may overlap."""
    def keep(name: str, png: bytes) -> str:
        start, _, number = name.rpartition(".")
        target = f"masks/{Path(start).stem}_{number}.png" if number.isdigit() else f"masks/{Path(name).stem}.png"
        packed.writestr(target, png)
        return target
    return keep


def _apart(names: Sequence[str]) -> list[str]:
    """The same names, with a number where another image has the same stem."""
    taken: set[str] = set()
    found = []
    for name in names:
        path, number = Path(name), 1
        own = path.name
        while Path(own).stem.casefold() in taken:
            number += 1
            own = f"{path.stem}_{number}{path.suffix}"
        taken.add(Path(own).stem.casefold())
        found.append(own)
    return found


def _write_rows(stream: Any, result: Result, chosen: Filter, told: dict[str, Any]) -> None:
    writer = csv.writer(stream)
    writer.writerow(COLUMNS[result.task])
    for image in told["images"]:
        for row in _rows(image, result, chosen):
            writer.writerow([harmless(image["file"]), harmless(row[0]), *row[1:]])


def _rows(image: dict[str, Any], result: Result, chosen: Filter) -> Iterator[list[Any]]:
    """Of one image: class name first."""
    for found in image.get("instances", ()):
        area = [coco_mask.area(found["mask"]) if "mask" in found else ""] if result.task == INSTANCE else []
        yield [found["class"], found["score"], *found["box"], *area]
    for area in image.get("areas", ()):
        yield [area["class"], area["pixels"], round(area["pixels"] / (image["width"] * image["height"]), 6), area.get("mm2", "")]
    limits = result.limits(chosen)
    for found in image.get("tags", ()):
        yield [found["class"], found["score"], "" if result.exclusive else round(limits[found["class_id"]], 4), int(found["present"])]


def _new(name: str) -> Path:
    uploads = Path(get_upload_folder())
    uploads.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="predictions-", dir=uploads)) / name

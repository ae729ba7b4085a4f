"""What was found as files: JSON as the command line writes it, and CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from ui.pages.predict.result import Filter, Result

FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = ("file", "class", "score", "x", "y", "width", "height")


def as_json(result: Result, chosen: Filter) -> dict[str, Any]:
    """The predictions.json of `predict`, with what passes the filter."""
    from engine import predict

    return predict.as_json(result.model, result.task, result.classes, [(shot.name, shot.size, chosen(shot.labels)) for shot in result.shots])


def json_file(result: Result, chosen: Filter) -> Path:
    file = _new("predictions.json")
    file.write_text(json.dumps(as_json(result, chosen), ensure_ascii=False, indent=1), encoding="utf-8")
    return file


def csv_file(result: Result, chosen: Filter) -> Path:
    """One row an object, boxes in pixels. With a byte order mark, so that spreadsheets read it as UTF-8."""
    file = _new("predictions.csv")
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for image in as_json(result, chosen)["images"]:
            for found in image["instances"]:
                writer.writerow([harmless(image["file"]), harmless(found["class"]), found["score"], *found["box"]])
    return file


def harmless(text: str) -> str:
    """A cell that a spreadsheet would take for a formula gets an apostrophe."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _new(name: str) -> Path:
    uploads = Path(get_upload_folder())
    uploads.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="predictions-", dir=uploads)) / name

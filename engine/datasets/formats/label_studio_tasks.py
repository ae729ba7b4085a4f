"""The tasks of a Label Studio export - full or JSON-MIN - brought into one form: images, and what was said of each."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from engine.datasets.formats.label_studio_config import Config
from engine.datasets.images import is_image
from engine.datasets.objects import clean_name
from engine.datasets.tree import split_of

PICTURE_COLUMNS = ("image", "img", "images", "image_url", "picture", "photo", "pages")
ABOUT = frozenset(("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "split", "group"))
GEOMETRY = frozenset(("x", "points", "rle", "imageDataURL", "vertices"))
MAX_CHOICES = 200  # different values of a column that nobody declared; more are texts, not choices
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")


@dataclass
class Picture:
    """One image of a task. `results` None = nobody has submitted anything; `texts` are the values that may name the file."""

    texts: list[str]
    results: list[dict[str, Any]] | None
    document: str
    split: str | None = None
    group: str | None = None
    name: str = ""
    notes: Counter[str] = field(default_factory=Counter)


def pictures(tasks: list[Any], document: str, config: Config, others: Counter[str]) -> Iterator[Picture]:
    """The images of all tasks of a document; `others` counts the columns of tasks that have no image."""
    if tasks and all(isinstance(task, dict) and "data" not in task for task in tasks):
        tasks = list(_from_min(tasks, config))
    for task in tasks:
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            others["?"] += 1
            continue
        results, notes = _submitted(task)
        found = _images(data, config, results or [])
        if not found:
            others[", ".join(sorted(map(str, data)))[:80]] += 1
        split, group = data.get("split"), data.get("group")
        for index, text in enumerate(found):
            mine = results if results is None or len(found) == 1 else [result for result in results if _page(result) == index]
            texts = [text] + ([task["file_upload"]] if len(found) == 1 and isinstance(task.get("file_upload"), str) else [])
            yield Picture(texts, mine, document, split_of(split) if isinstance(split, str) else None,
                          clean_name(group) if isinstance(group, str) and group else None, name_of(text), notes if index == 0 else Counter())


def _submitted(task: dict[str, Any]) -> tuple[list[dict[str, Any]] | None, Counter[str]]:
    """The results of the annotation that was changed last; None when there is none, or only skipped ones or predictions."""
    notes: Counter[str] = Counter()
    given = task.get("annotations", task.get("completions"))
    annotations = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    counted = [each for each in annotations if not (each.get("was_cancelled") or each.get("skipped"))]
    notes["label_studio_skipped"] += len(annotations) - len(counted)
    if not counted:
        notes["label_studio_predictions"] += bool(task.get("predictions"))
        return None, notes
    notes["label_studio_several"] += len(counted) > 1
    last = max(counted, key=lambda each: str(each.get("updated_at") or each.get("created_at") or ""))
    results = last.get("result")
    return [each for each in results if isinstance(each, dict)] if isinstance(results, list) else [], notes


def _page(result: dict[str, Any]) -> int:
    """Which image of a task of several a result belongs to: its item_index, or the number that its object's name ends with."""
    index = result.get("item_index")
    if isinstance(index, int):
        return index
    digits = re.search(r"(\d{1,6})$", str(result.get("to_name", "")))
    return int(digits.group(1)) if digits else 0


# ---- the image of a task

def _images(data: dict[str, Any], config: Config, results: list[dict[str, Any]]) -> list[str]:
    """The texts that name the task's images."""
    declared = [column.partition("[")[0] for column in config.images.values() if column.partition("[")[0] in data]
    named = [str(result.get("to_name")) for result in results[:1]]
    likely = [column for column in dict.fromkeys((*named, *PICTURE_COLUMNS, *data)) if column in data]
    for column in [*declared, *likely]:
        known = column in declared or column.casefold() in PICTURE_COLUMNS
        value = data[column]
        items = value if isinstance(value, list) else [value]
        given = [next((item[key] for key in ("url", *PICTURE_COLUMNS) if key in item), None) if isinstance(item, dict) else item for item in items]
        texts = [text for text in given if isinstance(text, str) and _is_picture(text, known)]
        if texts and len(texts) == len(items):
            return texts
    return []


def _is_picture(text: str, known: bool) -> bool:
    name = name_of(text)
    return is_image(name) or (known and bool(name) and not re.search(r"\.(?!\d)\w{2,4}$", name))


def paths_of(text: str) -> list[str]:
    """The paths that an image value may stand for, likeliest first; addresses are taken apart, never asked."""
    try:
        address = urlsplit(text)
        query = parse_qs(address.query)
    except ValueError:
        return [text]
    found: list[str] = []
    for key in ("d", "filepath"):
        found += query.get(key, [])[:1]
    for packed in query.get("fileuri", [])[:1]:
        try:
            found.append(base64.urlsafe_b64decode(packed).decode("utf-8", "replace"))
        except (binascii.Error, ValueError):
            continue
    found += [text, unquote(address.path)]
    named = [path.replace("\\", "/").rpartition("/")[2] for path in found]
    found += [_UPLOADED.sub("", name) for name in named if _UPLOADED.match(name)]
    return [path for path in dict.fromkeys(found) if path]


def name_of(text: str) -> str:
    """The file name in an image value, for people."""
    paths = paths_of(text)
    named = next((path for path in paths[::-1] if is_image(path)), paths[-1] if paths else "")
    return named.replace("\\", "/").rpartition("/")[2]


def cleaned(name: str) -> str:
    """A file name as Label Studio stores an upload: blanks become _, most other signs vanish."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_")).casefold()


# ---- JSON-MIN

def _from_min(rows: list[dict[str, Any]], config: Config) -> Iterator[dict[str, Any]]:
    """Rows of one annotation each, as tasks: rows of one task become its annotations."""
    controls = {row_key for row in rows for row_key in _controls(row)}
    texts = {key: {str(row.get(key)) for row in rows} for key in controls if key not in config.tags}
    choices = {key for key in controls if key in config.tags or len(texts[key]) <= MAX_CHOICES}
    tasks: dict[Any, dict[str, Any]] = {}
    for row in rows:
        own = _controls(row)
        data = {key: value for key, value in row.items() if key not in own and (key not in ABOUT or key in ("split", "group"))}
        results = [result for key in own for result in _results(key, row[key], key in choices)]
        task = tasks.setdefault(str(row.get("id", len(tasks))), {"data": data, "annotations": []})
        task["annotations"].append({"result": results, "updated_at": row.get("updated_at"), "created_at": row.get("created_at")})
    yield from tasks.values()


def _controls(row: dict[str, Any]) -> list[str]:
    """The columns that hold labels: they stand between the task's id and its annotator."""
    keys = list(row)
    begin = keys.index("id") + 1 if "id" in keys else 0
    end = next((position for position, key in enumerate(keys) if key in ("annotator", "annotation_id")), len(keys))
    return [key for key in keys[begin:end] if key not in ABOUT] or [key for key in keys if key not in ABOUT and _regions(row[key])]


def _regions(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and GEOMETRY & item.keys() for item in value)


def _results(control: str, value: Any, is_choice: bool) -> Iterator[dict[str, Any]]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            kind = next((key for key in item if key.endswith("labels")), next((key for key in ("choices", "taxonomy") if key in item), ""))
            yield {"type": kind, "value": item, "from_name": control, "to_name": "", "original_width": item.get("original_width"),
                   "original_height": item.get("original_height")}
        elif isinstance(item, str) and is_choice:
            yield {"type": "choices", "value": {"choices": [item]}, "from_name": control, "to_name": ""}

"""Label Studio: JSON and JSON-MIN exports beside the images; written as tasks with annotations and the labeling interface."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from engine.datasets import plain_json
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, ImagePolicy, json_head
from engine.datasets.formats.label_studio_config import Config, read_configs, written
from engine.datasets.formats.label_studio_regions import add_region, choice_of, regions_of, results_of, tags_in
from engine.datasets.formats.label_studio_tasks import Picture, cleaned, paths_of, pictures
from engine.datasets.formats.lookup import Found, Lookup, samples, size_differs
from engine.datasets.images import is_image
from engine.datasets.objects import Classes, Objects, shown
from engine.datasets.placing import Placer
from engine.datasets.tree import Tree, split_of
from engine.types import UNCERTAIN, Instances, Problem, Reading, Sample, Tags, UserError

MAX_JSON_BYTES = 2 << 30
TASKS, INTERFACE = "label_studio.json", "label_config.xml"
LOCAL_FILES = "/data/local-files/?d="


# ---- recognising

def detects(root: Path) -> str | None:
    if root.is_file():
        return root.name if _is_export(Tree(root.parent).head(root.name)) else None
    return next((path for path, head in json_head.documents(Tree(root)) if _is_export(head)), None)


def _is_export(head: bytes) -> bool:
    """A list of tasks (data and annotations), one task, or rows of JSON-MIN."""
    opening, keys = json_head.outer_keys(head)
    if not opening or {"image_id", "images", "categories", "shapes"} & keys:
        return False
    if "data" in keys:
        return bool({"annotations", "predictions", "completions"} & keys)
    if opening == "[" and {"annotations", "completions"} & keys:
        return b'"result"' in head
    return opening == "[" and ("annotation_id" in keys or ("id" in keys and b'labels"' in head and b'"original_width"' in head))


# ---- reading

@dataclass
class _Set:
    tree: Tree
    lookup: Lookup
    config: Config
    pictures: list[Picture]
    classes: Classes
    tags: dict[tuple[str, str], str]  # (control, choice) -> class name
    problems: list[Problem]
    by_cleaned: dict[str, str] | None = None


def read(root: Path) -> Reading:
    """Loads the exports, since their classes must be known first. Raises UserError when no task has an image."""
    tree = Tree(root.parent if root.is_file() else root)
    paths = [root.name] if root.is_file() else [path for path in _jsons(tree) if _is_export(tree.head(path))]
    problems: list[Problem] = []
    config = read_configs(tree, problems)
    others: Counter[str] = Counter()
    found = [picture for path in paths for picture in _load(tree, path, config, others, problems)]
    if not found and others:
        raise UserError("label_studio_no_images", name=", ".join(paths[:3]), found="; ".join(shown(columns) for columns in others))
    if others:
        values = {"count": sum(others.values()), "columns": "; ".join(shown(columns) for columns in list(others)[:5])}
        problems.append(Problem("label_studio_without_image", "warning", ", ".join(paths[:3]), values))
    classes, outlined, drawn = Classes(), False, False
    for name in config.classes:
        classes.id_of(name)
    ignored: Counter[str] = Counter()
    for picture in found:
        for region in regions_of(picture.results or [], ignored):
            drawn, outlined = True, outlined or not {"width", "height"} <= region.value.keys()
            for name in region.labels:
                classes.id_of(name)
    tags = {} if drawn else _tags(found, config)
    seen = _Set(tree, Lookup(tree), config, found, classes, tags, problems)
    names = tuple(dict.fromkeys(tags.values())) if tags else classes.tuple
    return Reading(names, _items(seen, alone=root.is_file()), "classify" if tags else "instance" if outlined else "detect")


def _jsons(tree: Tree) -> Iterator[str]:
    for folder, listing in tree.walk():
        yield from (f"{folder}/{name}" if folder else name for name in listing.files if name.lower().endswith(".json"))


def _load(tree: Tree, path: str, config: Config, others: Counter[str], problems: list[Problem]) -> Iterator[Picture]:
    try:
        content = plain_json.parse(tree.read(path, MAX_JSON_BYTES), path)
    except UserError as error:
        problems.append(problem_of(error, path))
        return
    yield from pictures(content if isinstance(content, list) else [content], path, config, others)


def _tags(found: list[Picture], config: Config) -> dict[tuple[str, str], str]:
    """Every choice, declared or made; where two controls share a choice, all carry the name of their control."""
    pairs = dict.fromkeys((control, name) for control, names in config.tags.items() for name in names)
    pairs.update(dict.fromkeys(pair for picture in found for pair in tags_in(picture.results or [])))
    if not any(True for picture in found for _ in tags_in(picture.results or [])) and config.classes:
        return {}
    ambiguous = len({name for _, name in pairs}) < len(pairs)
    return {(control, name): f"{control}: {name}" if ambiguous else name for control, name in pairs}


def _items(found: _Set, *, alone: bool) -> Iterator[Sample | Problem]:
    yield from found.problems
    placed: dict[str, Picture] = {}
    for picture in found.pictures:
        image = _find(found, picture)
        if image is None:
            yield found.lookup.missing(picture.name, picture.document)
        elif image not in placed or placed[image].results is None:
            placed[image] = picture
        elif picture.results is not None:
            yield Problem("image_labeled_twice", "error", picture.document, {"image": shown(image), "first": placed[image].document})
    rest = () if alone else (image for image in found.lookup.images() if image not in placed)
    counts: Counter[str] = Counter()
    yield from samples(found.tree, (*placed, *rest), lambda image, size: _labels(found, placed.get(image), image, size, counts), counts,
                       about=lambda image: (placed[image].split, placed[image].group) if image in placed else (None, None))


def _find(found: _Set, picture: Picture) -> str | None:
    """The image that one of a picture's texts names; an upload may have lost blanks and signs of its name."""
    beside = picture.document.rpartition("/")[0]
    paths = [path for text in picture.texts for path in paths_of(text)]
    image = next((path for path in (found.lookup.find(path, beside) for path in paths) if path), None)
    if image is None and not is_image(picture.name):
        image = found.lookup.find(picture.name, beside)
    if image is None:
        if found.by_cleaned is None:
            found.by_cleaned = {}
            for path in found.lookup.images():
                name = cleaned(path.rpartition("/")[2])
                found.by_cleaned[name] = "" if name in found.by_cleaned else path
        image = next((found.by_cleaned[name] for name in (cleaned(path.rpartition("/")[2]) for path in paths) if found.by_cleaned.get(name)), None)
    return image


def _labels(found: _Set, picture: Picture | None, image: str, size: tuple[int, int], counts: Counter[str]) -> Found:
    counts.update(picture.notes if picture is not None else {})
    if picture is None or picture.results is None:
        return None
    tagged = list(tags_in(picture.results))
    if found.tags:
        order = {name: position for position, name in enumerate(dict.fromkeys(found.tags.values()))}
        values = np.zeros(len(order), np.float32)
        values[[order[found.tags[pair]] for pair in tagged]] = 1
        return Tags(values)
    counts["label_studio_tags_left_out"] += bool(tagged)
    objects, regions = Objects(image, size), regions_of(picture.results, counts)
    for first in picture.results[:1]:
        yield from size_differs((first.get("original_width"), first.get("original_height")), size, image)
        if first.get("image_rotation") not in (None, 0, 0.0):
            objects.fault("label_studio_turned_image", severity="warning", degrees=shown(first["image_rotation"]))
    for region in regions:
        add_region(region, objects, found.classes, counts)
    yield from objects.problems
    return objects.instances() if len(objects) or not regions else None


# ---- writing

def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """`images/{split}/`, label_studio.json with one task a line, and label_config.xml with the classes in order.

    Label Studio finds the images when its LOCAL_FILES_DOCUMENT_ROOT is the folder. Split and patient become columns of the task.
    """
    placer = Placer(root, images)
    kinds: dict[str, None] = {}
    lost: Counter[str] = Counter()
    count = 0
    with (root / TASKS).open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        for sample in samples:
            split = split_of(sample.split or "") or "train"
            file_name = yield from placer.place(sample, f"images/{split}")
            if file_name is None:
                continue
            task, problems = _task(sample, classes, f"{LOCAL_FILES}{quote(f'images/{split}/{file_name}', errors='replace')}", kinds, lost)
            yield from problems
            count += 1
            file.write(("[\n" if count == 1 else ",\n") + json.dumps(_numbered(task, count), ensure_ascii=False, separators=(",", ":")))
        file.write("\n]\n" if count else "[]\n")
    if lost["box_from_outline"]:
        yield Problem("box_from_outline", "note", ".", {"count": lost["box_from_outline"]})
    (root / INTERFACE).write_text(written(classes, list(kinds) or ["RectangleLabels"]), encoding="utf-8", errors="replace", newline="\n")


def _numbered(task: dict[str, Any], number: int) -> dict[str, Any]:
    """The task with the ids that Label Studio's own tools look for; a task has one annotation at most."""
    return {"id": number, **task, "annotations": [{"id": number, **each} for each in task["annotations"]]}


def _task(sample: Sample, classes: tuple[str, ...], image: str, kinds: dict[str, None],
          lost: Counter[str]) -> tuple[dict[str, Any], list[Problem]]:
    """One task. Labels with scores are predictions, which a person then accepts or corrects."""
    name = sample.name or sample.image.name
    data = {"image": image, **({"split": sample.split} if sample.split else {}), **({"group": sample.group} if sample.group else {})}
    task: dict[str, Any] = {"data": data, "annotations": [], "predictions": []}
    if isinstance(sample.labels, Instances):
        before = lost["outline_joined"]
        results = results_of(sample.labels, classes, sample.size, kinds, lost)
        if sample.labels.scores is None:
            task["annotations"] = [{"result": results}]
        else:
            task["predictions"] = [{"result": results, "score": float(np.mean(sample.labels.scores)) if len(results) else 0.0}]
        joined = lost["outline_joined"] - before
        return task, [Problem("outline_joined", "note", name, {"count": joined})] if joined else []
    if isinstance(sample.labels, Tags):
        kinds["Choices"] = None
        values = sample.labels.values
        chosen = [each for each, value in zip(classes, values, strict=True) if value > UNCERTAIN]
        task["annotations"] = [{"result": choice_of(chosen, sample.size)}]
        open_ones = int(np.isnan(values).sum() + (values == UNCERTAIN).sum())
        return task, [Problem("tags_uncertain_left_out", "warning", name, {"count": open_ones})] if open_ones else []
    return task, [] if sample.labels is None else [Problem("labels_not_objects", "error", name, {"format": "label_studio"})]


FORMATS = (Format("label_studio", detects, read, write, files=(".json",), tasks=("detect", "instance", "classify")),)

"""VoTT (Microsoft's Visual Object Tagging Tool): its JSON export of all assets, or one JSON an asset. Read only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.datasets import plain_json
from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, json_head
from engine.datasets.formats.lookup import Found, Lookup, samples, size_differs
from engine.datasets.objects import Classes, Objects, number
from engine.datasets.tree import Tree
from engine.datasets.turning import turn_for
from engine.types import Problem, Reading, Sample, UserError

MAX_JSON_BYTES = 2 << 30
NOT_VISITED = 0


def detects(root: Path) -> str | None:
    if root.is_file():
        return root.name if _is_vott(Tree(root.parent).head(root.name)) else None
    return next((path for path, head in json_head.documents(Tree(root)) if _is_vott(head)), None)


def _is_vott(head: bytes) -> bool:
    """The export (a project with its assets inside), or one asset with its regions."""
    opening, keys = json_head.outer_keys(head)
    if opening != "{" or {"images", "categories", "shapes"} & keys:
        return False
    return ("assets" in keys and b'"asset"' in head) or ({"asset", "regions"} <= keys)


@dataclass
class _Asset:
    """One image as VoTT knows it: `about` its name, path, size and state."""

    document: str
    about: dict[str, Any]
    regions: list[dict[str, Any]]


@dataclass
class _Set:
    tree: Tree
    classes: Classes = field(default_factory=Classes)
    assets: list[_Asset] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read(root: Path) -> Reading:
    """Loads the exports, since their classes must be known first."""
    found = _Set(Tree(root.parent if root.is_file() else root))
    paths = [root.name] if root.is_file() else [f"{folder}/{name}" if folder else name for folder, listing in found.tree.walk()
                                                for name in listing.files if name.lower().endswith(".json")]
    for path in paths:
        content = _load(found.tree, path, found.problems)
        tags = content.get("tags")
        for tag in tags if isinstance(tags, list) else ():
            if isinstance(tag, dict) and isinstance(tag.get("name"), str):
                found.classes.id_of(tag["name"])
        found.assets += _assets(content, path)
    regions = [region for asset in found.assets for region in asset.regions]
    for name in (name for region in regions for name in _tags(region)):
        found.classes.id_of(name)
    task = "detect" if all(map(_is_box, regions)) else "instance"
    return Reading(found.classes.tuple, _items(found, alone=root.is_file()), task)


def _assets(content: dict[str, Any], path: str) -> Iterator[_Asset]:
    inside = content.get("assets")
    for entry in inside.values() if isinstance(inside, dict) else [content]:
        about, regions = (entry.get("asset"), entry.get("regions")) if isinstance(entry, dict) else (None, None)
        if isinstance(about, dict):
            yield _Asset(path, about, [region for region in regions if isinstance(region, dict)] if isinstance(regions, list) else [])


def _load(tree: Tree, path: str, problems: list[Problem]) -> dict[str, Any]:
    """{} for JSON that is something else."""
    if not _is_vott(tree.head(path)):
        return {}
    try:
        content = plain_json.parse(tree.read(path, MAX_JSON_BYTES), path)
    except UserError as error:
        problems.append(problem_of(error, path))
        return {}
    return content if isinstance(content, dict) else {}


def _tags(region: dict[str, Any]) -> list[str]:
    tags = region.get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) and tags else ["unnamed"]


def _is_box(region: dict[str, Any]) -> bool:
    return str(region.get("type", "")).upper() in ("RECTANGLE", "SQUARE", "") and isinstance(region.get("boundingBox"), dict)


def _items(found: _Set, *, alone: bool) -> Iterator[Sample | Problem]:
    yield from found.problems
    lookup, placed, counts = Lookup(found.tree), dict[str, _Asset](), Counter[str]()
    for asset in found.assets:
        texts = [asset.about[key] for key in ("path", "name") if isinstance(asset.about.get(key), str)]
        beside = asset.document.rpartition("/")[0]
        image = next((found for found in (lookup.find(text, beside) for text in texts) if found), None)
        if image is None:
            yield lookup.missing(texts[-1] if texts else asset.document, asset.document)
        elif image in placed:
            yield Problem("image_labeled_twice", "error", asset.document, {"image": image, "first": placed[image].document})
        else:
            placed[image] = asset
    rest = () if alone else (image for image in lookup.images() if image not in placed)
    yield from samples(found.tree, (*placed, *rest), lambda image, size: _labels(found, placed.get(image), image, size, counts), counts)


def _labels(found: _Set, asset: _Asset | None, image: str, size: tuple[int, int], counts: Counter[str]) -> Found:
    """None for an asset that nobody has opened."""
    if asset is None or not (asset.regions or asset.about.get("state", NOT_VISITED) != NOT_VISITED):
        return None
    about = asset.about["size"] if isinstance(asset.about.get("size"), dict) else {}
    claimed = (about.get("width"), about.get("height"))
    turn = turn_for(claimed, size, found.tree.path(image))
    counts["labels_turned"] += turn is not None
    yield from size_differs(claimed, turn.size if turn else size, image)
    objects, classes = Objects(image, turn.size if turn else size), found.classes
    for position, region in enumerate(asset.regions, 1):
        tags, ref = _tags(region), str(region.get("id") or f"#{position}")[:40]
        counts["regions_of_several_classes"] += len(tags) > 1
        counts["objects_without_class"] += not region.get("tags")
        for name in tags:
            if _is_box(region):
                objects.add_box(classes.id_of(name), _corners(region["boundingBox"]), ref)
            else:
                points = region.get("points")
                ring = [(point.get("x"), point.get("y")) for point in points if isinstance(point, dict)] if isinstance(points, list) else []
                objects.add_polygons(classes.id_of(name), [ring], ref=ref)
    yield from objects.problems
    if asset.regions and not len(objects):
        return None
    return turn.upright(objects.instances()) if turn else objects.instances()


def _corners(box: dict[str, Any]) -> list[Any]:
    """x1,y1,x2,y2; as it stands where something is no number, so that it can be shown."""
    values = [box.get(key) for key in ("left", "top", "width", "height")]
    numbers = [value for value in map(number, values) if value is not None]
    if len(numbers) < 4:
        return values
    left, top, width, height = numbers
    return [left, top, left + width, top + height]


FORMATS = (Format("vott", detects, read, files=(".json",)),)

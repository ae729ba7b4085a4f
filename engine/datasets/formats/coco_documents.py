"""Finding and loading COCO documents that may be torn, hostile or something else altogether."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from engine.datasets import plain_json
from engine.datasets.formats import json_head
from engine.datasets.tree import Tree, split_of
from engine.types import SPLITS, UserError

ROBOFLOW = "_annotations.coco.json"
TELLING = re.compile(r"^(_annotations\.coco|instances_.*|annotations?|coco)\.json$", re.IGNORECASE)
OTHER_KINDS = re.compile(r"^(person_keypoints|keypoints|panoptic|stuff|labels|captions|image_info)(?![a-z])", re.IGNORECASE)
RANKS = ("person_keypoints", "keypoints", "panoptic", "stuff", "labels", "captions", "image_info")
_SUPER = re.compile(r'"supercategory"\s*:')
LISTS = frozenset(("images", "annotations", "categories"))
BESIDES = LISTS | {"info", "licenses", "videos"}
FOREIGN = frozenset(("shapes", "imagePath", "imageData", "assets", "items", "objects", "item", "tasks", "regions", "_via_img_metadata",
                     "_via_settings"))
IMAGE_KEYS = ("id", "file_name", "width", "height", "labeled", "suggested", "mask", "ignore", "tags", "tags_uncertain", "tags_unknown",
              "group", "video_id")
MAX_JSON_BYTES = 2 << 30
MAX_FILES_PER_FOLDER = 50
MAX_HEADS = 1000
Key = int | str
Kind = Literal["objects", "tags", "captions"]
KEYPOINTS, CAPTION = 1, 2
_NUMBERS = frozenset((int, float))


class Annotation(NamedTuple):
    """What we use of an annotation, a fifth of its size as a dict. `bbox` and the rings of `segmentation` are arrays where they are good numbers."""

    id: Any
    image_id: Any
    category_id: Any
    bbox: Any = None
    segmentation: Any = None
    iscrowd: Any = None
    score: Any = None
    besides: int = 0  # KEYPOINTS, CAPTION

    @property
    def names_a_class_only(self) -> bool:
        return self.bbox is None and self.segmentation is None and self.category_id is not None


@dataclass
class Document:
    """One loaded file: its path in the tree, the split that its name tells, and the three lists.

    `ids` maps its category ids to our classes. `labeled` False: its images are only listed, nobody has looked at them. `segments`: some
    annotations are panoptic; these are dicts. `all_crowd`: so is every object of the whole set, so that it says nothing.
    """

    path: str
    split: str | None
    images: list[Any]
    annotations: list[Any]
    categories: list[Any]
    labeled: bool = True
    kind: Kind = "objects"
    keypoints: bool = False
    captions: bool = False
    segments: bool = False
    all_crowd: bool = False
    ids: dict[Key, int] = field(default_factory=dict)


# ---- finding

@dataclass
class Found:
    """The documents to read, and those that were left out because others of their split say more."""

    tree: Tree
    chosen: list[str]
    left_out: list[str] = field(default_factory=list)


def find(root: Path) -> Found:
    """The documents of a folder; a single json file stands for itself among everything near it."""
    if root.is_dir():
        return find_documents(Tree(root))
    base = root.parent.parent if root.parent.name.lower() == "annotations" else root.parent
    tree, name = Tree(base), root.relative_to(base).as_posix()
    return Found(tree, [name] if not _is_foreign(tree.head(name)) else [])


def find_documents(tree: Tree) -> Found:
    """The files that hold the annotations: one per split, or one for all; of several kinds for one split those that say most."""
    candidates: list[str] = []
    asked = 0
    for folder, listing in tree.walk():
        names = [name for name in listing.files if name.lower().endswith(".json")]
        few = len(names) <= MAX_FILES_PER_FOLDER and asked < MAX_HEADS
        for name in names:
            if few or TELLING.match(name) or OTHER_KINDS.match(name):
                asked += 1
                path = f"{folder}/{name}" if folder else name
                head = tree.head(path)
                if looks_like_coco(head) or (TELLING.match(name) and not _is_foreign(head)):
                    candidates.append(path)
    lists = [path for path in candidates if plain_json.kind_of(tree.head(path, 64)).startswith("[")]
    candidates = [path for path in candidates if path not in lists] or lists
    chosen = _best(candidates)
    return Found(tree, sorted(chosen, key=_split_order), [path for path in candidates if path not in chosen])


def _best(candidates: list[str]) -> list[str]:
    """For each split the documents of the best rank; one for all splits counts where none of a split's own is better."""
    ranks = {path: _rank(path.rpartition("/")[2]) for path in candidates}
    best: dict[str | None, int] = {}
    for path, rank in ranks.items():
        split = _split(path)
        best[split] = min(rank, best.get(split, rank))
    for_all = best.pop(None, len(RANKS) + 9)
    if for_all > min(best.values(), default=for_all):
        return [path for path, rank in ranks.items() if rank == best.get(_split(path) or "")]
    return [path for path, rank in ranks.items() if rank == (for_all if _split(path) is None else best[_split(path)]) and rank <= max(for_all, 2)]


def _rank(name: str) -> int:
    """Roboflow's own name, COCO's own, any other, then the other kinds of COCO files in the order of what they say."""
    other = OTHER_KINDS.match(name)
    if other:
        return 3 + RANKS.index(other.group(1).lower())
    return 0 if name == ROBOFLOW else 1 if name.lower().startswith("instances_") else 2


def _split(path: str) -> str | None:
    return split_of(*path.removesuffix(".json").split("/"))


def _split_order(path: str) -> tuple[int, str]:
    split = _split(path)
    return SPLITS.index(split) if split else len(SPLITS), path


def looks_like_coco(head: bytes) -> bool:
    """From the first bytes: an object with COCO's own lists, or a list of results (told apart when it is read)."""
    opening, keys = json_head.outer_keys(head)
    text = plain_json.kind_of(head)
    if opening == "[":
        return "image_id" in keys and bool({"bbox", "segmentation", "keypoints", "caption"} & keys)
    return ("images" in keys and (len(keys & BESIDES) > 1 or '"file_name"' in text)) or ("annotations" in keys and '"image_id"' in text) \
        or ("categories" in keys and bool(_SUPER.search(text)))


def _is_foreign(head: bytes) -> bool:
    """Whether a file that is called like a COCO document, or that somebody points at, is clearly one of another tool."""
    opening, keys = json_head.outer_keys(head)
    return bool(keys) and ("image_id" not in keys if opening == "[" else not keys & LISTS and bool(keys & FOREIGN))


# ---- loading

def load(tree: Tree, path: str) -> Document:
    """Raises UserError with the file and, where the parser knows it, line and column."""
    content = plain_json.parse(tree.read(path, MAX_JSON_BYTES), path, compact)
    if isinstance(content, list) and content and isinstance(content[0], Annotation):
        raise UserError("coco_results", name=path)
    if not isinstance(content, dict):
        raise UserError("coco_not_a_dataset", name=path, found=type(content).__name__)
    lists: dict[str, list[Any]] = {}
    for key in ("images", "annotations", "categories"):
        value = content.get(key)
        if not isinstance(value, list) and (key == "images" or value is not None):
            raise UserError("coco_not_a_dataset", name=path, found=f"{key}: {type(value).__name__}")
        lists[key] = value or []
    entries, captions = _sorted_out(lists["annotations"])
    labeled = content.get("annotations") is not None and (bool(entries) or not path.rpartition("/")[2].lower().startswith("image_info"))
    document = Document(path, _split(path), lists["images"], entries, lists["categories"], labeled, _kind_of(entries))
    besides = {entry.besides for entry in entries if type(entry) is Annotation}
    document.segments = any(type(entry) is dict for entry in entries)
    document.keypoints = any(value & KEYPOINTS for value in besides)
    document.captions = captions > 0 or any(value & CAPTION for value in besides)
    if captions and not entries:
        document.kind, document.labeled = "captions", False
    return document


def _sorted_out(entries: list[Any]) -> tuple[list[Any], int]:
    """(annotations and lists of segments, how many were captions alone)."""
    if all(map(_is_annotation, entries)):
        return entries, 0
    kept = [_annotation(entry) if type(entry) is dict and "segments_info" not in entry else entry for entry in entries if not _is_caption(entry)]
    return kept, len(entries) - len(kept)


def _is_annotation(entry: Any) -> bool:
    return type(entry) is Annotation


def _kind_of(entries: list[Any]) -> Kind:
    """Told by what the annotations hold, not by the file's name."""
    return "tags" if entries and all(isinstance(entry, Annotation) and entry.names_a_class_only for entry in entries) else "objects"


def _is_caption(entry: Any) -> bool:
    return type(entry) is dict and "caption" in entry and not (entry.get("bbox") or entry.get("segmentation") or "segments_info" in entry)


def compact(entry: dict[str, Any]) -> Any:
    """Applied to every object while a document is read, so that a large one fits into memory: annotations and images shrink to what we use.

    What could be either, or is a caption or a list of segments, stays as it is until the list in which it stands tells.
    """
    if "image_id" in entry:
        return entry if "file_name" in entry or "segments_info" in entry or "caption" in entry else _annotation(entry)
    if "file_name" in entry and "segments_info" not in entry:
        return {key: entry[key] for key in IMAGE_KEYS if key in entry}
    return entry


def _annotation(entry: dict[str, Any]) -> Annotation:
    get = entry.get
    besides = (KEYPOINTS if get("keypoints") else 0) | (CAPTION if "caption" in entry else 0)
    return Annotation(get("id"), get("image_id"), get("category_id"), packed(get("bbox")), _outlines(get("segmentation")), get("iscrowd"),
                      get("score"), besides)


def packed(values: Any) -> Any:
    """A list of numbers as an array of doubles; anything else as it is."""
    if type(values) is list and values and _NUMBERS.issuperset(map(type, values)):
        try:
            return array("d", values)
        except OverflowError:
            return values
    return values


def _outlines(value: Any) -> Any:
    if type(value) is list and value:
        return [packed(part) for part in value] if type(value[0]) is list else packed(value)
    return value


def key_of(value: Any) -> Key | None:
    """An id that compares: 1, 1.0 and "1" are the same; None for what cannot be an id."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, float | str):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return int(value) if len(value) < 19 and value.isdecimal() and str(int(value)) == value else value

"""Pascal VOC: one XML of boxes for each image, lists of names for the splits. Read in every common layout, written as VOC lays it out.

Pixel coordinates are kept as the files give them (`voc_xml` says why).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from engine.datasets.faults import problem_of
from engine.datasets.formats import Format, ImagePolicy, xml_head
from engine.datasets.formats.boxed_objects import BoxedObjects
from engine.datasets.formats.image_index import MASK_FOLDERS
from engine.datasets.formats.lookup import size_differs
from engine.datasets.formats.voc_layout import Layout, survey
from engine.datasets.formats.voc_lists import SETS, labelmap
from engine.datasets.formats.voc_xml import MAX_XML_BYTES, add_object, load, text_for
from engine.datasets.images import size_of
from engine.datasets.objects import clean_name
from engine.datasets.placing import Placer
from engine.datasets.plain_xml import text_of
from engine.datasets.tree import Tree, split_of
from engine.datasets.turning import turn_for
from engine.types import SPLITS, Instances, Problem, Reading, Sample, UserError

LABELME = ("<pt>", "<segm>", "LabelMe Webtool", "<nrows>")
LIST_NAMES = {"train": "train", "valid": "val", "test": "test"}


# ---- recognising

def detects(root: Path) -> str | None:
    """XML files that begin with <annotation> and are not LabelMe's, or images with lists of ImageSets and nothing else."""
    tree = Tree(root)
    for path, head in xml_head.documents(tree):
        if _is_voc(head):
            return path
    for folder, listing in tree.walk():
        names = {name.casefold() for name in listing.folders}
        if {SETS, "jpegimages"} <= names and not names & MASK_FOLDERS:
            return f"{folder}/ImageSets" if folder else "ImageSets"
    return None


def _is_voc(head: str) -> bool:
    return xml_head.root_name(head) == "annotation" and ("<bndbox>" in head or not any(mark in head for mark in LABELME))


# ---- reading

def read(root: Path) -> Reading:
    """Reads the label files twice: for the classes, and while streaming. What is wrong with one of them is a Problem in the stream."""
    layout = survey(Tree(root))
    return Reading(layout.classes.tuple, _items(layout), "instance" if layout.outlined else "detect")


def _items(layout: Layout) -> Iterator[Sample | Problem]:
    yield from layout.problems
    left_out: Counter[str] = Counter()
    unlabeled = unlisted = 0
    for image in layout.lookup.images():
        try:
            size = size_of(f"{layout.tree.root}/{image}")
        except UserError as error:
            yield problem_of(error, image)
            continue
        labels, group = None, None
        path = layout.labels.get(image)
        if path is not None:
            labels, group = yield from _labels(layout, path, image, size, left_out)
        unlabeled += labels is None
        missed, split = layout.split(image)
        unlisted += missed
        yield Sample(layout.tree.path(image), size, labels, split, group, image)
    if unlabeled:
        yield Problem("images_without_labels", "note", ".", {"count": unlabeled})
    yield from _notes(layout, left_out, unlisted)
    yield from layout.tree.problems


Found = Generator[Problem, None, tuple[Instances | None, str | None]]


def _labels(layout: Layout, path: str, image: str, size: tuple[int, int], left_out: Counter[str]) -> Found:
    """Yields problems, returns objects and group. A file without objects says that there is nothing in the image."""
    try:
        content = load(layout.tree.read(path, MAX_XML_BYTES), path)
    except (UserError, OSError) as error:
        yield problem_of(error, path) if isinstance(error, UserError) else Problem("file_unreadable", "error", path, {"reason": str(error)[:200]})
        return None, None
    claimed = (_claimed(text_of(content, "size/width")), _claimed(text_of(content, "size/height")))
    turn = turn_for(claimed, size, layout.tree.path(image))
    left_out["turned"] += turn is not None
    yield from size_differs(claimed, turn.size if turn else size, path)
    objects, items = BoxedObjects(path, turn.size if turn else size), content.findall("object")
    for position, item in enumerate(items, 1):
        add_object(item, position, objects, layout.classes, left_out)
    yield from objects.problems
    looked_at = len(objects) > 0 or not (items or layout.only_class_lists)
    labels = turn.upright(objects.instances()) if turn else objects.instances()
    return labels if looked_at else None, clean_name(text_of(content, "group")) or None


def _claimed(text: str) -> str | None:
    return None if text in ("", "0") else text


def _notes(layout: Layout, left_out: Counter[str], unlisted: int) -> Iterator[Problem]:
    rotated, turned = left_out.pop("robndbox", 0), left_out.pop("turned", 0)
    details = ", ".join(f"{name} {count}" for name, count in sorted(left_out.items()) if count)
    if details:
        yield Problem("voc_details_left_out", "note", ".", {"details": details})
    if turned:
        yield Problem("labels_turned", "note", ".", {"count": turned})
    if rotated:
        yield Problem("boxes_rotated", "note", ".", {"count": rotated})
    if layout.unsized:
        yield Problem("voc_without_size", "note", ".", {"count": layout.unsized})
    if unlisted:
        yield Problem("voc_unlisted", "note", ".", {"count": unlisted})
    if layout.only_class_lists:
        yield Problem("voc_class_lists_left_out", "note", ".", {"count": sum(lists.class_lists for lists in layout.lists)})


# ---- writing

def write(classes: tuple[str, ...], samples: Iterable[Sample], root: Path, images: ImagePolicy) -> Iterator[Problem]:
    """JPEGImages/, Annotations/, ImageSets/Main/{train,val,test}.txt and a labelmap.txt for the order of the classes.

    Images that nobody has looked at get no XML. A patient or video is written as <group>, which other readers pass over; so is <polygon>.
    """
    placer, annotations = Placer(root, images), root / "Annotations"
    annotations.mkdir(parents=True)
    lists: dict[str, list[str]] = {}
    said: Counter[str] = Counter()
    for sample in samples:
        file_name = yield from placer.place(sample, "JPEGImages")
        if file_name is None:
            continue
        stem = file_name.rpartition(".")[0]
        lists.setdefault(split_of(sample.split or "") or "train", []).append(stem)
        if isinstance(sample.labels, Instances):
            with open(annotations / f"{stem}.xml", "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123
                file.write((yield from _annotation(sample, sample.labels, file_name, classes, said)))
        elif sample.labels is not None:
            yield Problem("labels_not_objects", "error", sample.name or sample.image.name, {"format": "voc"})
        said["groups"] += sample.group is not None and not isinstance(sample.labels, Instances)
    yield from (Problem(f"{kind}_left_out", "note", ".", {"count": said[kind]}) for kind in ("scores", "groups") if said[kind])
    main = root / "ImageSets" / "Main"
    main.mkdir(parents=True)
    for split in SPLITS:
        if split in lists:
            (main / f"{LIST_NAMES[split]}.txt").write_text("".join(f"{stem}\n" for stem in lists[split]), encoding="utf-8", newline="\n")
    (root / "labelmap.txt").write_text(labelmap(classes), encoding="utf-8", newline="\n")


def _annotation(sample: Sample, labels: Instances, file_name: str, classes: tuple[str, ...], said: Counter[str]) -> Generator[Problem, None, str]:
    """Yields what the XML of one image cannot hold, returns its text."""
    own: Counter[str] = Counter()
    text, name = text_for(sample, labels, file_name, classes, own), sample.name or sample.image.name
    if own["crowd"]:
        yield Problem("crowd_left_out", "warning", name, {"count": own["crowd"]})
    if own["joined"]:
        yield Problem("outline_joined", "note", name)
    if own["traced"]:
        yield Problem("mask_traced", "note", name, {"count": own["traced"]})
    said["scores"] += len(labels) if labels.scores is not None else 0
    return text


FORMATS = (Format("voc", detects, read, write, tasks=("detect", "instance")),)

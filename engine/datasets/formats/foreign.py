"""Labels of tools that have no reader here: named, with what to export instead, where no format has been recognised."""

from __future__ import annotations

from pathlib import Path

from engine.datasets.formats import json_head, text_labels
from engine.datasets.formats.csv_kinds import MAX_CELLS, kind_of_rows
from engine.datasets.formats.csv_refusals import refusal
from engine.datasets.formats.csv_tables import SUFFIXES, peek_table, quiet, tables_of
from engine.datasets.formats.image_index import pictures
from engine.datasets.tree import Tree
from engine.types import UserError

INSTEAD = {"VIA (VGG Image Annotator)": "COCO JSON", "Supervisely": "COCO JSON, YOLO", "CreateML": "COCO JSON, YOLO, VOC XML",
           "NumPy (.npz)": "PNG + CSV", text_labels.VISDRONE: "COCO JSON, YOLO", text_labels.MOT: "COCO JSON, CVAT XML",
           text_labels.WIDER: "COCO JSON, YOLO, VOC XML", text_labels.KERAS: "COCO JSON, YOLO, VOC XML"}
RUN_LENGTHS = "RLE"
MAX_EXPLAINED = 5
TABLES = {"via": "VIA (VGG Image Annotator)", "rle": RUN_LENGTHS}


def foreign(root: Path) -> UserError | None:
    """The error that names the tool, for the first file below `root` that is known to come from one."""
    found = _table(root) or (_document(Tree(root)) or _arrays(Tree(root)) or _text(Tree(root)) if root.is_dir() else None)
    if found is None:
        return _useless_table(root)
    name, tool = found
    if tool == RUN_LENGTHS:
        return UserError("run_length_table", name=name)
    return UserError("foreign_format", name=name, tool=tool, instead=INSTEAD[tool])


def _table(root: Path) -> tuple[str, str] | None:
    if root.is_file() and not root.name.lower().endswith(SUFFIXES):
        return None
    tree, paths = tables_of(root)
    for path in paths:
        kind = kind_of_rows([cells for _, (_, cells) in zip(range(MAX_CELLS), quiet(peek_table(tree, path)), strict=False)])
        if kind in TABLES:
            return path, TABLES[kind]
    return None


def _useless_table(root: Path) -> UserError | None:
    if root.is_file() and not root.name.lower().endswith(SUFFIXES):
        return None
    tree, paths = tables_of(root)
    index = pictures(tree) if paths else None
    return next((error for path in paths[:MAX_EXPLAINED] if index is not None and (error := refusal(tree, path, index)) is not None), None)


def _document(tree: Tree) -> tuple[str, str] | None:
    return next(((path, tool) for path, head in json_head.documents(tree) if (tool := _tool(head))), None)


def _tool(head: bytes) -> str | None:
    if b'"shape_attributes"' in head or b'"_via_settings"' in head or b'"_via_img_metadata"' in head:
        return "VIA (VGG Image Annotator)"
    if (b'"classTitle"' in head and b'"geometryType"' in head) or (b'"classes"' in head and b'"shape"' in head and b'"geometry_config"' in head):
        return "Supervisely"
    return "CreateML" if b'"coordinates"' in head and b'"annotations"' in head and b'"image' in head else None


def _text(tree: Tree) -> tuple[str, str] | None:
    return next(((path, kind) for path, kind in text_labels.documents(tree) if kind in INSTEAD), None)


def _arrays(tree: Tree) -> tuple[str, str] | None:
    for folder, listing in tree.walk():
        for name in listing.files:
            if name.lower().endswith(".npz"):
                return f"{folder}/{name}" if folder else name, "NumPy (.npz)"
    return None

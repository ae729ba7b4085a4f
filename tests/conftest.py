"""Fixtures for all tests: the reference data, and small data sets made on the spot."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import messages
from engine.types import Instances, Labels, Polygons, SemanticMask, Tags


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference data; tests that need it are skipped where it is absent, and fail where CI=true."""
    folder = Path(os.environ.get("LIGHTBOX_REFERENCE") or Path(__file__).resolve().parent.parent.parent / "shared")
    if not (folder / "data").is_dir():
        reason = f"no reference data in {folder}; set LIGHTBOX_REFERENCE"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def write_picture(path: Path, width: int = 64, height: int = 48, seed: int = 0) -> Path:
    """A small image whose content depends on `seed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 255, (max(1, height // 8), max(1, width // 8), 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((width, height)).save(path)
    return path


@pytest.fixture
def picture() -> Callable[..., Path]:
    return write_picture


@pytest.fixture
def yolo_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a YOLO data set: {split: {stem: label text, bytes or None for no label file}}."""
    def make(splits: dict[str, dict[str, str | bytes | None]] | None = None, yaml: str | None = "", name: str = "yolo") -> Path:
        root = tmp_path / name
        splits = splits if splits is not None else {"train": {"a": "0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.25 0.25\n", "b": ""},
            "valid": {"c": "1 0.5 0.5 0.25 0.5\n"}}
        for number, (split, labels) in enumerate(splits.items()):
            for position, (stem, text) in enumerate(labels.items()):
                write_picture(root / split / "images" / f"{stem}.png", seed=100 * number + position)
                if text is not None:
                    target = root / split / "labels" / f"{stem}.txt"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(text if isinstance(text, bytes) else text.encode())
        if yaml is not None:
            keys = {"train": "train", "valid": "val", "test": "test"}
            paths = "".join(f"{keys[split]}: {split}/images\n" for split in splits if split in keys)
            (root / "data.yaml").write_text(yaml or f"path: .\n{paths}names:\n  0: cat\n  1: dog\n", encoding="utf-8")
        return root
    return make


def small_document() -> dict:
    """Two images, three annotations, category ids 1 and 7."""
    square = [[8, 8, 24, 8, 24, 24, 8, 24]]
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}, {"id": 2, "file_name": "b.png", "width": 64, "height": 48}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 16, 16], "area": 256, "iscrowd": 0, "segmentation": square},
            {"id": 2, "image_id": 1, "category_id": 7, "bbox": [30, 10, 20, 30], "area": 600, "iscrowd": 0, "segmentation": []},
            {"id": 3, "image_id": 2, "category_id": 7, "bbox": [0, 0, 64, 48], "area": 3072, "iscrowd": 0, "segmentation": []}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


@pytest.fixture
def coco_content() -> Callable[[], dict]:
    return small_document


@pytest.fixture
def coco_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a COCO data set of one document beside its images; `change` edits the document first."""
    def make(change: Callable[[dict], object] | None = None, text: str | None = None, name: str = "coco") -> Path:
        root, content = tmp_path / name, small_document()
        if change is not None:
            change(content)
        for number, image in enumerate(("a.png", "b.png")):
            write_picture(root / "images" / image, seed=number)
        (root / "annotations.json").write_text(text if text is not None else json.dumps(content), encoding="utf-8")
        return root
    return make


KINDS = (Instances, SemanticMask, Tags, type(None))


def assert_same_labels(copy: Labels | None, original: Labels | None, *, points: float = 1e-3, derived: float | None = None) -> None:
    """Equal to the last pixel, tag and vertex; coordinates within `points` pixels.

    `derived`: how far boxes may move where the format holds the outline alone and the box around it is derived.
    """
    assert [isinstance(copy, kind) for kind in KINDS] == [isinstance(original, kind) for kind in KINDS]  # masks may be stored packed
    if isinstance(original, Tags):
        assert np.array_equal(copy.values, original.values, equal_nan=True)
    elif isinstance(original, SemanticMask):
        assert np.array_equal(copy.classes, original.classes)
    elif isinstance(original, Instances):
        assert copy.classes.tolist() == original.classes.tolist()
        assert np.abs(copy.boxes - original.boxes).max(initial=0) < (points if derived is None or original.shapes is None else derived)
        assert (copy.shapes is None) == (original.shapes is None)
        for mine, theirs in zip(copy.shapes or (), original.shapes or (), strict=True):
            assert type(mine) is type(theirs)
            if isinstance(theirs, Polygons):
                assert [len(ring) for ring in mine.rings] == [len(ring) for ring in theirs.rings]
                assert all(np.abs(one - other).max() < points for one, other in zip(mine.rings, theirs.rings, strict=True))


@pytest.fixture
def same_labels() -> Callable[..., None]:
    return assert_same_labels


@pytest.fixture(autouse=True)
def speak_english() -> Iterator[None]:
    """The language is a setting of the process: a test that changes it must not be heard in the next."""
    messages.set_language("en")
    yield
    messages.set_language("en")

"""Generated sample data sets: something to look at, train on and test with, that needs no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import yaml

from engine.datasets.aerial import scenes
from engine.types import SPLITS, UserError

# Image k has the same split whatever the number of images; 20 in a row are 15 / 3 / 2, the first three are one of each.
PATTERN = tuple({"v": "valid", "x": "test"}.get(letter, "train") for letter in "tvxtttvtttxttvtttttt")
QUALITY = 92


def generate(kind: str, out: Path, images: int = 120, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> int:
    """Writes a YOLO data set of aerial scenes into `out`, which is empty or absent; returns the number of images.

    Image k depends on `seed` and k only. `progress` gets (images done, images wanted).
    Raises UserError: sample_kind_missing, sample_count, output_not_empty.
    """
    if kind != "detect":
        raise UserError("sample_kind_missing", kind=kind, known="detect")
    if images < 1:
        raise UserError("sample_count", value=images)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("output_not_empty", path=out)
    splits = [split for split in SPLITS if split in PATTERN[:images]]
    for folder in (out / split / part for split in splits for part in ("images", "labels")):
        folder.mkdir(parents=True)
    for k in range(images):
        _write(aerial_scene(k, seed), out / PATTERN[k % len(PATTERN)], f"scene_{k:04d}")
        if progress is not None:
            progress(k + 1, images)
    folders = {{"valid": "val"}.get(split, split): f"{split}/images" for split in splits}
    config = {**folders, "nc": len(scenes.CLASSES), "names": list(scenes.CLASSES)}
    (out / "data.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return images


def aerial_scene(k: int, seed: int) -> scenes.Scene:
    """The k-th scene. Kinds of scenes come in shuffled rounds, so that a few images already show every class."""
    root = seed % 2**64
    turn, place = divmod(k, len(scenes.KINDS))
    order = np.random.default_rng([root, 1, turn]).permutation(len(scenes.KINDS))
    return scenes.generate(np.random.default_rng([root, 2, k]), int(order[place]))


def _write(scene: scenes.Scene, folder: Path, name: str) -> None:
    height, width = scene.image.shape[:2]
    encoded = cv2.imencode(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    (folder / "images" / f"{name}.jpg").write_bytes(encoded.tobytes())
    boxes = scene.boxes() / np.array([width, height, width, height])
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    lines = [f"{int(c)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, (x, y), (w, h) in zip(scene.classes, centres, sizes, strict=True)]
    (folder / "labels" / f"{name}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")

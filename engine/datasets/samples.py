"""Generated sample data sets: something to look at, train on and test with, that needs no download."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import yaml

from engine.datasets import sample_instruments as instruments
from engine.datasets import sample_retina as retina
from engine.datasets import sample_tissue as tissue
from engine.datasets.aerial import scenes
from engine.datasets.formats import coco_writing
from engine.types import SPLITS, Sample, UserError

# Image k has the same split whatever the number of images; 20 in a row are 15 / 3 / 2, the first three are one of each.
PATTERN = tuple({"v": "valid", "x": "test"}.get(letter, "train") for letter in "tvxtttvtttxttvtttttt")
QUALITY = 92
EYES = 2  # pictures of a patient


def generate(kind: str, out: Path, images: int = 120, seed: int = 0, progress: Callable[[int, int], None] | None = None, *,
             objects: int | None = None) -> int:
    """Writes a data set of one of the KINDS into `out`, which is empty or absent; returns the number of images.

    "detect": aerial scenes (YOLO); "instance": trays of instruments (COCO); "semantic": stained tissue (masks); "classify": pictures of the
    retina (table of labels).
    Image k depends on `seed` and k only. `progress` gets (images done, images wanted). `objects`: so many instruments on every tray.
    Raises UserError: sample_kind_missing, sample_count, sample_objects, output_not_empty.
    """
    if kind not in KINDS:
        raise UserError("sample_kind_missing", kind=kind, known=", ".join(KINDS))
    if images < 1:
        raise UserError("sample_count", value=images)
    if objects is not None and (kind != "instance" or not 1 <= objects <= instruments.MOST):
        raise UserError("sample_objects", value=objects, kind=kind, most=instruments.MOST)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("output_not_empty", path=out)
    done = (lambda k: progress(k + 1, images)) if progress is not None else (lambda k: None)
    write = KINDS[kind] if objects is None else partial(_instance, objects=(objects, objects))
    write(out, images, seed, done)
    return images


def _folders(out: Path, images: int, *parts: str) -> list[str]:
    """Makes the folders of the splits that get an image; returns these splits."""
    splits = [split for split in SPLITS if split in PATTERN[:images]]
    for folder in (out / split / part for split in splits for part in parts):
        folder.mkdir(parents=True)
    return splits


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())


def _shuffled(seed: int, stream: int, place: int, kinds: int) -> int:
    """Kinds come in shuffled rounds, so that a few images already show every class."""
    turn, place = divmod(place, kinds)
    return int(np.random.default_rng([seed % 2**64, stream, turn]).permutation(kinds)[place])


# -- detect ---------------------------------------------------------------------------------------------------------------------------


def aerial_scene(k: int, seed: int) -> scenes.Scene:
    """The k-th scene."""
    return scenes.generate(np.random.default_rng([seed % 2**64, 2, k]), _shuffled(seed, 1, k, len(scenes.KINDS)))


def _detect(out: Path, images: int, seed: int, done: Callable[[int], None]) -> None:
    splits = _folders(out, images, "images", "labels")
    for k in range(images):
        _write_scene(aerial_scene(k, seed), out / PATTERN[k % len(PATTERN)], f"scene_{k:04d}")
        done(k)
    folders = {{"valid": "val"}.get(split, split): f"{split}/images" for split in splits}
    config = {**folders, "nc": len(scenes.CLASSES), "names": list(scenes.CLASSES)}
    (out / "data.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def _write_scene(scene: scenes.Scene, folder: Path, name: str) -> None:
    height, width = scene.image.shape[:2]
    _write_jpeg(folder / "images" / f"{name}.jpg", scene.image)
    boxes = scene.boxes() / np.array([width, height, width, height])
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    lines = [f"{int(c)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, (x, y), (w, h) in zip(scene.classes, centres, sizes, strict=True)]
    (folder / "labels" / f"{name}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")


# -- instance -------------------------------------------------------------------------------------------------------------------------


def instrument_tray(k: int, seed: int, objects: tuple[int, int] = instruments.OBJECTS) -> instruments.Tray:
    """The k-th tray with so many instruments, fewest and most."""
    return instruments.generate(np.random.default_rng([seed % 2**64, 2, k]), _shuffled(seed, 1, k, len(instruments.KINDS)), objects)


def _instance(out: Path, images: int, seed: int, done: Callable[[int], None], objects: tuple[int, int] = instruments.OBJECTS) -> None:
    _folders(out, images, "")

    def trays() -> Iterator[Sample]:
        for k in range(images):
            tray, path = instrument_tray(k, seed, objects), out / PATTERN[k % len(PATTERN)] / f"tray_{k:04d}.jpg"
            _write_jpeg(path, tray.image)
            yield Sample(path, tray.image.shape[1::-1], tray.labels, split=path.parent.name)
            done(k)

    for problem in coco_writing.write(instruments.CLASSES, trays(), out, "none"):
        raise AssertionError(problem)


# -- semantic -------------------------------------------------------------------------------------------------------------------------


def tissue_slide(k: int, seed: int) -> tissue.Slide:
    """The k-th slide; one in eight shows nothing but background."""
    return tissue.generate(np.random.default_rng([seed % 2**64, 2, k]), _shuffled(seed, 1, k, len(tissue.KINDS)))


def _semantic(out: Path, images: int, seed: int, done: Callable[[int], None]) -> None:
    _folders(out, images, "images", "masks")
    for k in range(images):
        slide, folder = tissue_slide(k, seed), out / PATTERN[k % len(PATTERN)]
        _write_jpeg(folder / "images" / f"slide_{k:04d}.jpg", slide.image)
        (folder / "masks" / f"slide_{k:04d}.png").write_bytes(cv2.imencode(".png", slide.mask)[1].tobytes())
        done(k)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in tissue.CLASSES), encoding="utf-8", newline="\n")


# -- classify -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Eye:
    """image u8[H,W,3] RGB, the indices of its `findings`, the number of the patient: that of their first picture."""

    image: np.ndarray
    findings: tuple[int, ...]
    patient: int


def retina_eye(k: int, seed: int) -> Eye:
    """The k-th picture. Patients have two eyes, which come one after the other within their split."""
    split = PATTERN[k % len(PATTERN)]
    same = [place for place, name in enumerate(PATTERN) if name == split]
    rank = k // len(PATTERN) * len(same) + same.index(k % len(PATTERN))
    turn, place = divmod(rank - rank % EYES, len(same))
    first = turn * len(PATTERN) + same[place]
    owner = np.random.default_rng([seed % 2**64, 3, first])
    patient, left = retina.Patient.draw(owner), bool(owner.random() < 0.5)
    kind = _shuffled(seed, 10 + SPLITS.index(split), rank, len(retina.KINDS))
    image = retina.photograph(np.random.default_rng([seed % 2**64, 2, k]), patient, kind, left=left != bool(rank % EYES))
    return Eye(image, retina.KINDS[kind], first)


def _classify(out: Path, images: int, seed: int, done: Callable[[int], None]) -> None:
    (out / "images").mkdir(parents=True)
    with (out / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "labels", "split", "patient"])
        for k in range(images):
            eye = retina_eye(k, seed)
            _write_jpeg(out / "images" / f"eye_{k:04d}.jpg", eye.image)
            names = "|".join(retina.CLASSES[number] for number in eye.findings)
            writer.writerow([f"images/eye_{k:04d}.jpg", names, PATTERN[k % len(PATTERN)], f"patient {eye.patient:04d}"])
            done(k)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in retina.CLASSES), encoding="utf-8", newline="\n")


KINDS: dict[str, Callable[[Path, int, int, Callable[[int], None]], None]] = {
    "detect": _detect, "instance": _instance, "semantic": _semantic, "classify": _classify,
}

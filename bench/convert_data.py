"""The data sets that bench/convert.py measures with. Made once, the same in every run."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cell", "crack", "bolt", "leaf", "car", "sign", "fish", "nut")


def make_yolo(folder, count):
    """`count` JPEGs of 160 to 360 pixels in images/train, six lines each on average in labels/train, data.yaml. Made once."""
    if (folder / "data.yaml").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("images/train", "labels/train"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        width, height = rng.integers(160, 361, 2).tolist()
        grain = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)).resize((width, height))
        grain.save(folder / f"images/train/{number:06d}.jpg", quality=85)
        lines = []
        for _ in range(int(rng.integers(3, 10))):
            w, h = rng.uniform(0.03, 0.4, 2)
            x, y = rng.uniform(w / 2, 1 - w / 2), rng.uniform(h / 2, 1 - h / 2)
            lines.append(f"{rng.integers(len(CLASSES))} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n")
        (folder / f"labels/train/{number:06d}.txt").write_text("".join(lines))
    (folder / "data.yaml").write_text(f"train: images/train\nnames: [{', '.join(CLASSES)}]\n")


def make_coco(folder, count):
    """`count` images (hard links to one file, 1,000 a folder), nine annotations each, an outline of 12 to 30 points on a third. Made once."""
    if (folder / "instances_train.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    seed = folder / "seed.jpg"
    Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).resize((640, 480)).save(seed, quality=30)
    images, annotations = [], []
    for number in range(count):
        name = f"{number // 1000:03d}/{number:06d}.jpg"
        (folder / "images" / name).parent.mkdir(exist_ok=True)
        if number % 30_000 == 29_999:  # file systems limit the links to one file
            seed = Path(shutil.copy(seed, folder / f"seed{number}.jpg"))
        os.link(seed, folder / "images" / name)
        images.append({"id": number + 1, "file_name": name, "width": 640, "height": 480})
        for _ in range(9):
            w, h = rng.uniform(10, 200, 2).round(2).tolist()
            x, y = round(float(rng.uniform(0, 640 - w)), 2), round(float(rng.uniform(0, 480 - h)), 2)
            outline = []
            if len(annotations) % 3 == 0:
                turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(12, 31))))
                outline = [np.stack([x + w / 2 * (1 + np.cos(turn)), y + h / 2 * (1 + np.sin(turn))], 1).round(2).ravel().tolist()]
            annotations.append({"id": len(annotations) + 1, "image_id": number + 1, "category_id": int(rng.integers(1, 81)), "bbox": [x, y, w, h],
                                "area": round(w * h, 2), "iscrowd": 0, "segmentation": outline})
    categories = [{"id": number, "name": f"thing {number}", "supercategory": "object"} for number in range(1, 81)]
    with (folder / "instances_train.json.part").open("w") as file:
        json.dump({"images": images, "annotations": annotations, "categories": categories}, file)
    (folder / "instances_train.json.part").rename(folder / "instances_train.json")

#!/usr/bin/env python3
"""Pascal VOC (BCCD) -> COCO folder for benchmarks: bench/bccd_to_coco.py VOC_FOLDER OUT. Boxes without area are left out."""

import json
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

SPLITS = {"train": "train", "val": "valid", "test": "test"}


def main(source, out):
    names = sorted({node.text for file in (source / "Annotations").glob("*.xml") for node in ElementTree.parse(file).iter("name")})
    for voc_split, split in SPLITS.items():
        target = out / split
        target.mkdir(parents=True)
        images, annotations = [], []
        for stem in (source / "ImageSets" / "Main" / f"{voc_split}.txt").read_text().split():
            tree = ElementTree.parse(source / "Annotations" / f"{stem}.xml")
            shutil.copy(source / "JPEGImages" / f"{stem}.jpg", target)
            width, height = (int(tree.findtext(f"size/{side}")) for side in ("width", "height"))
            images.append({"id": len(images) + 1, "file_name": f"{stem}.jpg", "width": width, "height": height})
            for thing in tree.iter("object"):
                left, top, right, bottom = (float(thing.findtext(f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax"))
                if right > left and bottom > top:
                    annotations.append({"id": len(annotations) + 1, "image_id": len(images), "category_id": names.index(thing.findtext("name")),
                                        "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top), "iscrowd": 0})
        categories = [{"id": i, "name": name} for i, name in enumerate(names)]
        (target / "_annotations.coco.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
        print(split, len(images), "images", len(annotations), "boxes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Small sets of masks for the tests of mask pictures."""

from pathlib import Path

import numpy as np
from PIL import Image

from engine.datasets.collection import collect
from engine.datasets.formats import mask_png

SIZE = (64, 48)


def shapes(seed=0, values=(1,), size=SIZE):
    """An index mask with one block a value on 0."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    for place, value in enumerate(values):
        left = 4 + 12 * place + seed % 4
        mask[8 + seed % 5:30, left:left + 10] = value
    return mask


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(path, **options)
    return path


def maker_of(root, picture):
    """Makes images/ and masks/ in `root` of which mask number k is of(k); None = no mask."""
    def make(of, count=4, folders=("images", "masks"), suffix="png", **options):
        for k in range(count):
            picture(root / folders[0] / f"s{k}.jpg", *SIZE, seed=k)
            pixels = of(k)
            if pixels is not None:
                save(root / folders[1] / f"s{k}.{suffix}", pixels, **options)
        return root
    return make


def read(root):
    return collect(mask_png.read(root), "mask_png")


def codes(collection):
    return [problem.code for problem in collection.problems]


def mask_of(collection, name):
    return next(sample.labels.classes for sample in collection.samples if Path(sample.name).stem == name)

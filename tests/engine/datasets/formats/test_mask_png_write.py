"""Writing masks, and what reading them again gives."""


import numpy as np
import pytest
from PIL import Image

from engine.datasets.formats import mask_png
from engine.types import IGNORE, Instances, Polygons, Sample, SemanticMask, Tags
from tests.engine.datasets.formats.mask_sets import SIZE, mask_of, read, shapes


def written(tmp_path, classes, labels, picture, **options):
    samples = []
    for k, each in enumerate(labels):
        image = picture(tmp_path / "in" / f"{k}.png", *SIZE, seed=k)
        samples.append(Sample(image, SIZE, each, ("train", "valid")[k % 2], options.get("group"), f"{k}.png"))
    (tmp_path / "out").mkdir()
    problems = list(mask_png.write(classes, samples, tmp_path / "out", "copy"))
    return problems, read(tmp_path / "out")


@pytest.mark.parametrize("classes", [("background", "a"), ("a", "b"), ("value 0", "value 255"), ("a",), ("3 apples", "4 pears"),
                                     ("x 1 2 3", "y 4 5 6"), ("background", *(f"c{k}" for k in range(254))), tuple(f"class {k}" for k in range(300))])
@pytest.mark.parametrize("void", ["none", "some", "most"])
def test_masks_read_back_equal(tmp_path, picture, classes, void):
    rng = np.random.default_rng(len(classes))
    labels = []
    for k in range(4):
        mask = rng.integers(0, len(classes), (6, 8)).astype(np.uint16)
        mask[mask == k % 2] = 0
        if void != "none":
            mask[rng.random(mask.shape) < (0.2 if void == "some" else 0.9)] = IGNORE
        labels.append(SemanticMask(np.kron(mask, np.ones((8, 8), np.uint16))))
    problems, again = written(tmp_path, classes, labels, picture)
    assert problems == []
    assert again.classes == classes
    assert {sample.split for sample in again.samples} == {"train", "valid"}
    for k, each in enumerate(labels):
        assert np.array_equal(mask_of(again, str(k)), each.classes)


def test_what_is_written_is_plain_gray_that_anybody_can_read(tmp_path, picture):
    mask = shapes(0, (1, 2)).astype(np.uint16)
    mask[:4] = IGNORE
    written(tmp_path, ("background", "a", "b"), [SemanticMask(mask)], picture)
    with Image.open(tmp_path / "out/train/masks/0.png") as stored:
        assert stored.mode == "L"
        assert np.array_equal(np.asarray(stored), np.where(mask == IGNORE, 255, mask))
    assert (tmp_path / "out/classes.txt").read_text() == "# index name\n0 background\n1 a\n2 b\n255 ignore\n"


def test_objects_become_regions_and_that_is_said(tmp_path, picture):
    square = Polygons((np.array([[10, 10], [30, 10], [30, 30], [10, 30]], float),))
    other = Polygons((np.array([[20, 20], [40, 20], [40, 40], [20, 40]], float),))
    labels = Instances(np.array([[10, 10, 30, 30], [20, 20, 40, 40]]), [0, 1], shapes=(square, other))
    problems, again = written(tmp_path, ("cat", "dog"), [None, labels, Instances.empty()], picture)
    assert again.classes == ("background", "cat", "dog")
    wanted = np.zeros(SIZE[::-1], int)
    wanted[10:30, 10:30] = 1
    wanted[20:40, 20:40] = 2
    assert np.array_equal(mask_of(again, "1"), wanted)
    assert not mask_of(again, "2").any()
    assert next(sample.labels for sample in again.samples if sample.name.endswith("0.png")) is None
    assert {problem.code: problem.values.get("count") for problem in problems} == {
        "regions_overlap": 100, "background_added": None, "objects_became_regions": 2}


def test_boxes_are_filled_with_a_warning_and_tags_left_out(tmp_path, picture):
    labels = [Instances(np.array([[10, 10, 30, 30]]), [0]), Tags(np.array([1.0]))]
    problems, again = written(tmp_path, ("cat",), labels, picture, group="p1")
    assert {problem.code for problem in problems} == {
        "boxes_filled", "labels_left_out", "background_added", "objects_became_regions", "groups_left_out"}
    assert int((mask_of(again, "0") == 1).sum()) == 400


def test_layers_that_overlap_are_noted(tmp_path, picture):
    layers = np.zeros((2, *SIZE[::-1]), bool)
    layers[0, 5:20, 5:20] = True
    layers[1, 10:30, 10:30] = True
    problems, again = written(tmp_path, ("a", "b"), [SemanticMask(layers=layers)], picture)
    assert {problem.code for problem in problems} == {"regions_overlap", "background_added"}
    assert np.array_equal(mask_of(again, "0"), np.where(layers[1], 2, np.where(layers[0], 1, 0)))

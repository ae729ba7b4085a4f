"""Pascal VOC written: nothing lost, or said."""

import pickle
import xml.etree.ElementTree as ElementTree

import numpy as np

from engine.datasets.collection import collect
from engine.datasets.convert import convert
from engine.datasets.formats import cvat, voc
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.types import Instances, Polygons, Sample, SemanticMask, Tags


def read(root):
    return collect(voc.read(root), "voc")


RING = np.array([[5, 5], [40, 5], [40, 40], [5, 40]], float)
HOLE = np.array([[10, 10], [20, 10], [20, 20], [10, 20]], float)
FAR = np.array([[50, 10.125], [60, 10], [60.0625, 20]], float)


def write(samples, root, classes=("b", "a", "not used"), images="copy"):
    root.mkdir(parents=True)
    return list(voc.write(classes, samples, root, images))


def test_writing_changes_nothing_in_memory(tmp_path, picture):
    shapes = (Polygons((RING, FAR), (HOLE,)), None)
    labels = Instances(np.array([[5, 5, 40, 40], [1, 2, 60.5, 40.25]]), [0, 1], shapes=shapes, crowd=[0, 1], scores=[.5, .6])
    samples = [Sample(picture(tmp_path / "a.png"), (64, 48), labels, "train", "p", "a.png"), Sample(picture(tmp_path / "b.png"), (64, 48), None)]
    before = pickle.dumps(samples)
    write(samples, tmp_path / "out")
    assert pickle.dumps(samples) == before


def test_outlines_with_parts_and_holes_are_joined_and_masks_traced(tmp_path, picture):
    mask = mask_of(Polygons((RING,)), (64, 48))
    labels = Instances(np.array([[5, 5, 61, 40], [5, 5, 40, 40.]]), [0, 1], shapes=(Polygons((RING, FAR), (HOLE,)), rle_of_mask(mask)))
    problems = write([Sample(picture(tmp_path / "a.png"), (64, 48), labels, "valid", None, "a.png")], tmp_path / "out")
    assert sorted(problem.code for problem in problems) == ["mask_traced", "outline_joined"]
    again = read(tmp_path / "out").samples[0].labels
    joined, traced = (mask_of(shape, (64, 48)) for shape in again.shapes)
    assert joined.sum() == mask_of(labels.shapes[0], (64, 48)).sum()
    assert abs(int(traced.sum()) - int(mask.sum())) < 0.1 * mask.sum()
    assert {tuple(point) for part in (RING, FAR, HOLE) for point in part.tolist()} == {tuple(point) for point in again.shapes[0].rings[0].tolist()}
    assert again.boxes.tolist() == labels.boxes.tolist()


def test_numbers_lose_less_than_a_thousandth_of_a_pixel(tmp_path, picture, same_labels):
    rng = np.random.default_rng(1)
    ring = rng.uniform(1, 40, (200, 2))
    labels = Instances([[*ring.min(0), *ring.max(0)], [0.3333333, 1e-3, 63.99999, 47.123456]], [0, 1], shapes=(Polygons((ring,)), None))
    write([Sample(picture(tmp_path / "a.png"), (64, 48), labels, None, None, "a.png")], tmp_path / "out")
    same_labels(read(tmp_path / "out").samples[0].labels, labels)


def test_classes_order_splits_patients_and_states_are_kept(tmp_path, picture):
    classes = ("zebra", "background", "a:b # <c>", "手术 剪", "never used")
    states = [Instances([[1, 2, 30, 40]], [3]), Instances([[1, 2, 30, 40]], [2]), Instances.empty(), None]
    samples = [Sample(picture(tmp_path / f"图 {number}.png", seed=number), (64, 48), labels, split, "patient <1>", f"图 {number}.png")
               for number, (labels, split) in enumerate(zip(states, ("train", "valid", "test", "valid"), strict=True))]
    problems = write(samples, tmp_path / "out", classes)
    assert [(problem.code, problem.values) for problem in problems] == [("groups_left_out", {"count": 1})]
    again = read(tmp_path / "out")
    assert again.classes == classes
    assert [sample.split for sample in again.samples] == ["train", "valid", "test", "valid"]
    assert [sample.group for sample in again.samples] == ["patient <1>"] * 3 + [None]
    assert [None if sample.labels is None else sample.labels.classes.tolist() for sample in again.samples] == [[3], [2], [], None]
    assert sorted(path.name for path in (tmp_path / "out/ImageSets/Main").iterdir()) == ["test.txt", "train.txt", "val.txt"]


def test_equal_names_in_folders_and_splits_do_not_collide(tmp_path, picture):
    names = ["train/a.png", "test/a.png", "test/a.jpg", "x/y/A.png"]
    samples = [Sample(picture(tmp_path / name, seed=number), (64, 48), Instances([[1, 2, 30 + number, 40]], [0]), "train", None, name)
               for number, name in enumerate(names)]
    write(samples, tmp_path / "out")
    again = read(tmp_path / "out").samples
    assert {sample.image.read_bytes(): sample.labels.boxes.tolist() for sample in again} == {
        sample.image.read_bytes(): sample.labels.boxes.tolist() for sample in samples}


def test_what_voc_cannot_hold_is_said(tmp_path, picture):
    image = picture(tmp_path / "a.png")
    crowd = Instances([[1, 2, 30, 40], [1, 2, 20, 40]], [0, 1], crowd=[1, 0])
    labels = [crowd, Instances([[1, 2, 30, 40]], [0], scores=[.9]), Tags([1, 0, 0]), SemanticMask(np.zeros((48, 64), np.uint16))]
    samples = [Sample(image, (64, 48), each, None, None, f"{number}.png") for number, each in enumerate(labels)]
    problems = write(samples, tmp_path / "out")
    assert [(problem.code, problem.where) for problem in problems] == [("crowd_left_out", "0.png"), ("labels_not_objects", "2.png"),
        ("labels_not_objects", "3.png"), ("scores_left_out", ".")]
    assert [sample.labels is None for sample in read(tmp_path / "out").samples] == [False, False, True, True]


def test_another_parser_sees_plain_voc(tmp_path, picture):
    sample = Sample(picture(tmp_path / "a & b.png"), (64, 48), Instances([[1, 2.5, 30, 40]], [0]), "valid", None, "a & b.png")
    write([sample], tmp_path / "out", ("x < y",))
    root = ElementTree.parse(tmp_path / "out/Annotations/a & b.xml").getroot()
    assert [root.findtext(path) for path in ("filename", "size/width", "size/height", "object/name", "object/bndbox/ymin", "object/difficult")] == [
        "a & b.png", "64", "48", "x < y", "2.5", "0"]
    assert (tmp_path / "out/ImageSets/Main/val.txt").read_text() == "a & b\n"


def test_from_cvat_to_voc_nothing_is_lost(tmp_path, picture, same_labels):
    samples = [Sample(picture(tmp_path / "a.png"), (64, 48), Instances([[1, 2.25, 30, 40]], [1]), "valid", None, "a.png")]
    (tmp_path / "cvat").mkdir()
    list(cvat.write(("b", "a"), samples, tmp_path / "cvat", "copy"))
    convert(tmp_path / "cvat", tmp_path / "voc", to="voc")
    found = read(tmp_path / "voc")
    assert (found.classes, found.samples[0].split) == (("b", "a"), "valid")
    same_labels(found.samples[0].labels, samples[0].labels)

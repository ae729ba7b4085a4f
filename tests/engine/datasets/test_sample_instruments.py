"""Generated trays of instruments: outlines of what can be seen, the same every time, readable like any other data set."""

import contextlib
import io
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from engine.__main__ import main
from engine.datasets import sample_instruments as instruments
from engine.datasets import samples, source
from engine.datasets.collection import collect
from engine.datasets.formats import formats
from engine.datasets.outlines import area_of, mask_of
from engine.types import SPLITS, Problem, UserError

COUNT, SEED = 6, 3
SIZE = (instruments.WIDTH, instruments.HEIGHT)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def trays():
    return [samples.instrument_tray(k, SEED) for k in range(COUNT)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "new" / "set"
    assert samples.generate("instance", folder, COUNT, SEED) == COUNT
    return folder


# -- what is drawn --------------------------------------------------------------------------------------------------------------------


def test_every_tray_holds_twenty_to_thirty_instruments_and_every_class_as_often_as_any_other(trays):
    counts = [len(tray.labels) for tray in trays]
    assert min(counts) >= 20 and max(counts) <= 30 and len(set(counts)) > 1
    for tray in trays:
        each = np.bincount(tray.labels.classes, minlength=len(instruments.CLASSES))
        assert each.min() >= 2 and each.max() <= 3


def test_the_outlines_are_those_of_the_painted_pixels(trays):
    for tray in trays:
        for number, shape in enumerate(tray.labels.shapes, 1):
            told, painted = mask_of(shape, SIZE), tray.owners == number
            assert (told & painted).sum() / (told | painted).sum() > 0.955
            assert area_of(shape, (0, 0, 0, 0)) == pytest.approx(painted.sum(), rel=0.05)


def test_another_painter_fills_the_outlines_alike(trays):
    """At eight times the size, where the border that OpenCV adds does not matter."""
    tray = trays[0]
    for number, shape in enumerate(tray.labels.shapes, 1):
        layer = np.zeros((SIZE[1] * 8, SIZE[0] * 8), np.uint8)
        cv2.fillPoly(layer, [np.round(ring * 8 - 0.5).astype(np.int32) for ring in shape.rings], 1)
        told, painted = layer[4::8, 4::8] > 0, tray.owners == number
        assert (told & painted).sum() / (told | painted).sum() > 0.95


def test_visible_parts_overlap_by_no_more_than_their_borders(trays):
    for tray in trays:
        together = np.sum([mask_of(shape, SIZE) for shape in tray.labels.shapes], axis=0)
        assert (together > 1).sum() < 0.01 * (together > 0).sum()
        assert not cv2.erode((together > 1).astype(np.uint8), np.ones((3, 3), np.uint8)).any()


def test_an_instrument_that_another_one_crosses_has_several_rings(trays):
    pieces = [len(shape.rings) for tray in trays for shape in tray.labels.shapes]
    assert np.mean(np.array(pieces) > 1) > 0.3


def test_finger_rings_are_open():
    tray = instruments.generate(np.random.default_rng(2), 0, (1, 1))
    while instruments.CLASSES[tray.labels.classes[0]] not in ("scissors", "needle holder", "clamp"):
        tray = instruments.generate(np.random.default_rng(tray.owners.sum()), 0, (1, 1))
    contours, tree = cv2.findContours(mask_of(tray.labels.shapes[0], SIZE).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    holes = [cv2.contourArea(each) for each, links in zip(contours, tree[0], strict=True) if links[3] >= 0]
    assert len(tray.labels.shapes[0].rings) == 1 and sum(area > 80 for area in holes) >= 2


def test_boxes_are_tight_around_the_painted_pixels_and_within_the_image(trays):
    for tray in trays:
        for number, box in enumerate(tray.labels.boxes, 1):
            rows, columns = np.nonzero(tray.owners == number)
            assert np.abs(box - [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).max() < 1.5
        assert tray.labels.boxes.min() >= 0 and (tray.labels.boxes <= [*SIZE, *SIZE]).all()


def test_instruments_stand_out_from_what_they_lie_on(trays):
    """By colour or by brightness, along the border of nearly every one."""
    for tray in trays:
        seen = cv2.GaussianBlur(tray.image, (0, 0), 1).astype(int)
        faint = 0
        for number in range(1, len(tray.labels) + 1):
            own = (tray.owners == number).astype(np.uint8)
            around = (cv2.dilate(own, np.ones((7, 7), np.uint8)) > 0) & (tray.owners == 0)
            faint += bool(around.any() and np.abs(seen[own > 0].mean(0) - seen[around].mean(0)).max() < 12)
        assert faint <= 0.2 * len(tray.labels)


@pytest.mark.parametrize("number", range(len(instruments.KINDS)))
def test_a_tray_of_every_kind_shows_what_was_asked_for(number):
    tray = instruments.generate(np.random.default_rng([4, number]), number, (10, 10))
    assert sorted(tray.labels.classes.tolist()) == list(range(len(instruments.CLASSES)))
    assert tray.image.shape == (SIZE[1], SIZE[0], 3) and tray.image.std() > 20


@pytest.mark.parametrize("seed", [-1, 2**70])
def test_any_whole_number_is_a_seed(seed):
    assert len(samples.instrument_tray(0, seed, (3, 3)).labels) == 3


# -- what is written ------------------------------------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_bytes(written, tmp_path):
    samples.generate("instance", tmp_path / "again", COUNT, SEED)
    assert contents(tmp_path / "again") == contents(written)


def test_an_image_does_not_depend_on_how_many_are_made_and_another_seed_gives_another(written, tmp_path):
    samples.generate("instance", tmp_path / "fewer", 2, SEED)
    samples.generate("instance", tmp_path / "other", 2, SEED + 1)
    images, fewer, other = ({name: data for name, data in contents(folder).items() if name.endswith(".jpg")}
                            for folder in (written, tmp_path / "fewer", tmp_path / "other"))
    assert len(fewer) == 2 and fewer.items() <= images.items()
    assert not any(images[name] == data for name, data in other.items())


def test_the_reader_finds_every_object_and_no_problem(written, trays):
    assert source.recognise(written)[0].name == "coco"
    reading = formats.get("coco").read(written)
    items = list(reading.items)
    assert reading.task == "instance" and reading.classes == instruments.CLASSES
    assert [item for item in items if isinstance(item, Problem)] == []
    assert sorted(item.split for item in items) == sorted(samples.PATTERN[:COUNT])
    for item in items:
        tray = trays[int(item.image.stem.split("_")[1])]
        assert item.size == SIZE and item.labels.classes.tolist() == tray.labels.classes.tolist()
        for read, drawn in zip(item.labels.shapes, tray.labels.shapes, strict=True):
            assert all(np.array_equal(one, other) for one, other in zip(read.rings, drawn.rings, strict=True))
        stored = cv2.imread(str(item.image))[..., ::-1].astype(float)
        assert np.abs(stored - tray.image).mean() < 6


def test_pycocotools_reads_the_same_masks(written, trays):
    for split in SPLITS:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(written / split / "_annotations.coco.json"))
        for image in truth.loadImgs(truth.getImgIds()):
            found = truth.loadAnns(truth.getAnnIds(image["id"]))
            tray = trays[int(image["file_name"].split("_")[1].split(".")[0])]
            assert all(isinstance(each["segmentation"], list) and not each["iscrowd"] for each in found)
            assert [truth.loadCats(each["category_id"])[0]["name"] for each in found] == [instruments.CLASSES[c] for c in tray.labels.classes]
            for number, each in enumerate(found, 1):
                told, painted = truth.annToMask(each) > 0, tray.owners == number
                assert (told & painted).sum() / (told | painted).sum() > 0.955
                assert each["area"] == pytest.approx(coco_mask.area(truth.annToRLE(each)), rel=0.05)


def test_the_health_check_finds_no_fault(written, tmp_path, capsys):
    assert main(["check", str(written), "--json", str(tmp_path / "report.json")]) == 0
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found["task"] == "instance" and not [each for each in found["problems"] if each["severity"] == "error"]


@pytest.mark.parametrize(("count", "splits"), [(1, 1), (2, 2), (3, 3)])
def test_every_split_gets_an_image_as_soon_as_there_are_three(tmp_path, count, splits):
    samples.generate("instance", tmp_path, count, 1, objects=2)
    assert {item.split for item in collect(source.read(tmp_path)).samples} == set(SPLITS[:splits])


def test_progress_counts_the_images_and_every_tray_has_as_many_objects_as_were_asked_for(tmp_path):
    seen = []
    samples.generate("instance", tmp_path, 2, 0, lambda done, wanted: seen.append((done, wanted)), objects=4)
    assert seen == [(1, 2), (2, 2)]
    assert Counter(len(item.labels) for item in collect(source.read(tmp_path)).samples) == {4: 2}


@pytest.mark.parametrize(("kind", "objects"), [("detect", 5), ("instance", 0), ("instance", 41)])
def test_a_number_of_objects_that_cannot_be_is_refused(tmp_path, kind, objects):
    with pytest.raises(UserError) as caught:
        samples.generate(kind, tmp_path / "out", 1, objects=objects)
    assert caught.value.key == "sample_objects" and "40" in str(caught.value) and not (tmp_path / "out").exists()
